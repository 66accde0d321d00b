"""What trades would do to a session's risk, from what is stored. Nothing is written, and nobody is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.what_if import Figures, Quantities, Series, figures, hedge, withhold
from services.coordinator.errors import Invalid, NotFetched
from services.coordinator.results import book, history, past_returns, traded
from services.coordinator.results.book import Book, Holding
from services.coordinator.results.reasons import documents
from services.coordinator.results.values import to_json
from shared.arrays import FloatMatrix, FloatVector
from shared.market.option_terms import Terms
from shared.market.reasons import ReasonCode
from shared.market.registry import (
    COVERAGE_GATE,
    FACTOR_NAMES,
    MARKET,
    OPTION_MULTIPLIER,
    PRICE_INDICES,
    VAR_MIN_OBS,
)
from shared.market.symbols import CASH_SYMBOL, SymbolKind, normalise
from shared.work import Phase

_MONEY = (CASH_SYMBOL, "USD")


@dataclass(frozen=True, slots=True)
class Trade:
    symbol: str
    quantity: float
    """Shares or contracts, negative sold."""


@dataclass(frozen=True, slots=True)
class _Universe:
    """The symbols of before and after, K of them, with what one share of each is worth and moves."""

    symbols: list[str]
    holdings: list[Holding]
    price: FloatVector
    """Of a share or contract, its multiplier included."""
    before: Quantities
    after: Quantities
    exposure: FloatVector
    """(K,) money that moves for each unit of value; NaN uncovered."""
    betas: FloatMatrix
    series: Series
    full: FloatMatrix
    """(K, T) returns of value, of an option revalued in full over its leverage: what value at risk is of."""
    hedge: tuple[str | None, float]
    """The market's proxy and what a share of it costs; NaN where it is no fund or has no close."""
    reasons: dict[str, ReasonCode]


async def read(conn: AsyncConnection, portfolio: UUID, trades: Sequence[Trade], session: date | None) -> dict[str, Any]:
    """The answer: figures before and after the trades, made at the session's closes and without costs.

    Raises `NotFetched` for a symbol without a stored price.
    """
    of = await book.read(conn, portfolio, session)
    moved: dict[str, float] = {}
    for trade in trades:
        name = normalise(trade.symbol)
        moved[name] = moved.get(name, 0.0) + trade.quantity
    universe = await _universe(conn, of, moved)
    return await asyncio.to_thread(_answer, of, universe, moved)


async def _universe(conn: AsyncConnection, of: Book, moved: dict[str, float]) -> _Universe:
    _refuse_money([s for s, h in zip(of.symbols, of.holdings, strict=True) if s in moved and s in _MONEY and h.cash])
    new = [symbol for symbol in moved if symbol not in of.symbols]
    prices = await _closes(conn, new, of.session)
    symbols = [*of.symbols, *new]
    holdings = [*of.holdings, *(book.holding(symbol, {}) for symbol in new)]
    nothing = np.zeros(len(new))
    held = Quantities(np.append(of.bought, nothing), np.append(of.quantity - of.bought, nothing))
    price = np.concatenate([of.price, [prices[symbol] for symbol in new]])
    roots = {holding.root for holding in holdings} | ({of.proxies[0]} - {None})
    ids = await history.find_symbol_ids(conn, sorted(str(root) for root in roots))
    shrunk, joint = await past_returns.facts(conn, ids, of.session)
    shrunk |= await traded.shrunk(conn, of, [root for root in roots if root in ids and root not in shrunk], ids)
    known = await traded.read(conn, of, dict(zip(new, holdings[len(of.symbols) :], strict=True)), ids, joint)
    exposure = np.append(of.moves, [known[symbol].leverage for symbol in new])
    betas = np.concatenate([of.betas, np.array([known[symbol].betas for symbol in new]).reshape(-1, len(FACTOR_NAMES))])
    terms = dict(of.terms) | {symbols.index(symbol): each.terms for symbol, each in known.items() if each.terms}
    quantity = np.array([moved.get(symbol, 0.0) for symbol in symbols])
    series = await past_returns.of_holdings(conn, of, holdings, ids, shrunk)
    fund = of.proxies[0], await _price_of_fund(conn, of.proxies[0], of.session)
    full = _in_full(series.filled, exposure, terms)
    reasons = {symbol: reason for symbol, each in known.items() if (reason := each.reason) is not None}
    reasons |= _reasons_of_held(of, exposure, moved)
    after = held.apply_trade(quantity)
    return _Universe(symbols, holdings, price, held, after, exposure, betas, series, full, fund, reasons)


def _reasons_of_held(of: Book, exposure: FloatVector, moved: Mapping[str, float]) -> dict[str, ReasonCode]:
    """Why it is unknown how something moves that is held and traded."""
    found = {}
    for k, (symbol, holding) in enumerate(zip(of.symbols, of.holdings, strict=True)):
        if moved.get(symbol, 0.0) == 0.0 or holding.cash or holding.kind is SymbolKind.PRIVATE:
            continue
        if np.isnan(exposure[k]):
            found[symbol] = ReasonCode.NO_DELTA
        elif np.isnan(of.betas[k, 0]):
            found[symbol] = ReasonCode.UNPRICEABLE if of.old[k] else ReasonCode.SHORT_HISTORY
    return found


def _in_full(filled: FloatMatrix, leverage: FloatVector, options: Mapping[int, Terms]) -> FloatMatrix:
    """The returns with options at what the underlying's move makes of them; the same array without options."""
    whole = filled.copy() if options else filled
    for k, terms in options.items():
        if np.isfinite(leverage[k]) and leverage[k] != 0.0:
            whole[k] = terms.returns(filled[k]) / leverage[k]
    return whole


async def _price_of_fund(conn: AsyncConnection, symbol: str | None, session: date) -> float:
    """NaN of an index, which nobody can buy, and without a close."""
    if symbol is None or symbol in PRICE_INDICES:
        return float("nan")
    return (await _stored_closes(conn, [symbol], session)).get(symbol, float("nan"))


async def _closes(conn: AsyncConnection, symbols: Sequence[str], session: date) -> dict[str, float]:
    """What a share or contract of each symbol is worth at the session's close. Raises `NotFetched`."""
    found = await _stored_closes(conn, symbols, session)
    if missing := [symbol for symbol in symbols if symbol not in found]:
        _refuse_money([symbol for symbol in missing if symbol in _MONEY])
        raise NotFetched(missing, "trades")
    contracts = {symbol for symbol in found if book.holding(symbol, {}).kind is SymbolKind.OPTION}
    return {symbol: price * (OPTION_MULTIPLIER if symbol in contracts else 1) for symbol, price in found.items()}


def _refuse_money(symbols: Sequence[str]) -> None:
    if symbols:
        raise Invalid(
            f"{symbols[0]} is money, and money is no trade: what is bought is paid from the book's cash, and what is sold goes into it. "
            "Leave it out; money that comes or goes is a flow (leadline flows). A company of that ticker is known by its prices.",
            errors=[
                {"row": None, "column": "trades", "code": "invalid", "message": "money is no trade", "value": symbol}
                for symbol in symbols
            ],
        )


async def _stored_closes(conn: AsyncConnection, symbols: Sequence[str], session: date) -> dict[str, float]:
    rows = await conn.execute(
        text("""
            SELECT s.symbol, coalesce(p.close, p.adj_close) AS price FROM ingest.symbols s
            JOIN ingest.prices p ON p.symbol_id = s.id AND p.session = :session
            WHERE s.symbol = ANY (CAST(:symbols AS text[]))
        """),
        {"symbols": [symbol for symbol in symbols if symbol.isprintable()], "session": session},
    )
    return {row.symbol: float(row.price) for row in rows if row.price is not None}


def _answer(of: Book, universe: _Universe, moved: dict[str, float]) -> dict[str, Any]:
    before, before_why = _figures(of.nav, of.cash, universe, universe.before, "before", {})
    spent = {symbol: float(q * universe.price[universe.symbols.index(symbol)]) for symbol, q in moved.items()}
    cash = of.cash - sum(spent.values())
    after, after_why = _figures(of.nav, cash, universe, universe.after, "after", universe.reasons)
    named = [
        {"figure": "what_if.exposure", "symbol": symbol, "reason": reason.value}
        for symbol, reason in universe.reasons.items()
    ]
    entries = named + before_why + after_why
    before_each, after_each = universe.before.net, universe.after.net
    return {
        **of.envelope,
        "trades": [
            {
                "symbol": symbol,
                "quantity": quantity,
                "price": float(universe.price[universe.symbols.index(symbol)]),
                "money": -spent[symbol],
            }
            for symbol, quantity in moved.items()
        ],
        "before": before,
        "after": after,
        "positions": [
            {
                "symbol": symbol,
                "quantity_before": float(before_each[k]),
                "quantity_after": float(after_each[k]),
                "value_after": float(after_each[k] * universe.price[k]),
                "weight_before": _weight(before_each[k] * universe.price[k], of.nav),
                "weight_after": _weight(after_each[k] * universe.price[k], of.nav),
            }
            for k, symbol in enumerate(universe.symbols)
        ],
        "reasons": of.envelope["reasons"] + documents(entries, (), phase=Phase.RISK.value),
    }


def _weight(value: float, nav: float) -> float | None:
    return float(value / nav) if nav > 0 else None


def _figures(
    nav: float, cash: float, of: _Universe, quantity: Quantities, when: str, unknown: Mapping[str, ReasonCode]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One side of the answer, and why figures of it are null. unknown : traded symbols that it is not known of how they move; what
    they would change is withheld, however little they weigh: it is what is asked about."""
    held = quantity.held
    long, short = (part[held] * of.price[held] for part in (quantity.long, quantity.short))
    value = long + short
    # Cash-like and private holdings have exposures as risk stored them: 0, or none.
    exposure = value * of.exposure[held]
    money = np.array([h.cash for h in of.holdings], dtype=np.bool_)[held]
    exposure = np.where(money, value, exposure)
    series = Series(of.series.filled[held], of.series.real[held], of.series.valid)
    roots = [h.root for h, there in zip(of.holdings, held.tolist(), strict=True) if there]
    full = None if of.full is of.series.filled else of.full[held]
    found = figures(nav, long - short, exposure, of.betas[held], series, roots, full)
    there = {symbol for symbol, here in zip(of.symbols, held.tolist(), strict=True) if here}
    codes = [reason for name, reason in unknown.items() if name in there and reason is not ReasonCode.PRIVATE]
    code = ReasonCode.NO_DELTA if ReasonCode.NO_DELTA in codes else next(iter(codes), None)
    if code is not None:
        found = withhold(found, series=code is ReasonCode.NO_DELTA)
    symbol, price = of.hedge
    bought, paid = hedge(float(found.betas[0]), nav, price)
    hedge_document = {"symbol": symbol, "quantity": to_json(bought), "money": to_json(paid)}
    body = _body(nav, cash, float(long.sum()), float(short.sum()), found) | {"hedge": hedge_document}
    return body, _why(nav, found, body, when, code)


def _body(nav: float, cash: float, long: float, short: float, of: Figures) -> dict[str, Any]:
    return {
        "nav": nav,
        "cash": cash,
        "long_value": long,
        "short_value": short,
        "gross_exposure": long - short,
        "net_exposure": long + short,
        "volatility": {f"realized_{window}": to_json(figure) for window, figure in of.volatility.items()},
        "var": [
            {"method": "historical", "level": t.level, "var": to_json(t.var), "es": to_json(t.es), "n_obs": t.n_obs}
            for t in of.tails
        ],
        "factors": [
            {"factor": name, "beta": to_json(beta), "money": to_json(beta * nav)}
            for name, beta in zip(FACTOR_NAMES, of.betas.tolist(), strict=True)
        ],
        "covered_weight": of.covered_weight,
        "coverage": of.coverage,
        "concentration": {
            "hhi": to_json(of.hhi),
            "effective": to_json(of.effective),
            "top_3": to_json(of.top_3),
            "top_10": to_json(of.top_10),
        },
    }


def _why(nav: float, of: Figures, body: dict[str, Any], when: str, withheld: ReasonCode | None) -> list[dict[str, Any]]:
    """withheld : why what a trade would change is not said; of a trade in an option without a delta all that moves, else the betas"""
    reasons: dict[str, ReasonCode] = {}
    usual = ReasonCode.NAV_NOT_POSITIVE if nav <= 0.0 else ReasonCode.LOW_COVERAGE
    of_series = ReasonCode.NO_DELTA if withheld is ReasonCode.NO_DELTA and nav > 0.0 else None
    for name, figure in body["volatility"].items():
        if figure is None:
            low = of.coverage < COVERAGE_GATE or nav <= 0.0
            reasons[f"volatility.{name}"] = of_series or (usual if low else ReasonCode.SHORT_HISTORY)
    for tail in of.tails:
        if np.isnan(tail.var):
            short = tail.n_obs < VAR_MIN_OBS and nav > 0.0
            reasons[f"var.historical.{tail.level}"] = of_series or (ReasonCode.SHORT_HISTORY if short else usual)
    of_betas = withheld if nav > 0.0 else None
    for factor in body["factors"]:
        if factor["beta"] is None:
            low = of.covered_weight < COVERAGE_GATE or nav <= 0.0
            reasons[f"factors.{factor['factor']}"] = of_betas or (usual if low else ReasonCode.NO_PROXY)
    if body["hedge"]["money"] is None:
        reasons["hedge"] = reasons[f"factors.{MARKET}"]
    elif body["hedge"]["quantity"] is None:
        index = body["hedge"]["symbol"] in PRICE_INDICES
        reasons["hedge.quantity"] = ReasonCode.PRICE_INDEX if index else ReasonCode.NOT_FETCHED
    if body["concentration"]["hhi"] is None:
        reasons["concentration"] = ReasonCode.NO_HOLDINGS
    return [
        {"figure": f"what_if.{when}.{figure}", "symbol": None, "reason": code.value} for figure, code in reasons.items()
    ]
