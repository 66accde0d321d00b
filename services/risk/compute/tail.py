"""Value at risk, expected shortfall and drawdown (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from services.risk.compute.forecast_weights import ewma_path
from services.risk.compute.inputs import History
from services.risk.compute.rolling import trailing_sums
from services.risk.compute.series import masked_moments
from shared.arrays import BoolMatrix, DateVector, FloatMatrix, FloatVector, IntVector
from shared.market.registry import EWMA_MIN_OBS, FILTER_SIGMAS, VAR_DAYS, VAR_INTERVAL, VAR_MIN_OBS

_ROUNDING = 1e-9
FILTERED_MIN_OBS = (
    VAR_MIN_OBS - EWMA_MIN_OBS
)  # what the least history leaves once the first have no volatility before them


@dataclass(frozen=True, slots=True)
class Tail:
    """Positive fractions of NAV; (n,), NaN with fewer than 252 returns. `low` and `high` bound the quantile, NaN where nothing does."""

    method: str
    level: float
    var: FloatVector
    es: FloatVector
    n_obs: IntVector
    low: FloatVector
    high: FloatVector


def tails(
    series: FloatMatrix, valid: BoolMatrix, levels: tuple[float, ...], path: FloatMatrix | None = None
) -> list[Tail]:
    """One day: historical, normal and filtered VaR and ES of each level, on series (n, LOOKBACK).

    Filtered: the historical figures of returns that are brought to today's volatility, r_t σ_D/σ_{t-1} by the EWMA (Barone-Adesi and others
    1999); the first 63 have none, and where fewer than 189 are left the figures are NaN. Intervals of historical ones are order
    statistics; they say how few returns are behind a quantile.
    path : (n, LOOKBACK) of `ewma_path`, if the caller has it.
    """
    count, mean, variance = masked_moments(series, valid)
    n_obs = valid.sum(axis=1)
    enough = count >= VAR_MIN_OBS
    unknown = np.full(len(series), np.nan)
    result = _by_order("historical", series, valid, levels, enough)
    normal, sd = NormalDist(), np.sqrt(variance)
    for level in levels:
        z = normal.inv_cdf(1.0 - level)
        var = -(mean + z * sd)
        es = -mean + sd * (normal.pdf(z) / (1.0 - level))
        known = (np.where(enough, var, np.nan), np.where(enough, es, np.nan))
        result.append(Tail("normal", level, *known, n_obs, unknown, unknown))
    brought, there = filter_returns(series, valid, ewma_path(series, valid) if path is None else path)
    return result + _by_order("filtered", brought, there, levels, enough & (there.sum(axis=1) >= FILTERED_MIN_OBS))


def filter_returns(series: FloatMatrix, valid: BoolMatrix, path: FloatMatrix) -> tuple[FloatMatrix, BoolMatrix]:
    """(returns at today's volatility, which there are): r_t σ_D/σ_{t-1} with the EWMA as of D and as of the session before t.

    What is more than `FILTER_SIGMAS` σ_{t-1} is a jump: a share that stood still until its merger failed did not move by 240 of its
    deviations, and today's deviations say nothing of it. It counts as it was, or as so many of today's where that is more.
    """
    before = np.concatenate([np.full((len(series), 1), np.nan), path[:, :-1]], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        # What stood still on a day whose volatility was none stands still at any: it is an observation, and 0 / 0 is not.
        still = (before == 0.0) & (series == 0.0)
        brought = np.where(still, series, series * np.sqrt(path[:, -1:] / before))
        most = np.maximum(np.abs(series), FILTER_SIGMAS * np.sqrt(path[:, -1:]))
        jumped = series**2 > FILTER_SIGMAS**2 * before
        brought = np.where(jumped & (np.abs(brought) > most), np.copysign(most, series), brought)
    known: BoolMatrix = valid & np.isfinite(brought)
    return brought, known


def withhold_impossible(of: Sequence[Tail], most: FloatVector) -> tuple[list[Tail], list[NDArray[np.bool_]]]:
    """(tails without what says that a portfolio loses more than it can, by tail of which units that was).

    most : (n,) fraction of NAV that is lost where all that is held is worth nothing; infinite where something is short
    """
    found, withheld = [], []
    for tail in of:
        with np.errstate(invalid="ignore"):
            beyond: NDArray[np.bool_] = np.maximum(tail.var, tail.es) > most * (1.0 + _ROUNDING)
        var, es, low = (np.where(beyond, np.nan, figure) for figure in (tail.var, tail.es, tail.low))
        high = np.where(beyond | np.isnan(tail.high), np.nan, np.fmin(tail.high, most))
        found.append(replace(tail, var=var, es=es, low=low, high=high))
        withheld.append(beyond)
    return found, withheld


def ten_days(series: FloatMatrix, valid: BoolMatrix, one_day: Sequence[Tail]) -> list[Tail]:
    """VaR and ES of ten sessions: one day's historical ones times √10, and those of overlapping windows of ten compounded returns.

    one_day : the tails of the same series, whose levels count. Overlapping windows share nine of ten returns, so n of them are far fewer
    than n observations. At least 252.
    """
    root, unknown = float(np.sqrt(VAR_DAYS)), np.full(len(series), np.nan)
    scaled = [
        replace(tail, method="scaled", var=root * tail.var, es=root * tail.es, low=unknown, high=unknown)
        for tail in one_day
        if tail.method == "historical"
    ]
    levels = tuple(tail.level for tail in scaled)
    with np.errstate(invalid="ignore"):
        growth = np.log1p(np.maximum(np.where(valid, series, 0.0), -1.0 + 1e-12))
    total = np.expm1(trailing_sums(growth, VAR_DAYS)[0])
    whole = trailing_sums(valid.astype(np.float64), VAR_DAYS)[0] == VAR_DAYS
    windows = _by_order("overlapping", total, whole, levels, whole.sum(axis=1) >= VAR_MIN_OBS)
    return scaled + [replace(tail, low=unknown, high=unknown) for tail in windows]


def _by_order(
    method: str, series: FloatMatrix, valid: BoolMatrix, levels: tuple[float, ...], enough: NDArray[np.bool_]
) -> list[Tail]:
    n_obs = valid.sum(axis=1)
    good = enough & (n_obs > 0)
    ordered = np.sort(np.where(valid, series, np.inf), axis=1)
    result = []
    for level in levels:
        figures = (*historical(ordered, n_obs, level), *_interval(ordered, n_obs, level))
        var, es, low, high = (np.where(good, figure, np.nan) for figure in figures)
        result.append(Tail(method, level, var, es, n_obs, low, high))
    return result


def _interval(ordered: FloatMatrix, n_obs: IntVector, level: float) -> tuple[FloatVector, FloatVector]:
    """(least, most) loss of the order statistics that hold the quantile with 95 %; no most where even the worst return may lie inside."""
    rows = np.arange(len(ordered))
    ranks = np.array([order_ranks(int(n), level) for n in n_obs], dtype=np.int64).reshape(-1, 2)
    outer, inner = ranks[:, 0], np.minimum(ranks[:, 1], np.maximum(n_obs, 1)) - 1
    low = -ordered[rows, inner]
    high = np.where(outer > 0, -ordered[rows, np.maximum(outer - 1, 0)], np.nan)
    return low, high


@cache
def order_ranks(n: int, level: float) -> tuple[int, int]:
    """(outer, inner) ranks from 1 of n ordered returns between which the quantile at 1 - level lies with 95 %; outer 0: not bounded.

    The number below the quantile is binomial (n, 1 - level): ranks at its 2.5 % point, and one above its 97.5 % point.
    """
    p, tail = 1.0 - level, 0.5 * (1.0 - VAR_INTERVAL)
    chance, below = (1.0 - p) ** n, 0.0
    found: list[int] = []
    for k in range(n + 1):
        below += chance
        while len(found) < 2 and below >= (tail, 1.0 - tail)[len(found)]:
            found.append(k)
        chance *= (n - k) / (k + 1.0) * p / (1.0 - p)
    outer, inner = (*found, n, n)[:2]
    return outer, min(inner + 1, n)


def historical(ordered: FloatMatrix, n_obs: IntVector, level: float) -> tuple[FloatVector, FloatVector]:
    """(VaR, ES): numpy's `linear` quantile at 1 - level, and the mean of the returns at or below it; rows sorted, invalid ones last."""
    rows = np.arange(len(ordered))
    position = (1.0 - level) * np.maximum(n_obs - 1, 0)
    low = np.floor(position).astype(np.int64)
    fraction = position - low
    a = ordered[rows, low]
    b = ordered[rows, np.minimum(low + 1, np.maximum(n_obs - 1, 0))]
    with np.errstate(invalid="ignore", divide="ignore"):
        # The same two-sided interpolation as numpy's, which is exact at both ends.
        quantile = np.where(fraction < 0.5, a + (b - a) * fraction, b - (b - a) * (1.0 - fraction))
        # What lies at or below it stands in front, unless a row has many equal returns: then all of it is looked at.
        front = ordered[:, : int((1.0 - level) * (ordered.shape[1] - 1)) + 2]
        es = _mean_up_to(front, quantile)
        tied = np.flatnonzero(front[:, -1] <= quantile)
        es[tied] = _mean_up_to(ordered[tied], quantile[tied])
    return -quantile, -es


def _mean_up_to(ordered: FloatMatrix, most: FloatVector) -> FloatVector:
    """(n,) mean of the entries of each row that are not greater than `most`."""
    counted = ordered <= most[:, None]
    mean: FloatVector = np.where(counted, ordered, 0.0).sum(axis=1) / counted.sum(axis=1)
    return mean


@dataclass(frozen=True, slots=True)
class Drawdown:
    """At the asked sessions: (m,) fractions <= 0, and the dates of the deepest one (NaT where unknown)."""

    current: FloatVector
    deepest: FloatVector
    peak: DateVector
    trough: DateVector
    uncovered: NDArray[np.bool_]
    """(m,) unknown for want of prices, and not of a snapshot."""


@dataclass(frozen=True, slots=True)
class NavVolatility:
    """Of n portfolios' own daily returns, annualised; NaN where withheld, `uncovered` where that is for want of prices."""

    values: FloatVector
    uncovered: NDArray[np.bool_]

    def of(self, rows: IntVector) -> NavVolatility:
        return NavVolatility(self.values[rows], self.uncovered[rows])


def drawdowns(history: History, sessions: DateVector) -> Drawdown:
    """Drawdown of a portfolio since inception as of each of `sessions` (m,), from its snapshots up to that session.

    The peak is the last session at a high before the deepest point; where the portfolio fell from its first session on
    it is that session, since the opening equity has no date of its own. Sessions whose prices are no evidence are not looked at.
    """
    at = np.searchsorted(history.sessions, sessions, side="right") - 1
    never = np.full(len(sessions), np.datetime64("NaT", "D"))
    if len(history.sessions) == 0:
        unknown = np.full(len(sessions), np.nan)
        return Drawdown(unknown, unknown, never, never, np.zeros(len(sessions), dtype=np.bool_))
    known = np.isfinite(history.drawdown) & history.well_priced()
    depth = np.where(known, history.drawdown, np.inf)
    deepest = np.minimum.accumulate(depth)
    order = np.arange(len(depth))
    # A new low replaces the trough only where it is strictly lower: the first of equal lows is the trough.
    new_low = np.concatenate([[True], deepest[1:] < deepest[:-1]])
    trough = np.maximum.accumulate(np.where(new_low, order, 0))
    high = np.maximum.accumulate(np.where(known & (history.drawdown >= 0.0), order, 0))
    inside = (at >= 0) & (history.sessions[np.maximum(at, 0)] == sessions)
    at = np.maximum(at, 0)
    good = inside & known[at]
    return Drawdown(
        np.where(good, history.drawdown[at], np.nan),
        np.where(good, deepest[at], np.nan),
        np.where(good, history.sessions[high[trough[at]]], never),
        np.where(good, history.sessions[trough[at]], never),
        inside & ~known[at] & np.isfinite(history.drawdown[at]),
    )
