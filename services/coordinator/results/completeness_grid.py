"""The whole ledger as ranges: what state each run of consecutive sessions is in, by portfolio and phase. Ranges, never keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results.values import to_json
from shared.clock import Clock
from shared.work import Phase

STATES = ("complete", "partial", "waiting", "running", "retrying", "blocked")
"""As `status` has them for holes; of what is done, whether a holding fell short."""


async def grid(
    conn: AsyncConnection,
    clock: Clock,
    *,
    first: date | None,
    last: date | None,
    phase: Phase | None,
    portfolios: Sequence[UUID] | None = None,
) -> dict[str, Any]:
    """Sessions ascending, and by portfolio runs [phase, state, from, to] of positions in that list, both ends within."""
    rows = (
        await conn.execute(
            text("""
                WITH marked AS (
                    SELECT u.portfolio_id, u.phase, u.session,
                           CASE WHEN u.blocked_reason IS NOT NULL THEN 'blocked'
                                WHEN u.completed_revision >= u.required_revision
                                     THEN CASE WHEN u.quality = 'partial' THEN 'partial' ELSE 'complete' END
                                WHEN s.lease_until > clock_timestamp() THEN 'running'
                                WHEN s.runs > 0 THEN 'retrying' ELSE 'waiting' END AS state
                    FROM ledger.units u
                    LEFT JOIN ledger.schedule s ON s.portfolio_id = u.portfolio_id AND s.phase = u.phase
                    WHERE (CAST(:first AS date) IS NULL OR u.session >= :first)
                      AND (CAST(:last AS date) IS NULL OR u.session <= :last)
                      AND (CAST(:phase AS ledger.phase) IS NULL OR u.phase = CAST(:phase AS ledger.phase))
                      AND (CAST(:portfolios AS uuid[]) IS NULL OR u.portfolio_id = ANY (CAST(:portfolios AS uuid[])))
                ), numbered AS (
                    SELECT *, row_number() OVER (PARTITION BY portfolio_id, phase ORDER BY session)
                              - row_number() OVER (PARTITION BY portfolio_id, phase, state ORDER BY session) AS island
                    FROM marked
                )
                SELECT n.portfolio_id, CAST(n.phase AS text) AS phase, n.state, min(n.session) AS first, max(n.session) AS last,
                       count(*) AS units
                FROM numbered n GROUP BY n.portfolio_id, n.phase, n.state, n.island
                ORDER BY n.portfolio_id, n.phase, min(n.session)
            """),
            {
                "first": first,
                "last": last,
                "phase": None if phase is None else phase.value,
                "portfolios": None if portfolios is None else list(portfolios),
            },
        )
    ).all()
    if not rows:
        return {"sessions": [], "portfolios": [], "totals": dict.fromkeys(STATES, 0)}
    sessions = clock.calendar().between(min(row.first for row in rows), max(row.last for row in rows))
    listed = await names(conn)
    at = {session: index for index, session in enumerate(sessions)}
    totals = dict.fromkeys(STATES, 0)
    lines: dict[UUID, list[list[Any]]] = {}
    for row in rows:
        totals[row.state] += row.units
        if row.first in at and row.last in at:
            lines.setdefault(row.portfolio_id, []).append([row.phase, row.state, at[row.first], at[row.last]])
    return {
        "sessions": [to_json(session) for session in sessions],
        "portfolios": [
            {"id": str(portfolio), "name": listed.get(str(portfolio), str(portfolio)), "runs": runs}
            for portfolio, runs in lines.items()
        ],
        "totals": totals,
    }


async def names(conn: AsyncConnection) -> dict[str, str]:
    """Of the portfolios that there are, by id."""
    rows = await conn.execute(text("SELECT id, name FROM coordinator.portfolios WHERE deleted_at IS NULL"))
    return {str(row.id): row.name for row in rows}
