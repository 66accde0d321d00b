"""SQL of the returns of replayed windows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

Day = tuple[date, float | None, float | None]
"""Session, total return, adjusted close; None unknown."""


async def read(conn: AsyncConnection, symbols: Sequence[str], first: date, last: date) -> dict[str, list[Day]]:
    """By symbol that is known, what is stored of the sessions in [first, last]."""
    rows = await conn.execute(
        text("""
            SELECT s.symbol, p.session, p.total_return, p.adj_close FROM ingest.symbols s
            JOIN ingest.prices p ON p.symbol_id = s.id AND p.session BETWEEN :first AND :last
            WHERE s.symbol = ANY (CAST(:symbols AS text[])) ORDER BY s.symbol, p.session
        """),
        {"symbols": list(symbols), "first": first, "last": last},
    )
    found: dict[str, list[Day]] = {}
    for symbol, session, total_return, adj_close in rows:
        known = [None if value is None else float(value) for value in (total_return, adj_close)]
        found.setdefault(symbol, []).append((session, known[0], known[1]))
    return found
