"""Claims on symbols, kept alive while they are fetched: each symbol is fetched once, whoever needs it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from uuid import uuid4

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.store import universe
from services.ingest.store.universe import Known
from shared.telemetry import logger

log = logger(__name__)

RENEW_SECONDS = 20.0


@contextlib.asynccontextmanager
async def claimed_of(engine: AsyncEngine, symbols: Sequence[str]) -> AsyncIterator[list[Known]]:
    """Claim what is free of the symbols, keep the claims alive, and let go of them at the end."""
    owner = uuid4().hex
    async with engine.begin() as conn:
        await universe.add(conn, symbols)
        claimed = await universe.claim(conn, symbols, owner)
    renewal = asyncio.create_task(_renew(engine, owner))
    try:
        yield claimed
    finally:
        renewal.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewal
        try:
            async with engine.begin() as conn:
                await universe.release(conn, owner)
        except (DBAPIError, OSError, TimeoutError) as error:
            log.warning("claims_not_released", error=str(error)[:200])  # they expire


async def _renew(engine: AsyncEngine, owner: str) -> None:
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        try:
            async with engine.begin() as conn:
                await universe.renew(conn, owner)
        except (DBAPIError, OSError, TimeoutError) as error:
            # A claim that runs out costs a second fetch, never correctness.
            log.warning("claims_not_renewed", error=str(error)[:200])
