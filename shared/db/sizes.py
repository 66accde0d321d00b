"""How large portfolios are, for cutting work by what it costs. Every service's role may read the lots."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.work import Size


async def read(conn: AsyncConnection, portfolios: Collection[UUID]) -> dict[UUID, Size]:
    """Lots and symbols of the portfolios, all sessions taken together: an upper bound for each of them.

    Symbols come as hashes, since only their number counts; of two with one hash (rare), one is not counted.
    """
    rows = await conn.execute(
        text("""
            SELECT portfolio_id, count(*) AS lots,
                   array_agg(DISTINCT hashtext(CASE investment_class WHEN 'OPTIONS' THEN coalesce(underlying_symbol, symbol)
                                               ELSE symbol END)) AS symbols
            FROM coordinator.positions
            WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND deleted_at IS NULL GROUP BY portfolio_id
        """),
        {"portfolios": list(portfolios)},
    )
    return {row.portfolio_id: Size(row.lots, frozenset(row.symbols)) for row in rows}
