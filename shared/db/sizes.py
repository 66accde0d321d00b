"""How large portfolios are, for cutting work by what it costs. Every service's role may read the lots."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.statements import statement
from shared.work import Phase, Size

# A matrix over the holdings reads a year of prices before the first session.
_LOOKBACK = timedelta(days=400)


async def read(
    conn: AsyncConnection,
    phase: Phase,
    portfolios: Sequence[UUID],
    first: date,
    last: date,
    *,
    all_priced: bool = False,
) -> dict[UUID, Size]:
    """Lots and symbols of portfolios, all sessions taken together: an upper bound for each of them.

    Symbols come as hashes, since only their number counts; of two with one hash (rare), one is not counted. How many of them have
    a price about the sessions is looked for in the risk phase alone, where pairs of those are the cost.

    all_priced : taken to have one without a look, which is an upper bound again
    """
    rows = await conn.execute(
        # Each symbol's prices are looked for once, whoever holds it: a thousand portfolios hold five hundred symbols.
        statement("""
            WITH held AS MATERIALIZED (
                SELECT portfolio_id, count(*) AS lots, CASE investment_class WHEN 'OPTIONS'
                           THEN coalesce(underlying_symbol, symbol) ELSE symbol END AS symbol
                FROM coordinator.positions
                WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND deleted_at IS NULL GROUP BY 1, 3
            ), priced AS MATERIALIZED (
                SELECT x.symbol FROM (SELECT DISTINCT symbol FROM held WHERE CAST(:wanted AS boolean)) x
                WHERE EXISTS (SELECT 1 FROM ingest.symbols s JOIN ingest.prices p ON p.symbol_id = s.id
                              WHERE s.symbol = x.symbol AND p.session BETWEEN CAST(:first AS date) AND CAST(:last AS date))
            )
            SELECT h.portfolio_id, CAST(sum(h.lots) AS bigint) AS lots, array_agg(hashtext(h.symbol)) AS symbols,
                   count(p.symbol) AS priced
            FROM held h LEFT JOIN priced p ON p.symbol = h.symbol
            GROUP BY h.portfolio_id
        """),
        {
            "portfolios": list(portfolios),
            "wanted": phase is Phase.RISK and not all_priced,
            "first": first - _LOOKBACK,
            "last": last,
        },
    )
    found = {row.portfolio_id: Size(row.lots, frozenset(row.symbols), row.priced) for row in rows}
    if all_priced:
        return {portfolio: size._replace(priced=len(size.symbols)) for portfolio, size in found.items()}
    return found
