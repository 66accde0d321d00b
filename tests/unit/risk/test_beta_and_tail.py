"""Realised beta, VaR, ES and drawdown against statsmodels, numpy and loops."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from services.risk.compute.beta import realized_beta
from services.risk.compute.inputs import History
from services.risk.compute.reasons import Reasons
from services.risk.compute.series_report import possible
from services.risk.compute.tail import drawdowns, order_ranks, tails, ten_days, withhold_impossible
from services.risk.compute.tail_parts import _lowest
from shared.market.registry import ES_LEVEL, LOOKBACK

RNG = np.random.default_rng(3)
MARKET = np.tile(RNG.normal(0.0, 0.01, LOOKBACK), (4, 1))
SERIES = np.array([[0.5], [1.0], [-0.8], [1.3]]) * MARKET + RNG.normal(0.0, 0.006, (4, LOOKBACK))
VALID = np.ones(SERIES.shape, dtype=np.bool_)


def test_realized_beta_against_statsmodels() -> None:
    found = realized_beta(SERIES, MARKET, VALID)
    for i in range(4):
        fit = sm.OLS(SERIES[i, -252:], sm.add_constant(MARKET[i, -252:])).fit()
        assert found.beta[i] == pytest.approx(fit.params[1], rel=1e-10)
        assert found.r2[i] == pytest.approx(fit.rsquared, rel=1e-10)
        assert found.n_obs[i] == 252


def test_the_market_on_itself_has_beta_one() -> None:
    found = realized_beta(MARKET, MARKET, VALID)
    assert found.beta == pytest.approx(1.0, abs=1e-14)
    assert found.r2 == pytest.approx(1.0, abs=1e-14)


def test_realized_beta_drops_sessions_without_a_market_and_needs_four_fifths() -> None:
    valid = VALID.copy()
    valid[:, -50:] = False
    fit = sm.OLS(SERIES[0, -252:-50], sm.add_constant(MARKET[0, -252:-50])).fit()
    found = realized_beta(SERIES, MARKET, valid)
    assert found.n_obs[0] == 202
    assert found.beta[0] == pytest.approx(fit.params[1], rel=1e-10)
    valid[:, -51] = False
    assert np.isnan(realized_beta(SERIES, MARKET, valid).beta).all()


def test_a_still_series_has_beta_zero_and_no_r2() -> None:
    found = realized_beta(np.zeros_like(MARKET), MARKET, VALID)
    assert found.beta.tolist() == [0.0] * 4
    assert np.isnan(found.r2).all()


@pytest.mark.parametrize("dropped", [0, 7, 200])
def test_historical_var_is_numpys_linear_quantile_and_es_the_mean_beyond_it(dropped: int) -> None:
    valid = VALID.copy()
    valid[:, RNG.permutation(LOOKBACK)[:dropped]] = False
    for tail in tails(np.where(valid, SERIES, 0.0), valid, (0.95, 0.99)):
        if tail.method != "historical":
            continue
        for i in range(4):
            own = SERIES[i][valid[i]]
            quantile = np.quantile(own, 1.0 - tail.level)
            assert tail.var[i] == pytest.approx(-quantile, rel=1e-13)
            assert tail.es[i] == pytest.approx(-own[own <= quantile].mean(), rel=1e-13)
            assert tail.n_obs[i] == LOOKBACK - dropped


def test_var_of_a_hundred_returns_counted_by_hand() -> None:
    """-1 % to -100 % and quiet days: at 95 % of 504 the quantile lies between the 26th and 27th worst, 0.15 of the way."""
    series = np.zeros((1, LOOKBACK))
    series[0, :100] = -np.arange(1, 101) / 100
    tail = tails(series, np.ones(series.shape, dtype=np.bool_), (0.95,))[0]
    assert tail.var[0] == pytest.approx(0.75 - 0.15 * 0.01)
    assert tail.es[0] == pytest.approx(np.mean(np.arange(75, 101) / 100))


def test_normal_var_and_es_against_scipy() -> None:
    for tail in tails(SERIES, VALID, (0.95, 0.99)):
        if tail.method != "normal":
            continue
        mean, sd = SERIES.mean(axis=1), SERIES.std(axis=1, ddof=1)
        z = stats.norm.ppf(1.0 - tail.level)
        assert tail.var == pytest.approx(-(mean + z * sd), rel=1e-10)
        assert tail.es == pytest.approx(-mean + sd * stats.norm.pdf(z) / (1.0 - tail.level), rel=1e-10)


@pytest.mark.parametrize(
    ("n", "level"), [(504, 0.95), (504, 0.975), (504, 0.99), (252, 0.95), (252, 0.99), (300, 0.975)]
)
def test_the_interval_of_a_quantile_is_between_order_statistics(n: int, level: float) -> None:
    """Of the ranks of scipy's binomial; the worst return of 252 is no bound at 99 %."""
    outer, inner = order_ranks(n, level)
    assert (outer, inner) == (stats.binom.ppf(0.025, n, 1 - level), stats.binom.ppf(0.975, n, 1 - level) + 1)
    valid = VALID.copy()
    valid[:, : LOOKBACK - n] = False
    [tail] = [t for t in tails(SERIES, valid, (level,)) if t.method == "historical"]
    for i in range(4):
        ordered = np.sort(SERIES[i, LOOKBACK - n :])
        assert tail.low[i] == -ordered[inner - 1]
        assert np.isnan(tail.high[i]) if outer == 0 else tail.high[i] == -ordered[outer - 1]
        assert tail.low[i] <= tail.var[i] <= (np.inf if outer == 0 else tail.high[i])


def test_intervals_hold_the_true_quantile_19_times_in_20() -> None:
    draws = np.random.default_rng(8).standard_t(4, (2000, LOOKBACK))
    tail = next(t for t in tails(draws, np.ones(draws.shape, np.bool_), (0.95,)) if t.method == "historical")
    true = -stats.t.ppf(0.05, 4)
    assert 0.94 < ((tail.low <= true) & (true <= tail.high)).mean() < 0.98


def test_filtered_returns_are_brought_to_todays_volatility() -> None:
    """Against a plain recursion, with a session that the market has not."""
    valid = VALID.copy()
    valid[:, 200] = False
    found = {t.level: t for t in tails(np.where(valid, SERIES, 0.0), valid, (0.95, 0.975)) if t.method == "filtered"}
    for i in range(4):
        total = weight = 0.0
        path = []
        for t in range(LOOKBACK):
            total, weight = 0.94 * total, 0.94 * weight
            if valid[i, t]:
                total, weight = total + SERIES[i, t] ** 2, weight + 1.0
            path.append(total / weight)
        brought = [
            SERIES[i, t] * np.sqrt(path[-1] / path[t - 1])
            for t in range(1, LOOKBACK)
            if valid[i, t] and valid[i, :t].sum() >= 63
        ]
        for level, tail in found.items():
            quantile = np.quantile(brought, 1 - level)
            assert tail.n_obs[i] == len(brought) == LOOKBACK - 64
            assert tail.var[i] == pytest.approx(-quantile, rel=1e-10)
            assert tail.es[i] == pytest.approx(-np.mean([r for r in brought if r <= quantile]), rel=1e-10)


def test_filtered_var_follows_a_rise_of_volatility_that_the_plain_one_averages_away() -> None:
    calm = np.random.default_rng(5).normal(0.0, 0.005, (1, LOOKBACK))
    wild = calm.copy()
    wild[:, -40:] *= 4.0
    everything = np.ones(calm.shape, np.bool_)
    one, other = (
        {t.method: t.var[0] for t in tails(series, everything, (0.95,)) if t.method != "normal"}
        for series in (calm, wild)
    )
    assert one["filtered"] == pytest.approx(one["historical"], rel=0.35)
    assert other["filtered"] > 2.0 * other["historical"]
    still = tails(np.zeros((1, LOOKBACK)), everything, (0.95,))
    assert {t.var[0] for t in still} == {0.0}


def pinned() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """A share at the price of its merger, which fails, and moves freely thereafter."""
    rng = np.random.default_rng(3)
    return np.concatenate([rng.normal(0.0001, 0.0005, 444), [-0.12], rng.normal(0.0, 0.03, 59)])[None]


def test_a_jump_out_of_a_pinned_price_counts_ten_of_todays_deviations_at_most() -> None:
    """-12 % was 240 deviations of its day: at today's 3 % that would be seven times the whole value."""
    found = {(t.method, t.level): t for t in tails(pinned(), VALID[:1], (0.95, 0.99))}
    assert found["historical", 0.99].es[0] == pytest.approx(0.081, abs=0.03)
    for level in (0.95, 0.99):
        assert 0.0 < found["filtered", level].var[0] <= found["filtered", level].es[0] < 0.5
    # A move that the day's own volatility could make is brought to today's whole, and none counts for less than it was.
    calm = np.where(np.abs(SERIES) > 0.04, 0.04, SERIES)
    plain = next(t.es for t in tails(calm, VALID, (0.99,)) if t.method == "filtered")
    assert np.isfinite(plain).all()
    quiet = np.concatenate(
        [np.random.default_rng(1).normal(0, 0.01, 400), [-0.3], np.random.default_rng(2).normal(0, 0.002, 103)]
    )
    [fallen] = [t for t in tails(quiet[None], VALID[:1], (0.99,)) if t.method == "filtered"]
    assert fallen.es[0] < 0.3, "brought down with the volatility, as any other"


def test_days_on_which_nothing_moved_are_observations_of_filtered_figures() -> None:
    """A new issue's price stood still until two days ago: 0 / 0 dropped all but the two."""
    still = np.zeros((1, LOOKBACK))
    still[0, -2:] = -0.03, 0.01
    found = [t for t in tails(still, VALID[:1], (0.95, 0.99)) if t.method == "filtered"]
    assert [t.n_obs[0] for t in found] == [LOOKBACK - 63] * 2
    assert found[0].var[0] == 0.0
    assert 0.0 <= found[1].es[0] < 0.05


@pytest.mark.parametrize(("left", "known"), [(188, False), (189, True)])
def test_filtered_figures_need_what_the_least_history_leaves(left: int, known: bool) -> None:
    path = np.full((1, LOOKBACK), 1e-4)
    path[:, : LOOKBACK - left - 1] = np.nan
    found = {t.method: t for t in tails(SERIES[:1], VALID[:1], (0.95,), path)}
    assert found["filtered"].n_obs[0] == left
    assert (
        np.isfinite([found["filtered"].var[0], found["filtered"].es[0], found["filtered"].low[0]]).tolist()
        == [known] * 3
    )
    assert np.isfinite(found["historical"].var[0])
    why = [Reasons()]
    possible(list(found.values()), np.array([np.inf]), "var", np.ones(1), why)
    named = [("var.filtered.0.95", "short_history")]
    assert [(e["figure"], e["reason"]) for e in why[0].to_documents()] == ([] if known else named)


def test_what_a_portfolio_cannot_lose_is_withheld_and_bounds_end_at_all_it_has() -> None:
    wild = np.random.default_rng(4).normal(0.0, 0.5, (3, LOOKBACK)).clip(-0.99, 3.0)
    before = tails(wild, VALID[:3], (0.95, 0.99))
    after, withheld = withhold_impossible(before, np.array([1.0, 2.0, np.inf]))
    for tail, old, beyond in zip(after, before, withheld, strict=True):
        assert beyond.tolist() == [
            bool(max(v, e) > m) for v, e, m in zip(old.var, old.es, (1.0, 2.0, np.inf), strict=True)
        ]
        assert np.isnan(tail.var).tolist() == np.isnan(tail.es).tolist() == beyond.tolist()
        assert np.array_equal(tail.var[~beyond], old.var[~beyond])
        assert not (tail.high[:2] > [1.0, 2.0]).any()
    normal = next(t for t in after if (t.method, t.level) == ("normal", 0.99))
    assert np.isnan(normal.var[0])
    assert normal.var[2] > 1.0, "who is short may lose more"


def test_ten_days_are_root_ten_and_overlapping_windows() -> None:
    valid = VALID.copy()
    valid[:, 100] = False
    whole = tails(np.where(valid, SERIES, 0.0), valid, (0.95, 0.99))
    found = {(t.method, t.level): t for t in ten_days(np.where(valid, SERIES, 0.0), valid, whole)}
    one = {t.level: t for t in whole if t.method == "historical"}
    for level in (0.95, 0.99):
        assert found["scaled", level].var == pytest.approx(np.sqrt(10) * one[level].var, rel=1e-14)
        assert found["scaled", level].es == pytest.approx(np.sqrt(10) * one[level].es, rel=1e-14)
        for i in range(4):
            windows = [
                np.prod(1 + SERIES[i, t : t + 10]) - 1 for t in range(LOOKBACK - 9) if valid[i, t : t + 10].all()
            ]
            quantile = np.quantile(windows, 1 - level)
            tail = found["overlapping", level]
            assert tail.n_obs[i] == len(windows) == LOOKBACK - 19
            assert tail.var[i] == pytest.approx(-quantile, rel=1e-10)
            assert tail.es[i] == pytest.approx(-np.mean([r for r in windows if r <= quantile]), rel=1e-10)


def test_without_a_losing_day_var_is_a_gain_and_there_is_no_drawdown() -> None:
    gains = np.abs(SERIES) + 1e-4
    for tail in tails(gains, VALID, (0.95, 0.99)):
        if tail.method == "historical":
            assert (tail.var < 0).all()
            assert (tail.es < 0).all()


def test_var_needs_252_returns() -> None:
    valid = VALID.copy()
    valid[:, :252] = False
    assert all(np.isfinite(tail.var).all() for tail in tails(SERIES, valid, (0.95,)))
    valid[:, 252] = False
    assert all(np.isnan(tail.var).all() and np.isnan(tail.es).all() for tail in tails(SERIES, valid, (0.95,)))


def history(returns: list[float]) -> History:
    index = np.cumprod(1.0 + np.array(returns))
    peak = np.maximum.accumulate(np.maximum(index, 1.0))
    days = np.datetime64("2020-01-01", "D") + np.arange(len(returns))
    return History(days, np.array(returns), index / peak - 1.0, np.ones(len(days)))


def test_drawdown_against_a_plain_loop() -> None:
    of = history(np.random.default_rng(5).normal(0.0, 0.02, 300).tolist())
    found = drawdowns(of, of.sessions)
    for i in range(300):
        deepest = min(range(i + 1), key=lambda t: of.drawdown[t])
        highs = [t for t in range(deepest + 1) if of.drawdown[t] == 0.0]
        assert found.current[i] == of.drawdown[i]
        assert found.deepest[i] == of.drawdown[deepest]
        assert found.trough[i] == of.sessions[deepest]
        assert found.peak[i] == of.sessions[highs[-1] if highs else 0]


def test_drawdown_of_a_session_knows_nothing_later() -> None:
    of = history([0.01, -0.1, 0.2, -0.5])
    early = drawdowns(of, of.sessions[:3])
    assert early.deepest[2] == pytest.approx(-0.1)
    assert str(early.trough[2]) == "2020-01-02"
    assert str(early.peak[2]) == "2020-01-01"


def test_a_broken_chain_has_no_drawdown() -> None:
    of = history([0.01, -0.1])
    of = History(of.sessions, of.daily_return, np.array([0.0, np.nan]), of.coverage)
    found = drawdowns(of, of.sessions)
    assert found.current[0] == 0.0
    assert np.isnan(found.current[1])
    assert np.isnat(found.trough[1])


def test_the_shortfall_behind_an_increment_is_of_all_days_at_the_quantile() -> None:
    """A book that rarely moves has many days that equal the quantile, beyond those that are put in order first."""
    series = np.zeros((2, LOOKBACK))
    series[0, :5] = -0.01
    series[1] = np.random.default_rng(2).normal(0.0, 0.01, LOOKBACK)
    quantile, shortfall = _lowest(series)
    (whole,) = (of for of in tails(series, np.ones(series.shape, np.bool_), (ES_LEVEL,)) if of.method == "historical")
    np.testing.assert_allclose(quantile, -whole.var, rtol=1e-12)
    np.testing.assert_allclose(shortfall, whole.es, rtol=1e-12)
