"""What the holdings have in a portfolio's expected shortfall (docs/methods.md §8)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from services.risk.compute.inputs import Panel, PortfolioGroup
from services.risk.compute.series import Filled
from services.risk.compute.tail import historical
from shared.arrays import BoolMatrix, FloatCube, FloatMatrix, FloatVector
from shared.market.registry import ES_LEVEL, LOOKBACK, VAR_MIN_OBS

ReturnsOf = Callable[[int], FloatMatrix]
"""By unit of a stack: (K, LOOKBACK) series of its holdings, filled."""


def own_returns(panel: Panel, stack: PortfolioGroup) -> ReturnsOf:
    """Of units whose holdings have every return of the lookback."""

    def of(unit: int) -> FloatMatrix:
        session = int(stack.sessions[unit])
        return panel.returns[stack.source[unit], session : session + LOOKBACK]

    return of


def filled_returns(filled: Filled, stack: PortfolioGroup) -> ReturnsOf:
    """Of units with holes."""
    index = filled.find(stack.sessions[:, None], stack.source)
    return lambda unit: filled.values[index[unit]]


def es_parts(stack: PortfolioGroup, series: FloatMatrix, since: BoolMatrix, returns: ReturnsOf) -> FloatCube:
    """(g, K, 3) component, marginal and incremental of the one-day historical ES at 97.5 %; NaN with fewer than 252 returns.

    series, since : (g, LOOKBACK) the portfolio's and which count. Component: minus the mean of w_i r_i over the tail days, which sums to
    the ES; marginal: minus the mean of r_i, what a unit of weight more would add; incremental: the ES less that of the rest as it is.
    """
    g, k = stack.rows.shape
    out = np.full((g, k, 3), np.nan)
    weight = stack.exposure_weight
    known = (since.sum(axis=1) >= VAR_MIN_OBS) & np.isfinite(stack.nav)
    for unit in np.flatnonzero(known & np.bool_(k > 0)).tolist():
        days = since[unit]
        whole, own = series[unit, days], returns(unit)[:, days]
        quantile, es = (float(figure[0]) for figure in _lowest(whole[None]))
        tail = own[:, whole <= quantile]
        part = weight[unit][:, None] * own
        # A mean over the tail days holding by holding: no digit depends on what else is held.
        out[unit, :, 1] = -np.ascontiguousarray(tail).sum(axis=1) / tail.shape[1]
        out[unit, :, 0] = weight[unit] * out[unit, :, 1]
        out[unit, :, 2] = es - _lowest(whole - part)[1]
    return out


def _lowest(values: FloatMatrix) -> tuple[FloatVector, FloatVector]:
    """(quantile, expected shortfall) of rows of n returns; only those at the bottom are put in order."""
    n = values.shape[1]
    last = int((1.0 - ES_LEVEL) * (n - 1)) + 1
    front = np.sort(np.partition(values, last, axis=1)[:, : last + 1], axis=1)
    quantile, es = historical(front, np.full(len(values), n), ES_LEVEL)
    return -quantile, es
