"""The performance of a range of sessions, worked out from stored snapshots when it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.benchmark import Comparison, compare
from services.coordinator.compute.drawdowns import Fall
from services.coordinator.compute.performance import Part, Performance, Range, by_calendar, measure
from services.coordinator.errors import NotFound
from services.coordinator.results import carry as carries
from services.coordinator.results import history
from services.coordinator.results.carry import Terms
from services.coordinator.results.history import Snapshots
from services.coordinator.results.reasons import documents
from services.coordinator.results.values import to_json
from shared.arrays import FloatVector
from shared.market.internal_rate import days_at_work, period_rate, xirr
from shared.market.reasons import ReasonCode
from shared.market.registry import DRAWDOWNS_LISTED, PRICE_INDICES, XIRR_YEAR_DAYS
from shared.work import Phase

# The figures that are one number, in the order of the answer; each can be explained and asked for as a series.
FIGURES = (
    "total_return", "annual_return", "money_weighted_return", "money_weighted_annual", "volatility", "semi_deviation",
    "downside_deviation", "sharpe", "sortino", "calmar", "skew", "kurtosis", "positive_share", "max_drawdown", "cdar_95", "risk_free",
)  # fmt: skip
_MONEY = ("money_weighted_return", "money_weighted_annual")
_EPOCH = np.datetime64(0, "D")


async def read(
    conn: AsyncConnection,
    portfolio: UUID,
    first: date | None,
    last: date | None,
    benchmark: str | None = None,
    terms: Terms | None = None,
) -> dict[str, Any]:
    """The answer: of the sessions in [first, last] that there are; without them, from the first to the newest.

    terms : what money costs; without them nothing is said of it
    """
    found = await history.snapshots(conn, portfolio, last)
    part = found.cut(first, last)
    if part.start >= part.stop:
        raise NotFound(f"Portfolio {portfolio} has no snapshot between {first} and {last or found.sessions[-1]} yet.")
    sessions = found.sessions[part]
    known = await history.curves(conn, sessions[0].astype(date), sessions[-1].astype(date))
    symbol, other = None, None
    if benchmark is not None:
        [(symbol, identity)] = (await history.require_symbol_ids(conn, [benchmark], "benchmark")).items()
        [other] = await history.of_prices(conn, "total_return", [identity], sessions)
    free = history.risk_free(known, sessions)
    paid = None if terms is None else await carries.read(conn, portfolio, found, part, free, terms)
    return await asyncio.to_thread(_answer, portfolio, found, part, free, symbol, other) | {"carry": paid}


def _answer(
    portfolio: UUID, found: Snapshots, part: slice, free: FloatVector, symbol: str | None, other: FloatVector | None
) -> dict[str, Any]:
    of = found.range(part, free)
    figures = measure(of)
    values, why = _values(found, part, figures)
    beside = None if other is None or symbol is None else compare(of, other)
    entries = [_entry(name, code) for name, code in why.items()]
    if beside is not None:
        entries += [_entry(f"benchmark.{name}", code) for name, code in beside.reasons.items()]
        if symbol in PRICE_INDICES:
            entries.append(_entry("benchmark.alpha", ReasonCode.PRICE_INDEX.value))
    last = len(of.sessions) - 1
    return {
        "portfolio_id": str(portfolio),
        "from": str(of.sessions[0]),
        "to": str(of.sessions[-1]),
        "sessions": len(of.sessions),
        "n_obs": figures.n_obs,
        "stale": bool(found.stale[part].any()),
        **{name: to_json(value) for name, value in values.items()},
        "best_day": _day(of, figures.best),
        "worst_day": _day(of, figures.worst),
        "drawdowns": [
            _fall(found, part, rank, fall, last) for rank, fall in enumerate(figures.falls[:DRAWDOWNS_LISTED], start=1)
        ],
        "benchmark": None if beside is None else _comparison(str(symbol), beside),
        "years": [_part("year", of_) for of_ in by_calendar(of, other, "Y")],
        "items": [_part("month", of_) for of_ in by_calendar(of, other, "M")],
        "reasons": documents(entries, (), phase=Phase.SNAPSHOTS.value),
    }


def _values(found: Snapshots, part: slice, figures: Performance) -> tuple[dict[str, float], dict[str, str]]:
    """All figures of `FIGURES`, and why some of them are null or deserve a remark."""
    money, annual, why = _money_weighted(found, part)
    values = _of_returns(figures) | {"money_weighted_return": money, "money_weighted_annual": annual}
    return {name: values[name] for name in FIGURES}, figures.reasons | why


def _of_returns(figures: Performance) -> dict[str, float]:
    """Those of `FIGURES` that returns alone make."""
    return {name: getattr(figures, name) for name in FIGURES if name not in _MONEY}


def _money_weighted(found: Snapshots, part: slice) -> tuple[float, float, dict[str, str]]:
    """(of the whole range, a year, why not): what was there before the first session and every flow since, against the last NAV."""
    low = part.start
    days = (found.sessions - _EPOCH).astype(np.int64)
    start = int(days[low - 1]) if low else int(days[0])
    base, value = found.base(low), float(found.nav[part.stop - 1])
    nan = float("nan")
    flows = found.flow[part]
    if np.isnan(flows).any() or np.isnan(base):
        return nan, nan, dict.fromkeys(_MONEY, ReasonCode.BROKEN_CHAIN.value)
    if found.idle()[part].all():
        return nan, nan, dict.fromkeys(_MONEY, ReasonCode.NO_CAPITAL.value)
    dated = [(start, base)]
    dated += [(day, amount) for day, amount in zip(days[part].tolist(), flows.tolist(), strict=True) if amount]
    end = int(days[part.stop - 1])
    empty = found.empty_stretches()
    whole, annual = period_rate(dated, end, value, empty), xirr(dated, end, value, empty)
    why = {}
    if np.isnan(whole):
        why["money_weighted_return"] = ReasonCode.NO_ROOT.value
    if np.isnan(annual):
        short = days_at_work(dated, end, empty) < XIRR_YEAR_DAYS
        why["money_weighted_annual"] = (ReasonCode.SHORT_HISTORY if short else ReasonCode.NO_ROOT).value
    return whole, annual, why


def _whole_entry(figure: str, code: str) -> dict[str, Any]:
    """The entry under the figure's whole name, as it is explained and asked for as a series."""
    return _entry(f"performance.{figure}", code)


def _entry(figure: str, code: str) -> dict[str, Any]:
    return {"figure": figure, "symbol": None, "reason": code}


def _day(of: Range, at: int | None) -> dict[str, Any] | None:
    return None if at is None else {"session": str(of.sessions[at]), "return": float(of.returns[at])}


def _fall(found: Snapshots, part: slice, rank: int, fall: Fall, last: int) -> dict[str, Any]:
    def session(at: int) -> str:
        # The opening equity has no date of its own: a book that fell from the first session on fell from that one.
        return str(found.sessions[max(0, part.start + at)])

    recovered = fall.recovered
    return {
        "rank": rank,
        "depth": fall.depth,
        "peak": session(fall.peak),
        "trough": session(fall.trough),
        "recovered": None if recovered is None else session(recovered),
        "length": fall.length(last),
        "decline": fall.trough - fall.peak,
        "recovery": None if recovered is None else recovered - fall.trough,
    }


def _part(unit: str, of: Part) -> dict[str, Any]:
    return {unit: of.name, "sessions": of.sessions, "return": to_json(of.value), "benchmark": to_json(of.benchmark)}


def _comparison(symbol: str, of: Comparison) -> dict[str, Any]:
    names = (
        "active_return", "tracking_error", "information_ratio", "beta", "alpha", "alpha_stderr_hac", "alpha_t_hac", "r2",
        "up_capture", "down_capture",
    )  # fmt: skip
    own = {name: to_json(getattr(of, name)) for name in names}
    return {"symbol": symbol, "n_obs": of.n_obs, "return": to_json(of.total_return), **own}


async def document(conn: AsyncConnection, portfolio: UUID, session: date) -> dict[str, Any]:
    """The figures that are one number, of everything from the first session to this one: what is explained."""
    whole = await read(conn, portfolio, None, session)
    why = [_whole_entry(entry["figure"], entry["reason"]) for entry in whole["reasons"] if entry["figure"] in FIGURES]
    return {name: whole[name] for name in FIGURES} | {"reasons": why}


async def series(
    conn: AsyncConnection, portfolio: UUID, first: date, last: date, figures: Sequence[str]
) -> tuple[dict[str, dict[date, Any]], list[tuple[date, dict[str, Any]]]]:
    """(by figure of `FIGURES` its value at each session in [first, last], of everything from the portfolio's first session on; why not)."""
    try:
        found = await history.snapshots(conn, portfolio, None if last == date.max else last)
    except NotFound:
        return {name: {} for name in figures}, []
    known = await history.curves(conn, found.sessions[0].astype(date), found.sessions[-1].astype(date))
    return await asyncio.to_thread(_series, found, history.risk_free(known, found.sessions), first, figures)


def _series(
    found: Snapshots, free: FloatVector, first: date, figures: Sequence[str]
) -> tuple[dict[str, dict[date, Any]], list[tuple[date, dict[str, Any]]]]:
    whole = found.range(slice(0, len(found.sessions)), free)
    values: dict[str, dict[date, Any]] = {name: {} for name in figures}
    reasons: list[tuple[date, dict[str, Any]]] = []
    # Solved session by session: only where it is asked for.
    money = not set(_MONEY).isdisjoint(figures)
    for end in range(found.cut(first, None).start + 1, len(found.sessions) + 1):
        if not found.there[end - 1]:
            continue
        measured = measure(whole.upto(end))
        own, why = _of_returns(measured), dict(measured.reasons)
        if money:
            *both, why_not = _money_weighted(found, slice(0, end))
            own, why = own | dict(zip(_MONEY, both, strict=True)), why | why_not
        session = found.sessions[end - 1].astype(date)
        for name in figures:
            values[name][session] = to_json(own[name])
        reasons += [(session, _whole_entry(name, why[name])) for name in figures if name in why]
    return values, reasons
