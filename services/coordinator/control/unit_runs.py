"""Keep the runs of units up to date in the background, so that a read has little left to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.db.engine import is_retried_by_loops, snapshot
from shared.ledger import runs
from shared.telemetry import logger

log = logger(__name__)

PERIOD_SECONDS = 2.5
# While units change, what is brought up to date changes again: a unit that falls due and is completed would be looked at twice. So long a
# change waits at most for others to cease.
MOST_WAIT_SECONDS = 30.0
FEW_MARKS = 250


async def refresh_all(engine: AsyncEngine) -> int:
    """Take all marks there are, some at a time, each in a transaction of its own. Returns how many were taken."""
    total = 0
    while True:
        async with engine.begin() as conn:
            done = await runs.refresh(conn)
        total += 0 if done is None else done.marks
        if done is None or done.marks < runs.MARKS:
            return total


@asynccontextmanager
async def refreshed_snapshot(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A snapshot to read extents and shortfalls in, which are right whatever is kept. Where much changed they are brought up to date
    before it; for little, which is mostly what the loop has left, that costs more than to read the units."""
    async with snapshot(engine) as conn:
        if not await runs.has_marks(conn, beyond=FEW_MARKS):
            yield conn
            return
    await refresh_all(engine)
    async with snapshot(engine) as conn:
        yield conn


class UnitRunsLoop:
    """Brings the runs up to date once nothing has changed between two looks, or has been changing for long."""

    def __init__(
        self, engine: AsyncEngine, *, period: float = PERIOD_SECONDS, most_wait: float = MOST_WAIT_SECONDS
    ) -> None:
        self._engine = engine
        self._period = period
        self._most_wait = most_wait
        self._newest: int | None = None
        self._changing_since = 0.0

    async def run(self) -> None:
        """Until cancelled. A turn that fails is logged; its marks are still there for the next one."""
        while True:
            try:
                await self.look()
            except Exception as error:
                if not is_retried_by_loops(error):
                    raise
                log.warning("unit_runs_wait", error=str(error)[:300])
            await asyncio.sleep(self._period)

    async def look(self) -> int:
        """One turn; returns how many marks were taken."""
        async with self._engine.connect() as conn:
            newest = await runs.newest_mark(conn)
        before, self._newest = self._newest, newest
        if newest is None:
            return 0
        now = time.monotonic()
        if before is None:
            self._changing_since = now
        if newest != before and now - self._changing_since < self._most_wait:
            return 0
        self._newest = None
        return await refresh_all(self._engine)
