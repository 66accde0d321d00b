"""Yield curves in the background: a year a call, the newest year first; what looked at a curve that is new is demanded anew."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.ingest.compute.yields import affected_days, ask_again_at, news, spans_without
from services.ingest.providers.curves import CurveSource
from services.ingest.providers.errors import ProviderError
from services.ingest.store import yields
from shared import ledger
from shared.clock import Clock
from shared.db.engine import acquire_commit_order_lock, next_change_seq
from shared.market.calendar import Calendar
from shared.market.curve import CURVE_MOST_DAYS, MOST_SESSIONS_WITHOUT, Curve
from shared.market.registry import BETA_WINDOW, LOOKBACK
from shared.telemetry import logger
from shared.work import Phase

log = logger(__name__)

# A year somebody has begun is his for so long.
LEASE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class _Answer:
    """curves of the first source that had any; else why nobody had (`fault`), and when to come back, if somebody said."""

    curves: Sequence[Curve] = ()
    provider: str = ""
    fault: str | None = None
    retry_at: datetime | None = None


class YieldCurves:
    """Keeps `ingest.yields` complete from the first portfolio's look-back to today."""

    def __init__(
        self,
        engine: AsyncEngine,
        sources: Sequence[CurveSource],
        clock: Clock,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._engine = engine
        self._sources = tuple(sources)
        self._clock = clock
        self._now = now

    async def refresh_one(self) -> bool:
        """Ask for one year that is due; False if none is. What nobody can tell is asked for again in half an hour."""
        if not self._sources:
            return False
        now, calendar = self._now(), self._clock.calendar()
        async with self._engine.begin() as conn:
            begins = await yields.first_session(conn)
            if begins is None:
                return False
            first = calendar.back(calendar.on_or_after(begins), LOOKBACK)
            year = await yields.claim_year(conn, first.year, self._clock.today().year, now, now + LEASE)
        if year is None:
            return False
        answer = await asyncio.to_thread(self._ask, year)
        newest = answer.curves[-1].date if answer.curves else None
        next_at = ask_again_at(year, newest, calendar, self._clock.last_due(), now, answer.retry_at)
        async with self._engine.begin() as conn:
            # First of all: a curve must not slip between a computation that read the one before and its completion.
            await acquire_commit_order_lock(conn)
            if answer.curves:
                await self._store(conn, answer)
            await yields.schedule_year(conn, year, asked_at=now, next_at=next_at, fault=answer.fault)
        return True

    def _ask(self, year: int) -> _Answer:
        """The first source in the user's order that has the year. Blocks."""
        faults: list[str] = []
        retry_at: datetime | None = None
        for source in self._sources:
            try:
                found = source.curves(year)
            except ProviderError as error:
                faults.append(str(error))
                retry_at = min(filter(None, (retry_at, error.retry_at)), default=None)
            except (
                Exception
            ) as error:  # an answer nobody foresaw: the next source is asked, the traceback is in the log
                log.exception("yields_unreadable", provider=source.name, year=year)
                faults.append(f"{source.name}: {type(error).__name__}")
            else:
                if found:
                    return _Answer(found, source.name)
                faults.append(f"{source.name}: no curve of {year}")
        fault = "; ".join(faults)[:500]
        log.warning("yields_missing", year=year, fault=fault)
        return _Answer(fault=fault, retry_at=retry_at)

    async def _store(self, conn: AsyncConnection, answer: _Answer) -> None:
        # What is dated later than the clock stands is not known yet, where the clock stands still.
        found = [curve for curve in answer.curves if curve.date <= self._clock.today()]
        if not found:
            return
        around = timedelta(days=CURVE_MOST_DAYS)
        before = await yields.find_curves(conn, found[0].date, found[-1].date + around)
        order = [source.name for source in self._sources]
        fresh = news(found, answer.provider, {curve.date: (curve, by) for curve, by in before}, order)
        if not fresh:
            return
        change = await next_change_seq(conn)
        await yields.write(conn, fresh, answer.provider, change)
        known = sorted({curve.date for curve, _ in before} | {curve.date for curve in fresh})
        calendar = self._clock.calendar()
        units = await _demand(conn, [curve.date for curve in fresh], known, calendar, change)
        log.info("yields_stored", provider=answer.provider, curves=len(fresh), newest=str(fresh[-1].date), units=units)


async def _demand(
    conn: AsyncConnection, changed: Sequence[date], known: Sequence[date], calendar: Calendar, change: int
) -> int:
    """Require anew what looks at the curves of `changed`; returns how many units. Sessions that are not there yet are not raised.

    Risk, where it is the newest curve before the session; the factors, where the curve stands for rates and is in the window.
    """
    units = 0
    for first, last in affected_days(changed, known):
        if portfolios := await yields.portfolios(conn, last):
            units += await ledger.require_all(conn, portfolios, first, last, Phase.RISK, change)
    first = calendar.on_or_after(changed[0])
    # A session's return rests on its own curve and the one before, and one that comes late may tell of a hole before it.
    last = calendar.forward(calendar.on_or_after(changed[-1]), BETA_WINDOW + 1)
    first = calendar.back(first, MOST_SESSIONS_WITHOUT)
    with_fund = await yields.sessions_with_fund(conn, first, last)
    for low, high in spans_without(calendar.between(first, last), with_fund):
        if portfolios := await yields.portfolios(conn, high):
            units += await ledger.require_all(conn, portfolios, low, high, Phase.FACTORS, change)
    return units
