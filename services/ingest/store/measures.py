"""Reads for gauges."""

from __future__ import annotations

from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


async def newest_price(conn: AsyncConnection) -> date | None:
    """The newest session that any symbol has a price of; None without prices. One look into the index a symbol."""
    found: date | None = await conn.scalar(
        text("""
            SELECT max(newest.session)
            FROM ingest.symbols s
            CROSS JOIN LATERAL (
                SELECT p.session FROM ingest.prices p WHERE p.symbol_id = s.id ORDER BY p.session DESC LIMIT 1
            ) newest
        """)
    )
    return found
