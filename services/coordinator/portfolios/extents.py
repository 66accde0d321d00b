"""SQL: how large a stored portfolio is."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.portfolios.limits import Extent


async def read(conn: AsyncConnection, portfolio: UUID, *, without: Collection[UUID] = ()) -> Extent:
    """How large the portfolio is, or would be without some of its lots."""
    row = (
        await conn.execute(
            text("""
                SELECT count(*) AS lots, min(entry_session) AS first, array_agg(DISTINCT symbol) AS symbols,
                       array_agg(DISTINCT underlying_symbol) FILTER (WHERE underlying_symbol IS NOT NULL) AS underlyings
                FROM coordinator.positions
                WHERE portfolio_id = :id AND deleted_at IS NULL AND id <> ALL (CAST(:without AS uuid[]))
            """),
            {"id": portfolio, "without": list(without)},
        )
    ).one()
    return Extent(row.lots, frozenset((*(row.symbols or ()), *(row.underlyings or ()))), row.first)
