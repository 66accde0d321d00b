"""Every value that a symbol's prices had, oldest first: what stands, and what it replaced."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import Invalid
from services.coordinator.results.symbols import symbol_id
from services.coordinator.results.values import UNKNOWN_CURSOR, to_json


async def page(
    conn: AsyncConnection,
    symbol: str,
    first: date | None,
    last: date | None,
    *,
    changed: bool,
    limit: int,
    cursor: str | None,
) -> dict[str, Any]:
    """Values by session, then by the instant they were written; `known_until` is null for the one that stands.

    changed : only sessions whose price was replaced at least once
    limit   : sessions of a page, however many values each had
    """
    identity, name = await symbol_id(conn, symbol)
    rows = await conn.execute(
        text("""
            WITH days AS (
                SELECT p.session FROM ingest.prices p
                WHERE p.symbol_id = :id AND p.session BETWEEN :first AND :last
                  AND (CAST(:after AS date) IS NULL OR p.session > :after)
                  AND (NOT CAST(:changed AS boolean) OR EXISTS (
                      SELECT 1 FROM ingest.prices_history h WHERE h.symbol_id = :id AND h.session = p.session))
                ORDER BY p.session LIMIT :limit
            )
            SELECT v.* FROM days d CROSS JOIN LATERAL (
                SELECT session, close, adj_close, total_return, basis, provider, fetched_at, change AS price_version,
                       known_from, CAST(NULL AS timestamptz) AS known_until
                FROM ingest.prices WHERE symbol_id = :id AND session = d.session
                UNION ALL
                SELECT session, close, adj_close, total_return, basis, provider, fetched_at, change, known_from, known_until
                FROM ingest.prices_history WHERE symbol_id = :id AND session = d.session
            ) v ORDER BY v.session, v.known_from, v.known_until NULLS LAST
        """),
        {
            "id": identity,
            "first": first or date.min,
            "last": last or date.max,
            "after": _parse(cursor),
            "changed": changed,
            "limit": limit + 1,
        },
    )
    items = [to_json(dict(row)) for row in rows.mappings()]
    sessions = list(dict.fromkeys(item["session"] for item in items))
    shown = set(sessions[:limit])
    return {
        "symbol": name,
        "items": [item for item in items if item["session"] in shown],
        "next": sessions[limit - 1] if len(sessions) > limit else None,
    }


async def find_replaced(conn: AsyncConnection, symbol: str, limit: int) -> list[dict[str, Any]]:
    """The values that were replaced last, each with what took its place: of a session that has several, one after the other.

    old, new : closes, or adjusted ones where the provider has no other; `new` is null where the session has no price any more
    """
    identity, _ = await symbol_id(conn, symbol)
    rows = await conn.execute(
        text("""
            WITH gone AS (
                SELECT session, coalesce(close, adj_close) AS old, known_from, known_until FROM ingest.prices_history
                WHERE symbol_id = :id ORDER BY known_until DESC, session DESC LIMIT :limit
            )
            SELECT g.session, g.old, n.value AS new, n.provider, g.known_until AS replaced_at FROM gone g
            LEFT JOIN LATERAL (
                SELECT coalesce(v.close, v.adj_close) AS value, v.provider FROM (
                    SELECT close, adj_close, provider, known_from FROM ingest.prices WHERE symbol_id = :id AND session = g.session
                    UNION ALL
                    SELECT close, adj_close, provider, known_from FROM ingest.prices_history
                    WHERE symbol_id = :id AND session = g.session
                ) v WHERE v.known_from >= g.known_until ORDER BY v.known_from LIMIT 1
            ) n ON true
            WHERE n.value IS DISTINCT FROM g.old ORDER BY g.known_until DESC, g.session DESC
        """),
        {"id": identity, "limit": limit},
    )
    return [to_json(dict(row)) for row in rows.mappings()]


def _parse(cursor: str | None) -> date | None:
    if cursor is None:
        return None
    try:
        return date.fromisoformat(cursor)
    except ValueError as error:
        raise Invalid(UNKNOWN_CURSOR, code="unknown_cursor") from error
