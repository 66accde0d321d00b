"""Rows in the form that COPY reads as binary, made from arrays at once.

The driver encodes an array element by element and on the event loop: for rows of thousands of doubles that takes longer than the
database takes to store them. Here a column costs a few array operations, on whichever thread.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sqlalchemy.ext.asyncio import AsyncConnection

_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
_TRAILER = struct.pack("!h", -1)
NULL = struct.pack("!i", -1)
_EMPTY = {oid: struct.pack("!iiiI", 12, 0, 0, oid) for oid in (16, 21, 25, 701)}
_FIRST_DAY = date(2000, 1, 1)  # of PostgreSQL's dates
_FLOAT = np.dtype([("length", ">i4"), ("value", ">f8")])
_SMALL = np.dtype([("length", ">i4"), ("value", ">i2")])
_FLAG = np.dtype([("length", ">i4"), ("value", "?")])
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


def day(value: date | None) -> bytes:
    """date."""
    return NULL if value is None else struct.pack("!ii", 4, (value - _FIRST_DAY).days)


def float8_arrays(column: Sequence[ArrayLike]) -> list[bytes]:
    """double precision[] of one dimension, a whole column's values; NaN stays NaN."""
    return _arrays(column, _FLOAT, 701)


def int2_arrays(column: Sequence[ArrayLike]) -> list[bytes]:
    """smallint[] of one dimension, a whole column's values."""
    return _arrays(column, _SMALL, 21)


def bool_arrays(column: Sequence[ArrayLike]) -> list[bytes]:
    """boolean[] of one dimension, a whole column's values."""
    return _arrays(column, _FLAG, 16)


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
    """The stream of a COPY, in pieces of a few hundred rows."""

    PIECE = 256

    def __init__(self, rows: Iterable[bytes], fields: int) -> None:
        self._pieces = self._cut(rows, struct.pack("!h", fields))

    @classmethod
    def _cut(cls, rows: Iterable[bytes], fields: bytes) -> Iterator[bytes]:
        piece = [_HEADER]
        for row in rows:
            piece += (fields, row)
            if len(piece) > 2 * cls.PIECE:
                yield b"".join(piece)
                piece = []
        yield b"".join([*piece, _TRAILER])

    def __aiter__(self) -> _Stream:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration
