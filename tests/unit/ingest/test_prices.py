"""Conversion and returns, against plain loops."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.compute.returns import BASES, NO_EVENTS, Events, on_rows, split_factor, total_returns
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


def slow_returns(
    rows: list[Row], splits: dict[tuple[int, int], float], dividends: dict[tuple[int, int], float]
) -> list[tuple[float, str | None]]:
    """docs/methods.md §1, one pair of rows at a time."""
    by_key = {(row.series, row.ordinal): row for row in rows}
    found: list[tuple[float, str | None]] = []
    for row in rows:
        before = by_key.get((row.series, row.ordinal - 1))
        key = (row.series, row.ordinal)
        if before is None:
            found.append((NAN, None))
        elif not math.isnan(row.adj) and not math.isnan(before.adj):
            found.append((row.adj / before.adj - 1, "adjusted"))
        elif not math.isnan(row.split_close) and not math.isnan(before.split_close):
            found.append((row.split_close / before.split_close - 1, "price_only"))
        elif row.lists and not math.isnan(row.close) and not math.isnan(before.close):
            gross = splits.get(key, 1.0) * (row.close + dividends.get(key, 0.0)) / before.close
            found.append((gross - 1, "actions"))
        else:
            found.append((NAN, None))
    return found


price = st.one_of(st.just(NAN), st.floats(0.5, 500.0))


@st.composite
def panels(draw: st.DrawFn) -> tuple[list[Row], dict[tuple[int, int], float], dict[tuple[int, int], float]]:
    rows = []
    for series in range(draw(st.integers(1, 4))):
        lists = draw(st.booleans())
        split_adjusted = draw(st.booleans())
        for ordinal in sorted(draw(st.sets(st.integers(0, 12)))):
            close = draw(price)
            rows.append(Row(series, ordinal, draw(price), close if split_adjusted else NAN, close, lists))
    keys = st.tuples(st.integers(0, 3), st.integers(0, 12))
    splits = draw(st.dictionaries(keys, st.sampled_from([2.0, 0.5, 3.0]), max_size=6))
    return rows, splits, draw(st.dictionaries(keys, st.floats(0.01, 5.0), max_size=6))


def arrays(rows: list[Row]) -> dict[str, FloatVector]:
    return {
        "adj_close": np.array([row.adj for row in rows]),
        "split_close": np.array([row.split_close for row in rows]),
        "close": np.array([row.close for row in rows]),
    }


@given(panels())
def test_returns_equal_those_of_a_plain_loop(
    case: tuple[list[Row], dict[tuple[int, int], float], dict[tuple[int, int], float]],
) -> None:
    rows, splits, dividends = case
    returns, basis = total_returns(
        np.array([row.series for row in rows], np.int64),
        np.array([row.ordinal for row in rows], np.int64),
        **arrays(rows),
        splits=events(*((*key, value) for key, value in splits.items())),
        dividends=events(*((*key, value) for key, value in dividends.items())),
        lists_actions=np.array([row.lists for row in rows], bool),
    )
    slow = slow_returns(rows, splits, dividends)
    np.testing.assert_allclose(returns, [value for value, _ in slow], rtol=1e-13, atol=1e-15)
    assert [BASES[code] for code in basis] == [name for _, name in slow]


def returns_of(adj: list[float], close: list[float], ordinals: list[int]) -> tuple[list[float], list[str | None]]:
    n = len(adj)
    returns, basis = total_returns(
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
    together, _ = total_returns(
        np.repeat(np.arange(3), 50),
        np.tile(np.arange(50), 3),
        adj_close=prices.ravel(),
        split_close=nothing,
        close=nothing,
        splits=NO_EVENTS,
        lists_actions=np.zeros(150, bool),
    )
    for index in range(3):
        alone, _ = total_returns(
            np.zeros(50, np.int64),
            np.arange(50),
            adj_close=prices[index],
            split_close=nothing[:50],
            close=nothing[:50],
            lists_actions=np.zeros(50, bool),
        )
        assert alone.tobytes() == together[index * 50 : (index + 1) * 50].tobytes()
