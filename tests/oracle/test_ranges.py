"""Performance of a range against empyrical, scipy and statsmodels, and money-weighted rates against pyxirr."""

from __future__ import annotations

from datetime import date, timedelta

import empyrical
import numpy as np
import pandas as pd
import pytest
import pyxirr
import statsmodels.api as sm
from scipy import stats

from services.coordinator.compute.benchmark import compare
from services.coordinator.compute.performance import Range, by_calendar, measure
from services.coordinator.compute.sector_funds import sector_beta
from shared.arrays import FloatVector
from shared.market.calendar import calendar
from shared.market.internal_rate import days_at_work, period_rate, xirr
from shared.market.registry import hac_lag
from tests.support import chain

N = 504
SESSIONS = np.array(calendar().between(date(2019, 1, 2), date(2020, 12, 31))[:N], dtype="datetime64[D]")
# Sums and products of a few hundred floats in another order.
ROUNDING = 1e-10


def of(seed: int) -> tuple[Range, FloatVector, pd.Series, pd.Series]:
    """A range, its benchmark, and both as series with an index of days."""
    found = chain.market(seed, N, ["S0"])
    own, other = np.array(found["S0"])[:N], np.array(found["SPY"])[:N]
    free = np.full(N, 0.00008)
    index = pd.DatetimeIndex(SESSIONS)
    range_ = Range(SESSIONS, own, np.ones(N), True, free, np.zeros(N, np.bool_))
    return range_, other, pd.Series(own, index=index), pd.Series(other, index=index)


@pytest.mark.parametrize("seed", range(3))
def test_the_figures_of_returns_are_empyricals_and_scipys(seed: int) -> None:
    range_, _, r, _ = of(seed)
    found = measure(range_)
    free = range_.risk_free
    assert found.reasons == {}
    assert found.total_return == pytest.approx(empyrical.cum_returns_final(r), rel=ROUNDING)
    assert found.annual_return == pytest.approx(empyrical.annual_return(r), rel=ROUNDING)
    assert found.volatility == pytest.approx(empyrical.annual_volatility(r), rel=ROUNDING)
    assert found.sharpe == pytest.approx(empyrical.sharpe_ratio(r, risk_free=free), rel=ROUNDING)
    assert found.sortino == pytest.approx(empyrical.sortino_ratio(r, required_return=free), rel=ROUNDING)
    assert found.downside_deviation == pytest.approx(empyrical.downside_risk(r, required_return=free), rel=ROUNDING)
    assert found.calmar == pytest.approx(empyrical.calmar_ratio(r), rel=ROUNDING)
    assert found.max_drawdown == pytest.approx(empyrical.max_drawdown(r), rel=ROUNDING)
    assert found.skew == pytest.approx(stats.skew(r), rel=ROUNDING)
    assert found.kurtosis == pytest.approx(stats.kurtosis(r), rel=ROUNDING)
    below = np.minimum(r - r.mean(), 0.0)
    assert found.semi_deviation == pytest.approx(np.sqrt(252 * (below**2).sum() / (N - 1)), rel=ROUNDING)


@pytest.mark.parametrize("seed", range(3))
def test_drawdowns_and_cdar_are_a_plain_loops(seed: int) -> None:
    range_, _, r, _ = of(seed)
    found = measure(range_)
    level = peak = 1.0
    falls: list[tuple[float, int, int, int | None]] = []
    depths, start, low, low_at = [], -1, 0.0, -1
    for t, move in enumerate(r):
        level *= 1.0 + move
        if level >= peak:
            if low < 0.0:
                falls.append((low, start, low_at, t))
            peak, start, low = level, t, 0.0
        elif level / peak - 1.0 < low:
            low, low_at = level / peak - 1.0, t
        depths.append(1.0 - level / peak)
    if low < 0.0:
        falls.append((low, start, low_at, None))
    falls.sort(key=lambda fall: (fall[0], fall[1]))
    assert [(f.peak, f.trough, f.recovered) for f in found.falls] == [fall[1:] for fall in falls]
    assert [f.depth for f in found.falls] == pytest.approx([fall[0] for fall in falls], rel=1e-9)
    worst = sorted(depths)[-int(np.ceil(0.05 * N - 1e-9)) :]
    quantile = np.quantile(depths, 0.95)
    assert found.cdar_95 == pytest.approx(np.mean([depth for depth in depths if depth >= quantile]), rel=1e-9)
    assert found.cdar_95 == pytest.approx(np.mean(worst), rel=0.01), "about the mean of the worst twentieth"


@pytest.mark.parametrize("seed", range(3))
def test_a_benchmark_is_compared_as_empyrical_and_statsmodels_do(seed: int) -> None:
    range_, other, r, b = of(seed)
    found = compare(range_, other)
    free = range_.risk_free
    # Theirs is of a day.
    assert found.information_ratio == pytest.approx(np.sqrt(252) * empyrical.excess_sharpe(r, b), rel=ROUNDING)
    fit = sm.OLS(r - free, sm.add_constant((b - free).to_numpy())).fit(
        cov_type="HAC", cov_kwds={"maxlags": hac_lag(N), "kernel": "bartlett", "use_correction": False}
    )
    assert [found.alpha, found.alpha_stderr_hac] == pytest.approx(
        [252 * fit.params.iloc[0], 252 * fit.bse.iloc[0]], rel=1e-8
    )
    assert [found.beta, found.r2, found.alpha_t_hac] == pytest.approx(
        [fit.params.iloc[1], fit.rsquared, fit.tvalues.iloc[0]], rel=1e-8
    )
    assert found.beta == pytest.approx(empyrical.beta(r, b, risk_free=0.00008), rel=1e-8)
    assert found.tracking_error == pytest.approx(empyrical.annual_volatility(r - b), rel=ROUNDING)
    assert found.active_return == pytest.approx(
        empyrical.cum_returns_final(r) - empyrical.cum_returns_final(b), abs=1e-12
    )
    # Theirs are returns of a year made of such days alone.
    for mine, side in ((found.up_capture, b > 0), (found.down_capture, b < 0)):
        assert mine == pytest.approx((stats.gmean(1 + r[side]) - 1) / (stats.gmean(1 + b[side]) - 1), rel=1e-8)
    theirs = empyrical.up_capture(r, b)
    daily = [empyrical.annual_return(x[b > 0]) for x in (r, b)]
    assert theirs == pytest.approx(daily[0] / daily[1])
    assert found.up_capture == pytest.approx(
        ((1 + daily[0]) ** (1 / 252) - 1) / ((1 + daily[1]) ** (1 / 252) - 1), rel=1e-8
    )


def test_months_and_years_are_empyricals() -> None:
    range_, other, r, b = of(1)
    for unit, name in (("M", "monthly"), ("Y", "yearly")):
        parts = by_calendar(range_, other, unit)
        assert [part.value for part in parts] == pytest.approx(empyrical.aggregate_returns(r, name).to_list(), rel=1e-9)
        assert [part.benchmark for part in parts] == pytest.approx(
            empyrical.aggregate_returns(b, name).to_list(), rel=1e-9
        )
    assert sum(part.sessions for part in parts) == N


@pytest.mark.parametrize("days", [30, 364, 365, 900])
def test_the_rate_of_a_period_is_pyxirrs_over_its_length(days: int) -> None:
    start = date(2019, 1, 2)
    flows = [(0, 1000.0), (days // 3, 500.0), (days // 2, -200.0)]
    found = period_rate(flows, days, 1450.0)
    dates = [start + timedelta(days=day) for day, _ in flows] + [start + timedelta(days=days)]
    annual = pyxirr.xirr(dates, [-amount for _, amount in flows] + [1450.0])
    assert annual is not None
    assert found == pytest.approx((1 + annual) ** (days / 365) - 1, abs=1e-8)


def test_days_without_money_are_in_no_rate() -> None:
    """What pyxirr says of the same amounts where the days between are cut out: time passes over nothing as if it did not."""
    start = date(2015, 1, 2)
    flows = [(0, 0.0), (700, 1000.0), (1100, -1050.0), (2900, 800.0), (3000, 200.0)]
    empty = [(0, 700), (1100, 2900)]
    cut = [(0, 1000.0), (400, -1050.0), (400, 800.0), (500, 200.0)]
    dates = [start + timedelta(days=day) for day, _ in cut] + [start + timedelta(days=900)]
    annual = pyxirr.xirr(dates, [-amount for _, amount in cut] + [1090.0])
    assert annual is not None
    assert xirr(flows, 3400, 1090.0, empty) == pytest.approx(annual, abs=1e-8)
    assert period_rate(flows, 3400, 1090.0, empty) == pytest.approx((1 + annual) ** (900 / 365) - 1, abs=1e-8)
    assert days_at_work(flows, 3400, empty) == 900


@pytest.mark.parametrize(
    ("flows", "empty", "day", "value", "rate"),
    [
        ([(0, 0.0), (1795, 1000.0)], [], 1825, 1010.0, 0.01),  # funded late
        ([(0, 1000.0), (30, -1050.0)], [(30, 1825)], 1825, 0.0, 0.05),  # emptied with its gain
        ([(0, 1000.0), (30, -1000.0), (1795, 1000.0)], [(30, 1795)], 1825, 1010.0, 0.01),  # flat, emptied, funded anew
        ([(0, 1000.0), (30, -1050.0), (1795, 1000.0)], [(30, 1795)], 1825, 900.0, -0.0513),  # +5 %, then -10 %
    ],
)
def test_an_account_that_was_empty_earned_what_its_money_did(
    flows: list[tuple[int, float]], empty: list[tuple[int, int]], day: int, value: float, rate: float
) -> None:
    assert period_rate(flows, day, value, empty) == pytest.approx(rate, abs=5e-5)
    assert np.isnan(xirr(flows, day, value, empty)), "at work for less than a year"


def test_on_the_first_day_the_rate_is_what_was_gained_on_what_was_put_in() -> None:
    assert period_rate([(10, 1000.0), (10, 500.0)], 10, 1530.0) == pytest.approx(0.02)


@pytest.mark.parametrize("seed", range(2))
def test_betas_to_funds_of_sectors_are_statsmodels_with_the_market_beside(seed: int) -> None:
    found = chain.market(seed, 252, ["S0", "S1"])
    book, fund, market = (np.array(found[name])[-252:] for name in ("S0", "S1", "SPY"))
    use = np.arange(252) % 17 != 3
    mine = sector_beta(book, market, fund, use)
    n = int(use.sum())
    fit = sm.OLS(book[use], sm.add_constant(np.column_stack([market, fund])[use])).fit(
        cov_type="HAC", cov_kwds={"maxlags": hac_lag(n), "kernel": "bartlett", "use_correction": False}
    )
    assert [mine.beta, mine.stderr_hac, mine.t_hac, mine.r2] == pytest.approx(
        [fit.params[2], fit.bse[2], fit.tvalues[2], fit.rsquared], rel=1e-8
    )
    assert mine.n_obs == n


def test_a_fund_that_is_the_market_has_no_beta_beyond_it_and_one_that_is_the_book_has_no_error() -> None:
    found = chain.market(0, 252, ["S0"])
    book, market, every = np.array(found["S0"])[-252:], np.array(found["SPY"])[-252:], np.ones(252, np.bool_)
    assert np.isnan(sector_beta(book, market, 2.0 * market, every).beta)
    assert np.isnan(sector_beta(book[:62], market[:62], book[:62], every[:62]).beta)
    own = sector_beta(book, market, book, every)
    assert [own.beta, own.stderr_hac] == pytest.approx([1.0, 0.0])
    assert np.isnan(own.t_hac)
