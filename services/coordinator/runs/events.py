"""What happened in a run: when it was asked for, what was completed, what failed, and what it waits for now."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# Completions of one batch are one event: they are committed together, and counted by the second.
_EVENTS = """
    WITH run AS (SELECT id, requested_at FROM coordinator.runs WHERE id = :id),
    spans AS (
        SELECT k.portfolio_id, k.phase, k.first, k.last, k.units, k.required_revision
        FROM coordinator.run_units k JOIN run ON run.id = k.run_id
    ), events AS (
        SELECT run.requested_at AS at, 'requested' AS event, CAST(NULL AS uuid) AS portfolio_id, CAST(NULL AS text) AS phase,
               (SELECT min(first) FROM spans) AS first, (SELECT max(last) FROM spans) AS last,
               coalesce((SELECT sum(units) FROM spans), 0) AS units, CAST(NULL AS text) AS message
        FROM run
        UNION ALL
        SELECT max(u.completed_at), 'completed',
               CASE WHEN count(DISTINCT u.portfolio_id) = 1 THEN CAST(min(CAST(u.portfolio_id AS text)) AS uuid) END,
               CAST(u.phase AS text), min(u.session), max(u.session), count(*), NULL
        FROM spans s JOIN ledger.units u ON u.portfolio_id = s.portfolio_id AND u.phase = s.phase
                                        AND u.session BETWEEN s.first AND s.last
        WHERE u.completed_revision >= s.required_revision AND u.completed_at >= (SELECT requested_at FROM run)
        GROUP BY u.phase, date_trunc('second', u.completed_at)
        UNION ALL
        SELECT f.at, CASE WHEN f.blocked THEN 'blocked' ELSE 'failed' END, f.portfolio_id, CAST(f.phase AS text), f.first, f.last,
               (SELECT count(*) FROM ledger.units u
                WHERE u.portfolio_id = f.portfolio_id AND u.phase = f.phase AND u.session BETWEEN f.first AND f.last), f.error
        FROM ledger.failures f
        WHERE f.at >= (SELECT requested_at FROM run) AND EXISTS (
            SELECT 1 FROM spans s WHERE s.portfolio_id = f.portfolio_id AND s.phase = f.phase
                                    AND s.first <= f.last AND s.last >= f.first)
        UNION ALL
        SELECT NULL, CASE WHEN c.lease_until > clock_timestamp() THEN 'running' ELSE 'waiting' END, c.portfolio_id,
               CAST(c.phase AS text), min(u.session), max(u.session), count(*), c.last_error
        FROM spans s
        JOIN ledger.units u ON u.portfolio_id = s.portfolio_id AND u.phase = s.phase AND u.session BETWEEN s.first AND s.last
                           AND u.completed_revision < u.required_revision AND u.blocked_reason IS NULL
                           AND u.completed_revision < s.required_revision
        JOIN ledger.schedule c ON c.portfolio_id = s.portfolio_id AND c.phase = s.phase
        GROUP BY c.portfolio_id, c.phase, c.lease_until, c.last_error
    )
    SELECT *, count(*) OVER () AS total FROM events ORDER BY at DESC NULLS FIRST, phase, first LIMIT :limit
"""


async def read(conn: AsyncConnection, run_id: UUID, limit: int) -> tuple[list[dict[str, Any]], int]:
    """The newest events of a run in the order they happened, what it waits for now last; and how many there are."""
    rows = (await conn.execute(text(_EVENTS), {"id": run_id, "limit": limit})).all()
    found = [
        {
            "at": row.at,
            "event": row.event,
            "portfolio_id": row.portfolio_id,
            "phase": row.phase,
            "from": row.first,
            "to": row.last,
            "units": int(row.units),
            "message": None if row.message is None else row.message.splitlines()[0][:200],
        }
        for row in reversed(rows)
    ]
    return found, (rows[0].total if rows else 0)
