"""What is stored, as far as a new answer is compared with it: some closes, and the actions."""

from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model.stored import StoredAction, StoredClose

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


async def stored_actions(conn: AsyncConnection, ids: Sequence[int]) -> dict[int, list[StoredAction]]:
    """Stored splits and dividends by symbol id, ascending."""
    rows = await conn.execute(
        text("""
            SELECT symbol_id, ex_session, type, value, provider FROM ingest.actions
            WHERE symbol_id = ANY (CAST(:ids AS integer[])) ORDER BY symbol_id, ex_session, type
        """),
        {"ids": list(ids)},
    )
    found: dict[int, list[StoredAction]] = {}
    for id_, *action in rows:
        found.setdefault(id_, []).append(StoredAction(*action))
    return found


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
