"""Returns and volatilities of a symbol against plain loops over dates."""

import dataclasses
from datetime import date, timedelta

import numpy as np
import pytest

from services.factors.compute import Metrics, Prices, metrics
from services.factors.compute.metrics import REMARKS, bases
from shared.arrays import DateVector
from shared.market import registry
from shared.market.calendar import calendar


def days(first: date, last: date) -> list[date]:
    return calendar(date(2024, 1, 1)).between(first, last)


def vector(sessions: list[date]) -> DateVector:
    return np.array(sessions, dtype="datetime64[D]")


def months_before(day: date, months: int) -> date:
    """The same day of the earlier month, or its last."""
    number = day.year * 12 + day.month - 1 - months
    for of_month in range(day.day, 0, -1):
        try:
            return date(number // 12, number % 12 + 1, of_month)
        except ValueError:
            continue
    raise AssertionError


def slow_base(sessions: list[date], row: int, horizon: str) -> int:
    day = sessions[row]
    if horizon == "1d":
        return row - 1
    if horizon.endswith("m"):
        limit = months_before(day, int(horizon[:-1]))
    elif horizon == "mtd":
        limit = day.replace(day=1) - timedelta(days=1)
    elif horizon == "qtd":
        limit = day.replace(month=3 * ((day.month - 1) // 3) + 1, day=1) - timedelta(days=1)
    else:
        limit = date(day.year - 1, 12, 31)
    return max((i for i, session in enumerate(sessions) if session <= limit), default=-1)


@pytest.fixture(scope="module")
def sessions() -> list[date]:
    return days(date(2018, 12, 3), date(2020, 12, 31))


@pytest.fixture(scope="module")
def prices(sessions: list[date]) -> Prices:
    """Three symbols with splits, dividends, and holes in one; the adjusted close carries both."""
    rng = np.random.default_rng(11)
    t = len(sessions)
    growth = 1 + rng.normal(0.0003, 0.015, (t, 3))
    adjusted = np.asarray(40 * np.cumprod(growth, axis=0), dtype=np.float64)
    split = np.ones((t, 3))
    split[200, 0], split[430, 0], split[300, 1] = 4.0, 1.5, 0.125
    dividend_yield = np.where(rng.random((t, 3)) < 0.02, 0.005, 0.0)
    close = 90 * np.cumprod(growth / split * (1 - dividend_yield), axis=0)
    missing = np.zeros((t, 3), np.bool_)
    missing[[50, 51, 300], 2] = True
    adjusted[missing] = close[missing] = np.nan
    returns = np.full((t, 3), np.nan)
    returns[1:] = adjusted[1:] / adjusted[:-1] - 1
    flags = np.zeros((t, 3), np.bool_)
    return Prices(close, adjusted, returns, split, flags, flags)


@pytest.fixture(scope="module")
def facts(prices: Prices, sessions: list[date]) -> Metrics:
    return metrics(prices, vector(sessions), np.arange(len(sessions)))


def test_bases_equal_a_walk_through_the_calendar(sessions: list[date]) -> None:
    found = bases(vector(sessions), np.arange(len(sessions)))
    for row in range(len(sessions)):
        for h, horizon in enumerate(registry.RETURN_HORIZONS):
            assert found[row, h] == slow_base(sessions, row, horizon), (sessions[row], horizon)


@pytest.mark.parametrize(
    ("day", "horizon", "base"),
    [
        (date(2020, 3, 31), "1m", date(2020, 2, 28)),  # 29 February 2020 is a Saturday
        (date(2020, 12, 31), "12m", date(2019, 12, 31)),
        (date(2020, 1, 2), "ytd", date(2019, 12, 31)),
        (date(2020, 1, 2), "mtd", date(2019, 12, 31)),
        (date(2020, 4, 1), "qtd", date(2020, 3, 31)),
        (date(2020, 7, 6), "1d", date(2020, 7, 2)),  # over the third of July and a weekend
        (date(2019, 12, 31), "6m", date(2019, 6, 28)),  # 30 June 2019 is a Sunday
    ],
)
def test_bases_counted_by_hand(sessions: list[date], day: date, horizon: str, base: date) -> None:
    row = sessions.index(day)
    found = bases(vector(sessions), np.array([row]))[0, registry.RETURN_HORIZONS.index(horizon)]
    assert sessions[found] == base


def test_the_lookback_reaches_every_base() -> None:
    sessions = days(date(1990, 1, 2), date(2024, 12, 31))
    found = bases(vector(sessions), np.arange(len(sessions)))
    reach = np.arange(len(sessions))[:, None] - found
    assert reach[found >= 0].max() <= registry.FACT_LOOKBACK


def test_returns_equal_a_plain_loop(facts: Metrics, prices: Prices, sessions: list[date]) -> None:
    rng = np.random.default_rng(0)
    for row in rng.choice(len(sessions), 60, replace=False):
        for h, horizon in enumerate(registry.RETURN_HORIZONS):
            base = slow_base(sessions, int(row), horizon)
            for s in range(3):
                whole = base >= 0 and np.isfinite(prices.close[[base, row], s]).all()
                if not whole:
                    assert np.isnan(facts.total_return[row, s, h])
                    assert np.isnan(facts.price_return[row, s, h])
                    continue
                shares = 1.0
                for t in range(base + 1, row + 1):
                    shares *= prices.split[t, s]
                expected = prices.close[row, s] * shares / prices.close[base, s] - 1
                np.testing.assert_allclose(facts.price_return[row, s, h], expected, atol=1e-12)
                # Across a hole too: the adjusted closes of both ends bridge it.
                expected = prices.adj_close[row, s] / prices.adj_close[base, s] - 1
                np.testing.assert_allclose(facts.total_return[row, s, h], expected, atol=1e-12)


def test_without_an_adjusted_close_a_hole_leaves_the_return_unknown(prices: Prices, sessions: list[date]) -> None:
    t = len(sessions)
    bare = Prices(
        prices.close, np.full((t, 3), np.nan), prices.returns, prices.split, prices.price_only, prices.as_delivered
    )
    facts = metrics(bare, vector(sessions), np.array([310]))
    month = registry.RETURN_HORIZONS.index("1m")
    assert np.isnan(facts.total_return[0, 2, month])
    assert facts.reasons(0, 2)["total_return.1m"] == "no_trade"
    assert np.isfinite(facts.total_return[0, :2, month]).all()


def test_volatility_equals_a_plain_loop(facts: Metrics, prices: Prices) -> None:
    for row in (15, 16, 17, 20, 21, 62, 63, 200, 252, 310, 500):
        for w, window in enumerate((21, 63, 252)):
            for s in range(3):
                there = [r for r in prices.returns[max(0, row - window + 1) : row + 1, s] if np.isfinite(r)]
                found = facts.volatility[row, s, w]
                if len(there) < 0.8 * window:
                    assert np.isnan(found)
                else:
                    np.testing.assert_allclose(found, np.std(there, ddof=1) * np.sqrt(252), rtol=1e-12)


def test_an_adjusted_close_alone_gives_total_returns_and_says_why_no_price_return(
    prices: Prices, sessions: list[date]
) -> None:
    bare = Prices(
        np.full_like(prices.close, np.nan), prices.adj_close, prices.returns, prices.split, prices.price_only,
        prices.as_delivered,
    )  # fmt: skip
    facts = metrics(bare, vector(sessions), np.array([400]))
    assert np.isnan(facts.price_return[0, 0]).all()
    assert np.isfinite(facts.total_return[0, 0]).all()
    assert facts.reasons(0, 0) == {f"price_return.{h}": "adjusted_only" for h in registry.RETURN_HORIZONS}
    assert facts.quality()[0, 0] == "limited"
    assert facts.price[0, 0] == prices.adj_close[400, 0]


def test_reasons_name_what_is_missing(facts: Metrics) -> None:
    assert facts.quality()[400, 0] == "full"
    assert facts.reasons(400, 0) == {}
    assert facts.quality()[300, 2] == "none"
    assert facts.reasons(300, 2) == {"price": "no_trade"}
    assert facts.reasons(300, 2, absent="delisted") == {"price": "delisted"}
    early = facts.reasons(10, 0)
    assert early["total_return.1m"] == early["price_return.12m"] == "no_base"
    assert early["volatility.21"] == "short_history"


def test_a_return_without_dividends_is_marked_as_long_as_the_horizon_holds_it(
    prices: Prices, sessions: list[date]
) -> None:
    price_only = np.zeros_like(prices.price_only)
    price_only[390, 0] = True
    marked = Prices(prices.close, prices.adj_close, prices.returns, prices.split, price_only, prices.as_delivered)
    facts = metrics(marked, vector(sessions), np.array([389, 390, 391]))
    assert facts.reasons(0, 0) == {}
    assert facts.reasons(1, 0)["total_return.1d"] == "no_dividends"
    assert "total_return.1d" not in facts.reasons(2, 0)
    assert facts.reasons(2, 0)["total_return.12m"] == "no_dividends"


def test_a_remark_about_a_return_stands_beside_every_total_return_that_holds_it(
    prices: Prices, sessions: list[date]
) -> None:
    remark = np.zeros(prices.close.shape, np.int64)
    remark[390, 0] = 1 + REMARKS.index("dividend_not_listed")
    remark[392, 0] = 1 + REMARKS.index("adj_close_disagrees")
    marked = dataclasses.replace(prices, remark=remark)
    facts = metrics(marked, vector(sessions), np.array([389, 390, 391, 392]))
    assert facts.reasons(0, 0) == {}
    assert facts.reasons(1, 0)["total_return.1d"] == "dividend_not_listed"
    assert "total_return.1d" not in facts.reasons(2, 0)
    assert facts.reasons(3, 0)["total_return.12m"] == "adj_close_disagrees", "of several the one that matters most"
    assert facts.quality()[1, 0] == facts.quality()[0, 0], "a remark takes nothing away"
    for k in (0, 1, 2):
        assert (facts.signatures()[k, 0] == facts.signatures()[k, 1]) == (facts.reasons(k, 0) == facts.reasons(k, 1))


def test_over_a_hole_a_return_that_contradicts_the_adjusted_closes_stays_what_it_is(
    prices: Prices, sessions: list[date]
) -> None:
    """The adjusted closes have a payment twice on one session, and are missing on another: only the hole is bridged by them."""
    returns, adjusted = prices.returns.copy(), prices.adj_close.copy()
    adjusted[:390, 0] *= 0.8  # 25 % more than there was
    hole = 300
    returns[[hole, hole + 1], 0], adjusted[hole, 0] = np.nan, np.nan
    remark = np.zeros(prices.close.shape, np.int64)
    remark[390, 0] = 1 + REMARKS.index("adj_close_disagrees")
    marked = dataclasses.replace(prices, returns=returns, adj_close=adjusted, remark=remark)
    facts = metrics(marked, vector(sessions), np.array([400]))
    base = int(bases(vector(sessions), np.array([400]))[0, registry.RETURN_HORIZONS.index("12m")])
    truth = prices.adj_close[400, 0] / prices.adj_close[base, 0] - 1
    assert base < hole
    assert facts.total_return[0, 0, registry.RETURN_HORIZONS.index("12m")] == pytest.approx(truth, rel=1e-10)
