"""What a person wants asked for anew, although it is known: `rerun --phase ingest --what all`.

The run itself is the mark: it is durable, names its portfolios and sessions, and was committed with the units it raised. A
symbol remembers the newest run that it was asked again for.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model.stored import PendingRefresh
from services.ingest.store.universe import REQUIRED_COVERAGE


async def pending_refreshes(
    conn: AsyncConnection, proxies: Sequence[str], portfolios: Sequence[UUID] | None
) -> list[PendingRefresh]:
    """Symbols, with the factor proxies, that runs of the last week want asked for anew and that were not yet.

    The range is the whole run's, so each symbol is asked once for each run. Only what is known already; the rest is asked for
    anyway.

    portfolios : only runs about one of these; None for all
    """
    rows = await conn.execute(
        text(f"""
            WITH runs AS (
                SELECT r.id, r.requested_at, min(k.first) AS first, max(k.last) AS last
                FROM coordinator.runs r JOIN coordinator.run_units k ON k.run_id = r.id
                WHERE r.what = 'all' AND r.scope ->> 'phase' = 'ingest' AND k.phase = 'ingest'
                  AND r.requested_at > now() - interval '7 days'
                  AND (CAST(:portfolios AS uuid[]) IS NULL OR EXISTS (
                      SELECT 1 FROM coordinator.run_units mine
                      WHERE mine.run_id = r.id AND mine.portfolio_id = ANY (CAST(:portfolios AS uuid[]))))
                GROUP BY r.id, r.requested_at
            ), held AS (
                SELECT n.symbol, max(r.requested_at) AS requested_at, min(greatest(r.first, n.entry_session)) AS first,
                       max(least(r.last, n.exit_session)) AS last
                FROM runs r JOIN coordinator.run_units k ON k.run_id = r.id AND k.phase = 'ingest'
                JOIN ({REQUIRED_COVERAGE}) n ON n.portfolio_id = k.portfolio_id
                WHERE n.entry_session <= r.last AND (n.exit_session IS NULL OR n.exit_session >= r.first)
                GROUP BY n.symbol
                UNION ALL
                SELECT p.symbol, max(r.requested_at), min(r.first), max(r.last)
                FROM runs r CROSS JOIN unnest(CAST(:proxies AS text[])) AS p (symbol) GROUP BY p.symbol
            )
            SELECT s.symbol, greatest(min(h.first), s.covered_from), least(max(h.last), s.covered_to), max(h.requested_at)
            FROM held h JOIN ingest.symbols s ON s.symbol = h.symbol
            WHERE s.covered_from IS NOT NULL AND (s.refreshed_at IS NULL OR s.refreshed_at < h.requested_at)
            GROUP BY s.symbol, s.covered_from, s.covered_to
            HAVING greatest(min(h.first), s.covered_from) <= least(max(h.last), s.covered_to)
            ORDER BY s.symbol
        """),
        {"portfolios": None if portfolios is None else list(portfolios), "proxies": list(proxies)},
    )
    return [PendingRefresh(*row) for row in rows]


async def mark_refreshed(conn: AsyncConnection, marks: Sequence[PendingRefresh]) -> None:
    """These were asked for, and whoever was asked answered."""
    await conn.execute(
        text("""
            UPDATE ingest.symbols s SET refreshed_at = greatest(s.refreshed_at, m.at)
            FROM unnest(CAST(:symbols AS text[]), CAST(:moments AS timestamptz[])) AS m (symbol, at)
            WHERE s.symbol = m.symbol
        """),
        {"symbols": [mark.symbol for mark in marks], "moments": [mark.requested_at for mark in marks]},
    )
