"""Prices that were held back, what became of them, and an operator's word about one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import Invalid, NotFound
from services.coordinator.results.symbols import symbol_id
from services.coordinator.results.values import UNKNOWN_CURSOR, to_json

STATES = ("held", "rejected", "released", "corrected")
# A price is there: nothing is to be decided any more.
SETTLED = ("released", "corrected")

_JUMPS = """
    SELECT s.symbol, q.session, q.provider, q.return, q.sigma, q.second, q.second_return, q.found_at,
           CASE WHEN q.released_at IS NOT NULL OR d.decision = 'release' THEN 'released'
                WHEN p.symbol_id IS NOT NULL THEN 'corrected'
                WHEN d.decision = 'reject' THEN 'rejected' ELSE 'held' END AS state,
           p.symbol_id IS NOT NULL AS priced,
           CASE WHEN q.released_by = 'confirmed' THEN coalesce(q.second, q.provider) ELSE d.decided_by END AS decided_by,
           CASE WHEN q.released_by = 'confirmed' THEN q.released_at ELSE d.decided_at END AS decided_at,
           CASE WHEN q.released_by = 'confirmed' THEN 'confirmed' ELSE d.reason END AS reason,
           g.retry_at
    FROM ingest.quarantine q JOIN ingest.symbols s ON s.id = q.symbol_id
    LEFT JOIN ingest.prices p ON p.symbol_id = q.symbol_id AND p.session = q.session
    LEFT JOIN ingest.gaps g ON g.symbol_id = q.symbol_id AND q.session BETWEEN g.first AND g.last
    LEFT JOIN LATERAL (
        SELECT decision, reason, decided_by, decided_at FROM coordinator.price_decisions
        WHERE symbol = s.symbol AND session = q.session ORDER BY id DESC LIMIT 1
    ) d ON true
"""
"""held: waits for a second source. rejected: left out for good. released: believed. corrected: the provider told another price."""


async def page(conn: AsyncConnection, *, state: str | None, limit: int, cursor: str | None) -> dict[str, Any]:
    """Newest session first; without `state` what has no price: held and rejected.

    cursor : `next` of the page before
    """
    day, after = _parse(cursor)
    rows = await conn.execute(
        text(f"""
            SELECT * FROM ({_JUMPS}) j
            WHERE state = ANY (CAST(:states AS text[]))
              AND (CAST(:day AS date) IS NULL OR session < :day OR session = :day AND symbol > :after)
            ORDER BY session DESC, symbol LIMIT :limit
        """),
        {
            "states": [state] if state else [one for one in STATES if one not in SETTLED],
            "day": day,
            "after": after,
            "limit": limit + 1,
        },
    )
    items = [to_json(dict(row)) for row in rows.mappings()]
    more = len(items) > limit
    items = items[:limit]
    return {"items": items, "next": f"{items[-1]['session']}~{items[-1]['symbol']}" if more else None}


async def find_held_price(conn: AsyncConnection, symbol: str, session: date) -> dict[str, Any]:
    identity, name = await symbol_id(conn, symbol)
    row = (
        (
            await conn.execute(
                text(f"SELECT * FROM ({_JUMPS} WHERE q.symbol_id = :id AND q.session = :session) j"),
                {"id": identity, "session": session},
            )
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise NotFound(
            f"No price of {name} on {session} was held back. `leadline symbols quarantined` lists those that are."
        )
    return dict(row)


async def find_between(conn: AsyncConnection, symbols: Sequence[str], first: date, last: date) -> Sequence[RowMapping]:
    """What was decided about jumps of the symbols within [first, last], whoever decided."""
    rows = await conn.execute(
        text(f"""
            SELECT * FROM ({_JUMPS} WHERE s.symbol = ANY (CAST(:symbols AS text[])) AND q.session BETWEEN :first AND :last) j
            WHERE decided_at IS NOT NULL ORDER BY symbol, session
        """),
        {"symbols": list(symbols), "first": first, "last": last},
    )
    return rows.mappings().all()


def _parse(cursor: str | None) -> tuple[date | None, str]:
    if cursor is None:
        return None, ""
    day, _, symbol = cursor.partition("~")
    try:
        return date.fromisoformat(day), symbol if symbol.isprintable() else ""
    except ValueError as error:
        raise Invalid(UNKNOWN_CURSOR, code="unknown_cursor") from error
