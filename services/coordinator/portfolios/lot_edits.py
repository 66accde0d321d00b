"""One stored lot made to say something else: checked as a new one is, and compared with what it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer import parse
from services.coordinator.importer.basis import Decision
from services.coordinator.importer.columns import COLUMNS
from services.coordinator.importer.model import Issues, Position
from services.coordinator.portfolios import price_basis, store, validation
from services.coordinator.portfolios.edit_scope import edit_scope
from shared.clock import Clock
from shared.work import Phase


@dataclass(frozen=True, slots=True)
class Edited:
    """affected: first session and phase whose inputs differ; None where no number does. `changed`: whether anything does."""

    position: Position
    decision: Decision
    changed: bool
    affected: tuple[date, Phase] | None


def parse_proposed_lot(row: RowMapping, body: Mapping[str, Any], clock: Clock, issues: Issues) -> Position | None:
    """The lot as it would be stated; None after reporting why it cannot be."""
    current = {
        **{column: row[column] for column in COLUMNS},
        "quantity": row["stated_quantity"],
        "entry_price": row["stated_entry_price"],
        "exit_price": row["stated_exit_price"],
    }
    parsed = parse.parse_items([{**current, "price_basis": None, **body}], validation.rules_now(clock))
    issues.extend(parsed.issues)
    if not parsed.positions:
        return None
    position = parsed.positions[0]
    return position if "price_basis" in body else price_basis.with_kept_basis(row, position)


async def write(
    conn: AsyncConnection, clock: Clock, row: RowMapping, position: Position, issues: Issues, *, basis_named: bool
) -> Edited:
    """Store the lot; refuses what cannot be decided. Raises `Invalid`."""
    decisions = await validation.decide_price_basis(conn, [position], clock, issues)
    validation.refuse(issues)
    decision = decisions[0] if basis_named else price_basis.keep_decision(row, position, decisions[0])
    await store.update_position(conn, row["id"], position, decision)
    after = await store.position(conn, row["portfolio_id"], row["id"])
    assert after is not None
    if row == after:
        return Edited(position, decision, changed=False, affected=None)
    await store.record_edit(conn, row["id"])
    return Edited(position, decision, changed=True, affected=edit_scope(dict(row), dict(after)))
