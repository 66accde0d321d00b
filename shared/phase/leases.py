"""The leases of a run: renewed while it works, given back on the way out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from shared import ledger
from shared.db.engine import is_retried_by_loops
from shared.ledger import Lease
from shared.phase.cutoff import Cutoff
from shared.telemetry import logger
from shared.work import Phase

log = logger(__name__)


@contextlib.asynccontextmanager
async def keep_renewed(
    engine: AsyncEngine, phase: Phase, owner: str, cutoff: Cutoff, seconds: float
) -> AsyncIterator[None]:
    """Renew the owner's leases every so many seconds until the block ends; what was deleted meanwhile is cut off."""
    renewal = asyncio.create_task(_renew(engine, phase, owner, cutoff, seconds))
    try:
        yield
    finally:
        renewal.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewal


async def _renew(engine: AsyncEngine, phase: Phase, owner: str, cutoff: Cutoff, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            asked = cutoff.portfolios
            async with engine.begin() as conn:
                await ledger.renew(conn, phase, owner)
                found = await ledger.find_scheduled(conn, phase, asked)
            cutoff.keep(asked, found)
        except Exception as error:
            if not is_retried_by_loops(error):
                raise
            # A lease that runs out costs double work, never correctness: keep computing.
            log.warning("lease_not_renewed", error=str(error)[:200])


async def give_back(engine: AsyncEngine, phase: Phase, held: Sequence[Lease], owner: str) -> None:
    """If the database lets us; leases expire anyway."""
    try:
        async with engine.begin() as conn:
            await ledger.release(conn, phase, held, owner, unconditionally=True)
    except Exception as error:
        if not is_retried_by_loops(error):
            raise
        log.warning("lease_not_released", error=str(error)[:200])
