"""What funds hold, as users say it: the lists that count on a session."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.look_through import Told


async def current_on(conn: AsyncConnection, symbols: Collection[str], session: date) -> dict[str, Told]:
    """Of each of the symbols that has one the newest list that is dated on or before the session."""
    rows = await conn.execute(
        text("""
            SELECT DISTINCT ON (symbol) symbol, date, holdings, weights, sectors FROM coordinator.fund_holdings
            WHERE symbol = ANY (CAST(:symbols AS text[])) AND date <= :session ORDER BY symbol, date DESC
        """),
        {"symbols": sorted(symbols), "session": session},
    )
    return {
        row.symbol: Told(tuple(row.holdings), np.array(row.weights, dtype=np.float64), tuple(row.sectors), row.date)
        for row in rows
    }
