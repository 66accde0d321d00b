"""Look at limits and send messages in the background, every few seconds."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.notifications import webhook_store
from services.coordinator.notifications.delivery import Sender, deliver
from services.coordinator.notifications.evaluation import evaluate
from shared.clock import Clock
from shared.db.engine import is_retried_by_loops
from shared.telemetry import logger

log = logger(__name__)

PERIOD_SECONDS = 5.0
FORGET_SECONDS = 3_600.0
KEEP = timedelta(days=30)


class NotificationsLoop:
    def __init__(self, engine: AsyncEngine, clock: Clock, sender: Sender, *, period: float = PERIOD_SECONDS) -> None:
        self._engine = engine
        self._clock = clock
        self._sender = sender
        self._period = period
        self._forgot = time.monotonic()

    async def run(self) -> None:
        """Until cancelled. A turn that fails is logged; what it would have found the next one finds."""
        while True:
            try:
                await self.turn()
            except Exception as error:
                if not is_retried_by_loops(error):
                    raise
                log.warning("notifications_wait", error=str(error)[:300])
            await asyncio.sleep(self._period)

    async def turn(self) -> None:
        """Messages that are there go out even where a limit cannot be read."""
        try:
            await evaluate(self._engine, self._clock)
        finally:
            while await deliver(self._engine, self._sender):
                pass
        if time.monotonic() - self._forgot > FORGET_SECONDS:
            async with self._engine.begin() as conn:
                await webhook_store.forget_delivered(conn, KEEP)
            self._forgot = time.monotonic()
