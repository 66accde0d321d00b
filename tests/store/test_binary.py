"""What is written in the binary form of COPY comes back as what it was."""

from __future__ import annotations

import math

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import binary

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
