"""An import taken back: its lots go, but for those that another import states too, which become what that one says. What that changes
is worked out, and brought to the database, before the commit-order lock."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import NotFound
from services.coordinator.importer.basis import Decision
from services.coordinator.importer.model import Issues
from services.coordinator.portfolios import (
    import_store,
    lot_edits,
    lot_store,
    reimport,
    service,
    trade_lots,
    trade_plans,
    trade_store,
    validation,
)
from services.coordinator.portfolios.ahead import Ahead, Finding, work_out_ahead
from services.coordinator.portfolios.import_records import Undone
from services.coordinator.portfolios.ledger_effects import Change
from services.coordinator.portfolios.lot_changes import Affected, announce, edit
from services.coordinator.portfolios.lot_edits import Proposal
from services.coordinator.portfolios.service import get_existing
from services.coordinator.portfolios.store import Portfolio
from services.coordinator.portfolios.trade_plans import Plan
from services.coordinator.portfolios.trade_store import SplitsRead
from shared.clock import Clock
from shared.work import Phase


class Withdrawal(Finding, Protocol):
    """What taking an import back changes, and how many lots it removes and restores.

    issues : what is to be said of it
    """

    @property
    def issues(self) -> Issues: ...

    @property
    def counts(self) -> tuple[int, int]: ...

    async def send(self, conn: AsyncConnection, portfolio: UUID) -> None: ...

    async def write(self, conn: AsyncConnection, clock: Clock, before: Portfolio) -> Change | None: ...


@dataclass(frozen=True, slots=True)
class _OfLots:
    issues: Issues
    gone: Sequence[RowMapping]
    proposals: Sequence[Proposal]
    decisions: Sequence[Decision]

    @property
    def counts(self) -> tuple[int, int]:
        return len(self.gone), len(self.proposals)

    async def is_current(self, conn: AsyncConnection) -> bool:
        return True

    async def send(self, conn: AsyncConnection, portfolio: UUID) -> None:
        await lot_edits.stage(conn, self.proposals, self.decisions)

    async def write(self, conn: AsyncConnection, clock: Clock, before: Portfolio) -> Change | None:
        await lot_store.delete_positions(conn, [row["id"] for row in self.gone])
        affected: list[Affected] = [(row["entry_session"], Phase.INGEST) for row in self.gone]
        affected += await edit(conn, self.proposals, self.decisions)
        return await announce(conn, clock, before, affected)


@dataclass(frozen=True, slots=True)
class _OfTrades:
    issues: Issues
    plan: Plan
    decisions: Sequence[Decision]
    splits: SplitsRead

    @property
    def counts(self) -> tuple[int, int]:
        return len(self.plan.removed), len(self.plan.added)

    async def is_current(self, conn: AsyncConnection) -> bool:
        return not await trade_store.find_changed_splits(conn, self.splits)

    async def send(self, conn: AsyncConnection, portfolio: UUID) -> None:
        await trade_plans.stage(conn, portfolio, self.plan, self.decisions)

    async def write(self, conn: AsyncConnection, clock: Clock, before: Portfolio) -> Change | None:
        return await trade_plans.write(conn, clock, before, self.plan)


@dataclass(slots=True)
class Undoing:
    """`stage` before the commit-order lock, `undo` behind it, in one transaction."""

    clock: Clock
    portfolio: UUID
    import_id: UUID
    _staged: Ahead[Withdrawal] | None = field(default=None, init=False)

    async def stage(self, conn: AsyncConnection) -> None:
        """So that nobody waits while thousands of trades are matched. Raises `Invalid`, `NotFound`."""
        await get_existing(conn, self.portfolio)
        self._staged = await work_out_ahead(conn, self.portfolio, self._work_out)
        if self._staged is not None:
            await self._staged.finding.send(conn, self.portfolio)

    async def undo(self, conn: AsyncConnection) -> Undone:
        """What was staged is worked out anew if a lot has changed since, or a split. Raises `Invalid`, `NotFound`."""
        before = await get_existing(conn, self.portfolio)
        if self._staged is None or not await self._staged.holds(conn, self.portfolio):
            await self.stage(conn)
        # Behind the lock nothing changes under its eyes.
        assert self._staged is not None
        withdrawal = self._staged.finding
        await import_store.mark_undone(conn, self.import_id)
        change = await withdrawal.write(conn, self.clock, before) or service.as_it_was(before, self.clock)
        return Undone(self.import_id, *withdrawal.counts, change, withdrawal.issues)

    async def _work_out(self, conn: AsyncConnection) -> Withdrawal:
        kind = await import_store.kind_of(conn, self.portfolio, self.import_id)
        if kind is None:
            raise NotFound(
                f"Portfolio {self.portfolio} has no import {self.import_id} that counts. It may have been undone already."
            )
        work_out = self._work_out_trades if kind == "trades" else self._work_out_lots
        return await work_out(conn, Issues())

    async def _work_out_trades(self, conn: AsyncConnection, issues: Issues) -> Withdrawal:
        left = await trade_store.trades(conn, self.portfolio, without=self.import_id)
        splits = await trade_store.read_splits(conn, left)
        wanted = await trade_lots.derive(conn, left, self.clock, issues)
        validation.refuse(issues)
        plan = await trade_plans.make(await lot_store.whole_positions(conn, self.portfolio), wanted)
        added = [lot for lot, _ in plan.added]
        return _OfTrades(issues, plan, await validation.decide_price_basis(conn, added, self.clock, issues), splits)

    async def _work_out_lots(self, conn: AsyncConnection, issues: Issues) -> Withdrawal:
        # In this order: of lots that somebody deletes in between nothing is stated, and `undo` finds that they are gone.
        stored = {row["id"]: row for row in await lot_store.whole_positions(conn, self.portfolio)}
        beside = {
            lot: statements
            for lot, statements in (await import_store.statements_beside(conn, self.import_id)).items()
            if lot in stored
        }
        gone = [stored[lot] for lot, statements in beside.items() if not statements]
        proposals = await asyncio.to_thread(_restorations, stored, beside, self.clock, issues)
        validation.refuse(issues)
        return _OfLots(issues, gone, proposals, await lot_edits.decide(conn, self.clock, proposals, issues))


def _restorations(
    stored: Mapping[UUID, RowMapping], beside: Mapping[UUID, Sequence[Mapping[str, str]]], clock: Clock, issues: Issues
) -> list[Proposal]:
    """Lots that other imports state too, as those say it."""
    proposals: list[Proposal] = []
    for lot, statements in beside.items():
        if not statements:
            continue
        body = reimport.restoring_edit(stored[lot], reimport.merge_statements(statements), taken_back=True)
        position = lot_edits.parse_proposed_lot(stored[lot], body, clock, issues) if body else None
        if position is not None:
            proposals.append(Proposal(stored[lot], body, position))
    return proposals
