"""What the HTTP handlers work with, those of the API and those of the page: made once by the application, kept in its state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.coordinator.errors import Conflict
from services.coordinator.portfolios.limits import Limits
from services.coordinator.settings import CoordinatorSettings
from shared.clock import Clock
from shared.db import closures
from shared.db.closures import load_closures
from shared.db.engine import acquire_commit_order_lock, limit_idle
from shared.market.calendar import closures as current


@dataclass(frozen=True)
class Context:
    """Made once by the application and kept in its state."""

    engine: AsyncEngine
    clock: Clock
    settings: CoordinatorSettings
    wake_relay: Callable[[], None]
    """Send at once what was just committed."""
    wake_reconciler: Callable[[], None]
    stopping: asyncio.Event
    """Set when the process shuts down: streams end, so that it can."""

    @property
    def limits(self) -> Limits:
        """How large a portfolio may become."""
        given = self.settings
        return Limits(given.max_lots, given.max_symbols, given.max_sessions, given.max_lot_sessions)


def context_of(request: Request) -> Context:
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


Ctx = Annotated[Context, Depends(context_of)]


async def on_trading_days(request: Request) -> None:
    """What a request computes, it computes under the closures there are when it comes."""
    async with context_of(request).engine.connect() as conn:
        await load_closures(conn)


@asynccontextmanager
async def ordered_change(context: Context) -> AsyncIterator[AsyncConnection]:
    """A transaction that may change inputs: the commit-order lock first. Raises `Conflict` if the calendar moved meanwhile."""
    async with context.engine.begin() as conn:
        await limit_idle(conn)
        await acquire_commit_order_lock(conn)
        if await closures.find_closures(conn) != current():
            # What was checked before the lock, entries that count on the next session among it, is of another calendar.
            raise Conflict(
                "The exchange calendar was changed while this was checked. Nothing was done: send it again.",
                code="calendar_moved",
            )
        yield conn
