"""Past returns of a book's holdings, filled as stored risk fills them, and the facts that takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.what_if import Series, fill
from services.coordinator.results import history
from services.coordinator.results.book import Book, Holding
from shared.arrays import BoolMatrix, FloatVector
from shared.market.registry import LOOKBACK
from shared.market.symbols import SymbolKind


async def facts(
    conn: AsyncConnection, ids: dict[str, int], session: date
) -> tuple[dict[str, float], dict[str, FloatVector]]:
    """(shrunk market beta, joint betas) by symbol, of those that have facts of the session."""
    rows = await conn.execute(
        text("""
            SELECT symbol_id, market_shrunk, joint FROM factors.exposures
            WHERE symbol_id = ANY (CAST(:ids AS int[])) AND session = :session
        """),
        {"ids": list(ids.values()), "session": session},
    )
    names = {identity: symbol for symbol, identity in ids.items()}
    shrunk, joint = {}, {}
    for identity, beta, values in rows:
        shrunk[names[identity]] = np.nan if beta is None else float(beta)
        joint[names[identity]] = np.array(values, dtype=np.float64)
    return shrunk, joint


async def shrunk_betas(
    conn: AsyncConnection, ids: dict[str, int], first: date, last: date
) -> dict[date, dict[str, float]]:
    """Shrunk market betas by session of [first, last] and symbol, where there are facts."""
    rows = await conn.execute(
        text("""
            SELECT session, symbol_id, market_shrunk FROM factors.exposures
            WHERE symbol_id = ANY (CAST(:ids AS int[])) AND session BETWEEN :first AND :last
        """),
        {"ids": list(ids.values()), "first": first, "last": last},
    )
    names = {identity: symbol for symbol, identity in ids.items()}
    found: dict[date, dict[str, float]] = {}
    for session, identity, beta in rows:
        found.setdefault(session, {})[names[identity]] = np.nan if beta is None else float(beta)
    return found


async def of_holdings(
    conn: AsyncConnection, of: Book, holdings: Sequence[Holding], ids: dict[str, int], shrunk: dict[str, float]
) -> Series:
    """Of the holdings, the book's first; a missing one filled by `shrunk` times the market's. ids : of their roots and the market"""
    sessions = history.window(LOOKBACK, of.session, of.session)
    names = list(ids)
    rows = await history.of_prices(conn, "total_return", list(ids.values()), sessions)
    old = np.zeros(len(holdings), dtype=np.bool_)
    old[: len(of.symbols)] = of.old
    return lay_out(holdings, dict(zip(names, rows, strict=True)), of.proxies[0], shrunk, old)


def lay_out(
    holdings: Sequence[Holding],
    stored: Mapping[str, FloatVector],
    market: str | None,
    shrunk: Mapping[str, float],
    old: BoolMatrix,
) -> Series:
    """stored : (T,) returns of the roots and the market, NaN where missing. old (K,) : at a price that is no evidence any more"""
    length = len(next(iter(stored.values()))) if stored else LOOKBACK
    nothing = np.full(length, np.nan)
    own = np.array([np.zeros(length) if h.cash else stored.get(h.root, nothing) for h in holdings])
    still = np.array([h.kind is SymbolKind.PRIVATE for h in holdings], dtype=np.bool_)
    beta = np.array([shrunk.get(h.root, np.nan) for h in holdings], dtype=np.float64)
    returns = nothing if market is None else stored.get(market, nothing)
    series = fill(own.reshape(len(holdings), length), returns, beta, still)
    return Series(series.filled, series.real & ~old[:, None], series.valid)
