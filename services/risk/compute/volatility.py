"""Volatility of return series (docs/methods.md §7). Every function takes n series and treats each alone.

Series are (n, LOOKBACK) simple daily returns, oldest first, the last column is D; `valid` of the same shape says which
count. NaN in a row makes that row's figures NaN. Results are (n,), annualised with √252 unless said, NaN where withheld.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.risk.compute import har
from services.risk.compute.forecast_weights import ewma_path, har_weights
from services.risk.compute.rolling import trailing_sums
from services.risk.compute.series import blocks, masked_moments
from shared.arrays import BoolMatrix, FloatMatrix, FloatVector, IntVector
from shared.market.registry import (
    EWMA_DECAY,
    EWMA_MIN_OBS,
    HAR_INTERVAL_Z,
    INTERVAL_WIDTH,
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
    """Volatility of the next 21 sessions: HAR and EWMA combined, or the EWMA alone where there is no HAR."""

    value: FloatVector
    low: FloatVector
    high: FloatVector
    variance: FloatVector
    """Annualised, combined with the same weights."""
    n_obs: IntVector
    har: NDArray[np.bool_]
    """Whether the HAR is in it."""
    weight: FloatVector
    """Of the HAR; NaN where it is not in it."""
    har_value: FloatVector
    har_variance: FloatVector
    """252 (ŷ² + s²). With `ewma_variance` the parts, annualised: the scorecard compares the two."""
    ewma_variance: FloatVector


def realized_volatility(series: FloatMatrix, valid: BoolMatrix, window: int) -> FloatVector:
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


def forecast(
    series: FloatMatrix, valid: BoolMatrix, *, judged: bool = True, path: FloatMatrix | None = None
) -> Forecast:
    """HAR-RV in volatility form (Corsi 2009) combined with the EWMA, with an 80 % interval; the EWMA alone with fewer than 252 returns.

    The interval is lognormal around the value, of the HAR's error widened by 1.2. judged : weights by how the two have done in
    the window, else a half each. path : (n, LOOKBACK) of `ewma_path`, if the caller has it.
    """
    n = len(series)
    if judged and path is None:
        path = ewma_path(series, valid)
    value, s, smoothed, weight = np.empty(n), np.empty(n), np.empty(n), np.full(n, 0.5)
    count = np.empty(n, dtype=np.int64)
    for part in blocks(n):
        smoothed[part], count[part] = ewma(series[part], valid[part])
        design = har.design(series[part], valid[part])
        of = har.on_series(design)
        value[part], s[part] = of.value, of.s
        if judged and path is not None:
            weight[part] = har_weights(design, path[part])
    use = np.isfinite(value)
    combined = combine(value, smoothed, weight)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.exp(HAR_INTERVAL_Z * INTERVAL_WIDTH * np.sqrt(np.log1p((s / value) ** 2)))
    variance = SESSIONS_A_YEAR * (value * value + s * s)
    return Forecast(
        value=combined,
        low=np.where(use, combined / spread, np.nan),
        high=np.where(use, combined * spread, np.nan),
        variance=np.where(use, weight * variance + (1.0 - weight) * smoothed, smoothed),
        n_obs=count,
        har=use,
        weight=np.where(use, weight, np.nan),
        har_value=ANNUAL * value,
        har_variance=variance,
        ewma_variance=smoothed,
    )


def combine(value: FloatVector, smoothed: FloatVector, weight: FloatVector | float) -> FloatVector:
    """Annualised volatility of the HAR's daily `value` (NaN where there is none) and the EWMA's annualised variance."""
    by_ewma = np.sqrt(smoothed)
    return np.where(np.isfinite(value), weight * ANNUAL * value + (1.0 - weight) * by_ewma, by_ewma)


def ewma(series: FloatMatrix, valid: BoolMatrix) -> tuple[FloatVector, IntVector]:
    """(annualised variance, valid returns): normalised weights 0.94^age on squared returns, mean zero."""
    weight = np.where(valid, _EWMA_WEIGHTS, 0.0)
    count = valid.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = (weight * series * series).sum(axis=1) / weight.sum(axis=1)
    return np.where(count >= EWMA_MIN_OBS, SESSIONS_A_YEAR * variance, np.nan), count


def ewma_of_windows(returns: FloatMatrix) -> FloatMatrix:
    """The annualised EWMA variance of every window of LOOKBACK returns without a hole: (n, W) to (n, W - 503). NaN spoils its windows."""
    weight = _EWMA_WEIGHTS / _EWMA_WEIGHTS.sum()
    # One dot product a window: no digit depends on how many windows there are.
    rows = [np.correlate(row * row, weight, "valid") for row in returns]
    variance: FloatMatrix = SESSIONS_A_YEAR * np.array(rows)
    return variance


def _mean_square(values: FloatMatrix, valid: BoolMatrix) -> tuple[FloatVector, IntVector]:
    """(mean of squares, count) of the valid entries along the last axis."""
    count = valid.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(valid, values * values, 0.0).sum(axis=-1) / count, count
