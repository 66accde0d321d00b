"""How far forecasts could be trusted (docs/methods.md, scorecard): QLIKE of variances, Kupiec's test of VaR. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shared.arrays import BoolMatrix, FloatMatrix, FloatVector
from shared.market import layouts
from shared.market.layouts import FORECASTS
from shared.market.registry import HAR_HORIZON, SCORED_LEVEL, SESSIONS_A_YEAR

HAR, HAR_VARIANCE, EWMA_VARIANCE, HISTORICAL, NORMAL = (
    layouts.element(FORECASTS, name)
    for name in ("har", "har_variance", "ewma_variance", "var_historical", "var_normal")
)


@dataclass(frozen=True, slots=True)
class Record:
    """T consecutive sessions; NaN where a session is not there or says nothing.

    forecasts : (T, 5) in the order above, annualised; VaR of one day
    realized  : (T,) return of the session with the weights at the close before
    """

    forecasts: FloatMatrix
    realized: FloatVector


@dataclass(frozen=True, slots=True)
class Loss:
    """One volatility forecast against what came. `qlike` is 0 for a perfect one; `mean_error` is forecast less realised volatility."""

    n: int
    qlike: float | None
    mean_error: float | None


@dataclass(frozen=True, slots=True)
class Exceedances:
    """VaR against the next session's return; Kupiec's likelihood ratio, chi-squared with one degree of freedom."""

    n: int
    count: int
    lr: float | None
    p: float | None


@dataclass(frozen=True, slots=True)
class Scorecard:
    har: Loss
    ewma: Loss
    answered: Loss
    """Of the forecast that was answered: HAR where there was one, else EWMA."""
    common: tuple[int, float | None, float | None]
    """(n, QLIKE of HAR, of EWMA) on the sessions that have both: only these compare."""
    historical: Exceedances
    normal: Exceedances


def score(record: Record) -> Scorecard:
    """The scorecard as of the last session of the record."""
    f, horizon = record.forecasts, HAR_HORIZON
    count = max(0, len(record.realized) - horizon)
    realized = np.full(count, np.nan)
    if count:
        # Of the forecast at t: the sessions t+1 .. t+21, all of which must be there. Mean zero, as the forecasts have it.
        ahead = np.lib.stride_tricks.sliding_window_view(record.realized[1:], horizon)
        realized = SESSIONS_A_YEAR * np.ascontiguousarray(ahead**2).sum(axis=-1) / horizon
    har, ewma = f[:count, HAR_VARIANCE], f[:count, EWMA_VARIANCE]
    by_ewma = np.sqrt(ewma)
    loss_har, loss_ewma = _qlike(realized, har), _qlike(realized, ewma)
    answered = np.isfinite(f[:count, HAR])
    both = np.isfinite(loss_har) & np.isfinite(loss_ewma)
    realized_return = record.realized[1:]
    return Scorecard(
        har=_loss(loss_har, f[:count, HAR], realized),
        ewma=_loss(loss_ewma, by_ewma, realized),
        answered=_loss(np.where(answered, loss_har, loss_ewma), np.where(answered, f[:count, HAR], by_ewma), realized),
        common=(int(both.sum()), _mean(loss_har[both]), _mean(loss_ewma[both])),
        historical=_kupiec(f[:-1, HISTORICAL], realized_return),
        normal=_kupiec(f[:-1, NORMAL], realized_return),
    )


def _qlike(realized: FloatVector, variance: FloatVector) -> FloatVector:
    """x - ln x - 1 with x = realised over forecast variance (Patton 2011); NaN where one is not above zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where((realized > 0.0) & (variance > 0.0), realized / variance, np.nan)
        return ratio - np.log(ratio) - 1.0


def _loss(qlike: FloatVector, forecast: FloatVector, realized: FloatVector) -> Loss:
    known = np.isfinite(qlike) & np.isfinite(forecast)
    return Loss(int(known.sum()), _mean(qlike[known]), _mean(forecast[known] - np.sqrt(realized[known])))


def _mean(values: FloatVector) -> float | None:
    return float(values.sum() / len(values)) if len(values) else None


def _kupiec(var: FloatVector, realized_return: FloatVector) -> Exceedances:
    known: BoolMatrix = np.isfinite(var) & np.isfinite(realized_return)
    n, x = int(known.sum()), int((realized_return[known] < -var[known]).sum())
    if n == 0:
        return Exceedances(0, 0, None, None)
    expected, seen = 1.0 - SCORED_LEVEL, x / n
    likelihood = _log(n - x, 1.0 - seen) + _log(x, seen) - _log(n - x, 1.0 - expected) - _log(x, expected)
    ratio = max(0.0, 2.0 * likelihood)
    # Of chi-squared with one degree of freedom: the square of a standard normal.
    return Exceedances(n, x, ratio, math.erfc(math.sqrt(ratio / 2.0)))


def _log(times: int, probability: float) -> float:
    return times * math.log(probability) if times else 0.0
