"""The money-weighted return against a slow bisection of its definition."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.snapshots.compute import xirr

amounts = st.floats(-5e4, 5e4).map(lambda amount: round(amount, 2))
flows = st.lists(st.tuples(st.integers(1, 1500), amounts), max_size=6).map(sorted)


def present(flows: list[tuple[int, float]], day: int, value: float, rate: float) -> float:
    grown = [amount * float((1 + rate) ** ((day - when) / 365)) for when, amount in flows if when <= day]
    return sum(grown) - value


def slow_roots(flows: list[tuple[int, float]], day: int, value: float) -> list[float]:
    """Every root the definition shows on a fine grid, each halved down to the last digits."""
    edges = [-0.9999 + 1e-4 * k for k in range(100)] + [-0.99 + 0.01 * k for k in range(1, 1100)]
    values = [present(flows, day, value, edge) for edge in edges]
    roots = []
    for place, (at_low, at_high) in enumerate(pairwise(values)):
        if (at_low > 0) == (at_high > 0):
            continue
        low, high = edges[place], edges[place + 1]
        for _ in range(200):
            middle = (low + high) / 2
            if (present(flows, day, value, middle) > 0) == (at_low > 0):
                low = middle
            else:
                high = middle
        roots.append((low + high) / 2)
    return roots


@settings(max_examples=40, deadline=None)
@given(flows, st.floats(100, 1e5), st.floats(-1e4, 3e5), st.integers(365, 1600))
def test_equals_a_bisection(later: list[tuple[int, float]], equity: float, value: float, day: int) -> None:
    everything = [(0, equity), *later]
    found = xirr(everything, day, value)
    loss = present(everything, day, value, 0.0)
    scale = sum(abs(amount) for _, amount in everything) + abs(value)
    if abs(loss) < 1e-9 * scale:
        return
    # A rate that calls a loss a gain, or a gain a loss, was earned by nobody.
    every = slow_roots(everything, day, value)
    roots = [root for root in every if (root < 0) == (loss > 0)]
    if math.isnan(found):
        # Two roots within one step of our grid may be missed, and a root on the very edge; a single one may not.
        # Of several, none may count.
        assert (
            len(every) > 1 or len(roots) != 1 or min(abs(roots[0] + 0.9999), abs(roots[0] - 10), abs(roots[0])) < 1e-2
        )
    else:
        assert -0.9999 <= found <= 10
        assert (found < 0) == (loss > 0)
        scale = sum(abs(amount) for _, amount in everything) * (1 + max(found, 0)) ** (day / 365) + abs(value)
        assert abs(present(everything, day, value, found)) <= 1e-9 * scale
        if roots:
            assert min(abs(found - root) for root in roots) < 1e-6 * max(1, abs(found)) or len(roots) > 1


def test_without_flows_it_is_the_annual_growth() -> None:
    assert math.isclose(xirr([(0, 100.0)], 730, 121.0), 0.1, rel_tol=1e-13)
    assert math.isclose(xirr([(0, 100.0)], 365, 95.0), -0.05, rel_tol=1e-13)


def test_money_that_came_just_now_earns_nothing() -> None:
    assert math.isclose(xirr([(0, 100.0), (365, 1000.0)], 365, 1110.0), 0.1, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("flows", "day", "value"),
    [
        ([(0, 100.0)], 364, 110.0),  # under one year
        ([(0, 100.0)], 365, 0.0),  # all lost: -100 % is below -99.99 %
        ([(0, 100.0)], 365, -5.0),
        ([(0, 100.0)], 365, 1200.0),  # above 1,000 %
    ],
)
def test_null_where_there_is_none(flows: list[tuple[int, float]], day: int, value: float) -> None:
    assert math.isnan(xirr(flows, day, value))


def test_of_several_roots_the_one_nearest_to_zero() -> None:
    """100 (x - 1.1)(x - 1.2)(x - 1.3) as flows of three years: a profit of 0.60, and 10, 20 and 30 % all solve it."""
    found = xirr([(0, 100.0), (365, -360.0), (730, 431.0), (1095, -171.6)], 1095, 0.0)
    assert math.isclose(found, 0.1, rel_tol=1e-9)


@pytest.mark.parametrize(
    ("flows", "day", "value"),
    [
        ([(0, 1000.0), (100, -2500.0), (200, 1550.0)], 400, 10.0),  # a loss of 40 as -99.987 % a year
        ([(0, 1000.0), (48, -1800.0), (183, 700.0), (471, 900.0)], 730, 550.0),  # -51 % and 205 % a year
    ],
)
def test_of_several_roots_one_far_from_what_the_money_earned_is_none(
    flows: list[tuple[int, float]], day: int, value: float
) -> None:
    assert math.isnan(xirr(flows, day, value))


def test_of_several_roots_the_one_near_what_the_money_earned_counts() -> None:
    """Other roots, near -67 and -99.9 % or at 347 %, take nothing from the one that average capital and profit speak for."""
    loss = [(0, 1000.0), (512, -2100.0), (633, 700.0), (683, 1100.0)]
    gain = [(0, 1000.0), (36, -2300.0), (220, 2800.0), (510, -800.0)]
    for flows, value, rate in ((loss, 500.0, -0.25502854877523695), (gain, 1050.0, 0.3468416841216161)):
        roots = slow_roots(flows, 730, value)
        assert len(roots) > 1
        found = xirr(flows, 730, value)
        assert math.isclose(found, rate, rel_tol=1e-9)
        assert min(abs(found - root) for root in roots) < 1e-9


def test_a_root_against_the_sign_of_the_profit_is_none() -> None:
    """1,200 in, 6,500 out after half a year, 4,500 in, worth 1,100 at the year's end: 1,900 were earned, at over 1,000 % a year.

    What is left below that is a root near -100 %, which only says that the last payment became little.
    """
    flows = [(0, 1200.0), (170, -6500.0), (290, 4500.0)]
    assert all(root < -0.9 for root in slow_roots(flows, 370, 1100.0))
    assert slow_roots(flows, 370, 1100.0)
    assert math.isnan(xirr(flows, 370, 1100.0))


def test_a_loss_has_no_rate_of_gain() -> None:
    """100 in, 230 out, 132 in, nothing left: 2 were lost, and 10 and 20 % solve it all the same."""
    assert math.isnan(xirr([(0, 100.0), (365, -230.0), (730, 132.0)], 730, 0.0))
