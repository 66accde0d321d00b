"""Value at risk, expected shortfall and drawdown (docs/methods.md §8)."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from services.risk.compute.inputs import History
from services.risk.compute.series import masked_moments
from shared.arrays import BoolMatrix, DateVector, FloatMatrix, FloatVector, IntVector
from shared.market.registry import VAR_MIN_OBS


@dataclass(frozen=True, slots=True)
class Tail:
    """One day, positive fractions of NAV; (n,), NaN with fewer than 252 returns."""

    method: str
    level: float
    var: FloatVector
    es: FloatVector
    n_obs: IntVector


def tails(series: FloatMatrix, valid: BoolMatrix, levels: tuple[float, ...]) -> list[Tail]:
    """Historical and normal VaR and ES of each level, on series (n, LOOKBACK)."""
    count, mean, variance = masked_moments(series, valid)
    n_obs = valid.sum(axis=1)
    enough = count >= VAR_MIN_OBS
    ordered = np.sort(np.where(valid, series, np.inf), axis=1)
    result = []
    for level in levels:
        var, es = _historical(ordered, n_obs, level)
        result.append(Tail("historical", level, np.where(enough, var, np.nan), np.where(enough, es, np.nan), n_obs))
    normal, sd = NormalDist(), np.sqrt(variance)
    for level in levels:
        z = normal.inv_cdf(1.0 - level)
        var = -(mean + z * sd)
        es = -mean + sd * (normal.pdf(z) / (1.0 - level))
        result.append(Tail("normal", level, np.where(enough, var, np.nan), np.where(enough, es, np.nan), n_obs))
    return result


def _historical(ordered: FloatMatrix, n_obs: IntVector, level: float) -> tuple[FloatVector, FloatVector]:
    """numpy's `linear` quantile at 1 - level, and the mean of the returns at or below it; rows sorted, invalid ones last."""
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
