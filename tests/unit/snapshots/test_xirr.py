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
    roots = slow_roots(everything, day, value)
    if math.isnan(found):
        # Two roots within one step of our grid may be missed, and a root on the very edge; a single one may not.
        assert len(roots) != 1 or min(abs(roots[0] + 0.9999), abs(roots[0] - 10)) < 1e-2
    else:
        assert -0.9999 <= found <= 10
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
    """100 in, 230 out after a year, 132 in at the end of the second is worth nothing: 10 % and 20 % both solve it."""
    found = xirr([(0, 100.0), (365, -230.0), (730, 132.0)], 730, 0.0)
    assert math.isclose(found, 0.1, rel_tol=1e-9)
