"""Symbol leases, renewed while fetching: each symbol is fetched once, whoever needs it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.ingest.model.stored import SymbolCoverage
from services.ingest.store import universe
from shared.db.engine import is_retried_by_loops
from shared.errors import TransientError
from shared.messaging.failpoints import failpoint
from shared.telemetry import logger

log = logger(__name__)

RENEW_SECONDS = 10.0


class SymbolLeaseLost(TransientError):
    """The lease expired during the fetch, and another worker holds the symbol, or held it since."""

    code = "claim_lost"


@dataclass(frozen=True)
class SymbolLease:
    """Leased symbols, with their coverage as of acquisition."""

    owner: str
    symbols: list[SymbolCoverage]

    async def assert_owned(self, conn: AsyncConnection, ids: Collection[int]) -> None:
        """Refuse to write what was fetched under a claim that ran out. Raises `SymbolLeaseLost`.

        What is known of a symbol changes under its claim only, so whoever still owns it writes beside the coverage that it
        planned with; a worker whose lease expired would take what is known by now for news that no unit has seen.
        """
        lost = await universe.not_owned(conn, sorted(ids), self.owner)
        if lost:
            raise SymbolLeaseLost(f"lost the lease on {len(lost)} symbols during the fetch, {lost[0]} among them")


@contextlib.asynccontextmanager
async def lease_symbols(engine: AsyncEngine, symbols: Sequence[str]) -> AsyncIterator[SymbolLease]:
    """Lease the free ones of the symbols, renew the leases, and release them at the end."""
    owner = uuid4().hex
    async with engine.begin() as conn:
        await universe.insert_symbols(conn, symbols)
        claimed = await universe.acquire_leases(conn, symbols, owner)
    failpoint("symbols.after_lease")
    renewal = asyncio.create_task(_renew(engine, owner))
    try:
        yield SymbolLease(owner, claimed)
    finally:
        renewal.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewal
        failpoint("symbols.before_release")
        try:
            async with engine.begin() as conn:
                await universe.release_leases(conn, owner)
        except Exception as error:
            if not is_retried_by_loops(error):
                raise
            log.warning("claims_not_released", error=str(error)[:200])  # they expire


async def _renew(engine: AsyncEngine, owner: str) -> None:
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        try:
            async with engine.begin() as conn:
                await universe.renew_leases(conn, owner)
        except Exception as error:
            if not is_retried_by_loops(error):
                raise
            # A claim that runs out costs a second fetch, never correctness: who lost it does not write (`SymbolLease.assert_owned`).
            log.warning("claims_not_renewed", error=str(error)[:200])
