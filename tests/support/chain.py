"""The computing layers put together without a database: daily returns in, a portfolio's whole risk picture out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

import numpy as np

from services.factors.compute import Exposures, exposures, own_factors
from services.risk.compute.inputs import Book, Kind, Panel
from services.risk.compute.report import build_reports
from services.risk.workflow import load_scenarios
from shared.arrays import FloatMatrix, FloatVector
from shared.market.registry import AXIS_PROXIES, LOOKBACK, PROXY_SYMBOLS, VALUE_AXES
from tests.support.risk import Answered, answered

SCENARIOS = load_scenarios()
FIRST = date(2016, 1, 4)


@dataclass(frozen=True)
class Unit:
    """One portfolio on one session: signed values by symbol."""

    nav: float
    values: Mapping[str, float]
    portfolio: int = 0
    session: int = 0


def days(count: int) -> tuple[date, ...]:
    """Consecutive days standing for sessions; the computation takes them as labels."""
    return tuple(FIRST + timedelta(days=k) for k in range(count))


def market(seed: int, sessions: int, symbols: Sequence[str]) -> dict[str, FloatVector]:
    """Daily returns of all proxies and of the symbols: the market, styles that load on it, TLT against it, stocks on all."""
    rng = np.random.default_rng(seed)
    clusters = np.exp(0.5 * np.sin(np.arange(sessions) / 40.0))  # volatility that comes and goes, as it does
    m = 0.0004 + 0.009 * clusters * rng.standard_t(5, sessions)
    opposed = 0.004 * rng.standard_normal(sessions)
    returns = {proxy: m + 0.003 * rng.standard_normal(sessions) for proxy in PROXY_SYMBOLS}
    for proxy, sign in (("VTV", 1.0), ("IVE", 1.0), ("VLUE", 1.0), ("VUG", -1.0), ("IVW", -1.0)):
        returns[proxy] = returns[proxy] + sign * opposed
    returns["SPY"] = m
    returns["TLT"] = 0.0001 - 0.25 * m + 0.008 * rng.standard_normal(sessions)
    for symbol in symbols:
        own = np.random.default_rng([seed, *symbol.encode()])
        tilt = own.normal(0.0, 0.3)
        returns[symbol] = (
            0.0002
            + own.uniform(0.4, 1.6) * m
            + tilt * (returns["VTV"] - m)
            + own.uniform(0.006, 0.02) * own.standard_normal(sessions)
        )
    return returns


def facts(returns: Mapping[str, FloatVector], rows: Sequence[int]) -> tuple[tuple[str, ...], Exposures]:
    """Sorted symbols and their exposures on the given rows. Proxies that are not among the returns have none."""
    names = tuple(sorted(returns))
    count = len(next(iter(returns.values())))
    empty = np.full(count, np.nan)
    proxies = np.column_stack([returns.get(proxy, empty) for proxy in PROXY_SYMBOLS])
    found = exposures(np.column_stack([returns[name] for name in names]), proxies, np.array(rows, dtype=np.int64))
    return names, own_factors(found, names)


def differences(returns: Mapping[str, FloatVector]) -> dict[str, FloatVector]:
    """Returns of what may stand for value: two funds, or a fund less the market."""
    pairs = zip(AXIS_PROXIES, VALUE_AXES, strict=True)
    return {axis: returns[a] - returns[b] for axis, (a, b) in pairs if a in returns and b in returns}


def panel(
    returns: Mapping[str, FloatVector],
    sessions: int = 1,
    *,
    labels: Sequence[date] | None = None,
    kinds: Mapping[str, Kind] | None = None,
) -> Panel:
    """The risk panel of the last `sessions` rows, its facts computed by the factors layer from the same returns.

    labels : dates of those rows; a history shorter than the lookback is filled up with unknowns at the front.
    """
    count = len(next(iter(returns.values())))
    rows = list(range(count - sessions, count))
    returns = {**returns, **differences(returns)}
    names, of = facts(returns, rows)
    width = LOOKBACK - 1 + sessions
    grid = np.full((len(names), width), np.nan)
    for i, name in enumerate(names):
        own = returns[name][-width:]
        grid[i, width - len(own) :] = own
    missing = {
        (k, s): of.reasons(k, s)["joint"]
        for k, s in zip(*(index.tolist() for index in np.nonzero(np.isnan(of.joint[..., 0]))), strict=True)
    }
    stand_in = [[-1 if name is None else names.index(name) for name in chosen] for chosen in of.geometry.symbols]
    return Panel(
        sessions=tuple(labels or days(sessions)),
        days=np.datetime64((labels or days(sessions))[0], "D") + np.arange(1 - LOOKBACK, sessions),
        symbols=names,
        kinds=np.array([(kinds or {}).get(name, Kind.PUBLIC) for name in names], dtype=np.int64),
        returns=grid,
        shrunk=of.shrunk,
        joint=of.joint,
        resid_sd=np.ascontiguousarray(of.fit[..., 2]),
        reported=np.concatenate(
            [of.market[..., :1], of.shrunk[..., None], of.ir_beta[..., None], of.spreads[..., 0]], axis=-1
        ),
        limited=of.quality() == "limited",
        fact_reasons=missing,
        proxies=np.array(stand_in, dtype=np.int64),
        slopes=of.geometry.slopes,
        gaps={},
    )


def book(of: Panel, units: Sequence[Unit], *, unpriceable: Sequence[str] = ()) -> Book:
    """The units' holdings as the workflow lays them out, sorted by symbol within a unit."""
    held = [(symbol, value) for unit in units for symbol, value in sorted(unit.values.items())]
    values = np.array([value for _, value in held], dtype=np.float64)
    return Book(
        portfolios=tuple(UUID(int=p + 1) for p in range(1 + max(unit.portfolio for unit in units))),
        portfolio=np.array([unit.portfolio for unit in units], dtype=np.int64),
        session=np.array([unit.session for unit in units], dtype=np.int64),
        nav=np.array([unit.nav for unit in units], dtype=np.float64),
        starts=np.concatenate([[0], np.cumsum([len(unit.values) for unit in units])]).astype(np.int64),
        rows=np.array([of.symbols.index(symbol) for symbol, _ in held], dtype=np.int64),
        long=np.maximum(values, 0.0),
        short=np.minimum(values, 0.0),
        unpriceable=np.array([symbol in unpriceable for symbol, _ in held], dtype=np.bool_),
        sectors=("Unclassified",) * len(held),
        underlyings=tuple(symbol for symbol, _ in held),
        history={},
    )


def pictured(of: Panel, *units: Unit, unpriceable: Sequence[str] = ()) -> list[Answered]:
    """The pictures of some units, in their order."""
    found = build_reports(of, book(of, units, unpriceable=unpriceable), SCENARIOS)
    return [answered(picture, SCENARIOS) for picture in found]


def window(returns: Mapping[str, FloatVector], symbols: Sequence[str], length: int) -> FloatMatrix:
    """(length, len(symbols)) the last returns of some symbols."""
    return np.column_stack([returns[symbol][-length:] for symbol in symbols])
