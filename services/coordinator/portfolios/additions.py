"""A file added to a portfolio that is there: what it changes is worked out, and brought to the database, before the commit-order lock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer.parse import Parsed
from services.coordinator.portfolios import lot_additions, service, trade_additions, validation
from services.coordinator.portfolios.ahead import Ahead, Finding, work_out_ahead
from services.coordinator.portfolios.import_records import File
from services.coordinator.portfolios.ledger_effects import Change
from services.coordinator.portfolios.limits import Limits
from services.coordinator.portfolios.service import DEFAULTS, Imported, get_existing
from services.coordinator.portfolios.store import Portfolio
from shared.clock import Clock


class Addition(Finding, Protocol):
    """What a file changes in a portfolio: `LotAddition`, `TradeAddition`."""

    async def send(self, conn: AsyncConnection, portfolio: UUID) -> UUID: ...

    async def write(
        self, conn: AsyncConnection, clock: Clock, before: Portfolio, file: File, import_id: UUID
    ) -> Change | None: ...

    def outcome(self, before: Portfolio, change: Change, import_id: UUID | None) -> Imported: ...


@dataclass(slots=True)
class Adding:
    """A file that is added to a portfolio: `stage` before the commit-order lock, `add` behind it, in one transaction.

    update : whether what the file says otherwise of stored lots or trades is done; else it is listed
    """

    clock: Clock
    portfolio: UUID
    parsed: Parsed
    file: File
    update: bool = False
    limits: Limits = DEFAULTS
    _staged: tuple[Ahead[Addition], UUID] | None = field(default=None, init=False)

    async def stage(self, conn: AsyncConnection) -> None:
        """So that nobody waits while fifty thousand lots or trades are compared and sent. Raises `Invalid`, `NotFound`."""
        await get_existing(conn, self.portfolio)
        if (ahead := await work_out_ahead(conn, self.portfolio, self._work_out)) is not None:
            self._staged = ahead, await ahead.finding.send(conn, self.portfolio)

    async def add(self, conn: AsyncConnection, *, dry_run: bool = False) -> Imported:
        """Rows that are there already change nothing. What was staged is worked out anew if a lot has changed since, or a split.
        Raises `Invalid`, `NotFound`."""
        validation.refuse(self.parsed.issues)
        before = await get_existing(conn, self.portfolio)
        staged = self._staged
        if staged is not None and not await staged[0].holds(conn, self.portfolio):
            staged = None
        addition = await self._work_out(conn) if staged is None else staged[0].finding
        import_id, change = None, service.as_it_was(before, self.clock)
        if not dry_run:
            import_id = await addition.send(conn, self.portfolio) if staged is None else staged[1]
            change = await addition.write(conn, self.clock, before, self.file, import_id) or change
        return addition.outcome(before, change, import_id)

    async def _work_out(self, conn: AsyncConnection) -> Addition:
        # It may be worked out a second time: what is said then is not said twice.
        parsed = replace(self.parsed, issues=self.parsed.issues.copy())
        validation.refuse(parsed.issues)
        given = self.clock, self.portfolio, parsed
        if parsed.trades is None:
            return await lot_additions.work_out(conn, *given, update=self.update, limits=self.limits)
        return await trade_additions.work_out(conn, *given, update=self.update, limits=self.limits)
