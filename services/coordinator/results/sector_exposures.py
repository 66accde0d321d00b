"""A session's sensitivity to the funds of sectors: a reported set beside the factors, of those funds whose prices are stored."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.sector_funds import SectorBeta, sector_beta
from services.coordinator.compute.what_if import Series
from services.coordinator.results import book, held, history, past_returns
from services.coordinator.results.held import Held
from services.coordinator.results.reasons import documents
from services.coordinator.results.values import to_json
from shared.arrays import FloatVector
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
    body = await asyncio.to_thread(figures, held.of_book(of), of.exposure, market, series, funds)
    return {
        **of.envelope,
        **body,
        "reasons": of.envelope["reasons"] + documents(_entries(body), (), phase=Phase.RISK.value),
    }


def _entries(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"figure": f"sector_exposures.{item['sector']}", "symbol": None, "reason": item["reason"]}
        for item in body["items"]
        if item["reason"] is not None
    ]


async def document(conn: AsyncConnection, portfolio: UUID, session: date) -> dict[str, Any]:
    """The figures of one session: what is explained."""
    return held.one_document(await series(conn, portfolio, session, session), portfolio, session, "risk figures")


async def series(
    conn: AsyncConnection, portfolio: UUID, first: date, last: date, sectors: Collection[str] = tuple(SECTOR_FUNDS)
) -> list[tuple[date, dict[str, Any]]]:
    """The documents, each with its `reasons`, of all sessions in [first, last] that have risk.

    sectors : those that are wanted; each costs a regression a session
    """
    books = {of.session: of for of in await held.of_range(conn, portfolio, first, last)}
    rows = await conn.execute(
        text("""
            SELECT session, symbols, exposure_values, betas, proxies FROM risk.results
            WHERE portfolio_id = :id AND session BETWEEN :first AND :last AND proxies IS NOT NULL AND betas IS NOT NULL ORDER BY session
        """),
        {"id": portfolio, "first": first, "last": last},
    )
    risk = {row["session"]: row for row in rows.mappings() if row["session"] in books}
    if not risk:
        return []
    sessions = history.window(BETA_WINDOW, min(risk), max(risk))
    roots = {each.root for of in books.values() for each in of.holdings}
    markets = {row["proxies"][0] for row in risk.values()} - {None}
    ids = await history.find_symbol_ids(conn, sorted(roots | markets | set(SECTOR_FUNDS.values())))
    returns = dict(zip(ids, await history.of_prices(conn, "total_return", list(ids.values()), sessions), strict=True))
    shrunk = await past_returns.shrunk_betas(conn, ids, min(risk), max(risk))

    def one(session: date, row: RowMapping) -> dict[str, Any]:
        end = int(np.searchsorted(sessions, np.datetime64(session, "D"))) + 1
        window = {symbol: values[end - BETA_WINDOW : end] for symbol, values in returns.items()}
        of, market = books[session], row["proxies"][0]
        exposure, _ = book.exposures_of(of.symbols, row)
        laid_out = past_returns.lay_out(of.holdings, window, market, shrunk.get(session, {}), of.old)
        body = figures(of, exposure, market, laid_out, window, sectors)
        return body | {"reasons": _entries(body)}

    return await asyncio.to_thread(lambda: [(session, one(session, row)) for session, row in risk.items()])


async def _returns(conn: AsyncConnection, symbols: list[str], session: date) -> dict[str, FloatVector]:
    sessions = history.window(BETA_WINDOW, session, session)
    ids = await history.find_symbol_ids(conn, symbols)
    rows = await history.of_prices(conn, "total_return", list(ids.values()), sessions)
    return dict(zip(ids, rows, strict=True))


def figures(
    of: Held,
    exposure: FloatVector,
    market_symbol: str | None,
    series: Series,
    funds: Mapping[str, FloatVector],
    sectors: Collection[str] = tuple(SECTOR_FUNDS),
) -> dict[str, Any]:
    """The body. exposure : (K,) money that moves, NaN unknown. funds : (252,) returns of the sectors' funds and of the market"""
    window = slice(-BETA_WINDOW, None)
    valid = series.valid[window]
    moves = np.where(np.isfinite(exposure), exposure, 0.0)
    # What stands still and is held for its value moves nothing, though risk gives it no betas.
    path = moves @ series.filled[:, window] / of.nav if of.nav > 0.0 else np.full(len(valid), np.nan)
    real = series.real[:, window] & np.isfinite(exposure)[:, None]
    whole = float(of.gross.sum())
    covered = float((of.gross @ real).mean()) / whole if whole > 0.0 else 1.0
    market = None if market_symbol is None else funds.get(market_symbol)
    items: list[dict[str, Any]] = []
    for sector, fund in ((name, fund) for name, fund in SECTOR_FUNDS.items() if name in sectors):
        returns = funds.get(fund)
        why = _why(of.nav, market, returns, covered)
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
    return {"market": market_symbol, "covered_weight": covered, "items": items}


def _why(nav: float, market: FloatVector | None, fund: FloatVector | None, covered: float) -> ReasonCode | None:
    """Why a sector has no figure: like a factor's proxy, its fund counts with all returns of the window."""
    if not nav > 0.0:
        return ReasonCode.NAV_NOT_POSITIVE
    if market is None:
        return ReasonCode.NO_PROXY
    if fund is None or not np.isfinite(fund).all():
        return ReasonCode.NO_SECTOR_FUND
    return ReasonCode.LOW_COVERAGE if covered < COVERAGE_GATE else None
