"""A session's sensitivity to the funds of sectors: a reported set beside the factors, of those funds whose prices are stored."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.sector_funds import SectorBeta, sector_beta
from services.coordinator.compute.what_if import Series
from services.coordinator.results import book, history, past_returns
from services.coordinator.results.book import Book
from services.coordinator.results.reasons import documents
from services.coordinator.results.values import to_json
from shared.arrays import FloatVector
from shared.market.calendar import calendar
from shared.market.reasons import ReasonCode
from shared.market.registry import BETA_WINDOW, COVERAGE_GATE, SECTOR_FUNDS
from shared.work import Phase


async def read(conn: AsyncConnection, portfolio: UUID, session: date | None) -> dict[str, Any]:
    """The answer: of the book's series of constant weights, last 252 returns."""
    of = await book.read(conn, portfolio, session)
    market = of.proxies[0]
    roots = {holding.root for holding in of.holdings} | (set() if market is None else {market})
    ids = await history.find_symbol_ids(conn, sorted(roots))
    shrunk, _ = await past_returns.facts(conn, ids, of.session)
    series = await past_returns.of_holdings(conn, of, of.holdings, ids, shrunk)
    funds = await _returns(conn, [*SECTOR_FUNDS.values(), *([] if market is None else [market])], of.session)
    return await asyncio.to_thread(_answer, of, series, funds)


async def _returns(conn: AsyncConnection, symbols: list[str], session: date) -> dict[str, FloatVector]:
    days = calendar()
    sessions = np.array(days.between(days.back(session, BETA_WINDOW - 1), session), dtype="datetime64[D]")
    ids = await history.find_symbol_ids(conn, symbols)
    rows = await history.of_prices(conn, "total_return", list(ids.values()), sessions)
    return dict(zip(ids, rows, strict=True))


def _answer(of: Book, series: Series, funds: Mapping[str, FloatVector]) -> dict[str, Any]:
    window = slice(-BETA_WINDOW, None)
    valid = series.valid[window]
    moves = np.where(np.isfinite(of.exposure), of.exposure, 0.0)
    # What stands still and is held for its value moves nothing, though risk gives it no betas.
    path = moves @ series.filled[:, window] / of.nav if of.nav > 0.0 else np.full(len(valid), np.nan)
    real = series.real[:, window] & np.isfinite(of.exposure)[:, None]
    whole = float(of.gross_value.sum())
    covered = float((of.gross_value @ real).mean()) / whole if whole > 0.0 else 1.0
    market = None if of.proxies[0] is None else funds.get(of.proxies[0])
    items: list[dict[str, Any]] = []
    for sector, fund in SECTOR_FUNDS.items():
        returns = funds.get(fund)
        why = _why(of, market, returns, covered)
        if why is None and market is not None and returns is not None:
            found = sector_beta(path, np.where(valid, market, 0.0), returns, valid)
            why = None if np.isfinite(found.beta) else ReasonCode.ZERO_VARIANCE
        else:
            found = SectorBeta(np.nan, np.nan, np.nan, np.nan, 0)
        items.append(
            {
                "sector": sector,
                "fund": fund,
                "beta": to_json(found.beta),
                "stderr_hac": to_json(found.stderr_hac),
                "t_hac": to_json(found.t_hac),
                "r2": to_json(found.r2),
                "n_obs": found.n_obs,
                "money": to_json(found.beta * of.nav),
                "reason": None if why is None else why.value,
            }
        )
    entries = [
        {"figure": f"sector_exposures.{item['sector']}", "symbol": None, "reason": item["reason"]}
        for item in items
        if item["reason"] is not None
    ]
    return {
        **of.envelope,
        "market": of.proxies[0],
        "covered_weight": covered,
        "items": items,
        "reasons": of.envelope["reasons"] + documents(entries, (), phase=Phase.RISK.value),
    }


def _why(of: Book, market: FloatVector | None, fund: FloatVector | None, covered: float) -> ReasonCode | None:
    """Why a sector has no figure: like a factor's proxy, its fund counts with all returns of the window."""
    if not of.nav > 0.0:
        return ReasonCode.NAV_NOT_POSITIVE
    if market is None:
        return ReasonCode.NO_PROXY
    if fund is None or not np.isfinite(fund).all():
        return ReasonCode.NO_SECTOR_FUND
    return ReasonCode.LOW_COVERAGE if covered < COVERAGE_GATE else None
