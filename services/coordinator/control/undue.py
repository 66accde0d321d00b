"""Sessions that are not due: a clock that was ahead made them, and once it is right they go.

What was said of them stays in the history tables; inputs and prices are not touched, so it costs a computation if they come due.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.clock import Clock
from shared.db.closures import load_closures
from shared.db.engine import acquire_commit_order_lock
from shared.telemetry import logger
from shared.work import MAX_PORTFOLIOS

log = logger(__name__)

# Coordinators whose clocks differ by less than this leave each other's sessions alone.
TOLERANCE = timedelta(minutes=10)
# A clock that differs more from the database's is not the one to go by.
MOST_SKEW = timedelta(minutes=5)


def last_kept(clock: Clock, database: datetime) -> date | None:
    """The newest session that may have units; None while the host's clock and the database's disagree about the time."""
    now = clock.now()
    if clock.as_of is not None:
        return clock.last_due()
    if abs(now - database) > MOST_SKEW:
        log.error(
            "clocks_disagree",
            seconds=round((now - database).total_seconds()),
            remedy="set the clock of this host or of the database's (NTP); sessions after today's are left as they are",
        )
        return None
    return clock.calendar().last_due(now + TOLERANCE)


async def withdraw_undue(engine: AsyncEngine, clock: Clock) -> int:
    """Withdraw the units and results of sessions that are not due; returns how many units went. Usually one indexed query."""
    async with engine.connect() as conn:
        await load_closures(conn)
        found = await _portfolios_beyond(conn, clock.last_due())
        last = last_kept(clock, await _database_time(conn)) if found else None
    gone = 0
    for low in range(0, len(found) if last is not None else 0, MAX_PORTFOLIOS):
        async with engine.begin() as conn:
            await acquire_commit_order_lock(conn)
            part = found[low : low + MAX_PORTFOLIOS]
            gone += int(
                await conn.scalar(
                    text("SELECT ledger.withdraw_after(CAST(:portfolios AS uuid[]), :last)"),
                    {"portfolios": part, "last": last},
                )
                or 0
            )
    if gone:
        log.warning("undue_sessions_withdrawn", after=str(last), units=gone, portfolios=len(found))
    return gone


async def _database_time(conn: AsyncConnection) -> datetime:
    value = await conn.scalar(text("SELECT clock_timestamp()"))
    assert isinstance(value, datetime)
    return value


async def _portfolios_beyond(conn: AsyncConnection, last: date) -> Sequence[UUID]:
    """Portfolios with units after a session: one step backwards in the primary key's index for each."""
    rows = await conn.scalars(
        text("""
            SELECT p.id FROM coordinator.portfolios p
            CROSS JOIN LATERAL (
                SELECT u.session FROM ledger.units u WHERE u.portfolio_id = p.id ORDER BY u.session DESC LIMIT 1) newest
            WHERE newest.session > :last ORDER BY p.id
        """),
        {"last": last},
    )
    return rows.all()
