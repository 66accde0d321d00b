"""All portfolios in one answer: what a list shows of each, with its newest figures and how complete it is."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results import states
from services.coordinator.results.values import document, to_json
from shared.clock import Clock

# Of a sparkline: about half a year is what its width can show.
TRAIL = 126
LEVEL = 0.95


async def page(conn: AsyncConnection, clock: Clock, *, limit: int, after: UUID | None) -> dict[str, Any]:
    """Portfolios in order of creation, each with its newest completed session's figures; null where there is none yet.

    trail : cumulative returns of the newest sessions, oldest first
    """
    rows = await conn.execute(
        text("""
            WITH listed AS (
                SELECT id, name, currency, first_session FROM coordinator.portfolios
                WHERE deleted_at IS NULL AND (CAST(:after AS uuid) IS NULL OR id > :after) ORDER BY id LIMIT :limit
            )
            SELECT p.id, p.name, p.currency, p.first_session, s.session, s.nav, s.daily_pnl, s.daily_return, s.ytd_return,
                   s.cumulative_return, s.coverage, s.quality, CAST(s.reasons AS text) AS reasons,
                   r.session AS risk_session, r.volatility, r.var, trail.returns AS trail,
                   counts.expected, counts.completed, counts.partial, waits.next_at, waits.last_error,
                   (SELECT count(*) FROM coordinator.positions x WHERE x.portfolio_id = p.id AND x.deleted_at IS NULL) AS positions
            FROM listed p
            LEFT JOIN LATERAL (
                SELECT s.* FROM snapshots.snapshots s JOIN ledger.units u
                  ON u.portfolio_id = s.portfolio_id AND u.session = s.session AND u.phase = 'snapshots'
                WHERE s.portfolio_id = p.id ORDER BY u.completed_revision >= u.required_revision DESC, s.session DESC LIMIT 1
            ) s ON true
            LEFT JOIN LATERAL (
                SELECT r.session, r.risk #> '{volatility,realized_252}' AS volatility,
                       (SELECT v -> 'var' FROM jsonb_array_elements(r.risk -> 'var') v
                        WHERE v ->> 'method' = 'historical' AND CAST(v ->> 'level' AS double precision) = :level) AS var
                FROM risk.results r JOIN ledger.units u
                  ON u.portfolio_id = r.portfolio_id AND u.session = r.session AND u.phase = 'risk'
                WHERE r.portfolio_id = p.id ORDER BY u.completed_revision >= u.required_revision DESC, r.session DESC LIMIT 1
            ) r ON true
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
                SELECT min(next_at) FILTER (WHERE next_at > clock_timestamp()) AS next_at, max(last_error) AS last_error
                FROM ledger.schedule WHERE portfolio_id = p.id
            ) waits ON counts.completed < counts.expected
            ORDER BY p.id
        """),
        {"after": after, "limit": limit + 1, "trail": TRAIL, "level": LEVEL},
    )
    listed = rows.mappings().all()
    overviews = await states.read(conn, clock, [row["id"] for row in listed])
    found = [_line(dict(row)) | _state(overviews[row["id"]]) for row in listed]
    return {"items": found[:limit], "next": found[limit - 1]["id"] if len(found) > limit else None}


def _state(of: states.Overview) -> dict[str, Any]:
    return {
        "state": of.state,
        "coverage_min": of.completeness.coverage,
        "complete_to": to_json(of.complete_to),
        "needs_you": of.needs(),
    }


def _line(row: dict[str, Any]) -> dict[str, Any]:
    return {key: to_json(value) for key, value in row.items() if key not in _DOCUMENTS} | {
        key: to_json(document(row[key])) for key in _DOCUMENTS
    }


_DOCUMENTS = ("volatility", "var", "reasons")
