"""Every regression against statsmodels, the joint set against a plain solve."""

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm

from services.factors.compute import Exposures, exposures
from shared.arrays import FloatMatrix, FloatVector, IntVector
from shared.market import registry
from tests.unit.factors.market import FIRST_CHOICE, WINDOW, Market, chosen, market


# Betas are of order one and the regressors well conditioned, so agreement is to rounding; 1e-8 is the requirement.
def assert_close(actual: Any, expected: Any, what: str = "") -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-10, err_msg=what)


def at(*rows: int) -> IntVector:
    return np.array(rows, dtype=np.int64)


def ols(y: FloatVector, *columns: FloatVector) -> sm.regression.linear_model.RegressionResultsWrapper:
    there = np.isfinite(y)
    return sm.OLS(y[there], sm.add_constant(np.column_stack(columns)[there])).fit()


def hac(
    fit: sm.regression.linear_model.RegressionResultsWrapper,
) -> sm.regression.linear_model.RegressionResultsWrapper:
    lag = int(4 * (fit.nobs / 100) ** (2 / 9))
    return fit.get_robustcov_results("HAC", maxlags=lag, kernel="bartlett", use_correction=False)


def plain_joint(y: FloatVector, factors: dict[str, FloatVector]) -> tuple[dict[str, float], float, float]:
    """The definition, word for word: residuals on the market, unit population variance, augmented rows for the penalty; growth by
    itself.

    Returns betas, r2 and the sample sd of the residuals.
    """
    m = factors["market"]
    names = [name for name in factors if name not in ("market", "growth")]
    columns, sigma = [], {}
    for name in names:
        z = np.asarray(sm.OLS(factors[name], sm.add_constant(m)).fit().resid)
        sigma[name] = z.std(ddof=0)
        columns.append(z / sigma[name])
    there = np.isfinite(y)
    design = np.column_stack([np.ones(len(m)), m, *columns])[there]
    n = len(design)
    penalty = np.zeros((len(names), design.shape[1]))
    penalty[:, 2:] = np.eye(len(names)) * np.sqrt(0.1 * n)
    solution, *_ = np.linalg.lstsq(
        np.vstack([design, penalty]), np.concatenate([y[there], np.zeros(len(names))]), rcond=None
    )
    betas = {"market": solution[1]} | {name: solution[2 + i] / sigma[name] for i, name in enumerate(names)}
    residual = y[there] - design @ solution
    r2 = 1 - residual @ residual / ((y[there] - y[there].mean()) ** 2).sum()
    if "growth" in factors:
        betas["growth"] = ols(y, m, factors["growth"]).params[2]
    return betas, r2, residual.std(ddof=1)


def assert_agrees(result: Exposures, k: int, s: int, y: FloatVector, factors: dict[str, FloatVector]) -> None:
    m = factors["market"]
    simple = ols(y, m)
    robust = hac(simple)
    expected = [simple.params[1], simple.params[0], simple.rsquared, simple.bse[1], robust.bse[1], robust.tvalues[1]]
    assert_close(result.market[k, s], expected)
    se2 = robust.bse[1] ** 2
    assert_close(result.shrunk[k, s], (simple.params[1] * 0.25 + se2) / (0.25 + se2))
    assert result.n_obs[k, s] == simple.nobs
    assert_close(result.ir_beta[k, s], ols(y, m, factors["rates"]).params[2])
    for i, (long, short) in enumerate(
        [("growth", "value"), ("momentum", "market"), ("size", "market"), ("quality", "market")]
    ):
        # Value is a difference already: growth less value is that turned round.
        fit = ols(y, m, -factors["value"] if short == "value" else factors[long] - factors[short])
        assert_close(result.spreads[k, s, i], [fit.params[2], hac(fit).bse[2], fit.rsquared], f"{long}-{short}")
    betas, r2, sd = plain_joint(y, factors)
    np.testing.assert_allclose(
        result.joint[k, s], [betas[name] for name in registry.FACTOR_NAMES], rtol=1e-9, atol=1e-11
    )
    np.testing.assert_allclose(result.fit[k, s, [0, 2]], [r2, sd], rtol=1e-9)


@pytest.mark.parametrize("gaps", [0.0, 0.05, 0.6], ids=["no gaps", "some gaps", "mostly gaps"])
def test_regressions_equal_statsmodels(gaps: float) -> None:
    data = market(gaps=gaps, symbols=6)
    rows = at(WINDOW - 1, data.last)
    result = exposures(data.returns, data.proxies, rows)
    for k, row in enumerate(rows):
        factors = chosen(data, row, FIRST_CHOICE)
        for s in range(6):
            assert_agrees(result, k, s, data.returns[row - WINDOW + 1 : row + 1, s], factors)


def test_a_symbol_listed_half_a_year_ago_is_limited_and_right() -> None:
    data = market(symbols=1)
    data.returns[:-120] = np.nan
    result = exposures(data.returns, data.proxies, at(data.last))
    assert_agrees(result, 0, 0, data.returns[-WINDOW:, 0], chosen(data, data.last, FIRST_CHOICE))
    assert result.quality()[0, 0] == "limited"
    assert result.observations()[0, 0].tolist() == [120] * 7


@pytest.mark.parametrize(("n", "quality"), [(62, "none"), (63, "limited"), (239, "limited"), (240, "full")])
def test_quality_follows_the_number_of_observations(n: int, quality: str) -> None:
    data = market(symbols=1)
    data.returns[:-n] = np.nan
    result = exposures(data.returns, data.proxies, at(data.last))
    assert result.quality()[0, 0] == quality
    assert np.isfinite(result.joint).all() == (quality != "none")
    assert result.reasons(0, 0).get("joint") == ("short_history" if n < 63 else None)


def test_the_window_is_not_extended_backwards_over_holes() -> None:
    data = market(symbols=1)
    data.returns[-WINDOW + 5 : -WINDOW + 15] = np.nan
    result = exposures(data.returns, data.proxies, at(data.last))
    assert result.n_obs[0, 0] == WINDOW - 10


def test_the_market_on_itself_has_beta_one_and_no_styles() -> None:
    data = market()
    spy = data.proxy("SPY")[:, None]
    result = exposures(spy, data.proxies, at(data.last))
    np.testing.assert_allclose(result.joint[0, 0], [1, 0, 0, 0, 0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(result.market[0, 0, :3], [1, 0, 1], atol=1e-12)
    assert result.market[0, 0, 3] == result.market[0, 0, 4] == 0.0
    assert np.isnan(result.market[0, 0, 5]), "a t-value of an exact fit says nothing"
    assert result.shrunk[0, 0] == result.market[0, 0, 0]


def test_a_style_proxy_on_itself_is_shrunk_by_the_penalty() -> None:
    """With the other residuals uncorrelated the coefficient is 1/(1 + 0.1), about 0.91."""
    data = market(sessions=WINDOW)
    result = exposures(data.proxy("TLT")[:, None], data.proxies, at(data.last))
    assert 0.80 < result.joint[0, 0, -1] < 0.92


def test_condition_number_is_that_of_the_correlations() -> None:
    data = market(gaps=0.1, symbols=2)
    result = exposures(data.returns, data.proxies, at(data.last))
    factors = chosen(data, data.last, FIRST_CHOICE)
    m, _ = factors.pop("market"), factors.pop("growth")
    z = [m] + [np.asarray(sm.OLS(x, sm.add_constant(m)).fit().resid) for x in factors.values()]
    for s in range(2):
        there = np.isfinite(data.returns[-WINDOW:, s])
        values = np.linalg.eigvalsh(np.corrcoef(np.array(z)[:, there]))
        np.testing.assert_allclose(result.fit[0, s, 1], np.sqrt(values[-1] / values[0]), rtol=1e-9)


def test_what_stands_still_has_slopes_of_zero_and_no_residual() -> None:
    data = market(symbols=3)
    data.returns[:, 0] = 0.0
    data.returns[:, 1] = 0.0001
    result = exposures(data.returns, data.proxies, at(data.last))
    for s in (0, 1):
        assert result.market[0, s, [0, 3, 4]].tolist() == [0.0, 0.0, 0.0]
        assert result.market[0, s, 1] == pytest.approx(data.returns[-1, s], rel=1e-12), (
            "what it earns whatever the market does"
        )
        assert np.isnan(result.market[0, s, [2, 5]]).all()
        assert result.joint[0, s].tolist() == [0.0] * 8
        assert result.shrunk[0, s] == result.ir_beta[0, s] == result.fit[0, s, 2] == 0.0
        assert result.spreads[0, s, :, :2].tolist() == [[0.0, 0.0]] * 4
        assert result.reasons(0, s) == {"r2": "zero_variance"}
        assert result.quality()[0, s] == "full"
    assert result.reasons(0, 2) == {}


def test_a_symbol_without_any_price_is_null_with_the_reason_given() -> None:
    data = market(symbols=1)
    data.returns[:] = np.nan
    result = exposures(data.returns, data.proxies, at(data.last))
    assert result.n_obs[0, 0] == 0
    assert result.reasons(0, 0)["joint"] == "short_history"
    assert result.reasons(0, 0, absent="not_yet_listed")["joint"] == "not_yet_listed"


def test_a_beta_beyond_five_is_flagged_and_kept() -> None:
    data = market(symbols=2)
    data.returns[:, 0] = 7.0 * data.proxy("SPY")
    data.returns[:, 1] = 0.5 * data.proxy("SPY")
    result = exposures(data.returns, data.proxies, at(data.last))
    assert result.beyond_beta_flag().tolist() == [[True, False]]
    np.testing.assert_allclose(result.market[0, 0, 0], 7.0)


def test_arguments_that_do_not_fit_are_refused() -> None:
    data = market()
    with pytest.raises(ValueError, match="proxy returns"):
        exposures(data.returns, data.proxies[:, :-1], at(data.last))


def test_hac_lag_is_the_rule_of_thumb() -> None:
    """Newey and West's rule, by hand: 4·(63/100)^(2/9) = 3.61, 4·1 = 4, 4·(252/100)^(2/9) = 4.91."""
    assert [registry.hac_lag(n) for n in (63, 99, 100, 252)] == [3, 3, 4, 4]


def test_no_beta_is_lost_with_an_empty_rectangle() -> None:
    data = Market(market().proxies, np.zeros((300, 0)))
    empty: FloatMatrix = exposures(data.returns, data.proxies, at(data.last)).joint
    assert empty.shape == (1, 0, 8)
