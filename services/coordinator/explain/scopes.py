"""Which sessions and symbols enter a figure of a portfolio: from what was held, not from what is held now."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.explain.formulas.model import Formula, Source, Span
from services.coordinator.explain.sources import Scope
from services.coordinator.results.figures import Name
from shared.market.calendar import calendar
from shared.market.registry import SECTOR_FUNDS
from shared.market.symbols import parse_occ

_DAY = timedelta(days=1)
# Answers whose windows are held through: their symbols are those of the whole window. Risk asks what the holdings of its own
# session did before, held or not.
_HELD = ("snapshots", "positions", "scorecard")


async def scope_of(
    conn: AsyncConnection, portfolio: UUID, session: date, formula: Formula, name: Name, figures: Mapping[Name, Any]
) -> Scope:
    """The scope of one figure of one session."""
    began = await conn.scalar(
        text("SELECT first_session FROM coordinator.portfolios WHERE id = :id"), {"id": portfolio}
    )
    first, after = _window(formula, session, min(began or session, session))
    lot = name[1] if formula.own and name[0] == "positions" else None
    if name[0] in _HELD or isinstance(formula.window, Span):
        reach: Mapping[str, tuple[date, date]] = {}
        if Source.PRICES in formula.sources:
            reach, symbols = await _price_spans(conn, portfolio, first, session, formula, lot)
        else:
            # Which prices enter is asked of every lot of every session: not where none does.
            symbols = await _symbols_of_lots(conn, portfolio, first, session, formula, lot)
    else:
        symbols = {_subject(name)} if formula.own else await _holdings(conn, portfolio, session)
        symbols |= await _underlyings(conn, portfolio, symbols)
        priced_too = {fund} if name[0] == "sector_exposures" and (fund := SECTOR_FUNDS.get(name[1])) else set()
        reach = dict.fromkeys(sorted(symbols | priced_too), (first, session))
        if formula.window == 1:
            # A value may rest on a price from before.
            priced, _ = await _price_spans(conn, portfolio, session, session, formula, None)
            reach |= {symbol: of for symbol, of in priced.items() if symbol in reach}
    if lot is not None:
        symbols = {figures["positions", lot, "symbol"]}
    return Scope(
        session=session,
        first=first,
        after=after,
        traded=began or session,
        reach=reach,
        symbols=sorted(symbols),
        portfolio=portfolio,
        lot=lot,
        scenario=name[1] if name[0] == "stress" else None,
        proxies=formula.proxies,
    )


def _window(formula: Formula, session: date, began: date) -> tuple[date, date]:
    """(first session of prices and snapshots, the day after which flows enter)."""
    days, window = calendar(), formula.window
    if isinstance(window, int):
        return days.back(session, window - 1), days.back(session, 1)
    if window is Span.CHAIN:
        return began, began - _DAY
    begins = session.replace(day=1) if window is Span.MONTH else session.replace(month=1, day=1)
    base = days.back(days.on_or_after(begins), 1)
    return max(base, began), base


def _subject(name: Name) -> str:
    """The symbol that a figure of its own is about: it stands behind the list's name."""
    return name[3] if name[:3] == ("risk", "decomposition", "excluded") else name[2]


async def _price_spans(
    conn: AsyncConnection, portfolio: UUID, first: date, last: date, formula: Formula, lot: str | None
) -> tuple[dict[str, tuple[date, date]], set[str]]:
    """By symbol the sessions whose prices enter what was held within [first, last], and all symbols of lots that enter.

    A lot that is carried rests on an older price, and a chained one on the last close before. One that was left on the day it was
    entered, or is closed, has no price, and is in what was realised all the same.
    """
    rows = await conn.execute(
        text("""
            SELECT l.symbol, max(h.session) FILTER (WHERE l.quantity <> 0) AS last,
                   min(least(h.session, l.price_session, CASE l.price_basis WHEN 'chained' THEN (
                       SELECT max(p.session) FROM ingest.symbols s JOIN ingest.prices p ON p.symbol_id = s.id
                       WHERE s.symbol = l.symbol AND p.session < h.session AND p.close IS NOT NULL) END))
                       FILTER (WHERE l.quantity <> 0) AS first
            FROM snapshots.holdings h
            CROSS JOIN LATERAL unnest(h.position_ids, h.symbols, h.quantity, h.price_session, h.price_basis, h.daily_pnl)
                AS l (position_id, symbol, quantity, price_session, price_basis, daily_pnl)
            WHERE h.portfolio_id = :id AND h.session BETWEEN :first AND :last
              AND (CAST(:lot AS text) IS NULL OR l.position_id = CAST(:lot AS uuid))
              AND (:all OR l.quantity <> 0 OR l.daily_pnl <> 0)
            GROUP BY l.symbol ORDER BY l.symbol
        """),
        {
            "id": portfolio,
            "first": first,
            "last": last,
            "lot": lot,
            "all": lot is not None or isinstance(formula.window, Span),
        },
    )
    found = rows.all()
    return {row.symbol: (row.first, row.last) for row in found if row.first is not None}, {row.symbol for row in found}


async def _symbols_of_lots(
    conn: AsyncConnection, portfolio: UUID, first: date, last: date, formula: Formula, lot: str | None
) -> set[str]:
    """The second of `_price_spans` alone."""
    if lot is not None:
        # The caller knows it.
        return set()
    if isinstance(formula.window, Span):
        # One session lists mostly what the next one does: equal lists are looked through once.
        statement = """
            SELECT DISTINCT l.symbol FROM (
                SELECT DISTINCT symbols FROM snapshots.holdings WHERE portfolio_id = :id AND session BETWEEN :first AND :last
            ) h CROSS JOIN LATERAL unnest(h.symbols) AS l (symbol)
        """
    else:
        statement = """
            SELECT DISTINCT l.symbol FROM snapshots.holdings h
            CROSS JOIN LATERAL unnest(h.symbols, h.quantity, h.daily_pnl) AS l (symbol, quantity, daily_pnl)
            WHERE h.portfolio_id = :id AND h.session BETWEEN :first AND :last AND (l.quantity <> 0 OR l.daily_pnl <> 0)
        """
    return set(await conn.scalars(text(statement), {"id": portfolio, "first": first, "last": last}))


async def _holdings(conn: AsyncConnection, portfolio: UUID, session: date) -> set[str]:
    """What is held on the session; a closed lot stands in its row with quantity 0."""
    rows = await conn.scalars(
        text("""
            SELECT DISTINCT l.symbol FROM snapshots.holdings h
            CROSS JOIN LATERAL unnest(h.symbols, h.quantity) AS l (symbol, quantity)
            WHERE h.portfolio_id = :id AND h.session = :session AND l.quantity <> 0
        """),
        {"id": portfolio, "session": session},
    )
    return set(rows)


async def _underlyings(conn: AsyncConnection, portfolio: UUID, symbols: Collection[str]) -> set[str]:
    """What options among the symbols stand on: as stated, else as the contract names it."""
    contracts = {symbol: contract.underlying for symbol in symbols if (contract := parse_occ(symbol)) is not None}
    rows = await conn.execute(
        text("""
            SELECT symbol, min(underlying_symbol) AS underlying FROM coordinator.positions
            WHERE portfolio_id = :id AND deleted_at IS NULL AND investment_class = 'OPTIONS'
              AND symbol = ANY (CAST(:symbols AS text[])) AND underlying_symbol IS NOT NULL
            GROUP BY symbol
        """),
        {"id": portfolio, "symbols": list(symbols)},
    )
    return set((contracts | {row.symbol: row.underlying for row in rows}).values())
