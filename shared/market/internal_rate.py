"""The money-weighted return: the internal rate of dated amounts, a year (ACT/365) or over the whole period.

Solved portfolio by portfolio in plain Python: a vectorised `exp` may differ in its last bit with an element's place in the array,
and a stored figure must not depend on which portfolios share a batch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from shared.market.registry import XIRR_HIGHEST, XIRR_LOWEST, XIRR_YEAR_DAYS

Flows = Sequence[tuple[int, float]]
"""(day, amount put in; withdrawals negative), ascending; the first is the opening equity."""
Stretches = Sequence[tuple[int, int]]
"""(close after which nothing was in the account, the next day on which something was or could have been), ascending, disjoint."""

# Only sequences that change sign more than once can have several roots; among those with the sign of the profit the one nearest to
# zero is taken, found on this grid of the continuous rate. Where there are others, it counts only near what the money earned on average.
_GRID = 512
# How far apart the two may be, as continuous returns: the average knows no interest on interest.
_AGREEMENT = 2.0
_ITERATIONS = 200
_PRECISION = 1e-15


def xirr(flows: Flows, day: int, value: float, empty: Stretches = ()) -> float:
    """Annual rate r with Σ amount · (1 + r)^(days left / 365) = value; decimal.

    flows : those after `day` are left out. value : NAV on `day`. empty : days that count nowhere, since no money was at work
    NaN where money was at work for less than a year, or without a root in [-0.9999, 10] that has the sign of the profit: where amounts
    change sign more than once the equation has roots that no money earned, such as a loss of 90 % a year where more came out than went
    in. Of several roots one counts only within a factor of two of the profit over the average capital, as continuous returns.
    """
    worked = _days_left(flows, day, empty)
    if _longest(worked) < XIRR_YEAR_DAYS:
        return math.nan
    terms = [(left / XIRR_YEAR_DAYS, amount) for left, amount in worked]
    return _rate([*terms, (0.0, -value)], math.log1p(XIRR_LOWEST), math.log1p(XIRR_HIGHEST))


def period_rate(flows: Flows, day: int, value: float, empty: Stretches = ()) -> float:
    """The same money's rate over all days on which it was at work, r with Σ amount · (1 + r)^(days left / days in all) = value; decimal.

    Of a year or more it is (1 + xirr)^(days / 365) - 1; of less, the return that a rate a year would exaggerate. On the first day itself
    the value over what was put in, less one. NaN without a root: in [-0.9999, 10], of more than a year within those bounds a year.
    """
    worked = _days_left(flows, day, empty)
    span = _longest(worked)
    if span <= 0:
        paid = sum(amount for _, amount in worked)
        return value / paid - 1.0 if paid > 0 else math.nan
    terms = [(left / span, amount) for left, amount in worked]
    years = max(1.0, span / XIRR_YEAR_DAYS)
    return _rate([*terms, (0.0, -value)], years * math.log1p(XIRR_LOWEST), years * math.log1p(XIRR_HIGHEST))


def days_at_work(flows: Flows, day: int, empty: Stretches = ()) -> int:
    """Days from the first amount that is not 0 up to `day`, without those on which nothing was in the account."""
    return _longest(_days_left(flows, day, empty))


def empty_stretches(days: Sequence[int], empty: Sequence[bool]) -> list[tuple[int, int]]:
    """Of consecutive sessions and whether nothing was left at their closes, the stretches from one to the next session."""
    return merge_stretches([(a, b) for a, b, nothing in zip(days, days[1:], empty, strict=False) if nothing])


def merge_stretches(of: Stretches) -> list[tuple[int, int]]:
    """Those that touch, as one."""
    found: list[tuple[int, int]] = []
    for begin, end in of:
        first = found.pop()[0] if found and found[-1][1] == begin else begin
        found.append((first, end))
    return found


def _days_left(flows: Flows, day: int, empty: Stretches) -> list[tuple[int, float]]:
    """Of each amount up to `day`, the days it had to work: what was taken out earns nothing while nothing is in the account."""
    if not empty:
        return [(day - when, amount) for when, amount in flows if when <= day]

    def left(when: int) -> int:
        return day - when - sum(max(0, min(end, day) - max(begin, when)) for begin, end in empty)

    return [(left(when), amount) for when, amount in flows if when <= day]


def _longest(worked: Sequence[tuple[int, float]]) -> int:
    """Of the first amount that is not 0: an account that opens with nothing begins with its first deposit."""
    return next((left for left, amount in worked if amount), 0)


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
