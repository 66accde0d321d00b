"""All portfolios in one answer: what a list shows of each, with its newest figures and how complete it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results import list_figures, states
from services.coordinator.results.values import to_json
from shared.clock import Clock
from shared.db.tenancy import only_own, tenant_filter
from shared.ledger import runs as ledger_runs
from shared.ledger.states import DONE

# Of a sparkline: about half a year is what its width can show.
TRAIL = 126


async def page(conn: AsyncConnection, clock: Clock, *, limit: int, after: UUID | None) -> dict[str, Any]:
    """Portfolios in order of creation, each with the figures that `list_figures` has of it, how far it is, and a sparkline.

    trail : cumulative returns of the newest sessions, oldest first
    """
    rows = await conn.execute(
        text(f"""
            WITH listed AS (
                SELECT id, name, currency FROM coordinator.portfolios
                WHERE deleted_at IS NULL AND (CAST(:after AS uuid) IS NULL OR id > :after) AND {only_own()} ORDER BY id LIMIT :limit
            )
            SELECT p.id, p.name, p.currency, trail.returns AS trail,
                   (SELECT count(*) FROM coordinator.positions x WHERE x.portfolio_id = p.id AND x.deleted_at IS NULL) AS positions
            FROM listed p
            LEFT JOIN LATERAL (
                SELECT array_agg(t.cumulative_return ORDER BY t.session) AS returns FROM (
                    SELECT session, cumulative_return FROM snapshots.snapshots
                    WHERE portfolio_id = p.id ORDER BY session DESC LIMIT :trail) t
            ) trail ON true
            ORDER BY p.id
        """),
        {"after": after, "limit": limit + 1, "trail": TRAIL, "tenant": tenant_filter()},
    )
    listed = rows.mappings().all()
    shown = [row["id"] for row in listed[:limit]]
    overviews = await states.read(conn, clock, shown)
    figures = await list_figures.read(conn, overviews)
    waits = await _waits(conn, clock, [of for of in shown if overviews[of].completeness.missing])
    found = [
        list_figures.NONE
        | figures.get(row["id"], {})
        | {name: to_json(value) for name, value in row.items()}
        | _state(overviews[row["id"]])
        | waits.get(row["id"], _DONE)
        for row in listed[:limit]
    ]
    return {"items": found, "next": found[-1]["id"] if len(listed) > limit else None}


_DONE: dict[str, Any] = {"processed": 1.0, "next_at": None}


async def _waits(conn: AsyncConnection, clock: Clock, portfolios: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
    """Of portfolios of which something is missing: the share of their units that is done, and when the next try is.

    From the runs that are kept of them: five years of units are five thousand a portfolio, and their runs a handful.
    """
    if not portfolios:
        return {}
    next_tries = await conn.execute(
        text("""
            SELECT portfolio_id, min(next_at) FROM ledger.schedule
            WHERE portfolio_id = ANY (CAST(:ids AS uuid[])) AND next_at > clock_timestamp() GROUP BY portfolio_id
        """),
        {"ids": list(portfolios)},
    )
    tries = {portfolio: to_json(at) for portfolio, at in next_tries.all()}
    known = await ledger_runs.read_runs(conn, None, None, None, portfolios)
    count = clock.calendar().count
    found = {}
    for portfolio in portfolios:
        lengths = [(run.state in DONE, count(run.first, run.last)) for run in known.get(portfolio, ())]
        expected = sum(length for _, length in lengths)
        done = sum(length for completed, length in lengths if completed)
        found[portfolio] = {"processed": done / expected if expected else 0.0, "next_at": tries.get(portfolio)}
    return found


def _state(of: states.Overview) -> dict[str, Any]:
    return {
        "state": of.state,
        "coverage_min": of.completeness.coverage,
        "complete_to": to_json(of.complete_to),
        "needs_you": of.needs(),
    }
