"""Yield curves as ingest stores them."""

from __future__ import annotations

from datetime import date, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.market.curve import CURVE_MOST_DAYS, Curve


async def read(conn: AsyncConnection, first: date, last: date) -> tuple[Curve, ...]:
    """Curves that sessions of [first, last] may look at, ascending: from a month before the first to the day before the last."""
    rows = await conn.execute(
        text("SELECT date, tenors, yields FROM ingest.yields WHERE date >= :first AND date < :last ORDER BY date"),
        {"first": first - timedelta(days=CURVE_MOST_DAYS), "last": last},
    )
    return tuple(Curve(day, tuple(tenors), tuple(yields)) for day, tenors, yields in rows)
