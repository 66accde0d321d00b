"""A list of lots added to a portfolio that is there: what it changes, worked out, sent and written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer import content
from services.coordinator.importer.basis import Decision
from services.coordinator.importer.parse import Parsed
from services.coordinator.portfolios import (
    entry_prices,
    extents,
    import_store,
    lot_edits,
    lot_store,
    reimport,
    store,
    validation,
)
from services.coordinator.portfolios.import_records import File, record, stated_of_fresh, stated_of_known
from services.coordinator.portfolios.ledger_effects import Change
from services.coordinator.portfolios.limits import Extent, Limits, refuse_growth
from services.coordinator.portfolios.lot_changes import announce, edit, propose
from services.coordinator.portfolios.lot_edits import Proposal
from services.coordinator.portfolios.service import Imported
from services.coordinator.portfolios.store import Portfolio
from shared.clock import Clock
from shared.work import Phase


@dataclass(frozen=True, slots=True)
class LotAddition:
    """What a list of lots changes in a portfolio.

    parsed    : the file, with all that is to be said of it
    update    : whether what it says otherwise of stored lots is done; else it is listed
    decisions : of the lots that are new
    edits     : of the stored lots that shall say something else, `proposals`
    """

    parsed: Parsed
    update: bool
    found: reimport.Comparison
    decisions: Sequence[Decision]
    proposals: Sequence[Proposal]
    edits: Sequence[Decision]
    keys: Sequence[str]

    async def is_current(self, conn: AsyncConnection) -> bool:
        """Nothing counts but the lots that it was compared with."""
        return True

    async def send(self, conn: AsyncConnection, portfolio: UUID) -> UUID:
        """The rows into temporary tables. Returns the id of the import that they are of."""
        found = self.found
        rows = list(zip(found.fresh, self.decisions, self.keys, strict=True))
        import_id, ids = await import_store.draw_id(conn), await store.stage_positions(conn, portfolio, rows)
        said = [*stated_of_fresh(found.fresh, ids), *stated_of_known(found, update=self.update)]
        await import_store.stage_statements(conn, import_id, said)
        await lot_edits.stage(conn, self.proposals, self.edits)
        return import_id

    async def write(
        self, conn: AsyncConnection, clock: Clock, before: Portfolio, file: File, import_id: UUID
    ) -> Change | None:
        """Move what was sent; behind the commit-order lock."""
        affected = await edit(conn, self.proposals, self.edits)
        await record(conn, before.id, self.parsed, file, import_id)
        if self.found.fresh:
            await store.insert_staged_positions(conn)
        await import_store.insert_staged_statements(conn)
        affected += [(position.entry_session, Phase.INGEST) for position in self.found.fresh]
        return await announce(conn, clock, before, affected)

    def outcome(self, before: Portfolio, change: Change, import_id: UUID | None) -> Imported:
        """import_id : None of what was only looked at"""
        found, done = self.found, self.update and import_id is not None
        return Imported(
            before.id, before.name, len(found.fresh), len(found.known) - len(found.differences), change, self.parsed.issues,
            list(zip(found.fresh, self.decisions, strict=True)), import_id=import_id, reading=self.parsed.reading,
            changed=len(self.proposals) if done else 0, would_change=[] if done else found.differences,
        )  # fmt: skip


async def work_out(
    conn: AsyncConnection, clock: Clock, portfolio: UUID, parsed: Parsed, *, update: bool, limits: Limits
) -> LotAddition:
    """Compare the list with the lots that are there. Raises `Invalid`."""
    issues = parsed.issues
    positions = await entry_prices.fill(conn, parsed.positions, clock, issues)
    validation.refuse(issues)
    stored = await lot_store.whole_positions(conn, portfolio)
    found = await asyncio.to_thread(reimport.compare_and_warn, stored, positions, issues)
    held = await extents.read(conn, portfolio)
    refuse_growth(held, held + Extent.of(found.fresh), limits, clock)
    decisions = await validation.decide_price_basis(conn, found.fresh, clock, issues)
    proposals = await asyncio.to_thread(propose, found.differences, clock, issues) if update else []
    validation.refuse(issues)
    edits = await lot_edits.decide(conn, clock, proposals, issues)
    taken = {row["content_key"] for row in stored if row["content_key"]}
    keys = await asyncio.to_thread(content.free_keys, found.fresh, taken)
    parsed = replace(parsed, positions=positions, issues=issues)
    return LotAddition(parsed, update, found, decisions, proposals, edits, keys)
