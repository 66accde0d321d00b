"""Yield curves as ingest stores them."""

from __future__ import annotations

from datetime import date, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.market.curve import CURVE_MOST_DAYS, Curve

# A curve this long after the last session may tell that one before it does not come.
AFTER = timedelta(days=7)


async def read(conn: AsyncConnection, first: date, last: date) -> tuple[Curve, ...]:
    """Curves that sessions of [first, last] may look at, ascending: from a month before the first on, and the one before those, which
    tells that curves are fetched here."""
    rows = await conn.execute(
        text(
            "SELECT date, tenors, yields FROM ingest.yields WHERE date <= :last AND date >= coalesce("
            "(SELECT max(date) FROM ingest.yields WHERE date < :first), :first) ORDER BY date"
        ),
        {"first": first - timedelta(days=CURVE_MOST_DAYS), "last": last + AFTER},
    )
    return tuple(Curve(day, tuple(tenors), tuple(yields)) for day, tenors, yields in rows)
