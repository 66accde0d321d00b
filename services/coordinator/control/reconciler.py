"""The reconciler: what is missing and could be done is asked for again, until it is done.

It reads the same ledger the handlers write and emits the same events they consume, so healing is not a second path. One leader
at a time saves work; two are harmless, because an event only says where to look.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from operator import itemgetter
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.coordinator.control import releases
from services.coordinator.control.scheduler import add_due
from services.coordinator.portfolios.settlement import settle
from services.coordinator.results import coverage, states
from shared import ledger
from shared.clock import Clock
from shared.db import locks
from shared.db.closures import load_closures
from shared.db.engine import acquire_commit_order_lock, is_retried_by_loops
from shared.events.coordinator import PhaseRequested
from shared.events.envelope import WorkBody
from shared.events.topics import PHASE_REQUESTED
from shared.ledger import schedule
from shared.ledger.schedule import Candidate
from shared.ledger.states import HOLE_REASONS
from shared.market.calendar import Calendar
from shared.messaging import dead_letters, outbox, replays
from shared.messaging.failpoints import failpoint
from shared.messaging.partitions import count_partitions
from shared.telemetry import (
    AWAITED,
    COVERAGE,
    EMITS,
    HOLES,
    MISSING,
    OLDEST_HOLE,
    OUTBOX_DEPTH,
    OUTSTANDING,
    PARTIAL,
    PROBES,
    logger,
)
from shared.work import CHAINED, MAX_PORTFOLIOS, MAX_UNITS, Phase, Work, shared_slices

log = logger(__name__)

# The database's clock may be slewed; a step back beyond this is one that leaves waits of hours behind.
CLOCK_STEP_SECONDS = 5.0


@dataclass(frozen=True)
class ReconcilerSettings:
    """How eager the reconciler is. Seconds unless said."""

    period: float = 15.0
    # The normal path gets its chance: a phase is asked for again only this long after its upstream completed.
    grace: float = 30.0
    # Above this age of the oldest request that is unsent the bus is the problem, and more events would only lengthen the queue.
    backlog: float = 30.0
    # Events per phase that may be unanswered at a time: who has waited longest first, the rest when these are answered.
    events: int = 8
    # Counting what is missing costs a second where millions of units are; what reads the metrics looks once a minute.
    measure: float = 60.0


class Reconciler:
    def __init__(
        self,
        engine: AsyncEngine,
        clock: Clock,
        *,
        wake: Callable[[], None],
        pace: ReconcilerSettings | None = None,
        benchmark: str | None = None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._wake_relay = wake
        self._pace = pace or ReconcilerSettings()
        self._benchmark = benchmark
        self._now = asyncio.Event()
        self._measured = float("-inf")
        self._measures = True
        self._database_ahead = float("-inf")

    def wake(self) -> None:
        """Reconcile now rather than at the next turn."""
        self._now.set()

    async def run(self) -> None:
        """Until cancelled. A turn that fails is logged, and the next one does its work."""
        started = False
        while True:
            started = started or await _attempt(self.start)
            if started:
                await _attempt(self.run_once)
            self._now.clear()
            try:
                await asyncio.wait_for(self._now.wait(), self._pace.period)
            except TimeoutError:
                continue

    async def run_on_request(self) -> None:
        """Until cancelled: a turn whenever it is woken, none by itself. For a process beside the one that reconciles."""
        # Gauges are those of the process that loops: what is seen once would stand here until somebody asks again, and alerts look
        # at the highest.
        self._measures = False
        while True:
            await self._now.wait()
            self._now.clear()
            await _attempt(self.run_once)

    async def start(self) -> None:
        """Once, when a coordinator starts: no wait is longer than five seconds, and a new code, model or benchmark is taken up."""
        async with self._engine.connect() as conn:
            await load_closures(conn)
        await releases.apply(self._engine, self._clock, benchmark=self._benchmark)
        async with self._engine.begin() as conn:
            await schedule.reset_backoff(conn)

    async def run_once(self) -> int:
        """One turn: add what fell due, settle lots, then ask for what is missing; returns how many events were emitted."""
        await add_due(self._engine, self._clock, source="reconciler", wake=self._wake_relay)
        await settle(self._engine, self._clock, wake=self._wake_relay)
        await self._retry_blocked()
        emitted = 0
        async with self._engine.begin() as conn:
            if not await conn.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": locks.LEADER}):
                return 0
            failpoint("reconciler.after_election")
            await load_closures(conn)
            await self._mend_waits(conn)
            await self._measure(conn)
            if closed := await dead_letters.resolve_blocked(conn):
                log.info("blocked_letters_resolved", letters=closed)
            if reopened := await replays.reopen_failed(conn):
                log.warning("replays_failed", letters=reopened)
            # What waits for another topic says nothing of this one.
            if await outbox.oldest_unsent(conn, PHASE_REQUESTED) > self._pace.backlog:
                log.warning(
                    "reconciler_holds_back", reason="what was asked for last is unsent: is the broker reachable?"
                )
                return 0
            for phase in Phase:
                emitted += await self._request_missing(conn, phase)
        if emitted:
            failpoint("reconciler.after_commit")
            self._wake_relay()
        return emitted

    async def _mend_waits(self, conn: AsyncConnection) -> None:
        """What was put off by a database's clock that was ahead is looked at now that it was set back."""
        ahead = float(await conn.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0) - time.monotonic()
        back, self._database_ahead = self._database_ahead - ahead, ahead
        if back > CLOCK_STEP_SECONDS:
            log.warning("database_clock_set_back", seconds=round(back))
            await schedule.reset_backoff(conn)
        if count := await ledger.shorten_waits(conn):
            log.warning(
                "waits_shortened", count=count, reason="longer than any backoff: the database's clock was ahead"
            )

    async def _measure(self, conn: AsyncConnection) -> None:
        """What is missing and why, and how much waits to be sent."""
        now = asyncio.get_running_loop().time()
        if not self._measures or now - self._measured < self._pace.measure:
            return
        self._measured = now
        holes = await schedule.holes(conn)
        units = {(hole.phase, hole.reason): hole.units for hole in holes}
        for phase in Phase:
            MISSING.labels(phase.value).set(sum(n for (p, why), n in units.items() if p == phase and why != "blocked"))
            OLDEST_HOLE.labels(phase.value).set(max((h.oldest_seconds for h in holes if h.phase == phase), default=0.0))
            for reason in HOLE_REASONS:
                HOLES.labels(phase.value, reason).set(units.get((phase, reason), 0))
        OUTBOX_DEPTH.set((await outbox.outbox_depth(conn)).unsent)
        measured = await coverage.measure(conn, states.window_start(self._clock))
        # What is mended is no longer named: a reason that nobody has would else keep its last number.
        PARTIAL.clear()
        for (unit_phase, reason), units_short in measured.partial.items():
            PARTIAL.labels(unit_phase, reason).set(units_short)
        AWAITED.clear()
        for reason, symbols in measured.awaited.items():
            AWAITED.labels(reason).set(symbols)
        COVERAGE.set(math.nan if measured.coverage is None else measured.coverage)

    async def _retry_blocked(self) -> None:
        """Try blocked units once more when their day has come. In a transaction of its own: it takes the commit-order lock."""
        async with self._engine.connect() as conn:
            if not await schedule.retry_blocked_due(conn):
                return
        async with self._engine.begin() as conn:
            await acquire_commit_order_lock(conn)
            freed = await schedule.retry_blocked(conn)
        for phase, units in freed.items():
            PROBES.labels(phase.value).inc()
            log.info("blocked_units_probed", phase=phase.value, units=units)

    async def _request_missing(self, conn: AsyncConnection, phase: Phase) -> int:
        unanswered = await schedule.count_outstanding(conn, phase)
        if self._measures:
            OUTSTANDING.labels(phase.value).set(unanswered)
        candidates = await schedule.find_candidates(
            conn, phase, grace=self._pace.grace, look=MAX_PORTFOLIOS * self._pace.events
        )
        locked = await schedule.lock_schedules(conn, phase, [candidate.portfolio_id for candidate in candidates])
        free = [candidate for candidate in candidates if candidate.portfolio_id in locked]
        # What was asked for and is not answered is asked for again when its backoff says so, so that a lost event costs seconds:
        # it is the same work. Nobody else is asked for beyond the limit.
        partitions = count_partitions(conn, PHASE_REQUESTED)
        works = self.rectangles(
            phase, [candidate for candidate in free if candidate.again], self._pace.events, partitions
        )
        works += self.rectangles(
            phase, [candidate for candidate in free if not candidate.again], self._pace.events - unanswered, partitions
        )
        if not works:
            return 0
        failpoint("reconciler.after_selection")
        events = [PhaseRequested(work=WorkBody.of(work), phase=phase) for work in works]
        ids = await outbox.publish(conn, events, source="coordinator")
        failpoint("reconciler.during_batch")
        chosen = {portfolio: id_ for work, id_ in zip(works, ids, strict=True) for portfolio in work.portfolios}
        await schedule.record_request(conn, phase, chosen)
        failpoint("reconciler.before_commit")
        EMITS.labels(phase.value).inc(len(events))
        log.info("reconciler_asked", phase=phase.value, events=len(events), portfolios=len(chosen))
        return len(events)

    def rectangles(self, phase: Phase, candidates: Sequence[Candidate], budget: int, partitions: int = 1) -> list[Work]:
        """Equal spans together, within the limits of an event; at most `budget` events, to those who have waited longest.

        Then the newest sessions first, because they are what people look at; snapshots from the oldest, because they are a
        chain. Shared among partitions where that leaves nobody out: smaller events would reach fewer of those who wait.

        candidates : in the order they have waited
        """
        days = self._clock.calendar()
        grouped: dict[tuple[date, date], list[tuple[int, UUID]]] = defaultdict(list)
        for rank, candidate in enumerate(candidates):
            span = days.between(candidate.first, candidate.last)
            if not span:
                continue  # a day that became a session since the calendar was read: the next turn sees it
            part = span[:MAX_UNITS] if phase in CHAINED else span[-MAX_UNITS:]
            grouped[part[0], part[-1]].append((rank, candidate.portfolio_id))
        ranked = _cut(grouped, days, partitions)
        if len(ranked) > budget:
            ranked = _cut(grouped, days, 1)
        chosen = [work for _, work in sorted(ranked, key=lambda item: item[0])[: max(0, budget)]]
        order: Any = (lambda work: work.first) if phase in CHAINED else (lambda work: -work.last.toordinal())
        return sorted(chosen, key=order)


def _cut(
    grouped: Mapping[tuple[date, date], Sequence[tuple[int, UUID]]], days: Calendar, partitions: int
) -> list[tuple[int, Work]]:
    """Events for the ranked portfolios of each span, each with the rank of its first."""
    return [
        (part[0][0], Work(tuple(portfolio for _, portfolio in part), first, last, beside))
        for (first, last), members in grouped.items()
        for part, beside in shared_slices(members, len(days.between(first, last)), partitions, itemgetter(1))
    ]


async def _attempt(step: Callable[[], Awaitable[object]]) -> bool:
    """Whether a step was done. What the next turn may mend is logged, everything else raised."""
    try:
        await step()
    except Exception as error:
        if not is_retried_by_loops(error):
            raise
        log.warning("reconciler_waits", error=str(error)[:300])
        return False
    return True
