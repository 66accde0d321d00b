"""How long a session's holdings take to sell, from stored volumes."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.liquidity import HORIZONS, daily_volume, days_to_sell, profile
from services.coordinator.results import book, history, sector_names
from services.coordinator.results.book import Book
from services.coordinator.results.reasons import documents
from services.coordinator.results.sector_names import OPEN_END_TYPES
from services.coordinator.results.values import to_json
from shared.arrays import DateVector, FloatMatrix
from shared.market.calendar import calendar
from shared.market.reasons import ReasonCode
from shared.market.registry import ADV_SHARE, ADV_WINDOW
from shared.market.symbols import SymbolKind
from shared.work import Phase


async def read(
    conn: AsyncConnection, portfolio: UUID, session: date | None, share: float = ADV_SHARE
) -> dict[str, Any]:
    """The answer. share : of the mean daily volume that is sold a session"""
    of = await book.read(conn, portfolio, session, phase=Phase.SNAPSHOTS)
    days = calendar()
    sessions = np.array(days.between(days.back(of.session, ADV_WINDOW - 1), of.session), dtype="datetime64[D]")
    ids = await history.known(conn, of.symbols)
    known = [symbol for symbol in of.symbols if symbol in ids]
    volumes = np.full((len(of.symbols), len(sessions)), np.nan)
    splits = np.ones_like(volumes)
    if known:
        rows = [of.symbols.index(symbol) for symbol in known]
        volumes[rows] = await history.of_prices(conn, "volume", [ids[symbol] for symbol in known], sessions)
        splits[rows] = await _later_splits(conn, [ids[symbol] for symbol in known], sessions)
    types = await sector_names.asset_types(conn, of.symbols, of.session)
    open_end = {symbol for symbol, (kind, _) in types.items() if kind in OPEN_END_TYPES}
    return await asyncio.to_thread(_answer, of, volumes, splits, open_end, share)


async def _later_splits(conn: AsyncConnection, ids: list[int], sessions: DateVector) -> FloatMatrix:
    """(n, T) new shares per old of all splits after each session, up to the last one."""
    found = np.ones((len(ids), len(sessions)))
    rows = await conn.execute(
        text("""
            SELECT symbol_id, ex_session, value FROM ingest.actions
            WHERE symbol_id = ANY (CAST(:ids AS int[])) AND type = 'split' AND ex_session > :first AND ex_session <= :last
        """),
        {"ids": ids, "first": sessions[0].astype(date), "last": sessions[-1].astype(date)},
    )
    for identity, ex_session, value in rows:
        found[ids.index(identity), sessions < np.datetime64(ex_session, "D")] *= value
    return found


def _answer(of: Book, volumes: FloatMatrix, splits: FloatMatrix, open_end: set[str], share: float) -> dict[str, Any]:
    volume = daily_volume(volumes, splits)
    reasons: list[str | None] = []
    for at, (symbol, holding) in enumerate(zip(of.symbols, of.holdings, strict=True)):
        sold = holding.kind is SymbolKind.PUBLIC and not holding.cash and symbol not in open_end
        code = ReasonCode.NO_VOLUME if sold else ReasonCode.NOT_EXCHANGE_TRADED
        reasons.append(None if sold and np.isfinite(volume.mean[at]) else code.value)
    mean = np.where([reason is None for reason in reasons], volume.mean, np.nan) if reasons else volume.mean
    days = days_to_sell(of.quantity, mean, share)
    # Money is there at once.
    days = np.where([holding.cash for holding in of.holdings], 0.0, days) if reasons else days
    whole = profile(of.value, days)
    price = np.divide(of.value, of.quantity, out=np.full_like(of.value, np.nan), where=of.quantity != 0.0)
    entries: list[dict[str, Any]] = [
        {"figure": "liquidity.days", "symbol": symbol, "reason": reason}
        for symbol, reason, holding in zip(of.symbols, reasons, of.holdings, strict=True)
        if reason is not None and not holding.cash
    ]
    if not of.symbols:
        entries.append({"figure": "liquidity.days", "symbol": None, "reason": ReasonCode.NO_HOLDINGS.value})
    return {
        **of.envelope,
        "share": share,
        "days": to_json(whole.days),
        "within": [
            {"sessions": horizon, "share": to_json(part)} for horizon, part in zip(HORIZONS, whole.within, strict=True)
        ],
        "unknown_share": whole.unknown,
        "items": [
            {
                "symbol": symbol,
                "quantity": float(of.quantity[at]),
                "market_value": float(of.value[at]),
                "weight": float(of.value[at] / of.nav) if of.nav > 0 else None,
                "adv": to_json(float(mean[at])),
                "adv_value": to_json(float(mean[at] * price[at])),
                "share_of_adv": to_json(float(abs(of.quantity[at]) / mean[at])),
                "days": to_json(float(days[at])),
                "n_obs": int(volume.n_obs[at]),
                "reason": None if of.holdings[at].cash else reasons[at],
            }
            for at, symbol in enumerate(of.symbols)
        ],
        "reasons": of.envelope["reasons"] + documents(entries, (), phase=Phase.SNAPSHOTS.value),
    }
