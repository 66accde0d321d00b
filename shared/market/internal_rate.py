"""The money-weighted return: the internal rate of dated amounts, a year (ACT/365) or over the whole period.

Solved portfolio by portfolio in plain Python: a vectorised `exp` may differ in its last bit with an element's place in the array,
and a stored figure must not depend on which portfolios share a batch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from shared.market.registry import XIRR_HIGHEST, XIRR_LOWEST, XIRR_YEAR_DAYS

# Only sequences that change sign more than once can have several roots; among those with the sign of the profit the one nearest to
# zero is taken, found on this grid of the continuous rate. Where there are others, it counts only near what the money earned on average.
_GRID = 512
# How far apart the two may be, as continuous returns: the average knows no interest on interest.
_AGREEMENT = 2.0
_ITERATIONS = 200
_PRECISION = 1e-15


def xirr(flows: Sequence[tuple[int, float]], day: int, value: float) -> float:
    """Annual rate r with Σ amount · (1 + r)^((day - d) / 365) = value; decimal.

    flows : (day, amount put in; withdrawals negative), ascending, the first being the opening equity; those after `day` are left out
    value : NAV on `day`
    NaN within a year of the first flow, or without a root in [-0.9999, 10] that has the sign of the profit: where amounts change
    sign more than once the equation has roots that no money earned, such as a loss of 90 % a year where more came out than went in. Of
    several roots one counts only within a factor of two of the profit over the average capital, as continuous returns.
    """
    start = flows[0][0]
    if day - start < XIRR_YEAR_DAYS:
        return math.nan
    terms = [((day - when) / XIRR_YEAR_DAYS, amount) for when, amount in flows if when <= day]
    return _rate([*terms, (0.0, -value)], math.log1p(XIRR_LOWEST), math.log1p(XIRR_HIGHEST))


def period_rate(flows: Sequence[tuple[int, float]], day: int, value: float) -> float:
    """The same money's rate over the whole period, r with Σ amount · (1 + r)^((day - d) / (day - start)) = value; decimal.

    Of a year or more it is (1 + xirr)^(days / 365) - 1; of less, the return that a rate a year would exaggerate. On the first day itself
    the value over what was put in, less one. NaN without a root: in [-0.9999, 10], of more than a year within those bounds a year.
    """
    start = flows[0][0]
    span = day - start
    if span <= 0:
        paid = sum(amount for when, amount in flows if when <= day)
        return value / paid - 1.0 if paid > 0 else math.nan
    terms = [((day - when) / span, amount) for when, amount in flows if when <= day]
    years = max(1.0, span / XIRR_YEAR_DAYS)
    return _rate([*terms, (0.0, -value)], years * math.log1p(XIRR_LOWEST), years * math.log1p(XIRR_HIGHEST))


def _rate(terms: Sequence[tuple[float, float]], low: float, high: float) -> float:
    """The root in [low, high], bounds of the continuous rate; NaN without one."""
    if _sign_changes([amount for _, amount in terms]) > 1:
        # At rate 0 the excess is the loss.
        loss = _excess(terms, 0.0)[0]
        if loss == 0:
            return 0.0
        halves = [(low, 0.0), (0.0, high)] if loss > 0 else [(0.0, high), (low, 0.0)]
        own, others = (_crossings(terms, *half) for half in halves)
        if not own:
            return math.nan
        rate = _root(terms, *min(own, key=lambda ends: abs(ends[0] + ends[1])))
        if len(own) + len(others) > 1 and not _agrees_with_average(terms, rate):
            return math.nan
        return math.expm1(rate)
    return math.expm1(_root(terms, low, high))


def _sign_changes(amounts: Sequence[float]) -> int:
    signs = [amount > 0 for amount in amounts if amount]
    return sum(a is not b for a, b in itertools.pairwise(signs))


def _excess(terms: Sequence[tuple[float, float]], rate: float) -> tuple[float, float]:
    """Future value of the terms at a continuous rate, and its derivative."""
    total = slope = 0.0
    for years, amount in terms:
        grown = amount * math.exp(rate * years)
        total += grown
        slope += years * grown
    return total, slope


def _crossings(terms: Sequence[tuple[float, float]], low: float, high: float) -> list[tuple[float, float]]:
    points = [low + (high - low) * k / _GRID for k in range(_GRID)] + [high]
    values = [_excess(terms, point)[0] for point in points]
    return [
        (points[k], points[k + 1]) for k in range(_GRID) if values[k] == 0 or (values[k] > 0) != (values[k + 1] > 0)
    ]


def _agrees_with_average(terms: Sequence[tuple[float, float]], rate: float) -> bool:
    """Whether a continuous rate is near the profit over the average capital (modified Dietz), where that says anything."""
    span = max(years for years, _ in terms)
    profit = -sum(amount for _, amount in terms)
    capital = sum(amount * years / span for years, amount in terms)
    if capital <= 0 or profit / capital <= -1:
        return False
    average, found = math.log1p(profit / capital), rate * span
    return average * found > 0 and 1 / _AGREEMENT <= found / average <= _AGREEMENT


def _root(terms: Sequence[tuple[float, float]], low: float, high: float) -> float:
    """Newton's method, kept inside a bracket that every step shrinks; NaN where the ends do not bracket a root."""
    at_low, at_high = _excess(terms, low)[0], _excess(terms, high)[0]
    if at_low == 0:
        return low
    if at_high == 0:
        return high
    if (at_low > 0) == (at_high > 0):
        return math.nan
    rising = at_high > 0
    rate = min(max(0.0, low), high)
    for _ in range(_ITERATIONS):
        total, slope = _excess(terms, rate)
        if total == 0:
            break
        if (total > 0) is rising:
            high = rate
        else:
            low = rate
        step = rate - total / slope if slope else math.nan
        following = step if low < step < high else (low + high) / 2
        if abs(following - rate) <= _PRECISION * max(1.0, abs(rate)):
            return following
        rate = following
    return rate
