"""Several lots changed at once, announced as one change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer.model import Difference, Issues, Position
from services.coordinator.portfolios import ledger_effects, lot_edits
from services.coordinator.portfolios.ledger_effects import Change
from services.coordinator.portfolios.store import Portfolio
from shared.clock import Clock
from shared.work import Phase

_PHASES = list(Phase)
Affected = tuple[date, Phase]
Proposal = tuple[RowMapping, Mapping[str, Any], Position]


def propose(differences: Sequence[Difference[RowMapping]], clock: Clock, issues: Issues) -> list[Proposal]:
    proposals: list[Proposal] = []
    for difference in differences:
        body = {name: value for name, (_, value) in difference.changes.items()}
        position = lot_edits.parse_proposed_lot(difference.lot, body, clock, issues)
        if position is not None:
            proposals.append((difference.lot, body, position))
    return proposals


async def edit(
    conn: AsyncConnection,
    clock: Clock,
    proposals: Sequence[Proposal],
    issues: Issues,
) -> list[Affected]:
    affected = []
    for row, body, position in proposals:
        done = await lot_edits.write(conn, clock, row, position, issues, basis_named="price_basis" in body)
        if done.affected is not None:
            affected.append(done.affected)
    return affected


async def announce(
    conn: AsyncConnection, clock: Clock, before: Portfolio, affected: Sequence[Affected]
) -> Change | None:
    """One change for all lots: from the earliest session, from the earliest phase."""
    if not affected:
        return None
    phase = min((phase for _, phase in affected), key=_PHASES.index)
    first = min(session for session, _ in affected)
    return await ledger_effects.record_change(conn, clock, before, first, phase, source="onboarding")
