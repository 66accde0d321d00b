"""Volatility of return series (docs/methods.md §7). Every function takes n series and treats each alone.

Series are (n, LOOKBACK) simple daily returns, oldest first, the last column is D; `valid` of the same shape says which
count. NaN in a row makes that row's figures NaN. Results are (n,), annualised with √252 unless said, NaN where withheld.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.risk.compute import har
from services.risk.compute.rolling import trailing_sums
from services.risk.compute.series import blocks, masked_moments
from shared.arrays import BoolMatrix, FloatMatrix, FloatVector, IntVector
from shared.market.registry import (
    EWMA_DECAY,
    EWMA_MIN_OBS,
    HAR_INTERVAL_Z,
    LOOKBACK,
    PERCENTILE_HISTORY,
    SESSIONS_A_YEAR,
    TREND_WINDOW,
    TREND_Z,
    VOLATILITY_MIN_SHARE,
)

ANNUAL = float(np.sqrt(SESSIONS_A_YEAR))
_EWMA_WEIGHTS = EWMA_DECAY ** np.arange(LOOKBACK - 1, -1, -1, dtype=np.float64)


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
    recent = series[:, -span:]
    [total], [squares] = trailing_sums(recent, TREND_WINDOW), trailing_sums(recent * recent, TREND_WINDOW)
    spread = squares - total * total / TREND_WINDOW
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
    value, s, smoothed = np.empty(n), np.empty(n), np.empty(n)
    rows, count = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    for part in blocks(n):
        smoothed[part], count[part] = ewma(series[part], valid[part])
        of = har.on_series(series[part], valid[part])
        value[part], s[part], rows[part] = of.value, of.s, of.rows
    use = np.isfinite(value)
    low = np.maximum(0.0, value - HAR_INTERVAL_Z * s)
    return Forecast(
        value=np.where(use, ANNUAL * value, np.sqrt(smoothed)),
        low=np.where(use, ANNUAL * low, np.nan),
        high=np.where(use, ANNUAL * (value + HAR_INTERVAL_Z * s), np.nan),
        variance=np.where(use, SESSIONS_A_YEAR * (value * value + s * s), smoothed),
        n_obs=np.where(use, rows, count),
        har=use,
        ewma_variance=smoothed,
    )


def ewma(series: FloatMatrix, valid: BoolMatrix) -> tuple[FloatVector, IntVector]:
    """(annualised variance, valid returns): normalised weights 0.94^age on squared returns, mean zero."""
    weight = np.where(valid, _EWMA_WEIGHTS, 0.0)
    count = valid.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = (weight * series * series).sum(axis=1) / weight.sum(axis=1)
    return np.where(count >= EWMA_MIN_OBS, SESSIONS_A_YEAR * variance, np.nan), count


def _mean_square(values: FloatMatrix, valid: BoolMatrix) -> tuple[FloatVector, IntVector]:
    """(mean of squares, count) of the valid entries along the last axis."""
    count = valid.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(valid, values * values, 0.0).sum(axis=-1) / count, count
