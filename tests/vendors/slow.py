"""Five hundred symbols at five calls a minute: all five services, a stand-in Massive under its default quota, and a clock that runs fast.

What is published, when, and how often, is noted by the database itself, so that nothing between two looks is missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy.exc import DBAPIError

from services.ingest.providers.quota import patience
from tests.crash.checks import WATCH
from tests.store.ingest.conftest import DAYS, LAST
from tests.store.ingest.test_vendors import COMMON
from tests.support import pipeline
from tests.support.brokers import TestBroker
from tests.support.databases import Database
from tests.support.markets import World
from tests.support.pipeline import Pipeline
from tests.support.vendors import serving
from tests.vendors.chaos import series
from tests.vendors.passing import let_pass

ENTRY = DAYS.back(LAST, 2)
QUANTITY = 10
# Seconds of ours between two steps of the clock, and between two looks.
TICK, LOOK = 0.25, 0.5
GATE = 0.8


class Published(NamedTuple):
    """A snapshot of the newest session as it stood at a look. minute: of the fast clock, from the creation on; priced: share of cost."""

    minute: float
    state: str
    coverage: float
    priced: float
    nav: float
    pnl: float
    provisional: bool


@dataclass
class Report:
    symbols: int
    speed: float
    calls: int = 0
    minutes: float = 0.0
    computed: int = 0
    seen: list[Published] = field(default_factory=list)
    states: list[tuple[float, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def allowed(self) -> int:
        """Computations of a session: the first, four an hour after it, and the last when nothing is waited for any more."""
        hours = (self.minutes - self.seen[0].minute) / 60 if self.seen else 0.0
        return 2 + math.ceil(4 * hours)


@dataclass
class FastClock:
    """Moves all that was written down `speed` times as fast as our own clock goes."""

    leadline: Pipeline
    speed: float
    minutes: float = 0.0
    missed: int = 0

    async def run(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            ahead = (now - last) * (self.speed - 1)
            last = now
            try:
                await let_pass(self.leadline.execute, ahead)
            except DBAPIError:
                # A deadlock with who works on the same rows: they go on, the clock is a little slow.
                self.missed += 1
            self.minutes += ahead * self.speed / (self.speed - 1) / 60


@contextlib.asynccontextmanager
async def _clock(leadline: Pipeline, speed: float) -> AsyncIterator[FastClock]:
    clock = FastClock(leadline, speed)
    running = asyncio.create_task(clock.run())
    try:
        yield clock
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def run(database: Database, broker: TestBroker, *, symbols: int, speed: float, within: float) -> Report:
    """
    speed  : minutes of the services' clock a minute of ours
    within : seconds of ours
    """
    names = [f"S{number:03d}" for number in range(symbols)]
    closes = dict(zip([*names, *sorted(COMMON)], series(symbols + len(COMMON)), strict=True))
    world = World(closes=closes)
    report = Report(symbols, speed)
    kept, patience.PATIENCE_SECONDS = patience.PATIENCE_SECONDS, 150.0 / speed
    try:
        with serving(world.massive) as server:
            values: dict[str, Any] = {
                "providers": "massive",
                "reference_providers": "none",
                "massive_api_key": "good",
                "massive_url": server.url,
                "provider_loopback": True,
                "retry_poll_seconds": TICK,
            }
            async with pipeline.running(database, broker, as_of=LAST, **values) as leadline:
                for statement in WATCH:
                    await leadline.execute(statement)
                portfolio = await leadline.create(
                    [
                        {"symbol": name, "quantity": QUANTITY, "entry_date": ENTRY.isoformat(), "entry_price": closes[name][ENTRY]}
                        for name in names
                    ],
                    equity_balance=2_000_000,
                )  # fmt: skip
                async with _clock(leadline, speed) as clock:
                    await _watch(leadline, portfolio, clock, report, closes, within)
            report.calls = len(server.calls)
    finally:
        patience.PATIENCE_SECONDS = kept
    judge(report)
    return report


async def _watch(
    leadline: Pipeline,
    portfolio: str,
    clock: FastClock,
    report: Report,
    closes: dict[str, dict[date, float]],
    within: float,
) -> None:
    until = time.monotonic() + within
    while True:
        status = await leadline.status(portfolio)
        state = str(status["state"])
        if not report.states or report.states[-1][1] != state:
            report.states.append((clock.minutes, state))
        rows = await leadline.query(
            """SELECT s.nav, s.daily_pnl, s.coverage, s.provisional, h.symbols, h.price, h.price_session, h.reason
               FROM snapshots.snapshots s JOIN snapshots.holdings h USING (portfolio_id, session)
               WHERE s.portfolio_id = CAST(:p AS uuid) AND s.session = :last""",
            p=portfolio,
            last=LAST,
        )
        if rows:
            _look(report, clock.minutes, state, rows[0], closes)
        if state in {"complete", "partial"}:
            break
        if time.monotonic() > until:
            report.problems.append(f"not complete after {clock.minutes:.0f} minutes: {status}")
            break
        await asyncio.sleep(LOOK)
    report.minutes = clock.minutes
    counts = await leadline.query(
        """SELECT session, count(DISTINCT revision) FROM crash.history
           WHERE portfolio_id = CAST(:p AS uuid) AND phase = 'snapshots' AND what = 'completed' GROUP BY session""",
        p=portfolio,
    )
    report.computed = max((count for _, count in counts), default=0)


def _look(report: Report, minute: float, state: str, row: Any, closes: dict[str, dict[date, float]]) -> None:
    """Note a snapshot that was not seen before, and whether each of its figures is of prices that were there."""
    nav, pnl = float(row.nav), float(row.daily_pnl)
    before = DAYS.previous(LAST)
    missing, true = 0.0, 0.0
    for symbol, price, session, reason in zip(row.symbols, row.price, row.price_session, row.reason, strict=True):
        fresh = session == LAST and price is not None
        if fresh and not math.isclose(price, closes[symbol][LAST]):
            report.problems.append(f"{symbol} is shown at {price}, the market was at {closes[symbol][LAST]}")
        if fresh:
            true += QUANTITY * (closes[symbol][LAST] - closes[symbol][before])
            continue
        missing += closes[symbol][ENTRY]
        if not reason:
            report.problems.append(f"{symbol} has no price of the session and no reason")
    cost = sum(closes[symbol][ENTRY] for symbol in row.symbols)
    priced = 1.0 - missing / cost
    found = Published(minute, state, float(row.coverage), priced, nav, pnl, bool(row.provisional))
    known = report.seen[-1] if report.seen else None
    if known is not None and (known.nav, known.pnl, known.provisional) == (nav, pnl, found.provisional):
        return
    report.seen.append(found)
    if not math.isclose(pnl, true, abs_tol=0.01 * report.symbols):
        report.problems.append(f"a P&L of {pnl} was published where the priced holdings made {true:.2f}")


def judge(report: Report) -> None:
    """What must be so."""
    problems = report.problems
    if not report.seen:
        problems.append("nothing was published")
        return
    first, last = report.seen[0], report.seen[-1]
    if first.priced < GATE:
        problems.append(f"published with {first.priced:.0%} of the value priced")
    for seen in report.seen:
        if seen.pnl == 0.0:
            problems.append(f"a flat day was published in minute {seen.minute:.0f}")
        if seen.coverage < GATE:
            problems.append(f"published with a coverage of {seen.coverage:.2f}")
        if seen.priced < 1.0 and not (seen.provisional and seen.state == "healing"):
            problems.append(f"with {seen.priced:.0%} priced it was {seen.state}, provisional: {seen.provisional}")
    if (last.coverage, last.provisional, last.priced) != (1.0, False, 1.0):
        problems.append(f"the end is {last}")
    if [state for _, state in report.states] != ["healing", "complete"]:
        problems.append(f"the states were {report.states}")
    if report.computed > report.allowed:
        problems.append(f"computed {report.computed} times, {report.allowed} are allowed")
