"""Windows by running sums: against plain loops, and with the same digits whatever range they are computed in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.risk.compute import har, rolling
from shared.arrays import DateVector, FloatMatrix
from shared.market.calendar import calendar
from shared.market.registry import LOOKBACK
from tests.unit.risk.test_volatility import har_by_statsmodels

DAYS = LOOKBACK + 60
RETURNS = np.random.default_rng(4).standard_t(5, (3, DAYS)) * 0.01


def dates(start: str = "2019-03-01") -> DateVector:
    """Consecutive days as sessions."""
    return np.datetime64(start, "D") + np.arange(DAYS)


def windows(values: FloatMatrix, length: int) -> FloatMatrix:
    return np.lib.stride_tricks.sliding_window_view(values, length, axis=1)


@st.composite
def laid_out(draw: st.DrawFn) -> tuple[list[int], int, int]:
    """(restarts, width, length): no stretch between restarts is as long as a window."""
    length = draw(st.integers(2, 30))
    restarts = [draw(st.integers(1, length - 1))]
    width = length + draw(st.integers(0, 70))
    while restarts[-1] < width:
        restarts.append(restarts[-1] + draw(st.integers(1, length)))
    return restarts[:-1], width, length


@given(laid_out())
def test_every_window_belongs_to_the_span_of_its_last_restart(given: tuple[list[int], int, int]) -> None:
    restarts, width, length = given
    ends = []
    for span in rolling.spans(np.array(restarts), width, length):
        for end in range(span.low, span.high):
            assert span.anchor == max(column for column in restarts if column <= end) >= end - length + 1
            assert rolling.anchors(np.array(restarts), np.array([end])).tolist() == [span.anchor]
            ends.append(end)
    assert ends == list(range(length - 1, width))


@pytest.mark.parametrize(("restarts", "width"), [([], 10), ([3], 14), ([12], 14)])
def test_a_window_without_a_restart_is_an_error(restarts: list[int], width: int) -> None:
    with pytest.raises(ValueError, match="begin anew"):
        list(rolling.spans(np.array(restarts, dtype=np.int64), width, 10))


@given(laid_out(), st.sampled_from([np.add, np.minimum, np.maximum]))
def test_sums_and_extremes_of_windows_against_plain_ones(given: tuple[list[int], int, int], of: np.ufunc) -> None:
    restarts, width, length = given
    values = np.random.default_rng(width).normal(size=(2, width))
    found = np.empty((2, width - length + 1))
    for span in rolling.spans(np.array(restarts), width, length):
        found[:, span.start : span.start + span.high - span.low] = span.over(of, values[:, span.start : span.high])
    assert found == pytest.approx(of.reduce(windows(values, length), axis=-1), abs=1e-13)


def test_sums_begin_anew_with_half_years_and_for_long_windows_with_years() -> None:
    days = np.arange("2018-12-31", "2020-07-03", dtype="datetime64[D]")
    assert days[rolling.restarts(days, 252)].astype(str).tolist() == [
        "2019-01-01",
        "2019-07-01",
        "2020-01-01",
        "2020-07-01",
    ]
    assert days[rolling.restarts(days, har.ROWS)].astype(str).tolist() == ["2019-01-01", "2020-01-01"]


@pytest.mark.parametrize("length", [252, har.ROWS])
def test_every_window_of_the_calendar_holds_a_restart_after_its_first_session(length: int) -> None:
    days = calendar().sessions
    restarts = rolling.restarts(days, length)
    last = np.arange(length - 1, len(days))
    assert (rolling.anchors(restarts, last) > last - length + 1).all()


def test_a_closure_long_ago_moves_no_anchor() -> None:
    days = calendar().sessions
    fewer = np.delete(days, 1000)
    for length in (252, har.ROWS):
        assert days[rolling.restarts(days, length)][9:].tolist() == fewer[rolling.restarts(fewer, length)][9:].tolist()


@pytest.mark.parametrize("start", ["2019-03-01", "2019-05-30"])
def test_moments_against_numpy(start: str) -> None:
    days = dates(start)
    mean, variance = rolling.moments(RETURNS, days, 252)
    every, last = windows(RETURNS, 252), np.arange(251, len(days))
    anchor = RETURNS[:, rolling.anchors(rolling.restarts(days, 252), last)]
    assert mean + anchor == pytest.approx(every.mean(axis=-1), abs=1e-16)
    assert variance == pytest.approx(every.var(axis=-1, ddof=1), rel=1e-12)


def test_a_series_that_stands_still_has_no_variance_at_all() -> None:
    """A running sum of the raw returns would leave rounding behind that looks like movement."""
    assert not rolling.moments(np.full((1, DAYS), 0.0001), dates(), 252)[1].any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 400), st.integers(0, 59), st.integers(1, 60))
def test_a_window_has_the_same_digits_in_whatever_range_it_is_computed(shift: int, low: int, count: int) -> None:
    days = dates() + shift
    part = slice(low, min(low + LOOKBACK - 1 + count, DAYS))
    sessions = slice(low, part.stop - LOOKBACK + 1)
    whole, alone = har.on_windows(RETURNS, days), har.on_windows(RETURNS[:, part], days[part])
    assert np.array_equal(alone.value, whole.value[:, sessions])
    assert np.array_equal(alone.s, whole.s[:, sessions])
    for more, fewer in zip(
        rolling.moments(RETURNS, days, LOOKBACK), rolling.moments(RETURNS[:, part], days[part], LOOKBACK), strict=True
    ):
        assert np.array_equal(fewer, more[:, sessions])


def test_what_is_missing_outside_a_window_does_not_reach_it() -> None:
    holed = RETURNS.copy()
    holed[1, 9] = np.nan
    whole, found = har.on_windows(RETURNS, dates()).value, har.on_windows(holed, dates()).value
    assert np.isnan(found[1, :10]).all()
    assert np.array_equal(found[1, 10:], whole[1, 10:])
    assert np.array_equal(found[::2], whole[::2])


@pytest.mark.parametrize("start", ["2018-03-01", "2018-09-10"])
def test_the_regression_on_windows_against_statsmodels_and_that_on_single_series(start: str) -> None:
    found = har.on_windows(RETURNS, dates(start))
    for s in (0, 31, 32, 60):
        series = RETURNS[:, s : s + LOOKBACK]
        alone = har.on_series(har.design(series, np.ones(series.shape, dtype=np.bool_)))
        assert found.value[:, s] == pytest.approx(alone.value, rel=1e-11)
        assert found.s[:, s] == pytest.approx(alone.s, rel=1e-11)
        for i in range(len(series)):
            value, error, rows = har_by_statsmodels(series[i])
            assert rows == found.rows[i, s] == har.ROWS
            assert found.value[i, s] == pytest.approx(value, rel=1e-8)
            assert found.s[i, s] == pytest.approx(error, rel=1e-8)


def test_a_still_series_has_no_regression() -> None:
    assert np.isnan(har.on_windows(np.full((1, DAYS), 0.0002), dates()).value).all()


def test_trailing_sums_against_a_loop() -> None:
    values, lengths = np.random.default_rng(1).normal(size=(2, 30)), (1, 2, 4, 5, 21, 22, 30)
    sums, roots = rolling.trailing_sums(values, *lengths), rolling.trailing_rms(values**2, *lengths)
    for length, total, root in zip(lengths, sums, roots, strict=True):
        for row, series in enumerate(values.tolist()):
            windows = [series[k : k + length] for k in range(31 - length)]
            assert total[row] == pytest.approx([sum(window) for window in windows], abs=1e-14)
            assert root[row] == pytest.approx([(sum(x * x for x in w) / length) ** 0.5 for w in windows], rel=1e-14)
