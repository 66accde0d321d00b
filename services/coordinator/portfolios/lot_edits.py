"""Stored lots made to say something else: checked as new ones are, and compared with what they were."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

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


class Proposal(NamedTuple):
    """A stored lot, what is to be said of it, and the lot that this makes."""

    row: RowMapping
    body: Mapping[str, Any]
    position: Position


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


async def decide(conn: AsyncConnection, clock: Clock, proposals: Sequence[Proposal], issues: Issues) -> list[Decision]:
    """How the lots would be stored, each decided by itself. It needs no lock; raises `Invalid` for what cannot be decided."""
    positions = [proposal.position for proposal in proposals]
    found = await validation.decide_price_basis(conn, positions, clock, issues, files=range(len(positions)))
    validation.refuse(issues)
    # Of thousands of lots it takes a while: not on the event loop.
    return await asyncio.to_thread(
        lambda: [
            decision if "price_basis" in body else price_basis.keep_decision(row, position, decision)
            for (row, body, position), decision in zip(proposals, found, strict=True)
        ]
    )


async def stage(conn: AsyncConnection, proposals: Sequence[Proposal], decisions: Sequence[Decision]) -> None:
    """Bring the lots to the database, for `write` in the same transaction."""
    if proposals:
        edits = [(each.row["id"], each.position, decision) for each, decision in zip(proposals, decisions, strict=True)]
        await store.stage_edits(conn, edits)


async def write(conn: AsyncConnection, proposals: Sequence[Proposal], decisions: Sequence[Decision]) -> list[Edited]:
    """Store the lots that `stage` was given, behind the commit-order lock."""
    changed = await store.update_staged_positions(conn) if proposals else {}

    def compare(proposal: Proposal, decision: Decision) -> Edited:
        before = dict(proposal.row)
        after = changed.get(before["id"])
        if after is None:
            return Edited(proposal.position, decision, changed=False, affected=None)
        # The instant of the edit is no difference.
        scope = edit_scope(before, {**after, "updated_at": before["updated_at"]})
        return Edited(proposal.position, decision, changed=True, affected=scope)

    return await asyncio.to_thread(lambda: list(map(compare, proposals, decisions)))
