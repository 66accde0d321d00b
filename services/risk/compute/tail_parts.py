"""What the holdings have in a portfolio's expected shortfall (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from services.risk.compute.inputs import Panel, PortfolioGroup
from services.risk.compute.series import Filled
from services.risk.compute.tail import historical
from shared.arrays import BoolMatrix, FloatCube, FloatMatrix, FloatVector, IntVector
from shared.market.registry import ES_LEVEL, LOOKBACK, VAR_MIN_OBS

MOST_CELLS = 160_000  # returns gathered at a time: a few copies of them stay in a core's cache
ReturnsOf = Callable[[IntVector], FloatCube]
"""By units of a stack: (units, K, LOOKBACK) series of their holdings, filled."""


def own_returns(panel: Panel, stack: PortfolioGroup) -> ReturnsOf:
    """Of units whose holdings have every return of the lookback."""
    windows = panel.windows()
    return lambda units: windows[stack.source[units], stack.sessions[units, None]]


def filled_returns(filled: Filled, stack: PortfolioGroup) -> ReturnsOf:
    """Of units with holes."""
    index = filled.find(stack.sessions[:, None], stack.source)
    return lambda units: filled.values[index[units]]


def es_parts(stack: PortfolioGroup, series: FloatMatrix, since: BoolMatrix, returns: ReturnsOf) -> FloatCube:
    """(g, K, 3) component, marginal and incremental of the one-day historical ES at 97.5 %; NaN with fewer than 252 returns.

    series, since : (g, LOOKBACK) the portfolio's and which count. Component: minus the mean of w_i r_i over the tail days, which sums to
    the ES; marginal: minus the mean of r_i, what a unit of weight more would add; incremental: the ES less that of the rest as it is.
    """
    g, k = stack.rows.shape
    out = np.full((g, k, 3), np.nan)
    count = since.sum(axis=1)
    known = (count >= VAR_MIN_OBS) & np.isfinite(stack.nav)
    if k == 0:
        return out
    step = max(1, MOST_CELLS // (k * LOOKBACK))
    # Units with equally many days are put in order together; what is sorted and added is one unit's own.
    for n in np.unique(count[known]).tolist():
        same = np.flatnonzero(known & (count == n))
        for low in range(0, len(same), step):
            units = same[low : low + step]
            out[units] = _parts(stack.exposure_weight[units], series[units], since[units], returns(units), n)
    return out


def _parts(weight: FloatMatrix, series: FloatMatrix, since: BoolMatrix, own: FloatCube, n: int) -> FloatCube:
    """Of b units with n days each: weight (b, K), series and since (b, LOOKBACK), own (b, K, LOOKBACK)."""
    b, k, _ = own.shape
    whole = series[since].reshape(b, n)
    own = own if n == own.shape[2] else own.transpose(0, 2, 1)[since].reshape(b, n, k).transpose(0, 2, 1)
    quantile, es = _lowest(whole)
    rest = (whole[:, None, :] - weight[:, :, None] * own).reshape(b * k, n)
    days = whole <= quantile[:, None]
    tail = np.where(days[:, None, :], own, 0.0).sum(axis=-1)
    marginal = -tail / days.sum(axis=1)[:, None]
    return np.stack([weight * marginal, marginal, es[:, None] - _lowest(rest)[1].reshape(b, k)], axis=-1)


def _lowest(values: FloatMatrix) -> tuple[FloatVector, FloatVector]:
    """(quantile, expected shortfall) of rows of n returns; only those at the bottom are put in order."""
    n = values.shape[1]
    last = int((1.0 - ES_LEVEL) * (n - 1)) + 1
    front = np.sort(np.partition(values, last, axis=1)[:, : last + 1], axis=1)
    quantile, es = historical(front, np.full(len(values), n), ES_LEVEL)
    # Days that equal the quantile may lie behind the front too: the mean is of all of them.
    tied = np.flatnonzero(front[:, -1] <= -quantile)
    if len(tied):
        es[tied] = historical(np.sort(values[tied], axis=1), np.full(len(tied), n), ES_LEVEL)[1]
    return -quantile, es
