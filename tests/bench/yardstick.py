"""The yardstick: how long this machine takes, here and now, to write what a run wrote at commit 232be82, and to do nothing else.

A machine is noisy, and a ratio of two things measured beside each other is not. Rows, bytes, columns and indexes are those of that
commit and never change; content is random. One connection, one transaction: each table is one COPY of bytes that lie ready, and
the units of each phase one UPDATE. It is committed with `synchronous_commit` on.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg

SCHEMA = Path(__file__).with_name("yardstick.sql")
PHASES = ("ingest", "factors", "snapshots", "risk")
FACTORS, REPORTED, SCENARIOS, SPREADS = 8, 7, 24, 4
REPETITIONS = 5
# Rows that tell how long one is without its document, and the bytes that COPY puts around all rows.
SAMPLE, FRAME = 20, 21


@dataclass(frozen=True)
class Shape:
    """What one run wrote: portfolios x sessions x positions, and bytes by table, as COPY sends them in binary."""

    portfolios: int
    sessions: int
    positions: int
    size: Mapping[str, int]

    def rows(self, table: str) -> int:
        """Facts have a row a symbol and session, everything else one a portfolio and session; units one a phase."""
        if table in ("exposures", "metrics"):
            return self.positions * self.sessions
        return self.portfolios * self.sessions * (len(PHASES) if table == "units" else 1)


ONBOARDING = Shape(
    1, 500, 13,
    {"results": 11_700_000, "exposures": 7_800_000, "metrics": 5_000_000, "holdings": 1_200_000, "units": 1_000_000,
     "snapshots": 700_000},
)  # fmt: skip


def night(portfolios: int) -> Shape:
    """One session of portfolios of 30 positions: the bytes of 1,000 of them, in proportion."""
    size = {"results": 42_500_000, "holdings": 4_900_000, "units": 3_300_000, "snapshots": 2_600_000}
    return Shape(portfolios, 1, 30, {table: size[table] * portfolios // 1000 for table in size})


def _content(table: str, k: int, pad: int) -> str:
    """A row's values in the order of the columns, after its key. `pad` characters of a document bring it to its size."""
    f, c = FACTORS, SCENARIOS
    triangle = k * (k - 1) // 2
    no_reasons = {n: f"array_fill(NULL::text, ARRAY[{n}])" for n in (k, f + REPORTED, c)}
    floats, names = "yardstick.floats({})".format, "yardstick.names({})".format
    if table == "results":
        return ", ".join([
            f"1, '1', 'complete', 1, '[]', yardstick.document({pad})", names(k), floats(k), floats(k), floats(k * f), no_reasons[k],
            "'{}'", floats(k), floats(k), f"yardstick.flags({k})", no_reasons[k], no_reasons[k], floats(k), floats(k),
            names(f), floats(3 * (f + REPORTED)), f"yardstick.flags({f + REPORTED})", no_reasons[f + REPORTED], names(f), floats(f),
            floats(f * (f + 1) // 2), floats(triangle), f"yardstick.smalls({triangle + k})", f"yardstick.smalls({k})",
            "random(), random(), md5(random()::text)", no_reasons[c], floats(c * f), "'{}'", floats(c * (2 + f + k)),
            floats(c * (2 + f + k)), "random()", floats(5), f"random(), now(), {floats(k)}, NULL",
        ])  # fmt: skip
    if table == "holdings":
        # Lots have no document: a reason of the last one is as long as it must be.
        cents = f"yardstick.cents({k})"
        return (
            f"1, array_fill(gen_random_uuid(), ARRAY[{k}]), {names(k)}, {floats(k)}, {floats(k)}, array_fill(day, ARRAY[{k}]),"
            f" array_fill('close'::text, ARRAY[{k}]), array_fill(0::smallint, ARRAY[{k}]), {cents}, {cents}, {cents}, {cents}, {cents},"
            f" array_fill(''::text, ARRAY[{k - 1}]) || (yardstick.document({pad}) #>> '{{}}')"
        )
    if table == "snapshots":
        money = "yardstick.money()"
        return (
            f"1, '1', {', '.join([money] * 7)}, random(), {', '.join([money] * 6)}, random(), random(), random(), random(), random(),"
            f" random(), {k}, {k}, 0, 1, 'complete', yardstick.document({pad}), now()"
        )
    if table == "exposures":
        return (
            f"'1', 1, {floats(6)}, random(), random(), {floats(3 * SPREADS)}, {floats(f)}, {floats(3)},"
            f" yardstick.smalls({SPREADS + 3}), 'full', false, yardstick.document({pad}), now()"
        )
    assert table == "metrics", table
    return f"'1', 1, random(), 'close', {floats(8)}, {floats(8)}, {floats(3)}, 'full', yardstick.document({pad}), now()"


def _select(shape: Shape, table: str, pad: int) -> str:
    facts = table in ("exposures", "metrics")
    keys = shape.positions if facts else shape.portfolios
    key = "n" if facts else "('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid"
    return (
        f"SELECT {key}, day, {_content(table, shape.positions, pad)} FROM generate_series(1, {keys}) n"
        f" CROSS JOIN LATERAL (SELECT date '2016-01-04' + s AS day FROM generate_series(1, {shape.sessions}) s) d"
    )


async def _encoded(conn: asyncpg.Connection[Any], shape: Shape, table: str, pad: int) -> bytes:
    """Rows as COPY sends them. Through the table, so that each column has its type."""
    await conn.execute(f"INSERT INTO yardstick.{table} {_select(shape, table, pad)}")
    found = io.BytesIO()
    await conn.copy_from_table(table, schema_name="yardstick", output=found, format="binary")
    await conn.execute(f"TRUNCATE yardstick.{table}")
    return found.getvalue()


async def payloads(conn: asyncpg.Connection[Any], shape: Shape) -> dict[str, bytes]:
    """What is copied, by table. Needs the schema. Each is within a hundredth of the bytes of the shape."""
    found = {}
    for table in shape.size:
        if table == "units":
            continue
        few = Shape(SAMPLE, 1, shape.positions, {})
        bare = (len(await _encoded(conn, few, table, 0)) - FRAME) / few.rows(table)
        found[table] = await _encoded(conn, shape, table, max(0, round(shape.size[table] / shape.rows(table) - bare)))
    return found


async def _prepare(conn: asyncpg.Connection[Any], shape: Shape) -> None:
    """Empty tables, and units that wait. In transactions of its own: a COPY after TRUNCATE in one would be spared the journal."""
    await conn.execute(f"TRUNCATE {', '.join(f'yardstick.{table}' for table in shape.size)}")
    await conn.execute(
        f"""INSERT INTO yardstick.units (portfolio_id, session, phase, required_revision)
            SELECT ('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid, date '2016-01-04' + s, phase, 1
            FROM unnest($1::text[]) phase, generate_series(1, {shape.portfolios}) n, generate_series(1, {shape.sessions}) s""",
        list(PHASES),
    )
    await conn.execute("ANALYZE yardstick.units")


async def _write(conn: asyncpg.Connection[Any], shape: Shape, content: Mapping[str, bytes], reasons: str) -> float:
    start = time.perf_counter()
    async with conn.transaction():
        for table, payload in content.items():
            await conn.copy_to_table(table, schema_name="yardstick", source=io.BytesIO(payload), format="binary")
        for phase in PHASES:
            done = await conn.execute(
                """UPDATE yardstick.units SET completed_revision = required_revision, quality = 'complete', coverage = 1,
                          reasons = $2, completed_at = clock_timestamp()
                   WHERE phase = $1 AND completed_revision < required_revision""",
                phase,
                reasons,
            )
            assert done == f"UPDATE {shape.portfolios * shape.sessions}", done
    return time.perf_counter() - start


async def measure(url: str, shape: Shape, repetitions: int = REPETITIONS) -> list[float]:
    """Seconds of each repetition, in the database at `url`, where a schema `yardstick` is made and dropped."""
    conn = await asyncpg.connect(url)
    try:
        await conn.execute(SCHEMA.read_text())
        await conn.execute("SET synchronous_commit = on")
        content = await payloads(conn, shape)
        per_unit = shape.size["units"] // shape.rows("units")
        reasons = str(await conn.fetchval(f"SELECT yardstick.document({max(0, per_unit - 130)})"))
        seconds = []
        for _ in range(repetitions):
            await _prepare(conn, shape)
            seconds.append(await _write(conn, shape, content, reasons))
        await conn.execute("DROP SCHEMA yardstick CASCADE")
        return seconds
    finally:
        await conn.close()


def typical(seconds: list[float]) -> float:
    return median(seconds)
