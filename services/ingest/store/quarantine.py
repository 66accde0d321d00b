"""Price outliers: kept out of the prices until a second provider or an operator confirms them."""

from collections.abc import Mapping, Sequence
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model.stored import OutlierDecision, PriceOutlier


async def return_sigmas(conn: AsyncConnection, ids: Sequence[int], window: int) -> dict[int, float]:
    """Standard deviation of each symbol's last `window` stored daily returns; not of symbols with fewer."""
    rows = await conn.execute(
        text("""
            SELECT s.id, (SELECT stddev_samp(r.total_return) FROM (
                SELECT total_return FROM ingest.prices
                -- Of the last years known: a replay of 2010 has its sigmas too.
                WHERE symbol_id = s.id AND total_return IS NOT NULL AND session > s.covered_to - 1000
                ORDER BY session DESC LIMIT :window) r HAVING count(*) = :window)
            FROM ingest.symbols s WHERE s.id = ANY (CAST(:ids AS integer[]))
        """),
        {"ids": list(ids), "window": window},
    )
    return {id_: sigma for id_, sigma in rows if sigma}


async def find_decisions(conn: AsyncConnection, ids: Sequence[int]) -> dict[tuple[int, date], OutlierDecision]:
    """Jumps of the symbols found before. What a second provider confirmed stands; else an operator's newest decision."""
    rows = await conn.execute(
        text("""
            SELECT q.symbol_id, q.session, CASE WHEN q.released_at IS NOT NULL THEN true ELSE d.decision = 'release' END, d.id
            FROM ingest.quarantine q JOIN ingest.symbols s ON s.id = q.symbol_id
            LEFT JOIN LATERAL (
                SELECT id, decision FROM coordinator.price_decisions
                WHERE symbol = s.symbol AND session = q.session ORDER BY id DESC LIMIT 1
            ) d ON true
            WHERE q.symbol_id = ANY (CAST(:ids AS integer[]))
        """),
        {"ids": list(ids)},
    )
    return {(id_, session): OutlierDecision(believed, decision) for id_, session, believed, decision in rows}


async def mark_decisions_applied(conn: AsyncConnection, decided: Mapping[tuple[int, date], int]) -> None:
    """Mark decisions, by (symbol id, session), as applied."""
    if not decided:
        return
    await conn.execute(
        text("""
            UPDATE ingest.quarantine q
            SET decision = d.id,
                released_at = CASE WHEN d.decision = 'release' THEN coalesce(q.released_at, d.decided_at) ELSE q.released_at END,
                released_by = CASE WHEN d.decision = 'release' THEN coalesce(q.released_by, d.decided_by) ELSE q.released_by END
            FROM unnest(CAST(:symbols AS integer[]), CAST(:sessions AS date[]), CAST(:decisions AS bigint[]))
                     AS t (symbol_id, session, id)
            JOIN coordinator.price_decisions d ON d.id = t.id
            WHERE q.symbol_id = t.symbol_id AND q.session = t.session AND q.decision IS DISTINCT FROM d.id
        """),
        {
            "symbols": [id_ for id_, _ in decided],
            "sessions": [session for _, session in decided],
            "decisions": list(decided.values()),
        },
    )


async def insert_outliers(conn: AsyncConnection, jumps: Sequence[PriceOutlier]) -> None:
    for jump in jumps:  # a handful on the worst of days
        await conn.execute(
            text("""
                INSERT INTO ingest.quarantine AS q
                    (symbol_id, session, provider, return, sigma, second, second_return, released_at, released_by)
                VALUES (:symbol_id, :session, :provider, :jump, :sigma, :second, :second_return,
                        CASE WHEN :confirmed THEN clock_timestamp() END, CASE WHEN :confirmed THEN 'confirmed' END)
                ON CONFLICT (symbol_id, session) DO UPDATE
                SET provider = excluded.provider, return = excluded.return, second = excluded.second,
                    second_return = excluded.second_return, released_at = coalesce(q.released_at, excluded.released_at),
                    released_by = coalesce(q.released_by, excluded.released_by)
            """),
            jump._asdict(),
        )
