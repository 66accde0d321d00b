"""The completeness of everything, as ranges: a grid of portfolios and sessions is drawn from these, never from single units."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.clock import Clock
from shared.db.tenancy import only_own, own_tenant, tenant_filter
from shared.ledger import runs as ledger_runs
from shared.ledger.states import STATES
from shared.work import Phase


async def read(
    conn: AsyncConnection,
    clock: Clock,
    *,
    first: date | None = None,
    last: date | None = None,
    phase: Phase | None = None,
    portfolios: Sequence[UUID] | None = None,
) -> dict[str, Any]:
    """Sessions ascending, and by portfolio runs [phase, state, from, to] of positions in that list, both ends within.

    pending : changes of units that the ranges do not show yet
    """
    named = await names(conn, portfolios)
    found = await ledger_runs.read_runs(conn, first, last, None if phase is None else phase.value, portfolios)
    pending = await ledger_runs.count_pending(conn)
    shown = {name: runs for of, runs in found.items() if (name := str(of)) in named}
    totals = dict.fromkeys(STATES, 0)
    if not shown:
        return {"sessions": [], "portfolios": [], "totals": totals, "pending": pending}
    sessions = clock.calendar().between(
        min(run.first for runs in shown.values() for run in runs),
        max(run.last for runs in shown.values() for run in runs),
    )
    at = {session: index for index, session in enumerate(sessions)}
    lines = []
    for of, runs in shown.items():
        # A session that a closure takes away: its unit goes in the same transaction, its run a moment later.
        places = [
            (run, low, high)
            for run in runs
            if (low := at.get(run.first)) is not None and (high := at.get(run.last)) is not None
        ]
        if not places:
            continue
        for run, low, high in places:
            totals[run.state] += high - low + 1
        lines.append(
            {"id": of, "name": named[of], "runs": [[run.phase, run.state, low, high] for run, low, high in places]}
        )
    return {
        "sessions": [session.isoformat() for session in sessions],
        "portfolios": lines,
        "totals": totals,
        "pending": pending,
    }


async def names(conn: AsyncConnection, portfolios: Sequence[UUID] | None = None) -> dict[str, str]:
    """Names of the portfolios that there are, all or some of these, by id. Of another tenant's, where whoever operates the installation
    sees that there is one, the name is its id."""
    rows = await conn.execute(
        text(f"""
            SELECT id, CASE WHEN tenant_id = :own THEN name ELSE CAST(id AS text) END AS name FROM coordinator.portfolios
            WHERE deleted_at IS NULL AND (CAST(:ids AS uuid[]) IS NULL OR id = ANY (CAST(:ids AS uuid[]))) AND {only_own()}
        """),
        {"ids": None if portfolios is None else list(portfolios), "tenant": tenant_filter(), "own": own_tenant()},
    )
    return {str(row.id): row.name for row in rows}
