"""From the lots that follow from a portfolio's trades to those that shall."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer import content
from services.coordinator.importer.basis import Decision
from services.coordinator.importer.model import Position
from services.coordinator.portfolios import lot_store, store
from services.coordinator.portfolios.ledger_effects import Change
from services.coordinator.portfolios.lot_changes import announce
from services.coordinator.portfolios.store import Portfolio
from shared.clock import Clock
from shared.work import Phase


@dataclass(frozen=True, slots=True)
class Plan:
    """Lots that follow from trades no more, and those that do now, each with its content key."""

    removed: list[RowMapping]
    added: list[tuple[Position, str]]


def _plan(stored: Sequence[RowMapping], wanted: Sequence[Position], symbols: Collection[str] | None = None) -> Plan:
    """From the lots that follow from trades to those that shall, of these symbols or of all."""

    def meant(symbol: str) -> bool:
        return symbols is None or symbol in symbols

    own = {row["content_key"]: row for row in stored if row["from_trades"] and meant(row["symbol"])}
    keys = {key: lot for key, lot in zip(content.content_keys(wanted), wanted, strict=True) if meant(lot.symbol)}
    added = [lot for key, lot in keys.items() if key not in own]
    removed = [row for key, row in own.items() if key not in keys]
    taken = {row["content_key"] for row in stored if row["content_key"]} - {row["content_key"] for row in removed}
    return Plan(removed, list(zip(added, content.free_keys(added, taken), strict=True)))


async def make(
    stored: Sequence[RowMapping], wanted: Sequence[Position], symbols: Collection[str] | None = None
) -> Plan:
    """Of these symbols or of all. Of many lots it takes long, so it is not the event loop's."""
    return await asyncio.to_thread(_plan, stored, wanted, symbols)


async def stage(conn: AsyncConnection, portfolio: UUID, plan: Plan, decisions: Sequence[Decision]) -> None:
    """Bring the lots that are added to the database, for `write` in the same transaction."""
    rows = [(lot, decision, key) for (lot, key), decision in zip(plan.added, decisions, strict=True)]
    await store.stage_positions(conn, portfolio, rows, from_trades=True)


async def write(conn: AsyncConnection, clock: Clock, before: Portfolio, plan: Plan) -> Change | None:
    """Move the lots; behind the commit-order lock."""
    await lot_store.delete_positions(conn, [row["id"] for row in plan.removed])
    if plan.added:
        await store.insert_staged_positions(conn)
    affected = [row["entry_session"] for row in plan.removed] + [lot.entry_session for lot, _ in plan.added]
    return await announce(conn, clock, before, [(session, Phase.INGEST) for session in affected])
