"""SQL of `coordinator.fund_holdings`."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.reference.funds.rules import FundHoldings

_COLUMNS = "symbol, date, holdings, weights, sectors"


async def find_loaded(conn: AsyncConnection, symbol: str | None) -> list[tuple[FundHoldings, datetime]]:
    """With when each was loaded: of a fund or of all; by symbol, newest date first."""
    rows = await conn.execute(
        text(f"""
            SELECT {_COLUMNS}, loaded_at FROM coordinator.fund_holdings
            WHERE CAST(:symbol AS text) IS NULL OR symbol = :symbol ORDER BY symbol, date DESC
        """),
        {"symbol": symbol},
    )
    return [(_of(row), row.loaded_at) for row in rows]


async def save(conn: AsyncConnection, of: FundHoldings) -> tuple[datetime, bool]:
    """(when it was loaded, whether anything changed): in place of what stands for the fund and date."""
    known = await conn.execute(
        text(f"SELECT {_COLUMNS}, loaded_at FROM coordinator.fund_holdings WHERE symbol = :symbol AND date = :date"),
        {"symbol": of.symbol, "date": of.date},
    )
    row = known.one_or_none()
    if row is not None and _of(row) == of:
        return row.loaded_at, False
    loaded = await conn.scalar(
        text("""
            INSERT INTO coordinator.fund_holdings (symbol, date, holdings, weights, sectors)
            VALUES (:symbol, :date, :holdings, :weights, :sectors)
            ON CONFLICT (symbol, date) DO UPDATE SET holdings = excluded.holdings, weights = excluded.weights,
                sectors = excluded.sectors, loaded_at = clock_timestamp()
            RETURNING loaded_at
        """),
        {
            "symbol": of.symbol,
            "date": of.date,
            "holdings": list(of.holdings),
            "weights": list(of.weights),
            "sectors": list(of.sectors),
        },
    )
    assert isinstance(loaded, datetime)
    return loaded, True


async def remove(conn: AsyncConnection, symbol: str, day: date) -> bool:
    """False where there is none."""
    result = await conn.execute(
        text("DELETE FROM coordinator.fund_holdings WHERE symbol = :symbol AND date = :date"),
        {"symbol": symbol, "date": day},
    )
    return bool(result.rowcount)


def _of(row: Row[tuple[object, ...]]) -> FundHoldings:
    return FundHoldings(row.symbol, row.date, tuple(row.holdings), tuple(row.weights), tuple(row.sectors))
