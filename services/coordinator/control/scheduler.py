"""Scheduler: adds the units of sessions that fall due, and publishes DateDue.

The scheduler's tick and the reconciler call the same function, so a scheduler that slept, or died, is made good by either.
There is no watermark over portfolios: each is compared with its own newest unit.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.coordinator.control.undue import withdraw_undue
from services.coordinator.runs import store as runs
from services.coordinator.runs.requests import scope_key
from shared import ledger
from shared.clock import Clock
from shared.db.closures import load_closures
from shared.db.engine import acquire_commit_order_lock, is_retried_by_loops, next_change_seq
from shared.events.coordinator import DateDue
from shared.events.topics import DATE_DUE
from shared.market.calendar import HORIZON_ALARM_DAYS, HORIZON_REMEDY, Calendar, exchange_calendar
from shared.messaging import outbox
from shared.messaging.failpoints import failpoint
from shared.messaging.partitions import count_partitions
from shared.telemetry import logger
from shared.work import UnitKey, portfolio_slices, shared_slices

log = logger(__name__)

# A session is due at a known instant; between two, looking once a minute costs one indexed query.
TICK_SECONDS = 60.0


@dataclass(frozen=True)
class Slice:
    """Portfolios that lack the same sessions."""

    portfolios: tuple[UUID, ...]
    sessions: tuple[date, ...]


async def sessions_due(
    conn: AsyncConnection, days: Calendar, due: date, portfolios: Sequence[UUID] | None = None
) -> list[Slice]:
    """Active portfolios, of those given or of all, that lack units up to session `due`, in slices within the limits of one batch.

    In the order of the pieces that several consumers share: a slice is a transaction, and each piece in it has an event of its own.

    The newest unit of a portfolio is one step backwards in the primary key's index, so this is cheap at any history.
    """
    rows = await conn.execute(
        text("""
            SELECT p.id, p.first_session, newest.session
            FROM coordinator.portfolios p
            LEFT JOIN LATERAL (
                SELECT u.session FROM ledger.units u WHERE u.portfolio_id = p.id ORDER BY u.session DESC LIMIT 1
            ) AS newest ON true
            WHERE p.deleted_at IS NULL AND p.first_session <= :due AND (newest.session IS NULL OR newest.session < :due)
              AND (CAST(:portfolios AS uuid[]) IS NULL OR p.id = ANY (CAST(:portfolios AS uuid[])))
            ORDER BY p.id
        """),
        {"due": due, "portfolios": None if portfolios is None else list(portfolios)},
    )
    lacking: dict[date, list[UUID]] = defaultdict(list)
    for portfolio, first_session, newest in rows:
        lacking[first_session if newest is None else days.on_or_after(newest + timedelta(days=1))].append(portfolio)
    slices = []
    for first, members in sorted(lacking.items()):
        sessions = tuple(days.between(first, due))
        shared = shared_slices(members, len(sessions), count_partitions(conn, DATE_DUE), lambda portfolio: portfolio)
        ordered = [portfolio for piece, _ in shared for portfolio in piece]
        slices += [Slice(tuple(part), sessions) for part in portfolio_slices(ordered, len(sessions))]
    return slices


async def add_due(engine: AsyncEngine, clock: Clock, *, source: str, wake: Callable[[], None]) -> int:
    """Add the units of every session now due, announce them, and record the run; returns how many units were added.

    Each slice is a transaction of its own, so ten thousand portfolios do not hold the commit-order lock at once, and a crash
    loses nothing but the slice it interrupted.
    """
    async with engine.connect() as conn:
        await load_closures(conn)
        slices = await sessions_due(conn, clock.calendar(), clock.last_due())
    added = 0
    for found in slices:
        async with engine.begin() as conn:
            await acquire_commit_order_lock(conn)
            # Read again behind the lock: a portfolio may be deleted, or empty, since, and nobody would ever complete its units;
            # the calendar may be another one.
            await load_closures(conn)
            parts = await sessions_due(conn, clock.calendar(), clock.last_due(), found.portfolios)
            if not parts:
                continue
            revision = await next_change_seq(conn)
            units = sum([await _add(conn, part, revision, source=source) for part in parts])
        added += units
        wake()
        failpoint("due_date.after_commit")
        log.info(
            "sessions_due",
            first=str(found.sessions[0]),
            last=str(found.sessions[-1]),
            portfolios=sum(len(part.portfolios) for part in parts),
            units=units,
            source=source,
        )
    return added


async def _add(conn: AsyncConnection, part: Slice, revision: int, *, source: str) -> int:
    """The units of one slice, the run that waits for them, and the event. Needs the commit-order lock."""
    count = await ledger.add_units(conn, part.portfolios, part.sessions, revision)
    failpoint("due_date.before_commit")
    scope = {
        "portfolio_ids": sorted(str(portfolio) for portfolio in part.portfolios),
        "from": part.sessions[0].isoformat(),
        "to": part.sessions[-1].isoformat(),
        "phase": None,
        "what": "missing",
    }
    run_id = await runs.insert(conn, source, "missing", scope, scope_key(scope))
    await runs.add_units(conn, run_id, part.portfolios, part.sessions, which="missing")
    keys = [UnitKey(portfolio, session) for portfolio in part.portfolios for session in part.sessions]
    await outbox.publish_work(conn, DateDue, keys, part.sessions, source="coordinator")
    return count


class Scheduler:
    """Ticks until cancelled. Errors are logged and tried again at the next tick."""

    def __init__(
        self, engine: AsyncEngine, clock: Clock, *, wake: Callable[[], None], period: float = TICK_SECONDS
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._wake = wake
        self._period = period

    async def run(self) -> None:
        while True:
            try:
                await withdraw_undue(self._engine, self._clock)
                await add_due(self._engine, self._clock, source="cron", wake=self._wake)
            except Exception as error:
                if not is_retried_by_loops(error):
                    raise
                log.warning("scheduler_waits", error=str(error)[:300])
            days_left = exchange_calendar().days_to_horizon(datetime.now(UTC))
            if days_left < HORIZON_ALARM_DAYS:
                log.error("calendar_horizon_is_near", days=days_left, remedy=HORIZON_REMEDY)
            await asyncio.sleep(self._period)
