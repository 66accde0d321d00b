"""How far forecasts could be trusted (docs/methods.md, scorecard): QLIKE of variances, tests of VaR, coverage of intervals. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from shared.arrays import BoolMatrix, FloatMatrix, FloatVector
from shared.market import layouts
from shared.market.layouts import FORECASTS
from shared.market.registry import (
    FEW_EXCEEDANCES,
    HAR_HORIZON,
    SCORED_LEVEL,
    SESSIONS_A_YEAR,
    VAR_LEVELS,
    VAR_METHODS,
    ZONE_MIN_SESSIONS,
)

HAR, HAR_VARIANCE, EWMA_VARIANCE, HISTORICAL, NORMAL = (
    layouts.element(FORECASTS, name)
    for name in ("har", "har_variance", "ewma_variance", "var_historical", "var_normal")
)
ANSWERED, ANSWERED_VARIANCE, LOW, HIGH = (
    layouts.element(FORECASTS, name) for name in ("answered", "answered_variance", "low", "high")
)
WIDTH = len(FORECASTS)
# Of the binomial at each level's n, as bank rules have it for 99 % and 250 days.
GREEN, YELLOW = 0.95, 0.9999


Tail = tuple[str, float]
"""Method and level of a VaR."""
ANSWERED_TAIL: Tail = "historical", SCORED_LEVEL
"""Which the answer of risk shows."""


@dataclass(frozen=True, slots=True)
class Record:
    """T consecutive sessions; NaN where a session is not there or says nothing.

    forecasts : (T, WIDTH) in the order of `FORECASTS`, annualised; VaR of one day
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
    """VaR against the next session's return; likelihood ratios are chi-squared with one degree of freedom.

    lr, p : Kupiec, whether there are as many as the level says. independence_lr, independence_p : Christoffersen, whether one follows
    another; None below five. zone : `green`, `yellow` or `red`, by how likely so many or fewer are; None with fewer than 63 sessions.
    """

    n: int
    count: int
    lr: float | None
    p: float | None
    independence_lr: float | None = None
    independence_p: float | None = None
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Inside:
    """How often what came lay within the interval that was answered."""

    n: int
    count: int


@dataclass(frozen=True, slots=True)
class Scorecard:
    har: Loss
    ewma: Loss
    answered: Loss
    """Of the forecast that was answered: HAR where there was one, else EWMA."""
    common: tuple[int, float | None, float | None]
    """(n, QLIKE of HAR, of EWMA) on the sessions that have both: only these compare."""
    tails: Mapping[Tail, Exceedances]
    """By method and level of VaR."""
    interval: Inside

    @property
    def historical(self) -> Exceedances:
        """At the level that is scored since ever."""
        return self.tails[ANSWERED_TAIL]

    @property
    def normal(self) -> Exceedances:
        return self.tails["normal", SCORED_LEVEL]


def score(record: Record, tails: Collection[Tail] | None = None) -> Scorecard:
    """The scorecard as of the last session of the record. tails : of VaR alone these; all by default"""
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
    # What was answered is stored since it is a combination; before it was the HAR, else the EWMA.
    known = np.isfinite(f[:count, HAR])
    answered = _first(f[:count, ANSWERED], np.where(known, f[:count, HAR], by_ewma))
    loss = _qlike(realized, _first(f[:count, ANSWERED_VARIANCE], np.where(known, har, ewma)))
    both = np.isfinite(loss_har) & np.isfinite(loss_ewma)
    realized_return = record.realized[1:]
    return Scorecard(
        har=_loss(loss_har, f[:count, HAR], realized),
        ewma=_loss(loss_ewma, by_ewma, realized),
        answered=_loss(loss, answered, realized),
        common=(int(both.sum()), _mean(loss_har[both]), _mean(loss_ewma[both])),
        tails={
            (method, level): _exceedances(f[:-1, at], realized_return, level)
            for (method, level), at in TAILS.items()
            if tails is None or (method, level) in tails
        },
        interval=_inside(f[:count, LOW], f[:count, HIGH], np.sqrt(realized)),
    )


TAILS: Mapping[Tail, int] = {
    (method, level): layouts.element(FORECASTS, layouts.scored_var(method, level))
    for level in VAR_LEVELS
    for method in VAR_METHODS
}


def _first(one: FloatVector, other: FloatVector) -> FloatVector:
    return np.where(np.isfinite(one), one, other)


def _inside(low: FloatVector, high: FloatVector, realized: FloatVector) -> Inside:
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(realized)
    return Inside(int(known.sum()), int(((low <= realized) & (realized <= high))[known].sum()))


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


def _exceedances(var: FloatVector, realized_return: FloatVector, level: float) -> Exceedances:
    known: BoolMatrix = np.isfinite(var) & np.isfinite(realized_return)
    beyond = known & (np.where(known, realized_return, 0.0) < -np.where(known, var, 0.0))
    n, x = int(known.sum()), int(beyond.sum())
    if n == 0:
        return Exceedances(0, 0, None, None)
    expected, seen = 1.0 - level, x / n
    likelihood = _log(n - x, 1.0 - seen) + _log(x, seen) - _log(n - x, 1.0 - expected) - _log(x, expected)
    ratio = max(0.0, 2.0 * likelihood)
    independence = _independence(beyond, known) if x >= FEW_EXCEEDANCES else None
    return Exceedances(
        n, x, ratio, _survival(ratio), independence, None if independence is None else _survival(independence),
        _zone(x, n, expected) if n >= ZONE_MIN_SESSIONS else None,
    )  # fmt: skip


def _independence(beyond: BoolMatrix, known: BoolMatrix) -> float:
    """Christoffersen (1998): whether an exceedance is as likely after one as after none. Pairs over a missing session are dropped."""
    pairs = known[:-1] & known[1:]
    before, after = beyond[:-1][pairs], beyond[1:][pairs]
    after_none, after_one = int((~before).sum()), int(before.sum())
    first, again = int((~before & after).sum()), int((before & after).sum())
    total = after_none + after_one
    alike, both = (first + again) / total if total else 0.0, first + again
    apart = _binomial(first, after_none) + _binomial(again, after_one)
    return max(0.0, 2.0 * (apart - _log(total - both, 1.0 - alike) - _log(both, alike)))


def _binomial(count: int, n: int) -> float:
    """Logarithm of the likelihood of `count` in n at their own share."""
    return _log(n - count, 1.0 - count / n) + _log(count, count / n) if n else 0.0


def _zone(x: int, n: int, p: float) -> str:
    """The traffic light: how likely x exceedances or fewer are where p is right."""
    terms = (
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)
        for k in range(x + 1)
    )
    chance = math.fsum(map(math.exp, terms))
    return "green" if chance < GREEN else "yellow" if chance < YELLOW else "red"


def _survival(ratio: float) -> float:
    """Of chi-squared with one degree of freedom: the square of a standard normal."""
    return math.erfc(math.sqrt(ratio / 2.0))


def _log(times: int, probability: float) -> float:
    return times * math.log(probability) if times else 0.0
