"""Whether a day can have values at all, said before anybody looks for them."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import date
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import NotFound
from shared.clock import Clock
from shared.db.statements import statement

newest: ContextVar[date | None] = ContextVar("newest", default=None)
"""The last session that the answer at hand may be about. A clock that was ahead leaves later ones until they are withdrawn."""


def check(day: date | None, clock: Clock) -> None:
    """Raises `NotFound` for a day without trading, and for a session that is not due yet. None is no day, and passes."""
    if day is None:
        return
    calendar, last_due = clock.calendar(), clock.last_due()
    if day > last_due:
        raise NotFound(f"{day} is after the last session that is due, {last_due}.", code="not_due_yet")
    if day < calendar.first:
        raise NotFound(
            f"{day} is before {calendar.first}, the first session of the exchange calendar.", code="not_a_session"
        )
    around = f"The session before it is {calendar.on_or_before(day)}, the one after it {calendar.on_or_after(day)}."
    if not calendar.is_session(day) and (closure := calendar.closure(day)):
        raise NotFound(f"On {day} the exchange was closed: {closure.reason}. {around}", code="closed")
    if not calendar.is_session(day):
        raise NotFound(f"{day} is not a trading day. {around}", code="not_a_session")


async def check_of(conn: AsyncConnection, clock: Clock, portfolio: UUID, day: date | None) -> None:
    """The same, and for a session before the portfolio's first one. Whether the portfolio exists is for the read to say."""
    if day is None:
        return
    row = (
        await conn.execute(
            statement("SELECT first_session FROM coordinator.portfolios WHERE id = :id AND deleted_at IS NULL"),
            {"id": portfolio},
        )
    ).one_or_none()
    if row is None:
        return
    check(day, clock)
    if row.first_session is None:
        raise NotFound(f"Portfolio {portfolio} has no position, and so no session.", code="no_session")
    if day < row.first_session:
        raise NotFound(
            f"Session {day} is before the first session of portfolio {portfolio}, {row.first_session}.",
            code="before_first_session",
        )
