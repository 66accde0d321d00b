"""Lists of trades into portfolios: all trades of a portfolio are matched anew, and its lots moved to what they now say."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer import content, trade_matches
from services.coordinator.importer.basis import AS_TRADED, Decision
from services.coordinator.importer.model import Issues, Position
from services.coordinator.importer.parse import Parsed
from services.coordinator.importer.trades import NOT_PLACED
from services.coordinator.portfolios import (
    extents,
    import_records,
    import_store,
    lot_store,
    reimport,
    service,
    store,
    trade_lots,
    validation,
)
from services.coordinator.portfolios.import_records import File, Undone
from services.coordinator.portfolios.ledger_effects import Change
from services.coordinator.portfolios.limits import Extent, Limits, refuse_growth
from services.coordinator.portfolios.lot_changes import announce
from services.coordinator.portfolios.service import Imported
from services.coordinator.portfolios.store import Portfolio
from shared.clock import Clock
from shared.telemetry import logger
from shared.work import Phase

log = logger(__name__)


async def add(
    conn: AsyncConnection,
    clock: Clock,
    before: Portfolio,
    parsed: Parsed,
    file: File,
    *,
    update: bool,
    dry_run: bool,
    limits: Limits,
) -> Imported:
    """Match all trades of the portfolio anew, and move its lots to what they now say. What the file says otherwise of trades that
    are kept is listed, and taken where `update`."""
    assert parsed.trades is not None
    known = await import_store.trades(conn, before.id)
    found = await asyncio.to_thread(trade_matches.compare, known, parsed.trades)
    await asyncio.to_thread(trade_matches.warn_similar, known, found, parsed.issues)
    _warn_of_basis(found, parsed.issues)
    listed = found.as_kept(update=update)
    wanted = await trade_lots.derive(conn, trade_lots.merge_trades(known, listed), clock, parsed.issues)
    validation.refuse(parsed.issues)
    stored = await lot_store.whole_positions(conn, before.id)
    plan = await asyncio.to_thread(_plan, stored, wanted)
    reimport.warn_both_kinds(stored, {trade.symbol for trade in parsed.trades}, parsed.issues, from_trades=True)
    kept = await extents.read(conn, before.id, without=[row["id"] for row in plan.removed])
    after = kept + Extent.of([lot for lot, _ in plan.added])
    refuse_growth(await extents.read(conn, before.id), after, limits, clock)
    decisions = await validation.decide_price_basis(conn, [lot for lot, _ in plan.added], clock, parsed.issues)
    validation.refuse(parsed.issues)
    import_id, change = None, service.as_it_was(before, clock)
    if not dry_run:
        import_id = await import_records.record(conn, before.id, replace(parsed, trades=tuple(listed)), file)
        change = await _apply(conn, clock, before, plan, decisions) or change
    pairs = [(lot, decision) for (lot, _), decision in zip(plan.added, decisions, strict=True)]
    return Imported(
        before.id, before.name, len(pairs), len(found.known) - len(found.differences), change, parsed.issues, pairs,
        import_id=import_id, reading=parsed.reading, changed=len(found.differences) if update and not dry_run else 0,
        would_change=[] if update and not dry_run else found.differences,
    )  # fmt: skip


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


@dataclass(frozen=True, slots=True)
class _Plan:
    removed: list[RowMapping]
    added: list[tuple[Position, str]]


def _plan(stored: Sequence[RowMapping], wanted: Sequence[Position], symbols: Collection[str] | None = None) -> _Plan:
    """From the lots that follow from trades to those that shall, of these symbols or of all."""

    def meant(symbol: str) -> bool:
        return symbols is None or symbol in symbols

    own = {row["content_key"]: row for row in stored if row["from_trades"] and meant(row["symbol"])}
    keys = {key: lot for key, lot in zip(content.content_keys(wanted), wanted, strict=True) if meant(lot.symbol)}
    added = [lot for key, lot in keys.items() if key not in own]
    removed = [row for key, row in own.items() if key not in keys]
    taken = {row["content_key"] for row in stored if row["content_key"]} - {row["content_key"] for row in removed}
    return _Plan(removed, list(zip(added, content.free_keys(added, taken), strict=True)))


async def _apply(
    conn: AsyncConnection, clock: Clock, before: Portfolio, plan: _Plan, decisions: Sequence[Decision]
) -> Change | None:
    await lot_store.delete_positions(conn, [row["id"] for row in plan.removed])
    rows = [(lot, decision, key) for (lot, key), decision in zip(plan.added, decisions, strict=True)]
    await store.insert_positions(conn, before.id, rows, from_trades=True)
    affected = [row["entry_session"] for row in plan.removed] + [lot.entry_session for lot, _ in plan.added]
    return await announce(conn, clock, before, [(session, Phase.INGEST) for session in affected])


async def undo(conn: AsyncConnection, clock: Clock, before: Portfolio, import_id: UUID, issues: Issues) -> Undone:
    left = await import_store.trades(conn, before.id)
    wanted = await trade_lots.derive(conn, left, clock, issues)
    validation.refuse(issues)
    plan = await asyncio.to_thread(_plan, await lot_store.whole_positions(conn, before.id), wanted)
    decisions = await validation.decide_price_basis(conn, [lot for lot, _ in plan.added], clock, issues)
    change = await _apply(conn, clock, before, plan, decisions) or service.as_it_was(before, clock)
    return Undone(import_id, len(plan.removed), len(plan.added), change, issues)


async def match_anew(conn: AsyncConnection, clock: Clock, before: Portfolio, symbols: Collection[str]) -> int:
    """Match the trades of these symbols with the splits known now; returns how many lots changed. Needs the commit-order lock."""
    issues = Issues()
    trades = [trade for trade in await import_store.trades(conn, before.id) if trade.symbol in symbols]
    wanted = await trade_lots.derive(conn, trades, clock, issues)
    validation.refuse(issues)
    plan = await asyncio.to_thread(_plan, await lot_store.whole_positions(conn, before.id), wanted, symbols)
    decisions = await validation.decide_price_basis(conn, [lot for lot, _ in plan.added], clock, issues)
    await _apply(conn, clock, before, plan, decisions)
    await import_store.record_matching(conn, before.id, symbols)
    log.info(
        "trades_matched_anew", symbols=sorted(symbols), removed=len(plan.removed), added=len(plan.added),
        not_placed=sum(issue.code == NOT_PLACED for issue in issues.warnings),
    )  # fmt: skip
    return len(plan.added) + len(plan.removed)
