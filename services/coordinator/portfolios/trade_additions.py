"""A list of trades added to a portfolio that is there: all its trades are matched anew, and its lots moved to what they now say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer import trade_matches
from services.coordinator.importer.basis import AS_TRADED, Decision
from services.coordinator.importer.model import Issues
from services.coordinator.importer.parse import Parsed
from services.coordinator.importer.trades import Trade
from services.coordinator.portfolios import (
    extents,
    import_store,
    lot_store,
    reimport,
    trade_lots,
    trade_plans,
    trade_store,
    validation,
)
from services.coordinator.portfolios.import_records import File, record
from services.coordinator.portfolios.ledger_effects import Change
from services.coordinator.portfolios.limits import Extent, Limits, refuse_growth
from services.coordinator.portfolios.service import Imported
from services.coordinator.portfolios.store import Portfolio
from services.coordinator.portfolios.trade_plans import Plan
from services.coordinator.portfolios.trade_store import SplitsRead
from shared.clock import Clock


@dataclass(frozen=True, slots=True)
class TradeAddition:
    """What a list of trades changes in a portfolio.

    parsed    : the file, with all that is to be said of it
    update    : whether what it says otherwise of trades that are kept is taken; else it is listed
    listed    : the trades that it adds, and those it has anew
    plan      : from the lots that are there to those that follow from all trades
    decisions : of the lots that the plan adds
    """

    parsed: Parsed
    update: bool
    found: trade_matches.Comparison
    listed: Sequence[Trade]
    plan: Plan
    decisions: Sequence[Decision]
    splits: SplitsRead

    async def is_current(self, conn: AsyncConnection) -> bool:
        """Whether it was matched with the splits that are stored; behind the commit-order lock."""
        return not await trade_store.find_changed_splits(conn, self.splits)

    async def send(self, conn: AsyncConnection, portfolio: UUID) -> UUID:
        """The rows into temporary tables. Returns the id of the import that they are of."""
        import_id = await import_store.draw_id(conn)
        await trade_store.stage_trades(conn, portfolio, import_id, self.listed)
        await trade_plans.stage(conn, portfolio, self.plan, self.decisions)
        return import_id

    async def write(
        self, conn: AsyncConnection, clock: Clock, before: Portfolio, file: File, import_id: UUID
    ) -> Change | None:
        """Move what was sent; behind the commit-order lock."""
        await record(conn, before.id, replace(self.parsed, trades=tuple(self.listed)), file, import_id)
        await trade_store.insert_staged_trades(conn)
        return await trade_plans.write(conn, clock, before, self.plan)

    def outcome(self, before: Portfolio, change: Change, import_id: UUID | None) -> Imported:
        """import_id : None of what was only looked at"""
        found, done = self.found, self.update and import_id is not None
        pairs = [(lot, decision) for (lot, _), decision in zip(self.plan.added, self.decisions, strict=True)]
        return Imported(
            before.id, before.name, len(pairs), len(found.known) - len(found.differences), change, self.parsed.issues, pairs,
            import_id=import_id, reading=self.parsed.reading, changed=len(found.differences) if done else 0,
            would_change=[] if done else found.differences,
        )  # fmt: skip


async def work_out(
    conn: AsyncConnection, clock: Clock, portfolio: UUID, parsed: Parsed, *, update: bool, limits: Limits
) -> TradeAddition:
    """Match all trades of the portfolio, the file's among them. Raises `Invalid`."""
    assert parsed.trades is not None
    issues = parsed.issues
    known = await trade_store.trades(conn, portfolio)
    found = await asyncio.to_thread(trade_matches.compare, known, parsed.trades)
    await asyncio.to_thread(trade_matches.warn_similar, known, found, issues)
    _warn_of_basis(found, issues)
    listed = found.as_kept(update=update)
    trades = trade_lots.merge_trades(known, listed)
    splits = await trade_store.read_splits(conn, trades)
    wanted = await trade_lots.derive(conn, trades, clock, issues)
    validation.refuse(issues)
    stored = await lot_store.whole_positions(conn, portfolio)
    plan = await trade_plans.make(stored, wanted)
    reimport.warn_both_kinds(stored, {trade.symbol for trade in parsed.trades}, issues, from_trades=True)
    kept = await extents.read(conn, portfolio, without=[row["id"] for row in plan.removed])
    after = kept + Extent.of([lot for lot, _ in plan.added])
    refuse_growth(await extents.read(conn, portfolio), after, limits, clock)
    decisions = await validation.decide_price_basis(conn, [lot for lot, _ in plan.added], clock, issues)
    validation.refuse(issues)
    return TradeAddition(parsed, update, found, listed, plan, decisions, splits)


def _warn_of_basis(found: trade_matches.Comparison, issues: Issues) -> None:
    """A trade that is kept stays on the basis it was imported with."""
    other = [
        listed for kept, listed in found.known if (kept.price_basis or AS_TRADED) != (listed.price_basis or AS_TRADED)
    ]
    if other:
        issues.warn(
            None, "price_basis", "trades_keep_basis",
            f"{len(other)} of the trades are kept already, on another price basis, and stay on it. To change it, take their import "
            "back and import the file again.", other[0].price_basis or AS_TRADED,
        )  # fmt: skip
