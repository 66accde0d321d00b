"""Keep the runs of units up to date in the background, so that a read has little left to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.db.engine import is_retried_by_loops, snapshot
from shared.ledger import runs
from shared.telemetry import logger

log = logger(__name__)

PERIOD_SECONDS = 5.0
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
    def __init__(self, engine: AsyncEngine, *, period: float = PERIOD_SECONDS) -> None:
        self._engine = engine
        self._period = period

    async def run(self) -> None:
        """Until cancelled. A turn that fails is logged; its marks are still there for the next one."""
        while True:
            try:
                await refresh_all(self._engine)
            except Exception as error:
                if not is_retried_by_loops(error):
                    raise
                log.warning("unit_runs_wait", error=str(error)[:300])
            await asyncio.sleep(self._period)
