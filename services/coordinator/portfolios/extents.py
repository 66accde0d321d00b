"""SQL: how large a stored portfolio is."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.portfolios.limits import Extent


async def read(conn: AsyncConnection, portfolio: UUID, *, without: UUID | None = None) -> Extent:
    """How large the portfolio is, or would be without one of its lots."""
    row = (
        await conn.execute(
            text("""
                SELECT count(*) AS lots, min(entry_session) AS first, array_agg(DISTINCT symbol) AS symbols,
                       array_agg(DISTINCT underlying_symbol) FILTER (WHERE underlying_symbol IS NOT NULL) AS underlyings
                FROM coordinator.positions
                WHERE portfolio_id = :id AND deleted_at IS NULL AND (CAST(:without AS uuid) IS NULL OR id <> :without)
            """),
            {"id": portfolio, "without": without},
        )
    ).one()
    return Extent(row.lots, frozenset((*(row.symbols or ()), *(row.underlyings or ()))), row.first)
