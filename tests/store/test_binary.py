"""What is written in the binary form of COPY comes back as what it was."""

from __future__ import annotations

import asyncio
import math
from uuid import uuid4

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import binary, bulk

COLUMNS = "t text, j jsonb, f float8, fs float8[], ss smallint[], bs boolean[], ts text[]"


async def test_values_come_back(db: AsyncConnection) -> None:
    await db.execute(text(f"CREATE TEMP TABLE kept ({COLUMNS}) ON COMMIT DROP"))
    numbers = [0.1, -1e-300, math.inf, 1 / 3, math.nan]
    columns = [
        [binary.text("Zürich"), binary.text(None)],
        [binary.jsonb(b'{"a": 0.1}'), binary.NULL],
        [binary.float8(1 / 3), binary.float8(None)],
        binary.float8_arrays([np.array(numbers), ()]),
        binary.int2_arrays([[-1, 252], []]),
        binary.bool_arrays([np.array([True, False]), []]),
        [binary.text_array(["ä", None, ""]), binary.text_array([])],
    ]
    rows = zip(*columns, strict=True)
    await binary.copy(db, "kept", [name.split()[0] for name in COLUMNS.split(", ")], (b"".join(row) for row in rows))
    first, second = await db.execute(text("SELECT * FROM kept"))
    assert first[:3] == ("Zürich", {"a": 0.1}, 1 / 3)
    assert first.fs[:4] == numbers[:4]
    assert math.isnan(first.fs[4])
    assert first[4:] == ([-1, 252], [True, False], ["ä", None, ""])
    assert tuple(second) == (None, None, None, [], [], [], [])


async def test_more_rows_than_one_piece_and_none(db: AsyncConnection) -> None:
    await db.execute(text("CREATE TEMP TABLE many (f float8, fs float8[]) ON COMMIT DROP"))
    count = 3 * binary._Stream.PIECE + 1
    arrays = binary.float8_arrays([[n, -n] for n in range(count)])
    await binary.copy(db, "many", ["f", "fs"], (binary.float8(n) + array for n, array in enumerate(arrays)))
    await binary.copy(db, "many", ["f", "fs"], ())
    rows = await db.execute(text("SELECT count(*), sum(f), sum(fs[2]) FROM many"))
    assert rows.one() == (count, count * (count - 1) / 2, -count * (count - 1) / 2)


async def test_arrays_of_a_lot_s_columns_come_back(db: AsyncConnection) -> None:
    columns = "i bigint, u uuid, bs bigint[], ds date[], us uuid[], ts text[], ls text[]"
    await db.execute(text(f"CREATE TEMP TABLE lots ({columns}) ON COMMIT DROP"))
    ids = [uuid4() for _ in range(3)]
    names = ["AAA", "", 'Ü{,"}']
    counts = [3, 0, 2]
    large = np.array([2**62, -1, 0])
    days = np.array([-10_000, 0, 20_000])
    fields = [
        [binary.int8(n) for n in (-(2**63), 0, 7)],
        [binary.uuid(identity) for identity in ids],
        binary.int8_arrays([large[:count] for count in counts]),
        binary.date_arrays([days[:count] for count in counts]),
        binary.uuid_prefixes(ids, counts),
        binary.text_prefixes(names, counts),
        binary.label_arrays(["close", "", "adj_close"], [np.array([2, 0, 1])[:count] for count in counts]),
    ]
    listed = [name.split()[0] for name in columns.split(", ")]
    await binary.copy(db, "lots", listed, (b"".join(row) for row in zip(*fields, strict=True)))
    rows = (await db.execute(text("SELECT * FROM lots"))).all()
    assert [(row.i, row.u) for row in rows] == list(zip((-(2**63), 0, 7), ids, strict=True))
    for row, count in zip(rows, counts, strict=True):
        assert row.bs == large[:count].tolist()
        assert row.ds == days.astype("datetime64[D]").tolist()[:count]
        assert row.us == ids[:count]
        assert row.ts == names[:count]
        assert row.ls == ["adj_close", "close", ""][:count]


async def test_columns_of_equal_width_come_back(db: AsyncConnection) -> None:
    columns = "i integer, d date, l bigint, f float8, b boolean, fs float8[], ss smallint[], bs boolean[], n float8, t text, j jsonb"
    await db.execute(text(f"CREATE TEMP TABLE wide ({columns}) ON COMMIT DROP"))
    numbers = np.array([[0.1, math.inf, math.nan], [-1e-300, 1 / 3, 0.0]])
    days = np.array(["1999-12-31", "2020-02-29"], dtype="datetime64[D]")
    whole = binary.whole_rows(
        [
            np.array([1, -2], dtype=np.int32),
            binary.days(days),
            np.array([2**62, -1]),
            numbers[:, 0],
            np.array([True, False]),
            numbers,
            np.array([[1, -2], [3, 252]], dtype=np.int16),
            np.array([[True], [False]]),
        ]
    )
    rest = zip(
        binary.float8_column(np.array([math.inf, 1 / 3])),
        binary.label_column(["close", None]),
        binary.jsonb_column(['{"a": 0.1}', "[]"]),
        strict=True,
    )
    rows = [b"".join((row, *more)) for row, more in zip(whole, rest, strict=True)]
    await binary.copy(db, "wide", [name.split()[0] for name in columns.split(", ")], rows)
    first, second = (await db.execute(text("SELECT * FROM wide ORDER BY i DESC"))).all()
    assert first[:5] == (1, days[0].item(), 2**62, 0.1, True)
    assert first.fs[:2] == [0.1, math.inf]
    assert math.isnan(first.fs[2])
    assert first[6:] == ([1, -2], [True], None, "close", {"a": 0.1})
    assert tuple(second) == (
        -2, days[1].item(), -1, -1e-300, False, [-1e-300, 1 / 3, 0.0], [3, 252], [False], 1 / 3, None, [],
    )  # fmt: skip
    assert binary.whole_rows([np.empty(0), np.empty((0, 3))]) == []


def test_a_stream_s_pieces_are_bounded_in_bytes() -> None:
    large = bytes(binary._Stream.PIECE_BYTES // 2)
    pieces = list(binary._Stream._cut([large] * 20, b"\0\1"))
    assert max(map(len, pieces)) <= 3 * len(large) + 100


async def test_between_the_rows_of_a_copy_the_loop_goes_round() -> None:
    """The driver encodes on the event loop, and does not let go of it by itself while the server keeps up."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count())
    await asyncio.sleep(0)
    arrays, texts = [([0.5] * 5_000,) for _ in range(100)], [("x" * 320_000,) for _ in range(100)]
    for rows in (arrays, texts):
        before = turns
        assert [row async for row in bulk.in_turns(rows)] == rows
        assert turns - before >= 100 * 5_000 // bulk.VALUES_AT_ONCE - 1
    other.cancel()
