"""A dated stretch of the past with what a session holds: by the proxies' returns, and where it is past by the holdings' own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.replay import ByFactors, by_factors, compound, option_return, total
from services.coordinator.errors import Contradictory, NotFound
from services.coordinator.results import book, factor_returns, history
from services.coordinator.results.book import Book, Holding
from services.coordinator.results.reasons import documents
from services.coordinator.results.values import to_json
from shared.arrays import DateVector, FloatVector
from shared.clock import Clock
from shared.market.reasons import ReasonCode
from shared.market.registry import CURVE_PROXY, FACTOR_NAMES, JOINT_FACTORS, REPORTED_FACTOR, SECTOR_FUNDS, proxy_legs
from shared.market.symbols import SymbolKind
from shared.work import Phase


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The session before the first return, and the sessions of the returns."""

    base: date
    sessions: DateVector

    @property
    def last(self) -> date:
        return self.sessions[-1].astype(date)  # type: ignore[no-any-return]


async def read(
    conn: AsyncConnection, clock: Clock, portfolio: UUID, first: date, last: date, session: date | None
) -> dict[str, Any]:
    """The answer: returns from the close of `first` to the close of `last`, or of the sessions before them."""
    stretch = _stretch(clock, first, last)
    of = await book.read(conn, portfolio, session)
    [_], slopes = await factor_returns.find_proxies(conn, np.array([of.session], dtype="datetime64[D]"))
    shocks = await _shocks(conn, of.proxies, stretch)
    own = await _returns_of_holdings(conn, of, stretch) if stretch.last <= of.session else None
    sectors = await _compound_returns(conn, list(SECTOR_FUNDS.values()), stretch)
    return await asyncio.to_thread(_answer, of, stretch, slopes[0], shocks, own, sectors)


def _stretch(clock: Clock, first: date, last: date) -> _Stretch:
    calendar, due = clock.calendar(), clock.last_due()
    if last > due:
        raise NotFound(f"{last} is after the last session that is due, {due}.", code="not_due_yet")
    if first < calendar.first:
        raise NotFound(f"{first} is before {calendar.first}, the first session of the calendar.", code="not_a_session")
    base, end = calendar.on_or_before(first), calendar.on_or_before(last)
    if base >= end:
        raise Contradictory(
            f"From the close of {base} to the close of {end} there is no session. Give a later `to`, or an earlier `from`."
        )
    return _Stretch(base, np.array(calendar.between(calendar.forward(base, 1), end), dtype="datetime64[D]"))


async def _shocks(conn: AsyncConnection, proxies: list[str | None], stretch: _Stretch) -> FloatVector:
    """(F,) what each proxy of the session returned over the stretch; NaN without one."""
    legs = {proxy: proxy_legs(proxy) for proxy in proxies if proxy is not None}
    funds = sorted({fund for pair in legs.values() for fund in pair if fund is not None})
    whole = await _compound_returns(conn, [fund for fund in funds if fund != CURVE_PROXY], stretch)
    if CURVE_PROXY in funds:
        [daily] = (await factor_returns.of_proxies(conn, {CURVE_PROXY}, stretch.sessions)).values()
        whole[CURVE_PROXY] = float(np.prod(1.0 + daily) - 1.0)
    found = np.full(len(FACTOR_NAMES), np.nan)
    for k, proxy in enumerate(proxies):
        if proxy is not None:
            long, short = legs[proxy]
            found[k] = whole.get(long, np.nan) - (0.0 if short is None else whole.get(short, np.nan))
    return found


async def _compound_returns(conn: AsyncConnection, symbols: list[str], stretch: _Stretch) -> dict[str, float]:
    ids = await history.find_symbol_ids(conn, symbols)
    numbers = list(ids.values())
    returns = await history.of_prices(conn, "total_return", numbers, stretch.sessions)
    both = np.array([stretch.base, stretch.last], dtype="datetime64[D]")
    ends = await history.of_prices(conn, "adj_close", numbers, both)
    return dict(zip(ids, compound(returns, ends).tolist(), strict=True))


async def _returns_of_holdings(conn: AsyncConnection, of: Book, stretch: _Stretch) -> FloatVector:
    """(K,) what each holding itself returned; money stands still, an option is worth what its underlying's return makes of it, private
    holdings have no series."""
    listed = [
        holding.root
        for at, holding in enumerate(of.holdings)
        if at in of.terms or (holding.kind is SymbolKind.PUBLIC and not holding.cash)
    ]
    found = await _compound_returns(conn, list(dict.fromkeys(listed)), stretch)

    def own(at: int, holding: Holding) -> float:
        if holding.cash:
            return 0.0
        if at in of.terms:
            return option_return(of.terms[at], found.get(holding.root, np.nan))
        return found.get(holding.root, np.nan) if holding.kind is SymbolKind.PUBLIC else np.nan

    return np.array([own(at, holding) for at, holding in enumerate(of.holdings)], dtype=np.float64)


def _answer(
    of: Book,
    stretch: _Stretch,
    slopes: FloatVector,
    shocks: FloatVector,
    own: FloatVector | None,
    sectors: Mapping[str, float],
) -> dict[str, Any]:
    reasons = [
        _entry(f"factors.{name}", None, ReasonCode.NO_PROXY if proxy is None else ReasonCode.NOT_FETCHED)
        for name, proxy, shock in zip(FACTOR_NAMES, of.proxies, shocks.tolist(), strict=True)
        if np.isnan(shock)
    ]
    modelled, by_factor = None, None
    if np.isfinite(shocks[0]):
        # A factor that is only reported moves nothing: it is in the others already.
        modelled = by_factors(
            of.value, of.exposure, of.betas, slopes, np.where(JOINT_FACTORS, shocks, np.nan), of.terms
        )
        by_factor = {
            name: to_json(money) if np.isfinite(shock) else None
            for name, money, shock in zip(FACTOR_NAMES, modelled.factors.tolist(), shocks.tolist(), strict=True)
            if name != REPORTED_FACTOR
        }
    known = np.full(len(of.symbols), np.nan) if own is None else own
    why = _why(of, known, past=own is not None)
    reasons += [_entry("positions", symbol, code) for symbol, code in why.items()]
    reasons += [_entry("positions", None, ReasonCode.WINDOW_NOT_PAST)] if own is None else []
    legs = {
        name: _leg(of, moved)
        for name, moved in (("factors", None if modelled is None else modelled.returns), ("positions", own))
        if moved is not None
    }
    reasons += [
        _entry(f"{name}.money", None, ReasonCode.LOW_COVERAGE) for name, leg in legs.items() if leg["money"] is None
    ]
    if "factors" in legs and legs["factors"]["money"] is None:
        by_factor = dict.fromkeys(by_factor or ())
    return {
        **of.envelope,
        "from": stretch.base.isoformat(),
        "to": stretch.last.isoformat(),
        "sessions": len(stretch.sessions),
        **_market(of, shocks, sectors),
        "factors": legs["factors"] | {"by_factor": by_factor} if "factors" in legs else None,
        "positions": legs.get("positions"),
        "items": _items(of, modelled, known, why),
        "reasons": of.envelope["reasons"] + documents(reasons, (), phase=Phase.RISK.value),
    }


def _items(
    of: Book, modelled: ByFactors | None, known: FloatVector, why: Mapping[str, ReasonCode]
) -> list[dict[str, Any]]:
    nothing = np.full(len(of.symbols), np.nan)
    returns, money = (nothing, nothing) if modelled is None else (modelled.returns, modelled.money)
    return [
        {
            "symbol": symbol,
            "market_value": float(of.value[k]),
            "factor_return": to_json(float(returns[k])),
            "factor_money": to_json(float(money[k])),
            "own_return": to_json(float(known[k])),
            "own_money": to_json(float(of.value[k] * known[k])),
            "reason": None if symbol not in why else why[symbol].value,
        }
        for k, symbol in enumerate(of.symbols)
    ]


def _market(of: Book, shocks: FloatVector, sectors: Mapping[str, float]) -> dict[str, Any]:
    """What the proxies returned, and the funds of sectors, which are in no total."""
    return {
        "proxies": [
            {"factor": name, "proxy": proxy, "return": to_json(shock)}
            for name, proxy, shock in zip(FACTOR_NAMES, of.proxies, shocks.tolist(), strict=True)
        ],
        "sector_funds": [
            {"sector": sector, "fund": fund, "return": to_json(sectors.get(fund, np.nan))}
            for sector, fund in SECTOR_FUNDS.items()
        ],
    }


def _leg(of: Book, moved: FloatVector) -> dict[str, Any]:
    """A total over the holdings that are known, and the gross value of the others, which is never counted as unmoved."""
    money, without = total(of.value, of.gross_value, moved)
    return {
        "money": to_json(money),
        "fraction": to_json(money / of.nav) if of.nav > 0 else None,
        "uncovered_value": without,
    }


def _why(of: Book, own: FloatVector, *, past: bool) -> dict[str, ReasonCode]:
    """Why a holding has no return of its own over the stretch."""
    if not past:
        return {}
    found = {}
    for symbol, holding, known in zip(of.symbols, of.holdings, np.isfinite(own).tolist(), strict=True):
        if not known:
            if holding.kind is SymbolKind.OPTION:
                found[symbol] = ReasonCode.NO_SERIES
            else:
                found[symbol] = ReasonCode.PRIVATE if holding.kind is SymbolKind.PRIVATE else ReasonCode.NOT_FETCHED
    return found


def _entry(figure: str, symbol: str | None, code: ReasonCode) -> dict[str, Any]:
    return {"figure": f"replay.{figure}", "symbol": symbol, "reason": code.value}
