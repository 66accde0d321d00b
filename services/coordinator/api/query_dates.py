"""Days in a query. A date is YYYY-MM-DD and nothing else: what is read as seconds since 1970 is a mistake."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BeforeValidator
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.api.context import Context, handler_snapshot
from services.coordinator.errors import Contradictory
from services.coordinator.results import sessions
from shared.db.engine import snapshot

_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _iso(value: object) -> object:
    if isinstance(value, str) and not _ISO.fullmatch(value):
        raise ValueError("a date is written YYYY-MM-DD")
    return value


Day = Annotated[date, BeforeValidator(_iso)]


def _storable(value: datetime) -> datetime:
    """In UTC. What falls out of the years 1 to 9999 there can be neither stored nor compared."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("an instant is between the years 1 and 9999 in UTC") from None


Instant = Annotated[AwareDatetime, AfterValidator(_storable)]


def assert_in_order(first: date | None, last: date | None) -> None:
    """Raises `Contradictory` for a range that ends before it begins."""
    if first is not None and last is not None and first > last:
        raise Contradictory(f"from {first} is after to {last}. Swap them.")


@asynccontextmanager
async def session_snapshot(
    context: Context, portfolio: UUID, session: date | None, *, once: bool = False
) -> AsyncIterator[AsyncConnection]:
    """A snapshot of the database for a session's answer, once it is known that the day can have one. once : of a handler that
    `reads_once`"""
    async with handler_snapshot(context) if once else snapshot(context.engine) as conn:
        await sessions.check_of(conn, context.clock, portfolio, session)
        yield conn
