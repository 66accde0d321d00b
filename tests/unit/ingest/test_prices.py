"""Conversion and returns, against plain loops."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.compute.returns import BASES, NO_EVENTS, REMARKS, Events, on_rows, split_factor, total_returns
from shared.arrays import FloatVector

NAN = math.nan


def events(*rows: tuple[int, int, float]) -> Events:
    return Events(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float64),
    )


def test_a_forward_split_is_undone_before_its_session_only() -> None:
    # AAPL, 4:1 on 2020-08-31: 499.23 as traded on the Friday, 129.04 on the Monday.
    factor = split_factor(np.zeros(3, np.int64), np.array([10, 11, 12]), events((0, 11, 4.0)))
    traded = factor * np.array([124.8075, 129.04, 134.18])
    np.testing.assert_allclose(traded, [499.23, 129.04, 134.18], rtol=1e-12)


def test_a_reverse_split_is_undone_too() -> None:
    # GE, 1:8 on 2021-08-02: 12.95 as traded became 103.6 on the new basis.
    factor = split_factor(np.zeros(2, np.int64), np.array([5, 6]), events((0, 6, 0.125)))
    np.testing.assert_allclose(factor * np.array([103.6, 104.0]), [12.95, 104.0], rtol=1e-12)


def test_splits_after_the_last_bar_and_of_other_series_are_told_apart() -> None:
    series = np.array([0, 0, 1, 1])
    factor = split_factor(series, np.array([5, 6, 5, 6]), events((0, 99, 3.0), (1, 6, 2.0), (0, 6, 7.0), (1, 1, 5.0)))
    assert factor.tolist() == [21.0, 3.0, 2.0, 1.0]


@st.composite
def traded_series(draw: st.DrawFn) -> tuple[list[float], list[tuple[int, float]]]:
    prices = draw(st.lists(st.floats(0.01, 1e5), min_size=1, max_size=30))
    ratios = st.sampled_from([2.0, 3.0, 4.0, 7.0, 20.0, 1.5, 0.5, 0.125, 0.1])
    return prices, draw(st.lists(st.tuples(st.integers(0, 40), ratios), max_size=5))


@given(traded_series())
def test_prices_as_traded_survive_adjusting_and_converting(case: tuple[list[float], list[tuple[int, float]]]) -> None:
    prices, splits = case
    adjusted = [price / math.prod(ratio for at, ratio in splits if at > day) for day, price in enumerate(prices)]
    n = len(prices)
    found = split_factor(np.zeros(n, np.int64), np.arange(n), events(*((0, at, ratio) for at, ratio in splits)))
    np.testing.assert_allclose(found * np.array(adjusted), prices, rtol=1e-12)


@given(traded_series(), st.randoms(use_true_random=False))
def test_the_order_in_which_a_source_lists_its_splits_moves_no_digit(
    case: tuple[list[float], list[tuple[int, float]]], random: "object"
) -> None:
    prices, splits = case
    n = len(prices)
    one = split_factor(np.zeros(n, np.int64), np.arange(n), events(*((0, *split) for split in splits)))
    other = split_factor(np.zeros(n, np.int64), np.arange(n), events(*((0, *split) for split in reversed(splits))))
    assert one.tobytes() == other.tobytes()


def test_events_of_one_session_are_combined_and_those_without_a_row_are_dropped() -> None:
    series, ordinal = np.array([0, 0, 1]), np.array([3, 5, 4])
    happened = events((0, 5, 0.5), (0, 5, 0.25), (0, 4, 9.0), (1, 4, 2.0), (1, 5, 8.0), (2, 1, 6.0))
    assert on_rows(series, ordinal, happened, product=False).tolist() == [0.0, 0.75, 2.0]
    assert on_rows(series, ordinal, happened, product=True).tolist() == [1.0, 0.125, 2.0]
    assert on_rows(series[:0], ordinal[:0], happened, product=True).tolist() == []


@dataclass
class Row:
    """One bar for the slow version."""

    series: int
    ordinal: int
    adj: float
    split_close: float
    close: float
    lists: bool


def different(one: float, other: float) -> bool:
    return not math.isnan(one) and not math.isnan(other) and abs(one - other) > 0.0020


def slow_returns(
    rows: list[Row],
    splits: dict[tuple[int, int], float],
    dividends: dict[tuple[int, int], float],
    foreign: set[tuple[int, int]],
) -> list[tuple[float, str | None, str | None]]:
    """docs/methods.md §1, one pair of rows at a time."""
    by_key = {(row.series, row.ordinal): row for row in rows}
    found: list[tuple[float, str | None, str | None]] = []
    for row in rows:
        key = (row.series, row.ordinal)
        if (before := by_key.get((row.series, row.ordinal - 1))) is None:
            found.append((NAN, None, None))
            continue
        adjusted = (
            row.adj / before.adj
            if row.adj > 0 and before.adj > 0 and row.adj < math.inf and before.adj < math.inf
            else NAN
        )
        price = row.split_close / before.split_close
        told = splits.get(key, 1.0) * (row.close + dividends.get(key, 0.0)) / before.close if row.lists else NAN
        listed = key in splits or key in dividends
        remark = None
        if listed and key not in foreign and not math.isnan(told):
            ratio, basis = told, "actions"
            remark = "adj_close_disagrees" if different(adjusted, told) else None
        elif not math.isnan(adjusted):
            ratio, basis = adjusted, "adjusted"
            remark = "dividend_not_listed" if not listed and adjusted > told and different(adjusted, told) else None
        else:
            ratio, basis = (told, "actions") if not math.isnan(told) else (price, "price_only")
        if math.isnan(ratio):
            found.append((NAN, None, None))
        else:
            found.append((ratio - 1, basis, "dividend_in_foreign_currency" if key in foreign else remark))
    return found


price = st.one_of(st.just(NAN), st.floats(0.5, 500.0))
# Of a share before many splits an adjusted close may be anything.
adjusted_price = st.one_of(price, st.sampled_from([0.0, -3.0, math.inf, -math.inf]))


Panel = tuple[list[Row], dict[tuple[int, int], float], dict[tuple[int, int], float], set[tuple[int, int]]]


@st.composite
def panels(draw: st.DrawFn) -> Panel:
    rows = []
    for series in range(draw(st.integers(1, 4))):
        lists = draw(st.booleans())
        split_adjusted = draw(st.booleans())
        for ordinal in sorted(draw(st.sets(st.integers(0, 12)))):
            close = draw(price)
            rows.append(Row(series, ordinal, draw(adjusted_price), close if split_adjusted else NAN, close, lists))
    keys = st.tuples(st.integers(0, 3), st.integers(0, 12))
    splits = draw(st.dictionaries(keys, st.sampled_from([2.0, 0.5, 3.0]), max_size=6))
    return rows, splits, draw(st.dictionaries(keys, st.floats(0.01, 5.0), max_size=6)), draw(st.sets(keys, max_size=3))


def arrays(rows: list[Row]) -> dict[str, FloatVector]:
    return {
        "adj_close": np.array([row.adj for row in rows]),
        "split_close": np.array([row.split_close for row in rows]),
        "close": np.array([row.close for row in rows]),
    }


@given(panels())
def test_returns_equal_those_of_a_plain_loop(case: Panel) -> None:
    rows, splits, dividends, foreign = case
    columns = arrays(rows)
    returns, basis, remark = total_returns(
        np.array([row.series for row in rows], np.int64),
        np.array([row.ordinal for row in rows], np.int64),
        adj_close=columns["adj_close"],
        split_close=columns["split_close"],
        close=columns["close"],
        splits=events(*((*key, value) for key, value in splits.items())),
        dividends=events(*((*key, value) for key, value in dividends.items())),
        left_out=events(*((*key, 1.0) for key in foreign)),
        lists_actions=np.array([row.lists for row in rows], bool),
    )
    slow = slow_returns(rows, splits, dividends, foreign)
    np.testing.assert_allclose(returns, [value for value, _, _ in slow], rtol=1e-13, atol=1e-15)
    assert [BASES[code] for code in basis] == [name for _, name, _ in slow]
    assert [REMARKS[code] for code in remark] == [name for _, _, name in slow]


def returns_of(adj: list[float], close: list[float], ordinals: list[int]) -> tuple[list[float], list[str | None]]:
    n = len(adj)
    returns, basis, _ = total_returns(
        np.zeros(n, np.int64),
        np.array(ordinals, np.int64),
        adj_close=np.array(adj),
        split_close=np.array(close),
        close=np.array(close),
        lists_actions=np.zeros(n, bool),
    )
    return returns.tolist(), [BASES[code] for code in basis]


def test_a_return_never_spans_a_hole() -> None:
    returns, basis = returns_of([10.0, 11.0, 12.0], [NAN] * 3, [1, 2, 4])
    assert returns[1] == pytest.approx(0.1)
    assert math.isnan(returns[2])
    assert basis == [None, "adjusted", None]


def test_a_return_never_mixes_columns() -> None:
    # The adjusted series ends on the second session and the close begins there: no pair of both ends on the third.
    returns, basis = returns_of([10.0, 11.0, NAN, NAN], [NAN, NAN, 50.0, 55.0], [1, 2, 3, 4])
    assert basis == [None, "adjusted", None, "price_only"]
    assert math.isnan(returns[2])
    assert returns[3] == pytest.approx(0.1)


def test_a_batch_of_other_symbols_moves_no_digit() -> None:
    rng = np.random.default_rng(1)
    prices = np.exp(rng.normal(0, 0.02, (3, 50)).cumsum(axis=1))
    nothing = np.full(150, NAN)
    together, *_ = total_returns(
        np.repeat(np.arange(3), 50),
        np.tile(np.arange(50), 3),
        adj_close=prices.ravel(),
        split_close=nothing,
        close=nothing,
        splits=NO_EVENTS,
        lists_actions=np.zeros(150, bool),
    )
    for index in range(3):
        alone, *_ = total_returns(
            np.zeros(50, np.int64),
            np.arange(50),
            adj_close=prices[index],
            split_close=nothing[:50],
            close=nothing[:50],
            lists_actions=np.zeros(50, bool),
        )
        assert alone.tobytes() == together[index * 50 : (index + 1) * 50].tobytes()


def test_a_session_of_which_a_payment_was_left_out_keeps_the_adjusted_ratio_whatever_else_is_listed() -> None:
    """Two payments of one day, one of them in another currency: closes and the other one alone would lose it."""
    found = total_returns(
        np.zeros(2, np.int64),
        np.arange(2),
        adj_close=np.array([37.0, 40.0]),
        split_close=np.array([40.0, 40.0]),
        close=np.array([40.0, 40.0]),
        dividends=events((0, 1, 1.0)),
        left_out=events((0, 1, 60.0)),
        lists_actions=np.ones(2, bool),
    )
    assert found.value[1] == pytest.approx(40 / 37 - 1)
    assert (BASES[found.basis[1]], REMARKS[found.remark[1]]) == ("adjusted", "dividend_in_foreign_currency")
