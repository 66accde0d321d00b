"""The HAR forecast against arch and statsmodels on the same design."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from arch.univariate import HARX, EWMAVariance
from scipy.stats import norm

from services.risk.compute import volatility
from shared.arrays import FloatMatrix, FloatVector
from shared.market.registry import LOOKBACK
from tests.support import chain

SERIES = np.vstack([chain.market(seed, LOOKBACK, ["S0"])["S0"] for seed in range(5)])
VALID = np.ones(SERIES.shape, dtype=np.bool_)
FOUND = volatility.forecast(SERIES, VALID)
YEAR = np.sqrt(252.0)


def laid_out(r: FloatVector) -> tuple[FloatVector, FloatMatrix, FloatVector]:
    """(y, x, regressors of today) of the definition, by pandas."""
    squares = pd.Series(r) ** 2
    x = pd.DataFrame(
        {"day": np.abs(r), "week": np.sqrt(squares.rolling(5).mean()), "month": np.sqrt(squares.rolling(22).mean())}
    )
    y = np.sqrt(squares.rolling(21).mean()).shift(-21)
    rows = x.notna().all(axis=1) & y.notna()
    return y[rows].to_numpy(), x[rows].to_numpy(), x.iloc[-1].to_numpy()


@pytest.mark.parametrize("i", range(len(SERIES)))
def test_har_is_arch_harx_on_the_same_design(i: int) -> None:
    """arch estimates by least squares and divides the residual variance by n, we by n - 4.

    1e-7 relative: arch scales nothing, its columns have a condition number of about a hundred; the figures are of order 0.1.
    """
    y, x, today = laid_out(SERIES[i])
    # Percent, as arch wants it.
    fit = HARX(100 * y, x=100 * x, lags=None, constant=True, rescale=False).fit(disp="off")
    value = float(np.asarray(fit.params)[:4] @ np.array([1.0, *(100 * today)])) / 100
    value = min(max(value, y.min()), y.max())
    s2 = float(np.square(np.asarray(fit.resid) / 100).sum()) / (len(y) - 4)
    assert FOUND.har[i]
    assert FOUND.n_obs[i] == len(y) + 42
    assert FOUND.har_value[i] == pytest.approx(YEAR * value, rel=1e-7)
    assert FOUND.har_variance[i] == pytest.approx(252 * (value**2 + s2), rel=1e-7)


@pytest.mark.parametrize("i", range(len(SERIES)))
def test_har_and_its_interval_are_statsmodels_ols(i: int) -> None:
    """1e-8: both solve a well-scaled problem of four unknowns; ours centres, statsmodels takes the pseudo-inverse."""
    y, x, today = laid_out(SERIES[i])
    fit = sm.OLS(y, sm.add_constant(x)).fit()
    value = min(max(float(np.asarray(fit.params) @ np.array([1.0, *today])), y.min()), y.max())
    s = math.sqrt(fit.ssr / (len(y) - 4))
    assert FOUND.har_value[i] == pytest.approx(YEAR * value, rel=1e-8)
    # The 80 % of a lognormal whose mean is the value and whose sd is the error, widened by 1.2.
    width = norm.ppf(0.9) * 1.2 * math.sqrt(math.log1p((s / value) ** 2))
    assert np.log([FOUND.low[i] / FOUND.value[i], FOUND.high[i] / FOUND.value[i]]) == pytest.approx(
        [-width, width], rel=1e-4
    )


def test_a_prediction_error_that_allows_for_overlap_would_be_far_too_wide() -> None:
    """Targets overlap by twenty sessions, so their errors are strings of alike numbers. A HAC sum of their autocovariances is the
    variance of a *mean*; taken for that of one forecast it makes the interval some three to four times as wide."""
    ratios = []
    for r in SERIES:
        y, x, _ = laid_out(r)
        u = np.asarray(sm.OLS(y, sm.add_constant(x)).fit().resid)
        long_run = u @ u + 2 * sum((1 - lag / 22) * (u[lag:] @ u[:-lag]) for lag in range(1, 22))
        ratios.append(np.sqrt(long_run / (u @ u)))
    assert 2.5 < np.mean(ratios) < 5.0


@pytest.mark.parametrize("i", range(len(SERIES)))
def test_the_ewma_is_archs_riskmetrics_once_its_start_is_forgotten(i: int) -> None:
    """arch carries a recursion from a starting value; ours are normalised weights on what is there. After 504 sessions the start
    weighs 0.94^504 = 3e-14, which is the tolerance with a margin."""
    model = EWMAVariance(0.94)
    r = SERIES[i]
    sigma2 = np.empty(LOOKBACK + 1)
    # One step beyond the end is the forecast: the recursion's value for t+1 knows r_t.
    padded = np.append(r, 0.0)
    model.compute_variance(
        np.empty(0), padded, sigma2, float(r[0] ** 2), np.tile([1e-12, 1e3], (LOOKBACK + 1, 1)).astype(np.float64)
    )
    assert FOUND.ewma_variance[i] == pytest.approx(252 * sigma2[-1], rel=1e-10)
