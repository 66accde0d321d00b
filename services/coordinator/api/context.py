"""What the handlers work with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.portfolios.limits import Limits
from services.coordinator.settings import CoordinatorSettings
from shared.clock import Clock
from shared.db.closures import load_closures

PREFIX = "/api/v1"


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
