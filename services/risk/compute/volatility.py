"""Volatility of return series (docs/methods.md §7). Every function takes n series and treats each alone.

Series are (n, LOOKBACK) simple daily returns, oldest first, the last column is D; `valid` of the same shape says which
count. NaN in a row makes that row's figures NaN. Results are (n,), annualised with √252 unless said, NaN where withheld.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.risk.compute.series import blocks, masked, masked_moments
from shared.arrays import BoolMatrix, FloatCube, FloatMatrix, FloatVector, IntVector
from shared.market.registry import (
    EWMA_DECAY,
    HAR_HORIZON,
    HAR_INTERVAL_Z,
    HAR_MIN_ROWS,
    HAR_MONTH,
    HAR_WEEK,
    LOOKBACK,
    PERCENTILE_HISTORY,
    SESSIONS_A_YEAR,
    TREND_WINDOW,
    TREND_Z,
    VOLATILITY_MIN_SHARE,
)

ANNUAL = float(np.sqrt(SESSIONS_A_YEAR))
EWMA_MIN_OBS = 63  # with fewer the recursion still remembers where it started
_EWMA_WEIGHTS = EWMA_DECAY ** np.arange(LOOKBACK - 1, -1, -1, dtype=np.float64)
SINGULAR = 1e-10  # determinant of the regressors' correlation matrix below which they say the same thing


@dataclass(frozen=True, slots=True)
class Forecast:
    """Volatility of the next 21 sessions. `har` says which method stands in the other fields."""

    value: FloatVector
    low: FloatVector
    high: FloatVector
    variance: FloatVector
    """Annualised: 252 (ŷ² + s²), or 252 times the EWMA variance."""
    n_obs: IntVector
    har: NDArray[np.bool_]
    ewma_variance: FloatVector
    """Annualised, whatever the method: the scorecard compares the two."""


def realized(series: FloatMatrix, valid: BoolMatrix, window: int) -> FloatVector:
    """Sample standard deviation (ddof=1) of the last `window` returns; at least 80 % of them must be valid."""
    count, _, variance = masked_moments(series[:, -window:], valid[:, -window:])
    return np.where(count >= VOLATILITY_MIN_SHARE * window, ANNUAL * np.sqrt(variance), np.nan)


def percentile(series: FloatMatrix, valid: BoolMatrix) -> FloatVector:
    """Share of the 252 earlier rolling-21 standard deviations strictly below today's, in [0, 1]; needs 273 returns."""
    span = PERCENTILE_HISTORY + TREND_WINDOW
    recent = np.ascontiguousarray(series[:, -span:])
    steps = PERCENTILE_HISTORY + 1
    mean = np.zeros((len(recent), steps))
    for lag in range(TREND_WINDOW):
        mean += recent[:, lag : lag + steps]
    mean /= TREND_WINDOW
    spread = np.zeros_like(mean)
    for lag in range(TREND_WINDOW):
        spread += (recent[:, lag : lag + steps] - mean) ** 2
    share = (spread[:, :-1] < spread[:, -1:]).sum(axis=1) / float(PERCENTILE_HISTORY)
    known = valid[:, -span:].all(axis=1) & np.isfinite(spread[:, -1])
    return np.where(known, share, np.nan)


def trend(series: FloatMatrix, valid: BoolMatrix) -> FloatVector:
    """z of the ratio of this month's RMS return to the month's before; its error allows for the series' fat tails.

    z = ln(RMS_21 now / RMS_21 21 sessions ago) / √((κ-1)/42), κ = max(3, raw kurtosis of 252). Not annualised.
    """
    window = SESSIONS_A_YEAR
    now, now_count = _mean_square(series[:, -TREND_WINDOW:], valid[:, -TREND_WINDOW:])
    month = slice(-2 * TREND_WINDOW, -TREND_WINDOW)
    then, then_count = _mean_square(series[:, month], valid[:, month])
    count, mean, _ = masked_moments(series[:, -window:], valid[:, -window:])
    squared = np.where(valid[:, -window:], series[:, -window:] - mean[:, None], 0.0) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        second = squared.sum(axis=-1) / count
        kurtosis = (squared * squared).sum(axis=-1) / count / (second * second)
        z = 0.5 * np.log(now / then) / np.sqrt((np.maximum(3.0, kurtosis) - 1.0) / (2 * TREND_WINDOW))
    enough = (np.minimum(now_count, then_count) >= VOLATILITY_MIN_SHARE * TREND_WINDOW) & (
        count >= VOLATILITY_MIN_SHARE * window
    )
    return np.where(enough & np.isfinite(z), z, np.nan)


def direction(z: float | None) -> str | None:
    """Rising or falling beyond ±2, else stable."""
    if z is None:
        return None
    if abs(z) <= TREND_Z:
        return "stable"
    return "rising" if z > 0 else "falling"


def forecast(series: FloatMatrix, valid: BoolMatrix) -> Forecast:
    """HAR-RV in volatility form (Corsi 2009) with an 80 % interval, or the EWMA where fewer than 252 rows can be had."""
    n = len(series)
    value, s, ewma = np.empty(n), np.empty(n), np.empty(n)
    rows, count = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    for part in blocks(n):
        ewma[part], count[part] = _ewma(series[part], valid[part])
        value[part], s[part], rows[part] = _har(series[part], valid[part])
    use = np.isfinite(value)
    low = np.maximum(0.0, value - HAR_INTERVAL_Z * s)
    return Forecast(
        value=np.where(use, ANNUAL * value, np.sqrt(ewma)),
        low=np.where(use, ANNUAL * low, np.nan),
        high=np.where(use, ANNUAL * (value + HAR_INTERVAL_Z * s), np.nan),
        variance=np.where(use, SESSIONS_A_YEAR * (value * value + s * s), ewma),
        n_obs=np.where(use, rows, count),
        har=use,
        ewma_variance=ewma,
    )


def _ewma(series: FloatMatrix, valid: BoolMatrix) -> tuple[FloatVector, IntVector]:
    """(annualised variance, valid returns): normalised weights 0.94^age on squared returns, mean zero."""
    weight = np.where(valid, _EWMA_WEIGHTS, 0.0)
    count = valid.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = (weight * series * series).sum(axis=1) / weight.sum(axis=1)
    return np.where(count >= EWMA_MIN_OBS, SESSIONS_A_YEAR * variance, np.nan), count


def _har(series: FloatMatrix, valid: BoolMatrix) -> tuple[FloatVector, FloatVector, IntVector]:
    """(ŷ, s, rows), daily: OLS with intercept of y_t = √mean(r²_{t+1..t+21}) on |r_t| and the RMS of 5 and of 22 sessions.

    Rows with t + 21 <= D; a row that touches an invalid session is left out. ŷ is clipped to the range of y. NaN where there
    are fewer than 252 rows or the regressors are collinear.
    """
    length = series.shape[1]
    first, last = HAR_MONTH - 1, length - 1  # columns of t that have their regressors
    total = np.zeros((len(series), length + 1))
    np.cumsum(masked(series * series, valid), axis=1, out=total[:, 1:])

    def rms(window: int, low: int, high: int) -> FloatMatrix:
        """RMS of the `window` returns that end at each column of [low, high]."""
        span: FloatMatrix = total[:, low + 1 : high + 2] - total[:, low + 1 - window : high + 2 - window]
        # A running sum may end a hair below zero over a stretch of zeros.
        np.maximum(span, 0.0, out=span)
        span /= window
        np.sqrt(span, out=span)
        return span

    use, current = _complete(valid)
    rows = use.sum(axis=1)
    length_y = use.shape[1]
    # Today's regressors stand apart from those that have their target within the window.
    daily = masked(np.abs(series), valid)[:, first:]
    week, month = rms(HAR_WEEK, first, last), rms(HAR_MONTH, first, last)
    today = np.stack([daily[:, -1], week[:, -1], month[:, -1]], axis=1)
    y = rms(HAR_HORIZON, first + HAR_HORIZON, last)
    table = np.stack([daily[:, :length_y], week[:, :length_y], month[:, :length_y], y], axis=1)
    coefficient, mean, squares = _ols(table, use)
    with np.errstate(invalid="ignore", divide="ignore"):
        fitted = mean[:, -1] + (coefficient * (today - mean[:, :-1])).sum(axis=-1)
        low, high = (y, y) if use.all() else (np.where(use, y, np.inf), np.where(use, y, -np.inf))
        clipped = np.clip(fitted, low.min(axis=1), high.max(axis=1))
        s = np.sqrt(squares / (rows - 4.0))
    good = (rows >= HAR_MIN_ROWS) & current & np.isfinite(fitted) & np.isfinite(s)
    return np.where(good, clipped, np.nan), np.where(good, s, np.nan), rows


def _complete(valid: BoolMatrix) -> tuple[BoolMatrix, NDArray[np.bool_]]:
    """(rows of the regression that touch valid sessions only, whether today's regressors do)."""
    span = HAR_MONTH + HAR_HORIZON
    n, length = valid.shape
    if valid.all():
        return np.ones((n, length - span + 1), dtype=np.bool_), np.ones(n, dtype=np.bool_)
    known = np.concatenate([np.zeros((n, 1), dtype=np.int64), np.cumsum(valid, axis=1)], axis=1)
    return known[:, span:] - known[:, :-span] == span, known[:, -1] - known[:, -1 - HAR_MONTH] == HAR_MONTH


def _ols(table: FloatCube, use: BoolMatrix) -> tuple[FloatMatrix, FloatMatrix, FloatVector]:
    """Batched OLS with intercept by centring: table (n, k + 1, rows) of k regressors and the target, use (n, rows).

    Returns slopes (n, k), means (n, k + 1), sum of squared residuals (n,). NaN slopes where the regressors' correlation matrix
    is close to singular. Products are (k + 1, rows) by (rows, k + 1) of one series, so its digits depend on no other.
    """
    k = table.shape[1] - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        each = np.broadcast_to(use[:, None, :], table.shape)
        mean = masked(table, each).sum(axis=-1) / use.sum(axis=-1).astype(np.float64)[:, None]
        centred = masked(table - mean[:, :, None], each)
        product = np.matmul(centred, centred.transpose(0, 2, 1))
        gram, moment = product[:, :k, :k], product[:, :k, k]
        scale = np.sqrt(np.einsum("nii->ni", gram))
        correlation = gram / (scale[:, :, None] * scale[:, None, :])
    good = np.isfinite(correlation).all(axis=(1, 2))
    correlation[~good] = np.eye(k)
    good &= np.linalg.det(correlation) > SINGULAR
    correlation[~good] = np.eye(k)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.linalg.solve(correlation, (moment / scale)[:, :, None])[:, :, 0] / scale
        slope[~good] = np.nan
        # What a perfect fit leaves is rounding, which may come out below zero.
        squares = np.maximum(product[:, k, k] - (slope * moment).sum(axis=-1), 0.0)
    return slope, mean, squares


def _mean_square(values: FloatMatrix, valid: BoolMatrix) -> tuple[FloatVector, IntVector]:
    """(mean of squares, count) of the valid entries along the last axis."""
    count = valid.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(valid, values * values, 0.0).sum(axis=-1) / count, count
