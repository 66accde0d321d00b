"""Histories: a cold backfill of many portfolios against as many onboardings one by one; and what one corrected close costs again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

import pyarrow as pa
import pyarrow.parquet as pq

from services.ingest.providers.file.provider import SETTLE_SECONDS
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


@dataclass(frozen=True)
class Corrected:
    """Seconds, of one corrected close of the market's proxy.

    first    : of a first computation, all four phases, a unit
    again    : of a restated unit, from the request on
    units    : that were restated
    noticed  : from the request until they were required
    required : of a restated unit, from then on
    empty    : the same of the same phases and sessions of the same portfolios, with nothing of them stored
    """

    first: float
    again: float
    units: int
    noticed: float
    required: float
    empty: float


async def newest_revision(leadline: Pipeline) -> int:
    return int((await leadline.query("SELECT max(required_revision) FROM ledger.units"))[0][0])


async def when_required(leadline: Pipeline, revision: int) -> float:
    """When the first unit of the restated phases was required anew, as `time.time` has it."""
    [(began,)] = await leadline.query(
        """SELECT CAST(extract(epoch FROM min(required_at)) AS float8) FROM ledger.units u
           JOIN coordinator.portfolios p ON p.id = u.portfolio_id AND p.name <> 'asks'
           WHERE required_revision > :revision AND CAST(phase AS text) = ANY (CAST(:phases AS text[]))""",
        revision=revision,
        phases=list(RESTATED),
    )
    return float(began)


async def computed_from_nothing(ran: Stage, day: date, units: int) -> float:
    """Seconds from when facts and risk of all sessions from `day` on are required until they are there; none was stored."""
    leadline = ran.leadline
    revision = await newest_revision(leadline)
    await leadline.execute("TRUNCATE factors.exposures, factors.metrics, factors.proxies, risk.results")
    answer = await leadline.api.post(
        "/admin/batch/run", params={"phase": "factors", "what": "all", "start_date": str(day)}
    )
    assert answer.status_code == 202, answer.text
    await wait_complete(leadline, LAST, units, within=3600)
    seconds = time.time() - await when_required(leadline, revision)
    await leadline.quiet(within=600)
    return seconds


async def corrected_close(ran: Stage, portfolios: int, sessions: int, back: int) -> Corrected:
    """Raises `AssertionError` unless exactly the facts and the risk of the sessions from that one on are computed again."""
    leadline, entry, day = ran.leadline, calendar().back(LAST, sessions - 1), calendar().back(LAST, back)
    of = books(portfolios, SYMBOLS[: max(HELD_AT_NIGHT, min(len(SYMBOLS), 5 * portfolios))])
    await leadline.create(ran.lots([SYMBOLS[0]], day), name="asks")
    await wait_complete(leadline, LAST, PHASES)
    await computed(ran, of, entry, PHASES * (portfolios + 1))
    await leadline.quiet(within=600)
    await leadline.execute("TRUNCATE factors.exposures, factors.metrics, factors.proxies")
    first = await computed(ran, of, entry, PHASES * (2 * portfolios + 1))
    await leadline.quiet(within=600)
    empty = await computed_from_nothing(ran, day, PHASES * (2 * portfolios + 1))

    revision = await newest_revision(leadline)
    correct(ran.data, MARKET, day)
    asks = (await leadline.query("SELECT id FROM coordinator.portfolios WHERE name = 'asks'"))[0][0]
    start, asked = time.perf_counter(), time.time()
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
    noticed = await when_required(leadline, revision) - asked
    found = await raised_since(leadline, revision)
    each = 2 * portfolios * (back + 1)
    assert found == dict.fromkeys(RESTATED, (each, day, LAST)), found
    units = len(RESTATED) * each
    return Corrected(
        first=first / (PHASES * portfolios * sessions),
        again=seconds / units,
        units=units,
        noticed=noticed,
        # The portfolio that asks is computed with the others.
        required=(seconds - noticed) / (units + len(RESTATED) * (back + 1)),
        empty=empty / (units + len(RESTATED) * (back + 1)),
    )


async def _corrected(portfolios: int, sessions: int, back: int) -> list[Measured]:
    async with stage(SYMBOLS) as ran:
        found = await corrected_close(ran, portfolios, sessions, back)
    first, again = found.first, found.again
    note = (
        f"{2 * portfolios} portfolios × {sessions} sessions held, {back} back: exactly {found.units:,} units of facts and risk, each"
        f" {again * 1e3:.2f} ms; a first computation {first * 1e3:.2f} ms a unit, of four phases"
    )
    alike = (
        f"from when it is required: {found.required * 1e3:.2f} ms a unit against {found.empty * 1e3:.2f} of the same portfolios and"
        " sessions with neither facts nor risk stored"
    )
    waits = f"{SETTLE_SECONDS:.0f} s of it because the file was written that moment"
    return [
        Measured("corrected", "a restated unit against a first", again / first, "×", GOALS["corrected"], note=note),
        Measured(
            "corrected", "a restated unit against a first of the same phases", found.required / found.empty, "×",
            GOALS["corrected"], note=alike,
        ),
        Measured("corrected", "until the other close is noticed", found.noticed, "s", note=waits),
    ]  # fmt: skip


def run_backfill(portfolios: int, sessions: int) -> Found:
    return Found(asyncio.run(_backfill(portfolios, sessions)))


def run_corrected(portfolios: int, sessions: int, back: int) -> Found:
    return Found(asyncio.run(_corrected(portfolios, sessions, min(back, sessions - 1))))
