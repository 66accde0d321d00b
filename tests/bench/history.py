"""Histories: a cold backfill of many portfolios against as many onboardings one by one; and what one corrected close costs again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from statistics import median

import pyarrow as pa
import pyarrow.parquet as pq

from shared.market.calendar import calendar
from tests.bench.measured import Found, Measured
from tests.bench.memory import Peak
from tests.bench.pipeline import (
    HELD_AT_NIGHT,
    LAST,
    SYMBOLS,
    Stage,
    fall_due,
    insert_portfolios,
    stage,
    wait_complete,
)
from tests.support.pipeline import Pipeline

PHASES, ONE_BY_ONE = 4, 3
MARKET, RAISED_BY = "SPY", 1.001
# What a restated close of a proxy enters: facts of symbols, and the risk that is made of them. Nobody here holds the proxy itself.
RESTATED = ("factors", "risk")
GOALS = {"backfill": 0.6, "corrected": 1.5}


def books(portfolios: int, symbols: Sequence[str] = SYMBOLS) -> list[list[str]]:
    draw = random.Random(1)
    return [sorted(draw.sample(list(symbols), HELD_AT_NIGHT)) for _ in range(portfolios)]


async def computed(ran: Stage, of: Sequence[Sequence[str]], entry: date, units: int) -> float:
    """Seconds until portfolios that hold these symbols since `entry` are computed; `units` are those of the last session in all."""
    start = time.perf_counter()
    await insert_portfolios(ran.leadline, ran.data, of, day=entry)
    await fall_due(ran.leadline, LAST)
    await wait_complete(ran.leadline, LAST, units, within=3600)
    return time.perf_counter() - start


async def _one_by_one(sessions: int) -> list[float]:
    """Seconds of onboardings through the API: prices are stored, facts are not."""
    symbols = SYMBOLS[:HELD_AT_NIGHT]
    found = []
    async with stage(symbols) as ran:
        lots = ran.lots(symbols, calendar().back(LAST, sessions - 1))
        for number in range(ONE_BY_ONE + 1):
            await ran.leadline.execute("TRUNCATE factors.exposures, factors.metrics, factors.proxies")
            start = time.perf_counter()
            await ran.leadline.create(lots, name=f"Portfolio {number}")
            await wait_complete(ran.leadline, LAST, PHASES * (number + 1))
            found.append(time.perf_counter() - start)
            await ran.leadline.quiet()
    # The first one fetched the prices.
    return found[1:]


async def _backfill(portfolios: int, sessions: int) -> list[Measured]:
    alone = await _one_by_one(sessions)
    of = books(portfolios)
    async with stage(sorted({symbol for book in of for symbol in book})) as ran:
        with Peak(*ran.processes) as peak:
            seconds = await computed(ran, of, calendar().back(LAST, sessions - 1), PHASES * portfolios)
    size = f"{portfolios} × {HELD_AT_NIGHT} × {sessions}"
    each = median(alone)
    note = f"{seconds:.1f} s, prices read with it, against {portfolios} × {each:.2f} s, the median of {len(alone)} with prices stored"
    return [
        Measured(
            "backfill", f"{size}, against one by one", seconds / each / portfolios, "", GOALS["backfill"], note=note
        ),
        Measured("backfill", f"{size}, peak memory", peak.megabytes, "MB", 1500.0),
    ]


def correct(file: Path, symbol: str, session: date) -> None:
    """Another close of one session in the price file; nothing else differs."""
    rows = pq.read_table(file).to_pydict()
    for n, (name, day) in enumerate(zip(rows["symbol"], rows["date"], strict=True)):
        if name == symbol and day == session:
            for column in ("close", "adj_close"):
                rows[column][n] = round(rows[column][n] * RAISED_BY, 4)
    draft = file.with_suffix(".new")
    pq.write_table(pa.table(rows), draft)
    draft.replace(file)


async def raised_since(leadline: Pipeline, revision: int) -> dict[str, tuple[int, date, date]]:
    """By phase: how many units were required anew, and the first and last session of them."""
    rows = await leadline.query(
        """SELECT CAST(phase AS text), count(*), min(session), max(session) FROM ledger.units u
           JOIN coordinator.portfolios p ON p.id = u.portfolio_id AND p.name <> 'asks'
           WHERE required_revision > :revision GROUP BY 1""",
        revision=revision,
    )
    return {phase: (int(count), first, last) for phase, count, first, last in rows}


async def corrected_close(ran: Stage, portfolios: int, sessions: int, back: int) -> tuple[float, float, int]:
    """(seconds of a first computation a unit, seconds of a restated unit, restated units) of one close of the market's proxy.

    Raises `AssertionError` unless exactly the facts and the risk of the sessions from that one on are computed again.
    """
    leadline, entry, day = ran.leadline, calendar().back(LAST, sessions - 1), calendar().back(LAST, back)
    of = books(portfolios, SYMBOLS[: max(HELD_AT_NIGHT, min(len(SYMBOLS), 5 * portfolios))])
    await leadline.create(ran.lots([SYMBOLS[0]], day), name="asks")
    await wait_complete(leadline, LAST, PHASES)
    await computed(ran, of, entry, PHASES * (portfolios + 1))
    await leadline.quiet(within=600)
    await leadline.execute("TRUNCATE factors.exposures, factors.metrics, factors.proxies")
    first = await computed(ran, of, entry, PHASES * (2 * portfolios + 1))
    await leadline.quiet(within=600)

    [(revision,)] = await leadline.query("SELECT max(required_revision) FROM ledger.units")
    correct(ran.data, MARKET, day)
    asks = (await leadline.query("SELECT id FROM coordinator.portfolios WHERE name = 'asks'"))[0][0]
    start = time.perf_counter()
    parameters = {
        "portfolio_id": str(asks),
        "phase": "ingest",
        "what": "all",
        "start_date": str(day),
        "end_date": str(day),
    }
    answer = await leadline.api.post("/admin/batch/run", params=parameters)
    assert answer.status_code == 202, answer.text
    while not (found := await raised_since(leadline, revision)):
        assert time.perf_counter() - start < 300, "the corrected close was not taken up"
        await asyncio.sleep(0.1)
    await wait_complete(leadline, LAST, PHASES * (2 * portfolios + 1), within=3600)
    seconds = time.perf_counter() - start
    found = await raised_since(leadline, revision)
    units = 2 * portfolios * (back + 1)
    assert found == dict.fromkeys(RESTATED, (units, day, LAST)), found
    return first / (PHASES * portfolios * sessions), seconds / (len(RESTATED) * units), len(RESTATED) * units


async def _corrected(portfolios: int, sessions: int, back: int) -> list[Measured]:
    async with stage(SYMBOLS) as ran:
        first, again, units = await corrected_close(ran, portfolios, sessions, back)
    note = (
        f"{2 * portfolios} portfolios × {sessions} sessions held, {back} back: exactly {units:,} units of facts and risk, each"
        f" {again * 1e3:.2f} ms; a first computation {first * 1e3:.2f} ms a unit, of four phases"
    )
    return [Measured("corrected", "a restated unit against a first", again / first, "×", GOALS["corrected"], note=note)]


def run_backfill(portfolios: int, sessions: int) -> Found:
    return Found(asyncio.run(_backfill(portfolios, sessions)))


def run_corrected(portfolios: int, sessions: int, back: int) -> Found:
    return Found(asyncio.run(_corrected(portfolios, sessions, min(back, sessions - 1))))
