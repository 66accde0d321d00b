"""A file added to a portfolio that is there: what it changes is worked out, and brought to the database, before the commit-order lock."""

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
    service,
    store,
    trade_imports,
    validation,
)
from services.coordinator.portfolios.import_records import File, record, stated_of_fresh, stated_of_known
from services.coordinator.portfolios.limits import Extent, Limits, refuse_growth
from services.coordinator.portfolios.lot_changes import announce, edit, propose
from services.coordinator.portfolios.lot_edits import Proposal
from services.coordinator.portfolios.service import DEFAULTS, Imported, get_existing
from shared.clock import Clock
from shared.work import Phase


@dataclass(frozen=True, slots=True)
class Addition:
    """What a file changes in a portfolio whose lots are at `version`.

    parsed    : the file, with all that is to be said of it
    decisions : of the lots that are new
    edits     : of the stored lots that shall say something else, `proposals`
    """

    version: str
    parsed: Parsed
    update: bool
    found: reimport.Comparison
    decisions: Sequence[Decision]
    proposals: Sequence[Proposal]
    edits: Sequence[Decision]
    keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class Staged:
    """An addition whose rows are in temporary tables of the transaction at hand."""

    addition: Addition
    import_id: UUID


@dataclass(slots=True)
class Adding:
    """A file that is added to a portfolio: `stage` before the commit-order lock, `add` behind it, in one transaction.

    update : whether what the file says otherwise of stored lots is done; else it is listed
    """

    clock: Clock
    portfolio: UUID
    parsed: Parsed
    file: File
    update: bool = False
    limits: Limits = DEFAULTS
    staged: Staged | None = None

    async def stage(self, conn: AsyncConnection) -> None:
        """So that nobody waits while fifty thousand lots are compared and sent; nothing for a list of trades. Raises `Invalid`,
        `NotFound`."""
        if self.parsed.trades is not None:
            return
        await get_existing(conn, self.portfolio)
        found = await self._work_out(conn)
        self.staged = Staged(found, await _send(conn, self.portfolio, found))

    async def add(self, conn: AsyncConnection, *, dry_run: bool = False) -> Imported:
        """Rows that are there already change nothing. What was staged is worked out anew if a lot has changed since. Raises `Invalid`,
        `NotFound`."""
        validation.refuse(self.parsed.issues)
        before = await get_existing(conn, self.portfolio)
        update = self.update
        if self.parsed.trades is not None:
            return await trade_imports.add(
                conn, self.clock, before, self.parsed, self.file, update=update, dry_run=dry_run, limits=self.limits
            )
        staged = self.staged
        if staged is not None and staged.addition.version != await lot_store.version(conn, self.portfolio):
            staged = None
        addition = await self._work_out(conn) if staged is None else staged.addition
        found, issues = addition.found, addition.parsed.issues
        import_id, change, changed = None, service.as_it_was(before, self.clock), 0
        if not dry_run:
            import_id = await _send(conn, self.portfolio, addition) if staged is None else staged.import_id
            affected = await edit(conn, addition.proposals, addition.edits)
            changed = len(addition.proposals)
            await record(conn, self.portfolio, addition.parsed, self.file, import_id)
            if found.fresh:
                await store.insert_staged_positions(conn)
            await import_store.insert_staged_statements(conn)
            affected += [(position.entry_session, Phase.INGEST) for position in found.fresh]
            change = await announce(conn, self.clock, before, affected) or change
        return Imported(
            self.portfolio, before.name, len(found.fresh), len(found.known) - len(found.differences), change, issues,
            list(zip(found.fresh, addition.decisions, strict=True)), import_id=import_id, reading=self.parsed.reading,
            changed=changed, would_change=[] if update and not dry_run else found.differences,
        )  # fmt: skip

    async def _work_out(self, conn: AsyncConnection) -> Addition:
        return await _work_out(conn, self.clock, self.portfolio, self.parsed, update=self.update, limits=self.limits)


async def _work_out(
    conn: AsyncConnection, clock: Clock, portfolio: UUID, parsed: Parsed, *, update: bool, limits: Limits
) -> Addition:
    # It may be worked out a second time: what is said then is not said twice.
    issues = parsed.issues.copy()
    validation.refuse(issues)
    version = await lot_store.version(conn, portfolio)
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
    return Addition(version, parsed, update, found, decisions, proposals, edits, keys)


async def _send(conn: AsyncConnection, portfolio: UUID, addition: Addition) -> UUID:
    """The rows into temporary tables. Returns the id of the import that they are of."""
    found = addition.found
    rows = list(zip(found.fresh, addition.decisions, addition.keys, strict=True))
    import_id, ids = await import_store.draw_id(conn), await store.stage_positions(conn, portfolio, rows)
    said = [*stated_of_fresh(found.fresh, ids), *stated_of_known(found, update=addition.update)]
    await import_store.stage_statements(conn, import_id, said)
    await lot_edits.stage(conn, addition.proposals, addition.edits)
    return import_id
