"""SQL of `coordinator.closures`, and of what hangs on a day: lots, flows, first sessions, and what the other schemas' functions do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.market.calendar import Closure


@dataclass(frozen=True, slots=True)
class ActiveClosure:
    """A closure that stands, and when it was entered."""

    closure: Closure
    entered_at: datetime


async def find_active(conn: AsyncConnection, day: date | None = None) -> list[ActiveClosure]:
    """Those that were not taken back, of one day or of all, by day."""
    rows = await conn.execute(
        text("""
            SELECT day, close_at, reason, entered_at FROM coordinator.closures
            WHERE withdrawn_at IS NULL AND (CAST(:day AS date) IS NULL OR day = :day) ORDER BY day
        """),
        {"day": day},
    )
    return [ActiveClosure(Closure(row.day, row.close_at, row.reason), row.entered_at) for row in rows]


async def insert(conn: AsyncConnection, closure: Closure, change_seq: int | None) -> None:
    """Put it in place of what stood for its day. `change_seq` is kept where none is given."""
    await conn.execute(
        text("""
            INSERT INTO coordinator.closures AS c (day, close_at, reason, change) VALUES (:day, :close_at, :reason, :change)
            ON CONFLICT (day) DO UPDATE
            SET close_at = excluded.close_at, reason = excluded.reason, entered_at = excluded.entered_at, withdrawn_at = NULL,
                change = coalesce(excluded.change, c.change)
        """),
        {"day": closure.day, "close_at": closure.close_at, "reason": closure.reason, "change": change_seq},
    )


async def withdraw(conn: AsyncConnection, day: date, change_seq: int | None) -> None:
    await conn.execute(
        text("""
            UPDATE coordinator.closures SET withdrawn_at = clock_timestamp(), change = coalesce(:change, change)
            WHERE day = :day
        """),
        {"day": day, "change": change_seq},
    )


async def withdraw_session(conn: AsyncConnection, day: date) -> int:
    """Take the day's units and results away; the results stay in the history. Returns how many units there were."""
    count = await conn.scalar(text("SELECT ledger.withdraw_session(:day)"), {"day": day})
    return int(count or 0)


async def close_prices(conn: AsyncConnection, day: date, before: date, after: date, change_seq: int) -> None:
    """Prices, actions and gaps as they are without the day; `before` and `after` are the sessions beside it."""
    await conn.execute(
        text("SELECT ingest.close_day(:day, :before, :after, :change)"),
        {"day": day, "before": before, "after": after, "change": change_seq},
    )


async def open_prices(conn: AsyncConnection, day: date, before: date, after: date, change_seq: int) -> None:
    """The same with the day."""
    await conn.execute(
        text("SELECT ingest.open_day(:day, :before, :after, :change)"),
        {"day": day, "before": before, "after": after, "change": change_seq},
    )


async def shift_to_next_session(conn: AsyncConnection, day: date, before: date, after: date) -> None:
    """Entries, exits and flows of the day count on the session after it, as those of a weekend do."""
    values = {"day": day, "before": before, "after": after}
    await conn.execute(
        text("""
            UPDATE coordinator.positions
            SET entry_session = CASE entry_session WHEN :day THEN :after ELSE entry_session END,
                exit_session = CASE exit_session WHEN :day THEN :after ELSE exit_session END,
                basis_awaits = CASE basis_awaits WHEN :day THEN :before ELSE basis_awaits END
            WHERE entry_session = :day OR exit_session = :day OR basis_awaits = :day
        """),
        values,
    )
    await conn.execute(text("UPDATE coordinator.flows SET session = :after WHERE session = :day"), values)
    await _first_sessions(conn, day, after)


async def restore_session(conn: AsyncConnection, day: date, before: date, after: date) -> None:
    """Entries, exits and flows that were dated up to the day, and counted on the session after it, count on the day."""
    values = {"day": day, "before": before, "after": after}
    await conn.execute(
        text("""
            UPDATE coordinator.positions
            SET entry_session = CASE WHEN entry_session = :after AND entry_date <= :day THEN :day ELSE entry_session END,
                exit_session = CASE WHEN exit_session = :after AND exit_date <= :day THEN :day ELSE exit_session END,
                basis_awaits = CASE WHEN basis_awaits = :before AND entry_date >= :day THEN :day ELSE basis_awaits END
            WHERE entry_session = :after AND entry_date <= :day OR exit_session = :after AND exit_date <= :day
               OR basis_awaits = :before AND entry_date >= :day
        """),
        values,
    )
    await conn.execute(
        text("UPDATE coordinator.flows SET session = :day WHERE session = :after AND date <= :day"), values
    )
    await _first_sessions(conn, day, after)


async def _first_sessions(conn: AsyncConnection, day: date, after: date) -> None:
    await conn.execute(
        text("""
            UPDATE coordinator.portfolios p SET first_session = e.first, updated_at = now()
            FROM (SELECT x.portfolio_id, min(x.entry_session) AS first FROM coordinator.positions x
                  WHERE x.deleted_at IS NULL GROUP BY x.portfolio_id) e
            WHERE p.id = e.portfolio_id AND p.first_session IN (:day, :after) AND p.first_session <> e.first
        """),
        {"day": day, "after": after},
    )


async def portfolios_running_over(conn: AsyncConnection, day: date) -> Sequence[UUID]:
    """Active portfolios that have begun by the day and have units behind it. Of the others it falls due like any session."""
    rows = await conn.scalars(
        text("""
            SELECT p.id FROM coordinator.portfolios p
            WHERE p.deleted_at IS NULL AND p.first_session <= :day
              AND EXISTS (SELECT 1 FROM ledger.units u WHERE u.portfolio_id = p.id AND u.session > :day)
            ORDER BY p.id
        """),
        {"day": day},
    )
    return rows.all()
