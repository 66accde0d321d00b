"""All portfolios in one answer: what a list shows of each, with its newest figures and how complete it is."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results import list_figures, states
from services.coordinator.results.values import to_json
from shared.clock import Clock

# Of a sparkline: about half a year is what its width can show.
TRAIL = 126


async def page(conn: AsyncConnection, clock: Clock, *, limit: int, after: UUID | None) -> dict[str, Any]:
    """Portfolios in order of creation, each with the figures that `list_figures` has of it, how far it is, and a sparkline.

    trail : cumulative returns of the newest sessions, oldest first
    """
    rows = await conn.execute(
        text("""
            WITH listed AS (
                SELECT id, name, currency FROM coordinator.portfolios
                WHERE deleted_at IS NULL AND (CAST(:after AS uuid) IS NULL OR id > :after) ORDER BY id LIMIT :limit
            )
            SELECT p.id, p.name, p.currency, trail.returns AS trail,
                   counts.expected, counts.completed, counts.partial, waits.next_at,
                   (SELECT count(*) FROM coordinator.positions x WHERE x.portfolio_id = p.id AND x.deleted_at IS NULL) AS positions
            FROM listed p
            LEFT JOIN LATERAL (
                SELECT array_agg(t.cumulative_return ORDER BY t.session) AS returns FROM (
                    SELECT session, cumulative_return FROM snapshots.snapshots
                    WHERE portfolio_id = p.id ORDER BY session DESC LIMIT :trail) t
            ) trail ON true
            CROSS JOIN LATERAL (
                SELECT count(*) AS expected,
                       count(*) FILTER (WHERE completed_revision >= required_revision) AS completed,
                       count(*) FILTER (WHERE completed_revision >= required_revision AND quality = 'partial') AS partial
                FROM ledger.units u WHERE u.portfolio_id = p.id
            ) counts
            LEFT JOIN LATERAL (
                SELECT min(next_at) FILTER (WHERE next_at > clock_timestamp()) AS next_at
                FROM ledger.schedule WHERE portfolio_id = p.id
            ) waits ON counts.completed < counts.expected
            ORDER BY p.id
        """),
        {"after": after, "limit": limit + 1, "trail": TRAIL},
    )
    listed = rows.mappings().all()
    shown = [row["id"] for row in listed[:limit]]
    overviews = await states.read(conn, clock, shown)
    figures = await list_figures.read(conn, overviews)
    found = [
        list_figures.NONE
        | figures.get(row["id"], {})
        | {name: to_json(value) for name, value in row.items()}
        | _state(overviews[row["id"]])
        for row in listed[:limit]
    ]
    return {"items": found, "next": found[-1]["id"] if len(listed) > limit else None}


def _state(of: states.Overview) -> dict[str, Any]:
    return {
        "state": of.state,
        "coverage_min": of.completeness.coverage,
        "complete_to": to_json(of.complete_to),
        "needs_you": of.needs(),
    }
