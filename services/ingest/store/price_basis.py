"""What is stored, as far as a new answer is compared with it: some closes, and the actions."""

from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model.stored import Listed, StoredClose

# Enough to tell a moved basis from a corrected price, few enough for every question of a night.
SAMPLES = 12


async def stored_closes(conn: AsyncConnection, asks: Sequence[tuple[int, date, date]]) -> dict[int, list[StoredClose]]:
    """Per ask (symbol id, first, last), by its index: about `SAMPLES` stored closes of its range, the last one among them."""
    rows = await conn.execute(
        text("""
            SELECT a.n - 1, p.session, p.close, p.provider
            FROM unnest(CAST(:ids AS integer[]), CAST(:firsts AS date[]), CAST(:lasts AS date[])) WITH ORDINALITY
                AS a (id, first, last, n)
            CROSS JOIN LATERAL (
                SELECT session, close, provider, row_number() OVER (ORDER BY session) AS place, count(*) OVER () AS length
                FROM ingest.prices WHERE symbol_id = a.id AND session BETWEEN a.first AND a.last AND close IS NOT NULL
            ) p
            WHERE p.place = p.length OR (p.place - 1) % greatest(1, p.length / :most) = 0
            ORDER BY a.n, p.session
        """),
        {"ids": [a[0] for a in asks], "firsts": [a[1] for a in asks], "lasts": [a[2] for a in asks], "most": SAMPLES},
    )
    found: dict[int, list[StoredClose]] = {}
    for index, *sample in rows:
        found.setdefault(index, []).append(StoredClose(*sample))
    return found


async def unknown_actions(conn: AsyncConnection, listed: Sequence[Listed]) -> set[int]:
    """Ids of the symbols of which something is listed that is not stored so."""
    if not listed:
        return set()
    rows = await conn.execute(
        text("""
            SELECT DISTINCT l.id
            FROM unnest(CAST(:ids AS integer[]), CAST(:sessions AS date[]), CAST(:types AS text[]), CAST(:values AS float8[]))
                AS l (id, ex_session, type, value)
            LEFT JOIN ingest.actions a ON a.symbol_id = l.id AND a.ex_session = l.ex_session AND a.type = l.type
            WHERE a.symbol_id IS NULL OR abs(a.value - l.value) > 1e-6 * a.value
        """),
        {
            "ids": [row.symbol_id for row in listed],
            "sessions": [row.ex_session for row in listed],
            "types": [row.type for row in listed],
            "values": [row.value for row in listed],
        },
    )
    return {row[0] for row in rows}


async def withdrawn_actions(
    conn: AsyncConnection, edges: Sequence[tuple[int, date, str]], listed: Sequence[Listed]
) -> set[int]:
    """Ids of the symbols of which an action on the session, told by the provider of an edge (symbol id, session, provider), is
    no longer among what is listed."""
    if not edges:
        return set()
    rows = await conn.execute(
        text("""
            SELECT DISTINCT a.symbol_id
            FROM unnest(CAST(:ids AS integer[]), CAST(:sessions AS date[]), CAST(:providers AS text[])) AS e (id, session, provider)
            JOIN ingest.actions a ON a.symbol_id = e.id AND a.ex_session = e.session AND a.provider = e.provider
            WHERE NOT EXISTS (
                SELECT 1 FROM unnest(CAST(:l_ids AS integer[]), CAST(:l_sessions AS date[]), CAST(:l_types AS text[]))
                    AS l (id, ex_session, type)
                WHERE l.id = a.symbol_id AND l.ex_session = a.ex_session AND l.type = a.type)
        """),
        {
            "ids": [edge[0] for edge in edges],
            "sessions": [edge[1] for edge in edges],
            "providers": [edge[2] for edge in edges],
            "l_ids": [row.symbol_id for row in listed],
            "l_sessions": [row.ex_session for row in listed],
            "l_types": [row.type for row in listed],
        },
    )
    return {row[0] for row in rows}


async def unadjusted_stored_splits(conn: AsyncConnection, ids: Sequence[int], within: timedelta) -> set[int]:
    """Ids of the symbols with a recent split over whose day the stored return is nearer to the split's own fall than to none.

    recent : no further before the end of what is known; a true fall of that size costs one more question a night for so long
    """
    rows = await conn.execute(
        text("""
            SELECT DISTINCT a.symbol_id
            FROM ingest.actions a
            JOIN ingest.symbols s ON s.id = a.symbol_id
            JOIN ingest.prices p ON p.symbol_id = a.symbol_id AND p.session = a.ex_session
            WHERE a.symbol_id = ANY (CAST(:ids AS integer[])) AND a.type = 'split' AND a.value > 0
                AND a.ex_session > s.covered_to - CAST(:days AS integer) AND p.total_return > -1
                AND abs(ln(1 + p.total_return) + ln(a.value)) < abs(ln(1 + p.total_return))
        """),
        {"ids": list(ids), "days": within.days},
    )
    return {row[0] for row in rows}


async def stored_splits(conn: AsyncConnection, ids: Sequence[int]) -> dict[int, dict[date, float]]:
    """Stored splits by symbol id and ex-session."""
    rows = await conn.execute(
        text("""
            SELECT symbol_id, ex_session, value FROM ingest.actions
            WHERE type = 'split' AND symbol_id = ANY (CAST(:ids AS integer[]))
        """),
        {"ids": list(ids)},
    )
    found: dict[int, dict[date, float]] = {}
    for id_, session, value in rows:
        found.setdefault(id_, {})[session] = value
    return found
