"""Returns, drawdowns, volatilities, VaR and the money-weighted return against empyrical, pyxirr and numpy-financial."""

from __future__ import annotations

import math
from datetime import date, timedelta
from decimal import Decimal
from random import Random

import empyrical
import numpy as np
import numpy_financial as npf
import pandas as pd
import pytest
import pyxirr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.factors.compute import Prices, metrics
from services.risk.compute import volatility
from services.risk.compute.beta import realized_beta
from services.risk.compute.tail import tails
from services.snapshots.compute import xirr
from shared.arrays import FloatVector
from shared.market.calendar import calendar
from shared.market.registry import LOOKBACK, RETURN_HORIZONS
from tests.support import chain
from tests.support.worlds import Lot, Portfolio, Rows, Symbol, World, run

DAYS = tuple(calendar().between(date(2019, 11, 4), date(2020, 3, 31)))
SERIES = np.vstack([chain.market(seed, LOOKBACK, ["S0"])["S0"] for seed in range(4)])
MARKET = np.vstack([chain.market(seed, LOOKBACK, [])["SPY"] for seed in range(4)])
VALID = np.ones(SERIES.shape, dtype=np.bool_)
# Sums and products of a few hundred floats in another order.
ROUNDING = 1e-11


@pytest.fixture(scope="module")
def rows() -> Rows:
    """A portfolio over New Year with two holdings, a dividend, and money in and out."""
    chance = Random(2)
    close: dict[str, dict[date, float]] = {"A": {}, "B": {}}
    for name, price in (("A", 100.0), ("B", 40.0)):
        level = price
        for day in DAYS:
            level *= 1 + chance.gauss(-0.001, 0.02)
            close[name][day] = round(level, 4)
    symbols = {"A": Symbol("A", close["A"], dividends={DAYS[30]: 0.8}), "B": Symbol("B", close["B"])}
    lots = (
        Lot("A", Decimal(60), DAYS[0], Decimal(100), number=1),
        Lot("B", Decimal(-50), DAYS[5], Decimal(str(close["B"][DAYS[5]])), number=2),
    )
    flows = {DAYS[20]: Decimal(2500), DAYS[50]: Decimal(-1800)}
    return run(World(DAYS, symbols, (Portfolio(Decimal(10_000), lots, flows, 1),)))


def daily(rows: Rows) -> pd.Series:
    return pd.Series(rows.snapshots.daily_return[:, 0], index=pd.DatetimeIndex(DAYS))


def test_cumulative_return_and_drawdown_are_empyricals(rows: Rows) -> None:
    """empyrical, too, starts its index at 1 before the first return, so a fall from the first day on is a drawdown."""
    r = daily(rows)
    s = rows.snapshots
    np.testing.assert_allclose(s.cumulative_return[:, 0], empyrical.cum_returns(r), rtol=ROUNDING, atol=1e-13)
    assert s.drawdown.min() == pytest.approx(empyrical.max_drawdown(r), rel=ROUNDING)
    assert s.drawdown[10:, 0].min() < 0


def test_month_and_year_to_date_are_empyricals_at_their_ends(rows: Rows) -> None:
    r = daily(rows)
    ends = [t for t in range(len(DAYS)) if t + 1 == len(DAYS) or DAYS[t + 1].month != DAYS[t].month]
    monthly = empyrical.aggregate_returns(r, "monthly").to_numpy()
    np.testing.assert_allclose(rows.snapshots.mtd_return[ends, 0], monthly, rtol=ROUNDING, atol=1e-13)
    yearly = empyrical.aggregate_returns(r, "yearly").to_numpy()
    last = [max(t for t in range(len(DAYS)) if DAYS[t].year == year) for year in (2019, 2020)]
    np.testing.assert_allclose(rows.snapshots.ytd_return[last, 0], yearly, rtol=ROUNDING, atol=1e-13)


@pytest.mark.parametrize("window", [21, 63, 252])
def test_realized_volatility_is_empyricals_annual_volatility(window: int) -> None:
    """Both: sample standard deviation (ddof=1) times √252."""
    found = volatility.realized_volatility(SERIES, VALID, window)
    expected = [empyrical.annual_volatility(r[-window:]) for r in SERIES]
    np.testing.assert_allclose(found, expected, rtol=ROUNDING)


def test_realized_beta_is_empyricals() -> None:
    """Both are covariance over variance; 1e-10, since empyrical takes means of products and we products of centred values."""
    found = realized_beta(SERIES, MARKET, VALID)
    expected = [empyrical.beta(pd.Series(r[-252:]), pd.Series(m[-252:])) for r, m in zip(SERIES, MARKET, strict=True)]
    np.testing.assert_allclose(found.beta, expected, rtol=1e-10)


@pytest.mark.parametrize("level", [0.95, 0.99])
def test_historical_var_and_es_are_empyricals(level: float) -> None:
    """empyrical's sign is the return's, ours a positive loss. Its ES is the mean of the ⌊(n-1)(1-level)⌋+1 lowest, which are those at
    or below the interpolated quantile wherever no two returns are equal there."""
    found = next(t for t in tails(SERIES, VALID, (level,)) if t.method == "historical")
    var = [-empyrical.value_at_risk(r, cutoff=1 - level) for r in SERIES]
    es = [-empyrical.conditional_value_at_risk(r, cutoff=1 - level) for r in SERIES]
    np.testing.assert_allclose(found.var, var, rtol=ROUNDING)
    np.testing.assert_allclose(found.es, es, rtol=ROUNDING)


def test_a_symbols_month_to_date_is_empyricals() -> None:
    """Total return over a month by the ratio stored per session, against the month's compounded returns."""
    sessions = np.array(DAYS, dtype="datetime64[D]")
    r = SERIES[0, : len(DAYS)]
    close: FloatVector = np.asarray(100 * np.cumprod(1 + r), dtype=np.float64)
    ones, no = np.ones((len(DAYS), 1)), np.zeros((len(DAYS), 1), np.bool_)
    prices = Prices(close[:, None], close[:, None], r[:, None], ones, no, no)
    ends = [t for t in range(len(DAYS)) if t + 1 == len(DAYS) or DAYS[t + 1].month != DAYS[t].month]
    found = metrics(prices, sessions, np.array(ends[1:])).total_return[:, 0, RETURN_HORIZONS.index("mtd")]
    expected = empyrical.aggregate_returns(pd.Series(r, index=pd.DatetimeIndex(DAYS)), "monthly").to_numpy()[1:]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13)


# --- the money-weighted return -----------------------------------------------------------------------------------------

START = date(2018, 1, 2)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 1500), st.integers(1, 50_000)), max_size=6).map(sorted),
    st.integers(1_000, 100_000), st.floats(0.3, 3.0), st.integers(365, 1600),
)  # fmt: skip
def test_xirr_is_pyxirrs(contributions: list[tuple[int, int]], equity: int, growth: float, day: int) -> None:
    """Money in, then one value out: the rate is unique. 1e-8: pyxirr stops when a present value is below 1e-9 or so of money."""
    put_in = [(0, float(equity)), *((when, float(money)) for when, money in contributions if when < day)]
    value = growth * sum(money for _, money in put_in)
    found = xirr(put_in, day, value)
    dates = [START + timedelta(days=when) for when, _ in put_in] + [START + timedelta(days=day)]
    expected = pyxirr.xirr(dates, [-money for _, money in put_in] + [value])
    assume(expected is not None)
    assert expected is not None
    if not -0.9999 <= expected <= 10.0:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(expected, abs=1e-8)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 30_000), min_size=1, max_size=5), st.integers(1_000, 90_000), st.floats(0.4, 2.5))
def test_xirr_over_whole_years_is_numpy_financials_irr(later: list[int], equity: int, growth: float) -> None:
    """Flows 365 days apart are the periods of a plain IRR. 1e-7: numpy-financial takes roots of a polynomial by eigenvalues."""
    years = [float(equity), *map(float, later)]
    value = growth * sum(years)
    found = xirr([(365 * k, money) for k, money in enumerate(years)], 365 * len(years), value)
    expected = float(npf.irr([-money for money in years] + [value]))
    assume(math.isfinite(expected) and -0.9 < expected < 9.0)
    assert found == pytest.approx(expected, abs=1e-7)
