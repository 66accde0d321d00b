"""Volatility figures against pandas, statsmodels and plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from services.risk.compute import volatility
from shared.arrays import BoolMatrix, FloatMatrix, FloatVector
from shared.market.registry import LOOKBACK

RNG = np.random.default_rng(7)
SERIES = RNG.standard_t(5, (6, LOOKBACK)) * 0.01 * np.exp(0.4 * np.sin(np.arange(LOOKBACK) / 30))
VALID = np.ones(SERIES.shape, dtype=np.bool_)


def holes(columns: list[int]) -> tuple[FloatMatrix, BoolMatrix]:
    """The series with sessions dropped, as the market's holes drop them."""
    valid = VALID.copy()
    valid[:, columns] = False
    return np.where(valid, SERIES, 0.0), valid


@pytest.mark.parametrize("window", [21, 63, 252])
def test_realized_is_the_sample_standard_deviation(window: int) -> None:
    expected = pd.DataFrame(SERIES.T).tail(window).std(ddof=1) * math.sqrt(252)
    assert volatility.realized_volatility(SERIES, VALID, window) == pytest.approx(expected.to_numpy(), rel=1e-12)


def test_realized_skips_dropped_sessions_and_needs_four_fifths_of_the_window() -> None:
    series, valid = holes([LOOKBACK - 1, LOOKBACK - 5, LOOKBACK - 6, LOOKBACK - 9])
    expected = pd.DataFrame(np.where(valid, SERIES, np.nan).T).tail(21).std(ddof=1) * math.sqrt(252)
    assert volatility.realized_volatility(series, valid, 21) == pytest.approx(expected.to_numpy(), rel=1e-12)
    series, valid = holes(list(range(LOOKBACK - 5, LOOKBACK)))
    assert np.isnan(volatility.realized_volatility(series, valid, 21)).all()


def test_percentile_is_the_share_of_earlier_months_strictly_below() -> None:
    rolling = pd.DataFrame(SERIES.T).rolling(21).std(ddof=1).tail(253).to_numpy()
    expected = (rolling[:-1] < rolling[-1]).sum(axis=0) / 252
    assert volatility.percentile(SERIES, VALID).tolist() == expected.tolist()


def test_a_month_as_volatile_as_today_is_not_below_it() -> None:
    """The series repeats after 21 sessions in sizes that add up without rounding: every month is today's, and none is below."""
    month = np.tile(np.array([3.0, -1.0, 2.0, -2.0, 1.0, 0.0, -3.0]) / 128, LOOKBACK // 7)[None]
    assert month.shape == (1, LOOKBACK)
    everything = np.ones(month.shape, dtype=np.bool_)
    assert volatility.percentile(month, everything).tolist() == [0.0]
    calmer = month.copy()
    calmer[0, -273:-252] /= 2
    # All rolling months that reach into the calm one are below, and it is 21 sessions long.
    assert volatility.percentile(calmer, everything).tolist() == [21 / 252]


def test_percentile_needs_273_returns() -> None:
    assert np.isfinite(volatility.percentile(*holes([LOOKBACK - 274]))).all()
    assert np.isnan(volatility.percentile(*holes([LOOKBACK - 273]))).all()


def test_trend_against_a_plain_loop() -> None:
    found = volatility.trend(SERIES, VALID)
    for series, z in zip(SERIES, found, strict=True):
        now = math.sqrt(sum(r * r for r in series[-21:]) / 21)
        then = math.sqrt(sum(r * r for r in series[-42:-21]) / 21)
        year = series[-252:]
        mean = sum(year) / 252
        second = sum((r - mean) ** 2 for r in year) / 252
        kurtosis = sum((r - mean) ** 4 for r in year) / 252 / second**2
        assert z == pytest.approx(math.log(now / then) / math.sqrt((max(3.0, kurtosis) - 1) / 42), rel=1e-9)


def test_trend_calls_about_one_in_twenty_of_pure_noise_a_trend() -> None:
    noise = np.random.default_rng(1).normal(0.0, 0.01, (4000, LOOKBACK))
    share = (np.abs(volatility.trend(noise, np.ones(noise.shape, dtype=np.bool_))) > 2.0).mean()
    assert 0.03 < share < 0.07


@pytest.mark.parametrize(
    ("z", "word"), [(2.1, "rising"), (-2.1, "falling"), (2.0, "stable"), (0.0, "stable"), (None, None)]
)
def test_direction(z: float | None, word: str | None) -> None:
    assert volatility.direction(z) == word


def har_by_statsmodels(series: FloatMatrix) -> tuple[float, float, int]:
    """(ŷ clipped, s, rows), daily, row by row."""
    y, x = [], []

    def regressors(t: int) -> list[float]:
        return [
            abs(series[t]),
            math.sqrt(np.mean(series[t - 4 : t + 1] ** 2)),
            math.sqrt(np.mean(series[t - 21 : t + 1] ** 2)),
        ]

    for t in range(21, len(series) - 21):
        y.append(math.sqrt(np.mean(series[t + 1 : t + 22] ** 2)))
        x.append(regressors(t))
    fit = sm.OLS(np.array(y), sm.add_constant(np.array(x))).fit()
    value = float(fit.params @ [1.0, *regressors(len(series) - 1)])
    return min(max(value, min(y)), max(y)), math.sqrt(float(fit.ssr) / (len(y) - 4)), len(y)


def test_har_against_statsmodels() -> None:
    found = volatility.forecast(SERIES, VALID)
    for i, series in enumerate(SERIES):
        value, s, rows = har_by_statsmodels(series)
        assert found.har[i]
        assert rows == 462
        assert found.n_obs[i] == LOOKBACK
        assert found.har_value[i] == pytest.approx(value * math.sqrt(252), rel=1e-8)
        assert found.har_variance[i] == pytest.approx((value**2 + s**2) * 252, rel=1e-8)
        w = found.weight[i]
        combined = w * value * math.sqrt(252) + (1 - w) * math.sqrt(found.ewma_variance[i])
        assert found.value[i] == pytest.approx(combined, rel=1e-8)
        assert found.variance[i] == pytest.approx(
            w * (value**2 + s**2) * 252 + (1 - w) * found.ewma_variance[i], rel=1e-8
        )
        width = math.exp(1.2816 * 1.2 * math.sqrt(math.log(1 + (s / value) ** 2)))
        assert found.low[i] == pytest.approx(combined / width, rel=1e-8)
        assert found.high[i] == pytest.approx(combined * width, rel=1e-8)


def judged(series: FloatMatrix) -> tuple[float, int]:
    """(weight of the HAR, days judged): every day of the window forecast again by what lay before it, with statsmodels."""
    losses = []

    def regressors(t: int) -> list[float]:
        return [
            1.0,
            abs(series[t]),
            math.sqrt(np.mean(series[t - 4 : t + 1] ** 2)),
            math.sqrt(np.mean(series[t - 21 : t + 1] ** 2)),
        ]

    days = range(21, len(series) - 21)
    x = {t: regressors(t) for t in days}
    y = {t: math.sqrt(np.mean(series[t + 1 : t + 22] ** 2)) for t in days}
    for t in days:
        known = [s for s in days if s + 21 <= t]
        if len(known) < 126:
            continue
        targets = [y[s] for s in known]
        fit = sm.OLS(np.array(targets), np.array([x[s] for s in known])).fit()
        value = min(max(float(fit.params @ x[t]), min(targets)), max(targets))
        by_har = value**2 + float(fit.ssr) / (len(known) - 4)
        ages = 0.94 ** np.arange(t, -1, -1)
        by_ewma = float(ages @ series[: t + 1] ** 2 / ages.sum())
        losses.append([(r := y[t] ** 2 / h) - math.log(r) - 1 for h in (by_har, by_ewma)])
    har, ewma = np.mean(losses, axis=0)
    return float(ewma / (har + ewma)), len(losses)


@pytest.mark.parametrize("i", [0, 3])
def test_weights_are_by_what_each_would_have_said_within_the_window(i: int) -> None:
    weight, days = judged(SERIES[i])
    assert days == 462 - 21 - 125
    assert volatility.forecast(SERIES, VALID).weight[i] == pytest.approx(weight, rel=1e-7)
    assert 0.05 < weight < 0.95
    assert volatility.forecast(SERIES, VALID, judged=False).weight[i] == 0.5


def test_below_63_days_judged_each_counts_a_half() -> None:
    series, valid = holes(list(range(LOOKBACK - 252)))
    assert (volatility.forecast(series, valid).weight != 0.5).all(), "252 returns are 210 rows, of which 64 are judged"
    valid[:, LOOKBACK - 40] = False
    found = volatility.forecast(series, valid)
    assert np.isnan(found.weight).all(), "and without a whole month behind it there is no HAR today"
    series, valid = holes([*range(LOOKBACK - 260), LOOKBACK - 130])
    found = volatility.forecast(series, valid)
    assert found.har.all()
    assert found.weight.tolist() == [0.5] * len(series)


def test_the_forecast_stays_within_what_was_seen() -> None:
    series = SERIES.copy()
    series[:, -22:] *= 30.0
    found = volatility.forecast(series, VALID)
    for i, one in enumerate(series):
        seen = [math.sqrt(np.mean(one[t + 1 : t + 22] ** 2)) for t in range(21, LOOKBACK - 21)]
        assert found.har_value[i] <= max(seen) * math.sqrt(252) * (1 + 1e-12)


def test_har_interval_covers_four_fifths() -> None:
    """[T]: 74 to 80 % on simulated volatility clusters; a HAC variance would cover nearly all."""
    rng = np.random.default_rng(11)
    n = 400
    variance, path = np.full(n, 1e-4), np.empty((n, LOOKBACK + 21))
    for t in range(LOOKBACK + 21):
        path[:, t] = np.sqrt(variance) * rng.normal(size=n)
        variance = 2e-6 + 0.07 * path[:, t] ** 2 + 0.91 * variance
    found = volatility.forecast(path[:, :LOOKBACK], np.ones((n, LOOKBACK), dtype=np.bool_))
    later = np.sqrt((path[:, LOOKBACK:] ** 2).mean(axis=1) * 252)
    share = ((later >= found.low) & (later <= found.high)).mean()
    assert 0.70 < share < 0.86


def test_with_fewer_than_252_returns_the_ewma_stands_and_says_so() -> None:
    series, valid = holes(list(range(260)))
    found = volatility.forecast(series, valid)
    assert not found.har.any()
    for i in range(len(series)):
        total = weights = 0.0
        for age, r in enumerate(reversed(SERIES[i, 260:])):
            total += 0.94**age * r * r
            weights += 0.94**age
        assert found.value[i] == pytest.approx(math.sqrt(252 * total / weights), rel=1e-9)
        assert found.variance[i] == found.ewma_variance[i]
    assert np.isnan(found.low).all()
    assert np.isnan(found.high).all()


def test_a_series_that_does_not_move_has_no_volatility() -> None:
    still = np.zeros((1, LOOKBACK))
    valid = np.ones(still.shape, dtype=np.bool_)
    found = volatility.forecast(still, valid)
    assert (found.value[0], found.har[0]) == (0.0, False)
    assert volatility.realized_volatility(still, valid, 252)[0] == 0.0
    assert np.isnan(volatility.trend(still, valid)[0])


def test_an_unknown_series_has_unknown_figures_and_disturbs_no_other() -> None:
    series = SERIES.copy()
    series[2] = np.nan
    figures: list[Callable[[FloatMatrix], FloatVector]] = [
        lambda x: volatility.realized_volatility(x, VALID, 252),
        lambda x: volatility.percentile(x, VALID),
        lambda x: volatility.trend(x, VALID),
        lambda x: volatility.forecast(x, VALID).value,
    ]
    for figure in figures:
        alone, beside = figure(SERIES), figure(series)
        assert np.isnan(beside[2])
        assert np.array_equal(np.delete(alone, 2), np.delete(beside, 2))
