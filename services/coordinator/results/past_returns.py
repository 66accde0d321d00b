"""Past returns of a book's holdings, filled as stored risk fills them, and the facts that takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.what_if import Series, fill
from services.coordinator.results import history
from services.coordinator.results.book import Book, Holding
from shared.arrays import FloatVector
from shared.market.calendar import calendar
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


async def of_holdings(
    conn: AsyncConnection, of: Book, holdings: Sequence[Holding], ids: dict[str, int], shrunk: dict[str, float]
) -> Series:
    """Of the holdings, the book's first; a missing one filled by `shrunk` times the market's. ids : of their roots and the market"""
    days = calendar()
    sessions = np.array(days.between(days.back(of.session, LOOKBACK - 1), of.session), dtype="datetime64[D]")
    names = list(ids)
    rows = await history.of_prices(conn, "total_return", list(ids.values()), sessions)
    stored = dict(zip(names, rows, strict=True))
    nothing = np.full(len(sessions), np.nan)
    own = np.array([np.zeros(len(sessions)) if h.cash else stored.get(h.root, nothing) for h in holdings])
    still = np.array([h.kind is SymbolKind.PRIVATE for h in holdings], dtype=np.bool_)
    beta = np.array([shrunk.get(h.root, np.nan) for h in holdings], dtype=np.float64)
    market = nothing if of.proxies[0] is None else stored.get(of.proxies[0], nothing)
    series = fill(own.reshape(len(holdings), len(sessions)), market, beta, still)
    old = np.zeros(len(holdings), dtype=np.bool_)
    old[: len(of.symbols)] = of.old
    return Series(series.filled, series.real & ~old[:, None], series.valid)
