"""Several lots changed at once, announced as one change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer.basis import Decision
from services.coordinator.importer.model import Difference, Issues
from services.coordinator.portfolios import ledger_effects, lot_edits
from services.coordinator.portfolios.ledger_effects import Change
from services.coordinator.portfolios.lot_edits import Proposal
from services.coordinator.portfolios.store import Portfolio
from shared.clock import Clock
from shared.work import Phase

_PHASES = list(Phase)
Affected = tuple[date, Phase]


def propose(differences: Sequence[Difference[RowMapping]], clock: Clock, issues: Issues) -> list[Proposal]:
    proposals: list[Proposal] = []
    for difference in differences:
        body = {name: value for name, (_, value) in difference.changes.items()}
        position = lot_edits.parse_proposed_lot(difference.lot, body, clock, issues)
        if position is not None:
            proposals.append(Proposal(difference.lot, body, replace(position, row=difference.row)))
    return proposals


async def edit(conn: AsyncConnection, proposals: Sequence[Proposal], decisions: Sequence[Decision]) -> list[Affected]:
    """Store what was staged; behind the commit-order lock."""
    done = await lot_edits.write(conn, proposals, decisions)
    return [each.affected for each in done if each.affected is not None]


async def announce(
    conn: AsyncConnection, clock: Clock, before: Portfolio, affected: Sequence[Affected]
) -> Change | None:
    """One change for all lots: from the earliest session, from the earliest phase."""
    if not affected:
        return None
    phase = min((phase for _, phase in affected), key=_PHASES.index)
    first = min(session for session, _ in affected)
    return await ledger_effects.record_change(conn, clock, before, first, phase, source="onboarding")
