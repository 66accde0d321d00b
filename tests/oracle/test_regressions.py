"""Betas, errors and fits against statsmodels; the joint set against a plain solve and scikit-learn's ridge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.linear_model import Ridge
from statsmodels.stats.sandwich_covariance import S_hac_simple, weights_bartlett

from services.factors.compute import Exposures
from shared.arrays import FloatMatrix, FloatVector
from shared.market.registry import BETA_WINDOW, FACTOR_NAMES, FACTORS, JOINT_FACTORS, SPREADS
from tests.support import chain
from tests.support.chain import Unit, pictured

SYMBOLS = ["S0", "S1", "S2", "HOLES", "YOUNG"]
LENGTH = 300


def returns() -> dict[str, FloatVector]:
    made = chain.market(33, LENGTH, SYMBOLS)
    made["HOLES"] = np.where(np.random.default_rng(1).random(LENGTH) < 0.2, np.nan, made["HOLES"])
    made["YOUNG"] = np.where(np.arange(LENGTH) < LENGTH - 80, np.nan, made["YOUNG"])
    return made


DATA = returns()
NAMES, OF = chain.facts(DATA, [LENGTH - 1])
FACTOR = {f.name: DATA[f.proxies[0]][-BETA_WINDOW:] for f in FACTORS} | {
    "value": (DATA["VTV"] - DATA["VUG"])[-BETA_WINDOW:]
}
JOINT = np.flatnonzero(JOINT_FACTORS)

# statsmodels solves by the pseudo-inverse, the code by the inverse of a Gram matrix of standardised columns. With condition
# numbers below 20 both are right to some 1e-12 of a coefficient; 1e-8 is what the definitions ask for.
RELATIVE, ABSOLUTE = 1e-8, 1e-10


def own(symbol: str) -> FloatVector:
    return DATA[symbol][-BETA_WINDOW:]


def ols(y: FloatVector, *columns: FloatVector) -> Any:
    there = np.isfinite(y)
    return sm.OLS(y[there], sm.add_constant(np.column_stack(columns)[there])).fit()


def hac(fit: Any) -> Any:
    lag = int(np.floor(4 * (fit.nobs / 100) ** (2 / 9)))
    return fit.get_robustcov_results("HAC", maxlags=lag, kernel="bartlett", use_correction=False)


def close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(actual, expected, rtol=RELATIVE, atol=ABSOLUTE)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_market_beta_and_both_errors_are_statsmodels(symbol: str) -> None:
    fit = ols(own(symbol), FACTOR["market"])
    robust = hac(fit)
    close(
        OF.market[0, NAMES.index(symbol)],
        [fit.params[1], fit.params[0], fit.rsquared, fit.bse[1], robust.bse[1], robust.tvalues[1]],
    )
    assert OF.n_obs[0, NAMES.index(symbol)] == fit.nobs


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_vasicek_is_the_posterior_mean_of_a_normal_prior(symbol: str) -> None:
    """Precision-weighted mean of the prior (1, 0.5²) and the estimate with its HAC error."""
    robust = hac(ols(own(symbol), FACTOR["market"]))
    prior, data = 1 / 0.5**2, 1 / robust.bse[1] ** 2
    close(OF.shrunk[0, NAMES.index(symbol)], (prior * 1.0 + data * robust.params[1]) / (prior + data))


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_rate_and_spread_betas_are_statsmodels_with_two_regressors(symbol: str) -> None:
    s, y = NAMES.index(symbol), own(symbol)
    close(OF.ir_beta[0, s], ols(y, FACTOR["market"], FACTOR["rates"]).params[2])
    for i, spread in enumerate(SPREADS):
        # Value is a difference already: growth less value is that turned round.
        apart = -FACTOR["value"] if spread.short == "value" else FACTOR[spread.long] - FACTOR[spread.short]
        fit = ols(y, FACTOR["market"], apart)
        close(OF.spreads[0, s, i], [fit.params[2], hac(fit).bse[2], fit.rsquared])


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_growth_is_statsmodels_with_the_market_and_it_alone(symbol: str) -> None:
    fit = ols(own(symbol), FACTOR["market"], FACTOR["growth"])
    at = 0, NAMES.index(symbol), FACTOR_NAMES.index("growth")
    close([OF.joint[at], OF.joint_stderr[at]], [fit.params[2], hac(fit).bse[2]])


def design() -> tuple[FloatMatrix, FloatVector]:
    """(252, 7) market and standardised residuals of the others on it, as the joint set defines them; and the deviations."""
    m = FACTOR["market"]
    z = [np.asarray(sm.OLS(FACTOR[name], sm.add_constant(m)).fit().resid) for name in np.array(FACTOR_NAMES)[JOINT[1:]]]
    sigma = np.array([column.std(ddof=0) for column in z])
    return np.column_stack([m, *(column / sd for column, sd in zip(z, sigma, strict=True))]), sigma


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_the_joint_set_is_a_plain_solve_of_the_penalised_normal_equations(symbol: str) -> None:
    """1e-9: one 8 × 8 system, condition number below 20, solved here with LU and there with the inverse."""
    columns, sigma = design()
    y, there = own(symbol), np.isfinite(own(symbol))
    x = np.column_stack([np.ones(BETA_WINDOW), columns])[there]
    penalty = np.diag([0.0, 0.0, *[0.1 * there.sum()] * 6])
    c = np.linalg.solve(x.T @ x + penalty, x.T @ y[there])
    residual = y[there] - x @ c
    s = NAMES.index(symbol)
    np.testing.assert_allclose(OF.joint[0, s, JOINT], [c[1], *(c[2:] / sigma)], rtol=1e-9, atol=1e-11)
    total = ((y[there] - y[there].mean()) ** 2).sum()
    np.testing.assert_allclose(OF.fit[0, s, [0, 2]], [1 - residual @ residual / total, residual.std(ddof=1)], rtol=1e-9)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_errors_of_the_joint_set_are_statsmodels_sandwich_around_the_ridge(symbol: str) -> None:
    """The filling is statsmodels' HAC sum of x_t u_t, the bread the penalised matrix. 1e-8: two solves of the same 8 by 8 system."""
    columns, sigma = design()
    y, there = own(symbol), np.isfinite(own(symbol))
    x = np.column_stack([np.ones(BETA_WINDOW), columns])[there]
    n = int(there.sum())
    bread = np.linalg.inv(x.T @ x + np.diag([0.0, 0.0, *[0.1 * n] * 6]))
    residual = y[there] - x @ bread @ x.T @ y[there]
    filling = S_hac_simple(x * residual[:, None], nlags=int(4 * (n / 100) ** (2 / 9)), weights_func=weights_bartlett)
    errors = np.sqrt(np.diag(bread @ filling @ bread))[1:]
    np.testing.assert_allclose(OF.joint_stderr[0, NAMES.index(symbol), JOINT], errors / [1.0, *sigma], rtol=1e-8)


def test_errors_of_a_portfolio_are_the_same_regression_on_its_own_series() -> None:
    """Whole windows only, since a portfolio's series is filled: of two stocks, one of them short."""
    held = {"S0": 700.0, "S1": -300.0}
    found = pictured(chain.panel(DATA), Unit(1000.0, held))[0].exposures["factors"]
    columns, sigma = design()
    x = np.column_stack([np.ones(BETA_WINDOW), columns])
    y = 0.7 * own("S0") - 0.3 * own("S1")
    bread = np.linalg.inv(x.T @ x + np.diag([0.0, 0.0, *[0.1 * BETA_WINDOW] * 6]))
    beta = bread @ x.T @ y
    filling = S_hac_simple(x * (y - x @ beta)[:, None], nlags=4, weights_func=weights_bartlett)
    errors = np.sqrt(np.diag(bread @ filling @ bread))[1:] / [1.0, *sigma]
    joint = [f for f in found if f["set"] == "joint"]
    np.testing.assert_allclose([f["stderr_hac"] for f in joint], errors, rtol=1e-8)
    np.testing.assert_allclose([f["t_hac"] for f in joint], beta[1:] / [1.0, *sigma] / errors, rtol=1e-7)
    assert {f["stderr_hac"] for f in found if f["set"] == "reported"} == {None}


@pytest.mark.parametrize("symbol", SYMBOLS[:3])
def test_the_joint_set_is_scikit_learns_ridge_on_what_the_market_leaves(symbol: str) -> None:
    """Over a whole window the residuals are orthogonal to market and constant, so that a ridge of y's own residual on them is
    the same minimisation (Frisch-Waugh). 1e-7: scikit-learn's Cholesky on unstandardised scale."""
    columns, sigma = design()
    left = np.asarray(ols(own(symbol), FACTOR["market"]).resid)
    ridge = Ridge(alpha=0.1 * BETA_WINDOW, fit_intercept=False).fit(columns[:, 1:], left)
    found: Exposures = OF
    np.testing.assert_allclose(
        found.joint[0, NAMES.index(symbol), JOINT[1:]], ridge.coef_ / sigma, rtol=1e-7, atol=1e-9
    )


def test_the_condition_number_is_numpys_of_the_standardised_regressors() -> None:
    columns, _ = design()
    standard = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    np.testing.assert_allclose(OF.fit[0, NAMES.index("S0"), 1], np.linalg.cond(standard), rtol=1e-9)
