"""Windows by running sums: against plain loops, and with the same digits whatever range they are computed in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.risk.compute import har, rolling
from shared.arrays import FloatMatrix
from shared.market.registry import LOOKBACK
from tests.unit.risk.test_volatility import har_by_statsmodels

RETURNS = np.random.default_rng(4).standard_t(5, (3, LOOKBACK + 60)) * 0.01


def windows(values: FloatMatrix, length: int) -> FloatMatrix:
    return np.lib.stride_tricks.sliding_window_view(values, length, axis=1)


@given(st.integers(0, 400), st.integers(1, 40), st.integers(0, 90))
def test_every_window_belongs_to_one_span_and_holds_its_anchor(first: int, length: int, more: int) -> None:
    width = length + more
    ends = []
    for span in rolling.spans(first, width, length):
        for end in range(span.low, span.high):
            assert end - length + 1 <= span.anchor <= end
            assert (first + span.anchor) % length == 0
            assert (first + end) - rolling.anchors(np.array([first + end]), length)[0] == first + span.anchor
            ends.append(end)
    assert ends == list(range(length - 1, width))


@given(st.integers(0, 100), st.integers(1, 30), st.integers(0, 70), st.sampled_from([np.add, np.minimum, np.maximum]))
def test_sums_and_extremes_of_windows_against_plain_ones(first: int, length: int, more: int, of: np.ufunc) -> None:
    values = np.random.default_rng(first).normal(size=(2, length + more))
    found = np.empty((2, more + 1))
    for span in rolling.spans(first, length + more, length):
        found[:, span.start : span.start + span.high - span.low] = span.over(of, values[:, span.start : span.high])
    assert found == pytest.approx(of.reduce(windows(values, length), axis=-1), abs=1e-13)


@pytest.mark.parametrize("first", [0, 7, 251])
def test_moments_against_numpy(first: int) -> None:
    mean, variance = rolling.moments(RETURNS, first, 252)
    every = windows(RETURNS, 252)
    ends = first + 251 + np.arange(every.shape[1])
    anchor = every[:, np.arange(len(ends)), 251 - ends % 252]
    assert mean + anchor == pytest.approx(every.mean(axis=-1), abs=1e-16)
    assert variance == pytest.approx(every.var(axis=-1, ddof=1), rel=1e-12)


def test_a_series_that_stands_still_has_no_variance_at_all() -> None:
    """A running sum of the raw returns would leave rounding behind that looks like movement."""
    assert not rolling.moments(np.full((1, 700), 0.0001), 3, 252)[1].any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3000), st.integers(0, 59), st.integers(1, 60))
def test_a_window_has_the_same_digits_in_whatever_range_it_is_computed(first: int, low: int, count: int) -> None:
    part = RETURNS[:, low : low + LOOKBACK - 1 + count]
    sessions = slice(low, low + part.shape[1] - LOOKBACK + 1)
    whole, alone = har.on_windows(RETURNS, first), har.on_windows(part, first + low)
    assert np.array_equal(alone.value, whole.value[:, sessions])
    assert np.array_equal(alone.s, whole.s[:, sessions])
    for more, fewer in zip(
        rolling.moments(RETURNS, first, LOOKBACK), rolling.moments(part, first + low, LOOKBACK), strict=True
    ):
        assert np.array_equal(fewer, more[:, sessions])


def test_what_is_missing_outside_a_window_does_not_reach_it() -> None:
    holed = RETURNS.copy()
    holed[1, 9] = np.nan
    whole, found = har.on_windows(RETURNS, 5).value, har.on_windows(holed, 5).value
    assert np.isnan(found[1, :10]).all()
    assert np.array_equal(found[1, 10:], whole[1, 10:])
    assert np.array_equal(found[::2], whole[::2])


@pytest.mark.parametrize("first", [0, 430])
def test_the_regression_on_windows_against_statsmodels_and_that_on_single_series(first: int) -> None:
    found = har.on_windows(RETURNS, first)
    for s in (0, 31, 32, 60):
        series = RETURNS[:, s : s + LOOKBACK]
        alone = har.on_series(series, np.ones(series.shape, dtype=np.bool_))
        assert found.value[:, s] == pytest.approx(alone.value, rel=1e-11)
        assert found.s[:, s] == pytest.approx(alone.s, rel=1e-11)
        for i in range(len(series)):
            value, error, rows = har_by_statsmodels(series[i])
            assert rows == found.rows[i, s] == har.ROWS
            assert found.value[i, s] == pytest.approx(value, rel=1e-8)
            assert found.s[i, s] == pytest.approx(error, rel=1e-8)


def test_a_still_series_has_no_regression() -> None:
    assert np.isnan(har.on_windows(np.full((1, LOOKBACK + 3), 0.0002), 9).value).all()


def test_trailing_sums_against_a_loop() -> None:
    values, lengths = np.random.default_rng(1).normal(size=(2, 30)), (1, 2, 4, 5, 21, 22, 30)
    sums, roots = rolling.trailing_sums(values, *lengths), rolling.trailing_rms(values**2, *lengths)
    for length, total, root in zip(lengths, sums, roots, strict=True):
        for row, series in enumerate(values.tolist()):
            windows = [series[k : k + length] for k in range(31 - length)]
            assert total[row] == pytest.approx([sum(window) for window in windows], abs=1e-14)
            assert root[row] == pytest.approx([(sum(x * x for x in w) / length) ** 0.5 for w in windows], rel=1e-14)
