"""What the metrics say of all portfolios at once: what fell short lately, the lowest coverage, and prices that are waited for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Measured:
    """partial : units by phase and reason · coverage : lowest of the newest snapshots · awaited : symbols by reason."""

    partial: dict[tuple[str, str], int]
    coverage: float | None
    awaited: dict[str, int]


async def measure(conn: AsyncConnection, since: date) -> Measured:
    """Completed units since a session; a unit counts once for each reason it has."""
    partial = await conn.execute(
        text("""
            SELECT CAST(g.phase AS text) AS phase, r.reason, sum(g.units) AS units FROM (
                SELECT phase, reasons, count(*) AS units FROM ledger.units
                WHERE quality = 'partial' AND session >= :since AND completed_revision >= required_revision
                GROUP BY phase, reasons
            ) g CROSS JOIN LATERAL (
                SELECT DISTINCT each ->> 'reason' AS reason FROM jsonb_array_elements(g.reasons) AS each
            ) r
            GROUP BY g.phase, r.reason
        """),
        {"since": since},
    )
    coverage = await conn.scalar(
        text("""
            SELECT min(u.coverage) FROM coordinator.portfolios p CROSS JOIN LATERAL (
                SELECT coverage FROM ledger.units
                WHERE portfolio_id = p.id AND phase = 'snapshots' AND completed_revision >= required_revision
                ORDER BY session DESC LIMIT 1
            ) u WHERE p.deleted_at IS NULL
        """)
    )
    awaited = await conn.execute(
        text("SELECT reason, count(DISTINCT symbol_id) AS symbols FROM ingest.gaps WHERE NOT terminal GROUP BY reason")
    )
    return Measured(
        {(row.phase, row.reason): int(row.units) for row in partial},
        None if coverage is None else float(coverage),
        {row.reason: int(row.symbols) for row in awaited},
    )
