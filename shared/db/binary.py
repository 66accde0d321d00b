"""Rows in the form that COPY reads as binary, made from arrays at once.

The driver encodes an array element by element and on the event loop: for rows of thousands of doubles that takes longer than the
database takes to store them. Here a column costs a few array operations, on whichever thread.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from functools import lru_cache
from itertools import accumulate
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sqlalchemy.ext.asyncio import AsyncConnection

_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
_TRAILER = struct.pack("!h", -1)
NULL = struct.pack("!i", -1)
_EMPTY = {oid: struct.pack("!iiiI", 12, 0, 0, oid) for oid in (16, 20, 21, 25, 701, 1082, 2950)}
_FIRST_DAY = date(2000, 1, 1)  # of PostgreSQL's dates
_FLOAT = np.dtype([("length", ">i4"), ("value", ">f8")])
_SMALL = np.dtype([("length", ">i4"), ("value", ">i2")])
_FLAG = np.dtype([("length", ">i4"), ("value", "?")])
_WIDE = np.dtype([("length", ">i4"), ("value", ">i8")])
_WHOLE = np.dtype([("length", ">i4"), ("value", ">i4")])
# What a column of numbers is in a row, by the kind of the array: with its length before it, and the type of an array's elements.
_FORMS = {np.dtype(np.float64): (_FLOAT, 701), np.dtype(np.int16): (_SMALL, 21), np.dtype(np.bool_): (_FLAG, 16),
          np.dtype(np.int64): (_WIDE, 20), np.dtype(np.int32): (_WHOLE, 23)}  # fmt: skip
_DAY = np.dtype([("length", ">i4"), ("value", ">i4")])
_EPOCH = date(1970, 1, 1)
VALUES_AT_ONCE = 32


def field(value: bytes) -> bytes:
    """A value with its length before it; `NULL` stands alone."""
    return struct.pack("!i", len(value)) + value


def text(value: str | None) -> bytes:
    """text, and whatever is read like it."""
    return NULL if value is None else field(value.encode())


def jsonb(value: bytes) -> bytes:
    """jsonb from JSON."""
    return field(b"\x01" + value)


def float8(value: float | None) -> bytes:
    """double precision."""
    return NULL if value is None else struct.pack("!id", 8, value)


def int8(value: int) -> bytes:
    """bigint."""
    return struct.pack("!iq", 8, value)


def uuid(value: UUID) -> bytes:
    """uuid."""
    return field(value.bytes)


def day(value: date | None) -> bytes:
    """date."""
    return NULL if value is None else struct.pack("!ii", 4, (value - _FIRST_DAY).days)


def float8_arrays(column: Sequence[ArrayLike]) -> list[bytes]:
    """double precision[] of one dimension, a whole column's values; NaN stays NaN."""
    return _arrays(column, _FLOAT, 701)


def booleans(column: Sequence[bool]) -> list[bytes]:
    """boolean, a value a row."""
    return [field(b"\x01" if value else b"\x00") for value in column]


def int2_arrays(column: Sequence[ArrayLike]) -> list[bytes]:
    """smallint[] of one dimension, a whole column's values."""
    return _arrays(column, _SMALL, 21)


def bool_arrays(column: Sequence[ArrayLike]) -> list[bytes]:
    """boolean[] of one dimension, a whole column's values."""
    return _arrays(column, _FLAG, 16)


def int8_arrays(column: Sequence[ArrayLike]) -> list[bytes]:
    """bigint[] of one dimension, a whole column's values."""
    return _arrays(column, _WIDE, 20)


def date_arrays(column: Sequence[NDArray[np.int64]]) -> list[bytes]:
    """date[] of one dimension, a whole column's values, given as days since 1970."""
    since = (_FIRST_DAY - _EPOCH).days
    return _arrays([days - since for days in column], _DAY, 1082)


def uuid_prefixes(values: Sequence[UUID], lengths: Iterable[int]) -> list[bytes]:
    """uuid[]s that are the first so many of `values`, one for each length."""
    packed = b"".join(struct.pack("!i", 16) + value.bytes for value in values)
    return [_head(20 * length, 20, 2950) + packed[: 20 * length] if length else _EMPTY[2950] for length in lengths]


def text_prefixes(values: Sequence[str], lengths: Iterable[int]) -> list[bytes]:
    """text[]s that are the first so many of `values`, one for each length."""
    elements = [text(value) for value in values]
    packed, ends = b"".join(elements), [0, *accumulate(map(len, elements))]
    return [_of_texts(packed[: ends[length]], length) for length in lengths]


def label_arrays(labels: Sequence[str], column: Sequence[NDArray[np.int64]]) -> list[bytes]:
    """text[] of one dimension, a whole column's values, given as indices of the few texts there are."""
    elements = [text(label) for label in labels]
    return [_of_texts(b"".join([elements[index] for index in indices.tolist()]), len(indices)) for indices in column]


def whole_rows(columns: Sequence[NDArray[Any]]) -> list[bytes]:
    """By row the fields of columns that are never null and take as many bytes in each row, in one piece.

    columns : (n,) for single values, (n, m) for arrays of m of them; `float8`, `bigint`, `integer` and `date`, `smallint`, `boolean`
    by their kind
    """
    form: list[Any] = []
    for number, column in enumerate(columns):
        element, _ = _FORMS[column.dtype]
        form += (
            [(f"{number}", element)]
            if column.ndim == 1
            else [(f"head {number}", "V24"), (f"{number}", element, column.shape[1:])]
        )
    rows = np.empty(len(columns[0]), dtype=form)
    for number, column in enumerate(columns):
        element, oid = _FORMS[column.dtype]
        if column.ndim > 1:
            rows[f"head {number}"] = np.void(_head(column.shape[1] * element.itemsize, element.itemsize, oid))
        rows[f"{number}"]["length"] = element["value"].itemsize
        rows[f"{number}"]["value"] = column
    packed, width = rows.tobytes(), rows.dtype.itemsize
    return [packed[begin : begin + width] for begin in range(0, len(packed), width)]


def days(sessions: NDArray[np.datetime64]) -> NDArray[np.int32]:
    """Dates, as `whole_rows` takes them."""
    return (sessions.astype("datetime64[D]").astype(np.int64) - (_FIRST_DAY - _EPOCH).days).astype(np.int32)


def float8_column(values: NDArray[np.float64]) -> list[bytes]:
    """double precision, a value a row; null where it is not finite."""
    fields = whole_rows([values])
    for at in np.flatnonzero(~np.isfinite(values)).tolist():
        fields[at] = NULL
    return fields


def label_column(values: Sequence[str | None]) -> list[bytes]:
    """text, a value a row, of which there are few."""
    known = {value: text(value) for value in set(values)}
    return [known[value] for value in values]


def jsonb_column(values: Sequence[str]) -> list[bytes]:
    """jsonb, a value a row, of which there are few."""
    known = {value: jsonb(value.encode()) for value in set(values)}
    return [known[value] for value in values]


def _of_texts(packed: bytes, length: int) -> bytes:
    return struct.pack("!iiiIii", 20 + len(packed), 1, 0, 25, length, 1) + packed if length else _EMPTY[25]


def text_array(values: Sequence[str | None]) -> bytes:
    """text[] of one dimension; None is a null element."""
    return _texts(tuple(values))


@lru_cache(maxsize=4096)
def _texts(values: tuple[str | None, ...]) -> bytes:
    if not values:
        return _EMPTY[25]
    return field(
        struct.pack("!iiIii", 1, int(None in values), 25, len(values), 1) + b"".join(text(value) for value in values)
    )


def _arrays(column: Sequence[ArrayLike], form: np.dtype[Any], oid: int) -> list[bytes]:
    """The elements of some values side by side, each with its length before it, then cut.

    A few values at a time: a buffer for a whole column would be new memory, which costs several times what it takes to fill it.
    """
    size = form.itemsize
    fields: list[bytes] = []
    for low in range(0, len(column), VALUES_AT_ONCE):
        given = [np.asarray(values) for values in column[low : low + VALUES_AT_ONCE]]
        flat, begin = np.concatenate(given), 0
        elements = np.empty(len(flat), dtype=form)
        elements["length"] = form["value"].itemsize
        elements["value"] = flat
        packed = elements.tobytes()
        for values in given:
            end = begin + len(values) * size
            fields.append(_head(end - begin, size, oid) + packed[begin:end] if end > begin else _EMPTY[oid])
            begin = end
    return fields


@lru_cache(maxsize=4096)
def _head(length: int, size: int, oid: int) -> bytes:
    return struct.pack("!iiiIii", 20 + length, 1, 0, oid, length // size, 1)


async def copy(
    conn: AsyncConnection, table: str, columns: Sequence[str], rows: Iterable[bytes], *, schema: str | None = None
) -> None:
    """COPY rows, each the joined fields of all the columns, into a table, inside the connection's open transaction."""
    raw = await conn.get_raw_connection()
    driver = raw.driver_connection
    assert driver is not None
    await driver.copy_to_table(
        table, schema_name=schema, columns=list(columns), source=_Stream(rows, len(columns)), format="binary"
    )


class _Stream:
    """The stream of a COPY, in pieces of a few hundred rows, of fewer where they are large; the loop gets a turn after each."""

    PIECE = 256
    PIECE_BYTES = 1 << 20

    def __init__(self, rows: Iterable[bytes], fields: int) -> None:
        self._pieces = self._cut(rows, struct.pack("!h", fields))

    @classmethod
    def _cut(cls, rows: Iterable[bytes], fields: bytes) -> Iterator[bytes]:
        piece, size = [_HEADER], 0
        for row in rows:
            piece += (fields, row)
            size += len(row)
            if len(piece) > 2 * cls.PIECE or size > cls.PIECE_BYTES:
                yield b"".join(piece)
                piece, size = [], 0
        yield b"".join([*piece, _TRAILER])

    def __aiter__(self) -> _Stream:
        return self

    async def __anext__(self) -> bytes:
        await asyncio.sleep(0)
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration
