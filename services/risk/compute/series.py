"""Filled return series of holdings and portfolios (docs/methods.md §7), and how much of them is real."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.risk.compute.inputs import Panel, PortfolioGroup, has_series
from shared.arrays import BoolMatrix, FloatMatrix, FloatVector, IntVector
from shared.market.registry import LOOKBACK

ROUNDING = 1e-14  # of gross exposure over NAV, in returns of a day
BLOCK = 64  # series worked on at a time: the temporaries of a block stay in a core's cache


def blocks(count: int) -> Iterator[slice]:
    """The rows in blocks. Rows are independent, so where a block begins changes no digit."""
    for low in range(0, count, BLOCK):
        yield slice(low, min(low + BLOCK, count))


def mask_unused(values: NDArray[np.float64], use: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The values, 0 where they are not used; without a copy where all are."""
    return values if use.all() else np.where(use, values, 0.0)


@dataclass(frozen=True, slots=True)
class Filled:
    """Series of n distinct (session, symbol) pairs over LOOKBACK sessions, oldest first."""

    keys: IntVector
    """(n,) ascending `session * N + row`."""
    symbols: int
    values: FloatMatrix
    """(n, LOOKBACK) finite; 0 on sessions without a market return."""
    real: BoolMatrix
    """(n, LOOKBACK) whether the return is the holding's own."""
    valid: BoolMatrix
    """(n, LOOKBACK) whether the market has a return: other sessions are dropped."""

    def find(self, sessions: IntVector, rows: IntVector) -> IntVector:
        """Positions of (session, row) pairs, which must be there."""
        return np.searchsorted(self.keys, sessions * self.symbols + rows)


def market_windows(panel: Panel) -> FloatMatrix:
    """(S, LOOKBACK) returns of each session's own market proxy; NaN throughout without one."""
    windows = panel.windows()
    row = panel.proxies[:, 0]
    market = windows[np.maximum(row, 0), np.arange(len(panel.sessions))]
    return np.where(row[:, None] >= 0, market, np.nan)


def fill(panel: Panel, sessions: IntVector, rows: IntVector) -> Filled:
    """Series of the distinct pairs (sessions[i], rows[i]).

    A missing return is `market_beta_shrunk` at D (else 1.0) times the market's; a private holding contributes 0, and so does an
    option without a delta: the market in its place would make a put raise risk. Elementwise, so that no digit depends on which pairs
    stand together.
    """
    count = len(panel.symbols)
    keys = np.unique(sessions * count + rows)
    session, row = np.divmod(keys, count)
    windows, markets = panel.windows(), market_windows(panel)
    public = has_series(panel.kinds[row])
    beta = panel.shrunk[session, row]
    beta = np.where(np.isfinite(beta) & public, beta, 1.0)
    values = np.empty((len(keys), LOOKBACK))
    real, valid = np.empty(values.shape, dtype=np.bool_), np.empty(values.shape, dtype=np.bool_)
    for part in blocks(len(keys)):
        own, market = windows[row[part], session[part]], markets[session[part]]
        np.isfinite(market, out=valid[part])
        np.logical_and(np.isfinite(own), public[part, None], out=real[part])
        if real[part].all() and valid[part].all():
            values[part] = own
            continue
        filled = np.where(real[part], own, beta[part, None] * market)
        filled[~public[part]] = 0.0
        values[part] = np.where(valid[part], filled, 0.0)
    return Filled(keys, count, values, real, valid)


def portfolio_series(filled: Filled, stack: PortfolioGroup) -> FloatMatrix:
    """(g, LOOKBACK) constant weights of D on the holdings' series: an accumulation over symbols in their sorted order.

    A matrix product would be faster for one stack alone, but BLAS may cut long products by the number of threads.
    """
    index = filled.find(stack.sessions[:, None], stack.source)
    weight = stack.exposure_weight
    total = np.zeros((len(stack.units), LOOKBACK))
    for holding in range(index.shape[1]):
        total += weight[:, holding, None] * filled.values[index[:, holding]]
    # Without holdings there is no weight to carry an unknown NAV into the series.
    total[np.isnan(stack.nav)] = np.nan
    return total


def without_rounding(series: FloatMatrix, stack: PortfolioGroup) -> FloatMatrix:
    """(g, LOOKBACK) the series, 0 throughout where all of it is the rounding of positions that cancel, such as a share and a call on it
    that is deep in the money: a trend or a beta of that would be one of the last digit."""
    largest = np.abs(series).max(axis=1)
    nothing = largest <= ROUNDING * np.abs(stack.exposure_weight).sum(axis=1)
    return np.where(nothing[:, None], 0.0, series) if nothing.any() else series


def real_share(filled: Filled, window: int) -> FloatVector:
    """(n,) share of the last `window` sessions with a return of the symbol's own."""
    share: FloatVector = filled.real[:, -window:].sum(axis=1) / float(window)
    return share


def real_shares(filled: Filled, windows: Sequence[int]) -> dict[int, FloatVector]:
    """`real_share` of each window; series that are real throughout are not counted again for each."""
    if filled.real.all():
        return {window: np.ones(len(filled.keys)) for window in windows}
    return {window: real_share(filled, window) for window in windows}


def coverage(gross: FloatMatrix, share: FloatMatrix) -> FloatVector:
    """Σ gross · share / Σ gross over the last axis; 1 where nothing is held, since nothing is missing. Both (g, K)."""
    total = np.ascontiguousarray(gross).sum(axis=-1)
    good = np.ascontiguousarray(gross * share).sum(axis=-1)
    covered: FloatVector = np.divide(good, total, out=np.ones_like(total), where=total > 0.0)
    return covered


def masked_moments(values: FloatMatrix, valid: NDArray[np.bool_]) -> tuple[FloatVector, FloatVector, FloatVector]:
    """(count, mean, variance with ddof=1) of the valid entries along the last axis; NaN where there are too few."""
    count = valid.sum(axis=-1).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = mask_unused(values, valid).sum(axis=-1) / count
        deviation = mask_unused(values - mean[..., None], valid)
        variance = (deviation * deviation).sum(axis=-1) / (count - 1.0)
    return count, mean, np.where(count > 1.0, variance, np.nan)
