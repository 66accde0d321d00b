"""The scorecard's arithmetic, against a slow version and the libraries."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from scipy.stats import binom, chi2

from services.coordinator.results import scorecard
from services.coordinator.results.scorecard import EWMA_VARIANCE, HAR, HAR_VARIANCE, HISTORICAL, Record, score
from shared.market.calendar import calendar

DAY = date(2020, 12, 30)


def made(sessions: int = 400, seed: int = 3) -> Record:
    """Returns of changing volatility, and forecasts that follow it badly; HAR only after a year."""
    rng = np.random.default_rng(seed)
    sd = 0.01 * np.exp(0.3 * np.sin(np.arange(sessions) / 40.0))
    forecasts = np.full((sessions, 5), np.nan)
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
    record = Record(np.full((60, 5), np.nan), np.full(60, 0.01))
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
    record = Record(np.full((60, 5), 0.0), np.zeros(60))
    of = score(record)
    assert (of.har.n, of.ewma.n, of.ewma.qlike) == (0, 0, None)
    assert (of.historical.n, of.historical.count) == (59, 0)


@pytest.mark.parametrize(("n", "x"), [(250, 12), (250, 0), (250, 40), (40, 40), (1, 0), (500, 25)])
def test_kupiec_is_the_likelihood_ratio_of_the_binomial(n: int, x: int) -> None:
    came = np.concatenate([[0.0], np.full(x, -2.0), np.full(n - x, 0.5)])
    forecasts = np.full((n + 1, 5), np.nan)
    forecasts[:, HISTORICAL] = 1.0
    of = score(Record(forecasts, came)).historical
    assert (of.n, of.count) == (n, x)
    expected = 2 * (binom.logpmf(x, n, x / n) - binom.logpmf(x, n, 0.05))
    assert of.lr == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert of.p == pytest.approx(chi2.sf(of.lr, 1), rel=1e-9, abs=1e-12)


def test_a_loss_equal_to_var_is_no_exceedance_and_gains_are_none() -> None:
    forecasts = np.full((4, 5), np.nan)
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
    assert [row["method"] for row in body["var"]] == ["historical", "normal"]
    assert all(row["n"] and row["reason"] is None for row in (*body["forecasts"], *body["var"]))
    assert all(row["reason"] == "short_history" for row in scorecard.body(empty)["forecasts"])
