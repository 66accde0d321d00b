"""The scorecard's arithmetic, against a slow version and the libraries."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from scipy.stats import binom, chi2

from services.coordinator.compute.scorecard import (
    ANSWERED,
    ANSWERED_VARIANCE,
    EWMA_VARIANCE,
    HAR,
    HAR_VARIANCE,
    HIGH,
    HISTORICAL,
    LOW,
    WIDTH,
    Record,
    score,
)
from services.coordinator.results import scorecard
from shared.market import layouts
from shared.market.calendar import calendar

DAY = date(2020, 12, 30)


def made(sessions: int = 400, seed: int = 3) -> Record:
    """Returns of changing volatility, and forecasts that follow it badly; HAR only after a year."""
    rng = np.random.default_rng(seed)
    sd = 0.01 * np.exp(0.3 * np.sin(np.arange(sessions) / 40.0))
    forecasts = np.full((sessions, WIDTH), np.nan)
    variance = 252 * sd**2
    forecasts[252:, HAR_VARIANCE] = variance[252:] * np.exp(0.2 * rng.standard_normal(sessions - 252))
    forecasts[:, HAR] = np.sqrt(forecasts[:, HAR_VARIANCE]) * 0.97
    forecasts[:, EWMA_VARIANCE] = variance * np.exp(0.4 * rng.standard_normal(sessions))
    forecasts[:, HISTORICAL] = 1.645 * sd
    forecasts[:, HISTORICAL + 1] = 1.5 * sd
    return Record(forecasts, sd * rng.standard_normal(sessions))


def slow(record: Record, column: int, level: int) -> tuple[int, float, float]:
    """(n, mean QLIKE, mean error) a forecast at a time; `level` is the column of the volatility, -1: the root of the variance."""
    losses, errors = [], []
    for t in range(len(record.realized)):
        ahead = record.realized[t + 1 : t + 22]
        h = record.forecasts[t, column]
        if len(ahead) < 21 or not np.isfinite(ahead).all() or not h > 0:
            continue
        came = 252.0 * sum(r * r for r in ahead.tolist()) / 21.0
        losses.append(came / h - math.log(came / h) - 1.0)
        errors.append((math.sqrt(h) if level < 0 else record.forecasts[t, level]) - math.sqrt(came))
    return len(losses), sum(losses) / len(losses), sum(errors) / len(errors)


def test_losses_equal_a_slow_version_over_their_own_samples() -> None:
    record = made()
    of = score(record)
    for loss, column, level in ((of.har, HAR_VARIANCE, HAR), (of.ewma, EWMA_VARIANCE, -1)):
        n, qlike, error = slow(record, column, level)
        assert loss.n == n
        assert loss.qlike == pytest.approx(qlike, rel=1e-12)
        assert loss.mean_error == pytest.approx(error, rel=1e-12)
    assert (of.har.n, of.ewma.n) == (400 - 252 - 21, 400 - 21)
    assert of.answered.n == of.ewma.n
    assert of.common[0] == of.har.n
    assert of.common[1] == pytest.approx(of.har.qlike, rel=1e-15)


def test_a_perfect_forecast_loses_nothing_and_the_loss_is_not_symmetric() -> None:
    record = Record(np.full((60, WIDTH), np.nan), np.full(60, 0.01))
    record.forecasts[:, EWMA_VARIANCE] = 252 * 0.01**2
    of = score(record)
    assert of.ewma.qlike == pytest.approx(0.0, abs=1e-14)
    assert of.ewma.mean_error == pytest.approx(0.0, abs=1e-14)
    half, double = record.forecasts.copy(), record.forecasts.copy()
    half[:, EWMA_VARIANCE] /= 2
    double[:, EWMA_VARIANCE] *= 2
    low, high = score(replace(record, forecasts=half)).ewma, score(replace(record, forecasts=double)).ewma
    assert low.qlike == pytest.approx(2 - math.log(2) - 1)
    assert high.qlike == pytest.approx(0.5 + math.log(2) - 1)


def test_nothing_is_known_of_a_forecast_before_its_horizon_has_passed() -> None:
    record = made()
    for length in (1, 2, 21, 22, 23, 300):
        of = score(Record(record.forecasts[:length], record.realized[:length]))
        assert of.ewma.n == max(0, length - 21)
        assert of.historical.n == length - 1
        # What happens later, and what is forecast later, changes nothing of what was said then.
        other = Record(record.forecasts.copy(), record.realized.copy())
        other.forecasts[length:] *= 7
        other.realized[length:] *= 7
        assert score(Record(other.forecasts[:length], other.realized[:length])) == of


def test_a_hole_costs_the_forecasts_that_reach_over_it() -> None:
    record = made()
    record.realized[100] = np.nan
    of = score(record)
    assert of.ewma.n == 400 - 21 - 21
    assert of.historical.n == 399 - 1
    n, qlike, _ = slow(record, EWMA_VARIANCE, -1)
    assert of.ewma.n == n
    assert of.ewma.qlike == pytest.approx(qlike, rel=1e-12)


def test_a_portfolio_that_does_not_move_is_not_scored() -> None:
    record = Record(np.full((60, WIDTH), 0.0), np.zeros(60))
    of = score(record)
    assert (of.har.n, of.ewma.n, of.ewma.qlike) == (0, 0, None)
    assert (of.historical.n, of.historical.count) == (59, 0)


@pytest.mark.parametrize(("n", "x"), [(250, 12), (250, 0), (250, 40), (40, 40), (1, 0), (500, 25)])
def test_kupiec_is_the_likelihood_ratio_of_the_binomial(n: int, x: int) -> None:
    came = np.concatenate([[0.0], np.full(x, -2.0), np.full(n - x, 0.5)])
    forecasts = np.full((n + 1, WIDTH), np.nan)
    forecasts[:, HISTORICAL] = 1.0
    of = score(Record(forecasts, came)).historical
    assert (of.n, of.count) == (n, x)
    expected = 2 * (binom.logpmf(x, n, x / n) - binom.logpmf(x, n, 0.05))
    assert of.lr == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert of.p == pytest.approx(chi2.sf(of.lr, 1), rel=1e-9, abs=1e-12)


def test_a_loss_equal_to_var_is_no_exceedance_and_gains_are_none() -> None:
    forecasts = np.full((4, WIDTH), np.nan)
    forecasts[:, HISTORICAL] = 0.02
    assert score(Record(forecasts, np.array([0.0, -0.02, 0.5, -0.0200001]))).historical.count == 1


def test_a_missing_session_is_a_hole_in_the_calendar() -> None:
    days = calendar().between(calendar().back(calendar().on_or_before(DAY), 40), calendar().on_or_before(DAY))
    rows = [(day, [0.1, 0.01, 0.01, 0.02, 0.02], 0.001) for day in days]
    whole = scorecard.record(rows, days[-1])
    holed = scorecard.record(rows[:10] + rows[11:], days[-1])
    assert len(whole.realized) == len(holed.realized) == 41
    assert np.isnan(holed.realized[10])
    assert (score(whole).ewma.n, score(holed).ewma.n) == (20, 9)
    # The portfolio's newest session may have no row yet.
    assert len(scorecard.record(rows[:-1], days[-1]).realized) == 41


def test_the_summary_has_the_keys_of_the_shape_and_a_reason_for_each_null() -> None:
    empty = score(scorecard.record([], calendar().on_or_before(DAY)))
    assert scorecard.summary(empty) == {
        "har_qlike": None, "ewma_qlike": None, "mean_error": None,
        "var_95": {"n": 0, "exceedances": 0, "kupiec_lr": None, "p": None},
    }  # fmt: skip
    assert [reason["figure"] for reason in scorecard.reasons(empty)] == [
        f"scorecard.{name}" for name in ("har_qlike", "ewma_qlike", "mean_error", "var_95")
    ]
    assert not scorecard.reasons(score(made()))
    body = scorecard.body(score(made()))
    assert [row["method"] for row in body["forecasts"]] == ["har", "ewma", "answered"]
    assert [(row["method"], row["level"]) for row in body["var"]] == [
        (method, level) for level in (0.95, 0.975, 0.99) for method in ("historical", "normal", "filtered")
    ]
    assert all(row["n"] and row["reason"] is None for row in (*body["forecasts"], *body["var"][:2]))
    assert {row["reason"] for row in body["var"][2:]} == {"short_history"}
    assert all(row["reason"] == "short_history" for row in scorecard.body(empty)["forecasts"])
    assert body["interval"] == {"level": 0.8, "n": 0, "inside": 0, "share": None, "reason": "short_history"}


def test_what_was_answered_is_judged_as_it_was_stored_and_before_that_as_it_was_chosen() -> None:
    record = made()
    old = score(record)
    record.forecasts[300:, ANSWERED] = 0.2
    record.forecasts[300:, ANSWERED_VARIANCE] = 0.05
    of = score(record)
    assert (of.har, of.ewma) == (old.har, old.ewma)
    assert of.answered.n == old.answered.n
    assert of.answered.qlike != old.answered.qlike
    record.forecasts[:, LOW], record.forecasts[:, HIGH] = 0.0, 0.16
    ahead = np.lib.stride_tricks.sliding_window_view(record.realized[1:], 21)[:379]
    came = np.sqrt(252 * (ahead**2).mean(axis=1))
    assert (score(record).interval.n, score(record).interval.count) == (379, int((came <= 0.16).sum()))
    short = [0.2, 0.05, 0.04, 0.02, 0.02]
    day = calendar().on_or_before(DAY)
    assert np.isnan(scorecard.record([(day, short, 0.001)], day).forecasts[0, 5:]).all()


def test_exceedances_that_follow_one_another_are_not_independent() -> None:
    """By hand over pairs: 300 sessions, ten exceedances in two strings of five, and the same ten apart."""
    forecasts = np.full((301, WIDTH), np.nan)
    forecasts[:, HISTORICAL] = 1.0
    together, apart = np.full(301, 0.5), np.full(301, 0.5)
    together[[*range(50, 55), *range(200, 205)]] = -2.0
    apart[10:300:29] = -2.0
    of = score(Record(forecasts, together)).historical
    n, first, again = 299, 2, 8
    one, none = 10, n - 10
    expected = 2 * (
        binom.logpmf(first, none, first / none) + binom.logpmf(again, one, again / one)
        - binom.logpmf(first, none, 10 / n) - binom.logpmf(again, one, 10 / n)
    )  # fmt: skip
    assert of.independence_lr == pytest.approx(expected, rel=1e-9)
    assert of.independence_p == pytest.approx(chi2.sf(expected, 1), rel=1e-6)
    alone = score(Record(forecasts, apart)).historical.independence_p
    assert alone is not None
    assert alone > 0.3
    # Over a hole there is no pair: the string of five is one of three and one of one.
    together[53] = np.nan
    assert score(Record(forecasts, together)).historical.independence_lr != of.independence_lr
    few = np.full(301, 0.5)
    few[[50, 51, 52, 53]] = -2.0
    assert score(Record(forecasts, few)).historical.independence_lr is None
    assert scorecard.body(score(Record(forecasts, few)))["var"][0]["reason"] == "few_exceedances"


@pytest.mark.parametrize("n", [1, 2, 5, 10, 62, 63, 80])
@pytest.mark.parametrize("x", [0, 1])
def test_a_few_sessions_light_nothing_and_none_beyond_is_never_yellow(n: int, x: int) -> None:
    """At 99 % of five sessions so many or fewer than none has a chance of 95 %: that says nothing of a forecast."""
    forecasts, came = np.full((n + 1, WIDTH), 1.0), np.full(n + 1, 0.5)
    came[1 : 1 + x] = -2.0
    of = score(Record(forecasts, came))
    rows = {(row["method"], row["level"]): row for row in scorecard.body(of)["var"]}
    for (method, level), tail in of.tails.items():
        assert tail.zone == ("green" if n >= 63 else None), (method, level)
        assert rows[method, level]["reason"] == ("few_exceedances" if n >= 63 else "short_history")


@pytest.mark.parametrize("n", [250, 500])
def test_the_traffic_light_is_the_binomials(n: int) -> None:
    at = layouts.element(layouts.FORECASTS, "var_historical_99")
    forecasts = np.full((n + 1, WIDTH), np.nan)
    forecasts[:, at] = 1.0
    seen = []
    for x in range(16):
        came = np.concatenate([[0.0], np.full(x, -2.0), np.full(n - x, 0.5)])
        seen.append(score(Record(forecasts, came)).tails["historical", 0.99].zone)
        chance = binom.cdf(x, n, 0.01)
        assert seen[-1] == ("green" if chance < 0.95 else "yellow" if chance < 0.9999 else "red"), x
    if n == 250:
        assert (seen.index("yellow"), seen.index("red")) == (5, 10), "as the Basel rules have it"
