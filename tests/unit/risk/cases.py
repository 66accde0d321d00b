"""Made-up markets and portfolios for the risk computation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from types import MappingProxyType
from uuid import UUID

import numpy as np

from services.risk.compute.inputs import Before, Book, Gap, History, Kind, Panel
from services.risk.store.holdings import HeldRow, LotList, UserClassification
from services.risk.workflow import load_scenarios
from services.risk.workflow.lots import Merged, merge_lots
from shared.arrays import FloatVector
from shared.market import layouts
from shared.market.registry import FACTORS, LOOKBACK

SCENARIOS = load_scenarios()
FIRST = date(2020, 1, 1)
PROXIES = tuple(factor.proxies[0] for factor in FACTORS)
MARKET = PROXIES[0]
PUBLIC_ONLY: Mapping[str, Kind] = MappingProxyType({})


@dataclass(frozen=True)
class Lot:
    symbol: str
    value: float
    sector: str = "Energy"
    unpriceable: bool = False


@dataclass(frozen=True)
class Unit:
    """One portfolio on one session."""

    nav: float
    lots: tuple[Lot, ...]
    portfolio: int = 0
    session: int = 0


def panel(
    stocks: Sequence[str],
    sessions: int = 1,
    *,
    seed: int = 0,
    kinds: Mapping[str, Kind] = PUBLIC_ONLY,
    without: Sequence[str] = (),
) -> Panel:
    """Random returns of the stocks and of all factor proxies, true slopes, made-up betas; factors `without` have no proxy.

    A symbol's numbers come from its own name, so a panel with other symbols beside it holds the same ones.
    """
    rows = sorted({*stocks, *PROXIES})
    width = LOOKBACK - 1 + sessions
    market = _rng("^market", seed).normal(0.0004, 0.011, width) * np.linspace(0.6, 1.5, width)
    returns = np.empty((len(rows), width))
    joint = np.empty((sessions, len(rows), len(FACTORS)))
    shrunk, resid_sd = np.empty((2, sessions, len(rows)))
    for i, symbol in enumerate(rows):
        rng = _rng(symbol, seed)
        tilt, noise = (1.0, 0.0) if symbol == MARKET else (rng.uniform(0.5, 1.5), rng.uniform(0.003, 0.02))
        returns[i] = tilt * market + noise * rng.standard_t(5, width)
        joint[:, i] = rng.normal(0.0, 0.4, len(FACTORS)) + np.eye(len(FACTORS))[0]
        shrunk[:, i], resid_sd[:, i] = tilt + 0.05, noise
    names = tuple(factor.name for factor in FACTORS)
    gone = [names.index(name) for name in without]
    proxies = np.array([rows.index(symbol) for symbol in PROXIES])
    windows = np.lib.stride_tricks.sliding_window_view(returns, LOOKBACK, axis=1)[:, :, -252:]
    slopes = np.array(
        [[_slope(windows[proxies[0], s], windows[k, s]) for k in proxies.tolist()] for s in range(sessions)]
    )
    proxies[gone] = -1
    joint[:, :, gone] = np.nan
    slopes[:, gone] = np.nan
    return Panel(
        sessions=tuple(FIRST + timedelta(days=s) for s in range(sessions)),
        # Three days early, so that a year begins on the fourth session and running sums begin anew within short ranges.
        days=np.datetime64(FIRST, "D") + np.arange(1 - LOOKBACK, sessions) - 3,
        symbols=tuple(rows),
        kinds=np.array([kinds.get(symbol, Kind.PUBLIC) for symbol in rows]),
        returns=returns,
        shrunk=shrunk,
        joint=joint,
        resid_sd=resid_sd,
        reported=np.ascontiguousarray(joint[:, :, : len(layouts.REPORTED)]),
        limited=np.zeros((sessions, len(rows)), dtype=np.bool_),
        fact_reasons={},
        proxies=np.tile(proxies, (sessions, 1)),
        slopes=slopes,
        gaps={},
    )


def _slope(market: FloatVector, own: FloatVector) -> float:
    centred = market - market.mean()
    return float(centred @ own / (centred @ centred))


def _rng(name: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, *name.encode()])


def one_session(of: Panel, s: int) -> Panel:
    """The panel of session `s` alone, as a batch of that one session would load it."""
    return replace(
        of,
        sessions=of.sessions[s : s + 1],
        days=of.days[s : s + LOOKBACK],
        returns=np.ascontiguousarray(of.returns[:, s : s + LOOKBACK]),
        gaps={
            row: tuple(replace(gap, first=gap.first - s, last=gap.last - s) for gap in gaps)
            for row, gaps in of.gaps.items()
        },
        shrunk=of.shrunk[s : s + 1],
        joint=of.joint[s : s + 1],
        resid_sd=of.resid_sd[s : s + 1],
        reported=of.reported[s : s + 1],
        limited=of.limited[s : s + 1],
        proxies=of.proxies[s : s + 1],
        slopes=of.slopes[s : s + 1],
    )


def forget(of: Panel, symbol: str, first: int, last: int, reason: str = "no_trade") -> Panel:
    """The panel without the symbol's returns in the columns [first, last], with the gap named."""
    row = of.symbols.index(symbol)
    returns = of.returns.copy()
    returns[row, first : last + 1] = np.nan
    return replace(of, returns=returns, gaps={**of.gaps, row: (*of.gaps.get(row, ()), Gap(first, last, reason))})


def merged(unit: Unit) -> list[Merged]:
    """The unit's lots as the workflow itself merges them. Money stays in whole units of the test's own."""
    lots = [UUID(int=k + 1) for k in range(len(unit.lots))]
    held = HeldRow(
        portfolio_id=UUID(int=unit.portfolio + 1),
        session=FIRST,
        nav=unit.nav,
        lots=LotList.of(lots, [lot.symbol for lot in unit.lots]),
        quantity=np.ones(len(lots)),
        market_value=np.array([lot.value for lot in unit.lots]),  # ten-thousandths would round made-up values
        no_evidence=[at for at, lot in enumerate(unit.lots) if lot.unpriceable],
    )
    # What class a lot is of is the panel's to say here, so none splits a symbol.
    stated = {lot.bytes: UserClassification("PUBLIC", of.sector, None) for lot, of in zip(lots, unit.lots, strict=True)}
    return merge_lots(held, stated)


def book(of: Panel, units: Sequence[Unit], *, history: Mapping[int, History] | None = None) -> Book:
    """The book of the units; lots of one symbol are merged as in production."""
    held = [merged(unit) for unit in units]
    flat = [lot for own in held for lot in own]
    return Book(
        portfolios=tuple(UUID(int=p + 1) for p in range(1 + max(unit.portfolio for unit in units))),
        portfolio=np.array([unit.portfolio for unit in units]),
        session=np.array([unit.session for unit in units]),
        nav=np.array([unit.nav for unit in units]),
        starts=np.concatenate([[0], np.cumsum([len(own) for own in held])]).astype(np.int64),
        rows=np.array([of.symbols.index(lot.row[0]) for lot in flat], dtype=np.int64),
        long=np.array([lot.long for lot in flat], dtype=np.float64),
        short=np.array([lot.short for lot in flat], dtype=np.float64),
        unpriceable=np.array([lot.unpriceable for lot in flat], dtype=np.bool_),
        sectors=tuple(str(lot.sector) for lot in flat),
        underlyings=tuple(lot.row[0] for lot in flat),
        history=dict(history or {}),
        before=before(of, units),
    )


def before(of: Panel, units: Sequence[Unit]) -> Before:
    """What each unit's portfolio held on the session before, if that is among the units."""
    known = {(unit.portfolio, unit.session): unit for unit in units}
    prior = [known.get((unit.portfolio, unit.session - 1)) for unit in units]
    held = [merged(unit) if unit else [] for unit in prior]
    flat = [lot for own in held for lot in own]
    return Before(
        starts=np.concatenate([[0], np.cumsum([len(own) for own in held])]).astype(np.int64),
        nav=np.array([unit.nav if unit else np.nan for unit in prior]),
        rows=np.array([of.symbols.index(lot.row[0]) for lot in flat], dtype=np.int64),
        value=np.array([lot.long + lot.short for lot in flat], dtype=np.float64),
        gross=np.array([lot.long - lot.short for lot in flat], dtype=np.float64),
        unpriceable=np.array([lot.unpriceable for lot in flat], dtype=np.bool_),
        underlying_rows={},
    )


def equal_book(of: Panel, symbols: Sequence[str], *, sessions: int = 1, nav: float = 1000.0) -> Book:
    """One portfolio with the same money in every symbol on every session, fully invested."""
    lots = tuple(Lot(symbol, nav / len(symbols)) for symbol in symbols)
    return book(of, [Unit(nav, lots, session=s) for s in range(sessions)])
