"""What is worked out before the commit-order lock of a portfolio that others may change meanwhile, and whether it still holds behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import Refused
from services.coordinator.portfolios import lot_store


class Finding(Protocol):
    """What was worked out from a portfolio's lots and files, and of what else it looked at."""

    async def is_current(self, conn: AsyncConnection) -> bool: ...


FindingT = TypeVar("FindingT", bound=Finding)


@dataclass(frozen=True, slots=True)
class Ahead(Generic[FindingT]):
    """A finding of a portfolio whose lots and files were at `version`."""

    version: str
    finding: FindingT

    async def holds(self, conn: AsyncConnection, portfolio: UUID) -> bool:
        """Behind the lock: whether it would be worked out the same now."""
        return self.version == await lot_store.version(conn, portfolio) and await self.finding.is_current(conn)


async def work_out_ahead(
    conn: AsyncConnection, portfolio: UUID, work_out: Callable[[AsyncConnection], Awaitable[FindingT]]
) -> Ahead[FindingT] | None:
    """None where it was refused and the portfolio changed under its eyes: behind the lock all of it is seen, or it is refused for what
    it is. Raises what `work_out` does."""
    version = await lot_store.version(conn, portfolio)
    try:
        return Ahead(version, await work_out(conn))
    except Refused:
        if version == await lot_store.version(conn, portfolio):
            raise
        return None
