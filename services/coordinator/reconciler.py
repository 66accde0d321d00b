"""The reconciler: what is missing and could be done is asked for again, until it is done.

It reads the same ledger the handlers write and emits the same events they consume, so healing is not a second path. One leader
at a time saves work; two are harmless, because an event only says where to look.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.coordinator.portfolios.settlement import settle
from services.coordinator.schedule import add_due
from shared.clock import Clock
from shared.events.coordinator import PhaseRequested
from shared.events.envelope import WorkBody
from shared.messaging import outbox
from shared.messaging.failpoints import failpoint
from shared.telemetry import EMITS, MISSING, logger
from shared.work import CHAINED, MAX_PORTFOLIOS, MAX_UNITS, UPSTREAM, Phase, Work

log = logger(__name__)

LEADER_LOCK = 7305103


@dataclass(frozen=True)
class Pace:
    """How eager the reconciler is. Seconds unless said."""

    period: float = 15.0
    # The normal path gets its chance: a phase is asked for again only this long after its upstream completed.
    grace: float = 30.0
    # Above this age of the oldest unsent event the bus is the problem, and more events would only lengthen the queue.
    backlog: float = 30.0
    # Events per phase and turn: the newest work of the most patient portfolios first, the rest next turn.
    events: int = 8


@dataclass(frozen=True)
class Candidate:
    """A portfolio with missing units of a phase whose upstream is complete."""

    portfolio_id: UUID
    first: date
    last: date


class Reconciler:
    def __init__(
        self, engine: AsyncEngine, clock: Clock, *, wake: Callable[[], None], pace: Pace | None = None
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._wake_relay = wake
        self._pace = pace or Pace()
        self._now = asyncio.Event()

    def wake(self) -> None:
        """Reconcile now rather than at the next turn."""
        self._now.set()

    async def run(self) -> None:
        """Until cancelled. A turn that fails is logged, and the next one does its work."""
        first = True
        while True:
            try:
                if first:
                    await self._hurry()
                    first = False
                await self.turn()
            except (DBAPIError, OSError, TimeoutError) as error:
                log.warning("reconciler_waits", error=str(error)[:300])
            self._now.clear()
            try:
                await asyncio.wait_for(self._now.wait(), self._pace.period)
            except TimeoutError:
                continue

    async def _hurry(self) -> None:
        """At start nothing waits longer than five seconds: what slowed it down may be what was just restarted."""
        async with self._engine.begin() as conn:
            await conn.execute(
                text(
                    "UPDATE ledger.schedule SET next_at = now() + interval '5 seconds' WHERE next_at > now() + interval '5 seconds'"
                )
            )

    async def turn(self) -> int:
        """One turn: add what fell due, settle price bases, then ask for what is missing; returns how many events were emitted."""
        await add_due(self._engine, self._clock, source="reconciler", wake=self._wake_relay)
        await settle(self._engine, self._clock, wake=self._wake_relay)
        emitted = 0
        async with self._engine.begin() as conn:
            if not await conn.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LEADER_LOCK}):
                return 0
            failpoint("X1")
            await self._measure(conn)
            if await self._backlog(conn) > self._pace.backlog:
                log.warning(
                    "reconciler_holds_back", reason="the oldest unsent event is too old: is the broker reachable?"
                )
                return 0
            for phase in Phase:
                emitted += await self._ask(conn, phase)
            failpoint("X3")
        failpoint("X4")
        if emitted:
            self._wake_relay()
        return emitted

    async def _backlog(self, conn: AsyncConnection) -> float:
        age = await conn.scalar(
            text("""
                SELECT extract(epoch FROM clock_timestamp() - created_at) FROM bus.outbox
                WHERE sent_at IS NULL AND failed_at IS NULL ORDER BY id LIMIT 1
            """)
        )
        return float(age or 0.0)

    async def _measure(self, conn: AsyncConnection) -> None:
        rows = await conn.execute(
            text("""
                SELECT CAST(phase AS text), count(*) FROM ledger.units
                WHERE completed_revision < required_revision AND blocked_reason IS NULL GROUP BY phase
            """)
        )
        counts: dict[str, int] = {name: count for name, count in rows}  # noqa: C416 (rows are not pairs to the checker)
        for phase in Phase:
            MISSING.labels(phase.value).set(counts.get(phase.value, 0))

    async def _ask(self, conn: AsyncConnection, phase: Phase) -> int:
        candidates = await self._candidates(conn, phase)
        failpoint("X2")
        works = self._rectangles(phase, candidates)
        chosen = sorted({portfolio for work in works for portfolio in work.portfolios})
        if not chosen:
            return 0
        await conn.execute(
            text("""
                UPDATE ledger.schedule
                SET emits = emits + 1,
                    next_at = now() + random() * least(interval '15 minutes', interval '5 seconds' * power(2, least(emits + 1, 10)))
                WHERE phase = CAST(:phase AS ledger.phase) AND portfolio_id = ANY (CAST(:portfolios AS uuid[]))
            """),
            {"phase": phase.value, "portfolios": chosen},
        )
        events = [PhaseRequested(work=WorkBody.of(work), phase=phase) for work in works]
        await outbox.publish(conn, events, source="coordinator")
        EMITS.labels(phase.value).inc(len(events))
        log.info("reconciler_asked", phase=phase.value, events=len(events), portfolios=len(chosen))
        return len(events)

    async def _candidates(self, conn: AsyncConnection, phase: Phase) -> list[Candidate]:
        """Portfolios that may be asked for now, in the order they have waited, each with its span of askable sessions."""
        rows = await conn.execute(
            text("""
                WITH waiting AS (
                    SELECT portfolio_id, next_at FROM ledger.schedule
                    WHERE phase = CAST(:phase AS ledger.phase) AND next_at <= now()
                      AND (lease_until IS NULL OR lease_until < clock_timestamp())
                )
                SELECT w.portfolio_id, min(u.session), max(u.session)
                FROM waiting w
                JOIN ledger.units u ON u.portfolio_id = w.portfolio_id AND u.phase = CAST(:phase AS ledger.phase)
                    AND u.completed_revision < u.required_revision AND u.blocked_reason IS NULL
                WHERE NOT EXISTS (
                    SELECT 1 FROM unnest(CAST(:upstream AS ledger.phase[])) AS needed (phase)
                    LEFT JOIN ledger.units up
                        ON up.portfolio_id = u.portfolio_id AND up.session = u.session AND up.phase = needed.phase
                    WHERE up.portfolio_id IS NULL OR up.completed_revision < up.required_revision
                       OR up.completed_at > clock_timestamp() - make_interval(secs => :grace))
                GROUP BY w.portfolio_id, w.next_at
                ORDER BY w.next_at
                LIMIT :most
            """),
            {
                "phase": phase.value,
                "upstream": [up.value for up in UPSTREAM[phase]],
                "grace": self._pace.grace,
                "most": MAX_PORTFOLIOS * self._pace.events,
            },
        )
        return [Candidate(*row) for row in rows]

    def _rectangles(self, phase: Phase, candidates: Sequence[Candidate]) -> list[Work]:
        """Equal spans together, within the limits of an event and of a turn.

        The newest sessions first, because they are what people look at; snapshots from the oldest, because they are a chain.
        """
        days = self._clock.calendar()
        grouped: dict[tuple[date, date], list[UUID]] = defaultdict(list)
        for candidate in candidates:
            span = days.between(candidate.first, candidate.last)
            part = span[:MAX_UNITS] if phase in CHAINED else span[-MAX_UNITS:]
            grouped[part[0], part[-1]].append(candidate.portfolio_id)
        order: Any = (lambda item: item[0][0]) if phase in CHAINED else (lambda item: -item[0][1].toordinal())
        works = []
        for (first, last), portfolios in sorted(grouped.items(), key=order):
            height = max(1, min(MAX_PORTFOLIOS, MAX_UNITS // len(days.between(first, last))))
            works += [
                Work(tuple(portfolios[top : top + height]), first, last) for top in range(0, len(portfolios), height)
            ]
        return works[: self._pace.events]
