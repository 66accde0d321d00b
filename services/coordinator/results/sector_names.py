"""Which sector a symbol is in, as known on a session: a fund is `ETF`, else what vendors said by then, else what the user says."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.market.sectors import ETF, UNCLASSIFIED, gics
from shared.market.symbols import parse_occ

FUND_TYPES = frozenset({"etf", "etn", "fund", "mutual_fund", "mutualfund"})
# Not sold on an exchange: shares are redeemed at the day's net asset value.
OPEN_END_TYPES = frozenset({"fund", "mutual_fund", "mutualfund"})


async def asset_types(
    conn: AsyncConnection, symbols: Collection[str], session: date
) -> dict[str, tuple[str, str | None]]:
    """(asset type in lower case or empty, the vendor's sector) of each symbol that anything is known of by the session."""
    rows = await conn.execute(
        text("""
            SELECT s.symbol,
                   (array_agg(lower(p.asset_type) ORDER BY p.as_of DESC, p.provider) FILTER (WHERE p.asset_type IS NOT NULL))[1] AS kind,
                   (array_agg(p.sector ORDER BY p.as_of DESC, p.provider) FILTER (WHERE p.sector IS NOT NULL))[1] AS sector
            FROM ingest.symbols s JOIN ingest.symbol_profiles p ON p.symbol_id = s.id
            WHERE s.symbol = ANY (CAST(:symbols AS text[])) AND p.as_of <= :session GROUP BY s.symbol
        """),
        {"symbols": sorted(symbols), "session": session},
    )
    return {row.symbol: (row.kind or "", row.sector) for row in rows}


async def asset_types_until(
    conn: AsyncConnection, symbols: Collection[str], last: date
) -> dict[str, list[tuple[date, str]]]:
    """By symbol (since when, asset type in lower case), ascending; of one day the first provider by name comes last."""
    rows = await conn.execute(
        text("""
            SELECT s.symbol, p.as_of, lower(p.asset_type) AS kind FROM ingest.symbols s
            JOIN ingest.symbol_profiles p ON p.symbol_id = s.id
            WHERE s.symbol = ANY (CAST(:symbols AS text[])) AND p.as_of <= :last AND p.asset_type IS NOT NULL
            ORDER BY s.symbol, p.as_of, p.provider DESC
        """),
        {"symbols": sorted(symbols), "last": last},
    )
    found: dict[str, list[tuple[date, str]]] = {}
    for row in rows:
        found.setdefault(row.symbol, []).append((row.as_of, row.kind))
    return found


async def investment_classes(
    conn: AsyncConnection, portfolio: UUID, symbols: Collection[str], session: date
) -> dict[str, tuple[str, str | None, str | None]]:
    """(class, sector, underlying) that the user states of each symbol: of the lots held on the session, else of those held before; the
    first sector by name, as risk has it."""
    rows = await conn.execute(
        text("""
            SELECT DISTINCT ON (symbol) symbol, investment_class, sector, underlying_symbol FROM coordinator.positions
            WHERE portfolio_id = :id AND symbol = ANY (CAST(:symbols AS text[])) AND entry_date <= :session
            ORDER BY symbol, deleted_at IS NOT NULL, exit_date IS NOT NULL AND exit_date <= :session, sector NULLS LAST,
                     entry_date DESC, id
        """),
        {"id": portfolio, "symbols": sorted(symbols), "session": session},
    )
    return {row.symbol: (row.investment_class, row.sector, row.underlying_symbol) for row in rows}


async def find_sectors(
    conn: AsyncConnection, portfolio: UUID, symbols: Collection[str], session: date
) -> dict[str, str]:
    """The sector of each symbol; an option is in its underlying's."""
    stated = await investment_classes(conn, portfolio, symbols, session)
    roots = {}
    for symbol in symbols:
        contract = parse_occ(symbol)
        underlying = stated.get(symbol, ("", None, None))[2]
        roots[symbol] = underlying or (contract.underlying if contract is not None else symbol)
    known = await asset_types(conn, set(roots.values()), session)
    found = {}
    for symbol, root in roots.items():
        kind, said, _ = stated.get(symbol, ("", None, None))
        asset_type, vendors = known.get(root, ("", None))
        if kind == "PRIVATE":
            found[symbol] = gics(said) or UNCLASSIFIED
        else:
            found[symbol] = ETF if asset_type in FUND_TYPES else gics(vendors) or gics(said) or UNCLASSIFIED
    return found


async def changes(
    conn: AsyncConnection, portfolio: UUID, symbols: Collection[str], roots: Collection[str], last: date
) -> list[date]:
    """The days up to `last`, ascending, from which on something else may be known of the names behind these symbols: lists of what funds
    hold, profiles, lots of the portfolio that come or go."""
    days = await conn.scalars(
        text("""
            WITH lists AS (SELECT date, holdings FROM coordinator.fund_holdings WHERE symbol = ANY (CAST(:roots AS text[]))),
                 names AS (SELECT unnest(CAST(:roots AS text[])) AS symbol UNION SELECT unnest(holdings) FROM lists),
                 days AS (
                     SELECT date AS day FROM lists
                     UNION SELECT p.as_of FROM names n JOIN ingest.symbols s ON s.symbol = n.symbol
                         JOIN ingest.symbol_profiles p ON p.symbol_id = s.id
                     UNION SELECT entry_date FROM coordinator.positions WHERE portfolio_id = :id AND symbol = ANY (CAST(:symbols AS text[]))
                     UNION SELECT exit_date FROM coordinator.positions WHERE portfolio_id = :id AND symbol = ANY (CAST(:symbols AS text[])))
            SELECT day FROM days WHERE day <= :last ORDER BY day
        """),
        {"id": portfolio, "symbols": sorted(symbols), "roots": sorted(roots), "last": last},
    )
    return list(days)
