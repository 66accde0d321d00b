"""Figures of ranges and of questions: gates and reasons, parts that add up, and the definitions that stored risk has."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from vollib.black_scholes import black_scholes  # type: ignore[import-untyped]

from services.coordinator.compute import attribution, liquidity, what_if
from services.coordinator.compute.benchmark import compare
from services.coordinator.compute.performance import Range, by_calendar, measure
from services.coordinator.compute.replay import by_factors, compound, option_return, total
from services.coordinator.results import attribution as attributions
from services.coordinator.results import carry as carries
from services.coordinator.results import factor_returns, history, option_values
from services.coordinator.results import what_if as what_ifs
from services.coordinator.results.attribution_inputs import Held, Inputs, SectorBenchmark
from services.coordinator.results.book import Book, holding
from services.coordinator.tokens.model import Role, role_for_call
from services.risk.compute import concentration, tail, volatility
from shared.arrays import FloatVector
from shared.market import curve
from shared.market.calendar import calendar
from shared.market.option_terms import Terms
from shared.market.registry import LOOKBACK, VAR_LEVELS, VOLATILITY_WINDOWS, proxy_legs
from tests.support import curves

CALENDAR = calendar()


def sessions(n: int) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    first = date(2019, 1, 2)
    return np.array(CALENDAR.between(first, CALENDAR.forward(first, n - 1)), dtype="datetime64[D]")


def a_range(returns: FloatVector) -> Range:
    n = len(returns)
    return Range(sessions(n), returns, np.ones(n), True, np.full(n, 0.0001), np.zeros(n, np.bool_))


def walk(n: int, seed: int = 1) -> FloatVector:
    return np.random.default_rng(seed).normal(0.0004, 0.01, n)


def test_below_its_gate_a_figure_is_null_with_its_reason() -> None:
    short = measure(a_range(walk(62)))
    assert math.isnan(short.sharpe)
    assert short.reasons["sharpe"] == "short_history"
    assert math.isfinite(short.total_return), "a product needs no sample"
    young = measure(a_range(walk(251)))
    assert math.isfinite(young.sharpe)
    assert young.reasons == dict.fromkeys(("annual_return", "calmar", "cdar_95", "semi_deviation"), "short_history")
    assert math.isnan(young.annual_return)
    assert measure(a_range(walk(252))).reasons == {}


def test_a_hole_breaks_the_product_and_not_the_sample() -> None:
    whole = a_range(walk(300))
    returns, absent = whole.returns.copy(), np.zeros(300, np.bool_)
    returns[40], absent[40] = np.nan, True
    found = measure(replace(whole, returns=returns, absent=absent))
    assert {found.reasons[name] for name in ("total_return", "annual_return", "max_drawdown", "cdar_95")} == {
        "broken_chain"
    }
    assert math.isnan(found.total_return)
    assert found.n_obs == 299
    assert found.volatility == pytest.approx(math.sqrt(252) * np.delete(whole.returns, 40).std(ddof=1))
    lost = measure(replace(whole, returns=returns))
    assert lost.reasons["total_return"] == "no_capital", "there is a snapshot, and it has no return"
    # The session on which all was lost is the one that they would leave out.
    assert {lost.reasons[name] for name in ("volatility", "sharpe", "semi_deviation", "positive_share")} == {
        "no_capital"
    }
    assert math.isnan(lost.sharpe)
    assert lost.worst is None
    beside = compare(replace(whole, returns=returns), walk(300, 2))
    assert {beside.reasons[name] for name in ("beta", "tracking_error", "active_return")} == {"no_capital"}


def test_sessions_whose_prices_are_no_evidence_are_looked_through() -> None:
    whole = a_range(walk(300))
    coverage, returns = np.ones(300), whole.returns.copy()
    coverage[100], returns[100], returns[101] = 0.5, -0.5, 1.0
    found = measure(replace(whole, coverage=coverage, returns=returns))
    assert found.n_obs == 298
    assert found.max_drawdown > -0.4
    assert found.worst != 100
    few = measure(replace(whole, coverage=np.where(np.arange(300) < 100, 0.5, 1.0)))
    assert few.reasons["sharpe"] == "low_coverage"


def test_without_a_curve_nothing_is_risk_free_and_it_is_said() -> None:
    found = measure(replace(a_range(walk(300)), risk_free=np.full(300, np.nan)))
    assert found.reasons == {"risk_free": "no_risk_free"}
    assert math.isnan(found.risk_free)
    assert found.sharpe == pytest.approx(math.sqrt(252) * walk(300).mean() / walk(300).std(ddof=1))


def test_a_book_that_stands_still_has_no_ratio() -> None:
    found = measure(replace(a_range(np.zeros(300)), risk_free=np.zeros(300)))
    assert {found.reasons[name] for name in ("sharpe", "sortino", "skew")} == {"zero_variance"}
    assert found.reasons["calmar"] == "no_downside"
    assert (found.volatility, found.max_drawdown, found.total_return) == (0.0, 0.0, 0.0)
    assert compare(a_range(walk(300)), np.zeros(300)).reasons["beta"] == "zero_variance"
    # Money beside bills whose rate moves: the excess is the rate's, and a ratio of it would be in the hundreds.
    bills = measure(replace(a_range(np.zeros(300)), risk_free=np.linspace(0.00001, 0.00002, 300)))
    assert math.isnan(bills.sharpe)
    assert math.isnan(bills.sortino)
    assert {bills.reasons[name] for name in ("sharpe", "sortino")} == {"zero_variance"}


def test_where_nothing_fell_there_is_nothing_to_divide_by_though_the_book_moves() -> None:
    found = measure(replace(a_range(np.abs(walk(300)) + 1e-4), risk_free=np.zeros(300)))
    assert found.sharpe > 0.0
    assert {found.reasons[name] for name in ("sortino", "calmar")} == {"no_downside"}
    assert "sharpe" not in found.reasons


def test_a_benchmark_with_too_few_returns_is_not_compared() -> None:
    own, other = a_range(walk(300)), walk(300, 2)
    other[:70] = np.nan
    found = compare(own, other)
    assert found.reasons["tracking_error"] == "low_coverage"
    assert found.reasons["return"] == found.reasons["active_return"] == "not_fetched"
    assert math.isnan(found.active_return)
    assert [part.benchmark for part in by_calendar(own, other, "Y")] == pytest.approx(
        [math.nan, *[part.benchmark for part in by_calendar(own, other, "Y")][1:]], nan_ok=True
    )


def emptied(whole: Range, first: int, count: int) -> Range:
    """The range with `count` sessions before position `first` on which nothing was in the account."""
    n = len(whole.sessions) + count
    nothing = (np.arange(n) >= first) & (np.arange(n) < first + count)
    returns = np.zeros(n)
    returns[~nothing] = whole.returns
    return replace(a_range(returns), idle=nothing)


@pytest.mark.parametrize("first", [0, 120, 300])
def test_sessions_on_which_nothing_was_in_the_account_are_no_observations(first: int) -> None:
    """Before the first deposit, between a withdrawal and the next deposit, after the last: the figures are those of the rest."""
    whole, bench = a_range(walk(300)), walk(300, 2)
    of = emptied(whole, first, 260)
    found, expected = measure(of), measure(whole)
    for name in ("n_obs", "total_return", "annual_return", "volatility", "semi_deviation", "sharpe", "sortino", "skew", "calmar",
                 "positive_share", "cdar_95", "max_drawdown", "risk_free"):  # fmt: skip
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-12), name
    assert found.reasons == expected.reasons == {}
    other = np.full(560, 0.003)
    other[of.live()] = bench
    beside, plain = compare(of, other), compare(whole, bench)
    for name in (
        "n_obs",
        "total_return",
        "active_return",
        "tracking_error",
        "beta",
        "alpha",
        "r2",
        "up_capture",
        "down_capture",
    ):
        assert getattr(beside, name) == pytest.approx(getattr(plain, name), rel=1e-12), name
    months = by_calendar(of, other, "M")
    assert sum(part.sessions for part in months) == 300
    dead = [part for part in months if part.sessions == 0]
    assert dead
    assert all(math.isnan(part.value) and math.isnan(part.benchmark) for part in dead)
    assert math.prod(1 + part.value for part in months if part.sessions) - 1 == pytest.approx(found.total_return)


def test_of_a_range_without_money_nothing_is_known_and_it_is_said() -> None:
    of = replace(a_range(np.zeros(300)), idle=np.ones(300, np.bool_))
    found = measure(of)
    assert math.isnan(found.total_return)
    assert {found.reasons[name] for name in ("total_return", "max_drawdown", "annual_return")} <= {
        "no_capital",
        "short_history",
    }
    assert found.reasons["total_return"] == "no_capital"
    beside = compare(of, walk(300))
    assert {beside.reasons[name] for name in ("return", "active_return")} == {"no_capital"}


def test_against_sectors_an_empty_account_is_no_bet() -> None:
    """Two sessions with half in Energy, then two without money while the benchmark falls: the two do not count."""
    nothing = np.zeros(4)
    found = history.Snapshots(
        sessions(4), np.array([1010.0, 0.0, 0.0, 0.0]), np.array([0.01, 0.0, 0.0, 0.0]), np.array([10.0, 0.0, 0.0, 0.0]),
        np.array([0.0, -1010.0, 0.0, 0.0]), np.ones(4), np.ones(4, np.bool_), np.zeros(4, np.bool_), nothing, 1000.0,
    )  # fmt: skip
    held = Held(["XOM"], np.array([[10.0], [0.0], [0.0], [0.0]]), np.array([[500.0], [505.0], [0.0], [0.0]]))
    funds = np.array([[0.02], [0.0], [-0.3], [np.nan]])
    against = SectorBenchmark("B", ["Energy"], np.ones((4, 1)), funds)
    empty = np.zeros((4, 8))
    of = Inputs(found, slice(0, 4), held, {"XOM": "Energy"}, empty, empty, empty, against)
    answer, why = attributions._brinson(of, of.base, found.returns)
    assert why == []
    assert answer is not None
    assert answer["return"] == pytest.approx(0.02)
    assert answer["active_return"] == pytest.approx(-0.01)
    assert sum(line["allocation"] + line["selection"] for line in answer["sectors"]) == pytest.approx(-0.01)


def test_a_snapshot_says_itself_that_there_was_nothing_to_earn_on() -> None:
    """Opened with nothing, funded on the second session, emptied on the third to less than a cent, funded anew on the fifth."""
    nan = math.nan
    of = history.Snapshots(
        sessions=sessions(7),
        nav=np.array([0.0, 1000.0, 0.004, 0.004, 500.0, nan, -3.0]),
        returns=np.zeros(7),
        pnl=np.array([0.0, 0.0, 0.0, 0.0, 0.0, nan, 1.0]),
        flow=np.array([0.0, 1000.0, -999.996, 0.0, 499.996, nan, 0.0]),
        coverage=np.ones(7),
        there=np.array([True] * 5 + [False, True]),
        stale=np.zeros(7, np.bool_),
        gross=np.array([0.0, 800.0, 0.0, 0.0, 0.0, nan, 9.0]),
        equity=0.0,
    )
    assert of.idle().tolist() == [True, False, False, True, False, False, False]
    days = (of.sessions - np.datetime64(0, "D")).astype(int).tolist()
    assert of.empty_stretches() == [(days[0], days[1]), (days[2], days[4])]
    assert replace(of, nav=np.zeros(7), gross=np.ones(7)).empty_stretches() == [], (
        "long and short of one size is not nothing"
    )


@pytest.mark.parametrize("n", [100, 300])
def test_without_a_session_that_is_well_priced_no_drawdown_is_known(n: int) -> None:
    """A drawdown of 0 would say that the book never fell."""
    found = measure(replace(a_range(walk(n)), coverage=np.full(n, 0.5)))
    for name in ("max_drawdown", "calmar", "cdar_95"):
        assert math.isnan(getattr(found, name))
        assert found.reasons[name] in {"low_coverage", "short_history"}
    assert found.reasons["max_drawdown"] == "low_coverage"
    assert found.falls == []


def test_the_risk_free_return_is_the_curves() -> None:
    days = sessions(80)
    known = curves.walk([day.astype(date) for day in days[:40]])
    found = history.risk_free(known, days)
    expected = [curve.risk_free(known, day.astype(date)) for day in days]
    assert found == pytest.approx([math.nan if each is None else each for each in expected], rel=1e-12, nan_ok=True)
    assert math.isnan(found[0]), "a session's own curve is not known yet"
    assert math.isnan(found[-1]), "after a month it is none"


# --- attribution -------------------------------------------------------------------------------------------------------


def test_linked_parts_add_up_to_the_return_of_the_range() -> None:
    chance = np.random.default_rng(3)
    pnl, base = chance.normal(0.0, 900.0, (250, 7)), chance.uniform(80_000.0, 120_000.0, 250)
    returns = pnl.sum(axis=1) / base
    parts = attribution.add_up(pnl, base, attribution.linking_coefficients(returns))
    assert parts.contribution.sum() == pytest.approx(np.prod(1 + returns) - 1, rel=1e-12)
    assert parts.money == pytest.approx(pnl.sum(axis=0))
    again = attribution.add_up(pnl[:, ::-1], base, attribution.linking_coefficients(returns))
    assert again.contribution[::-1] == pytest.approx(parts.contribution), "whatever stands beside a part"


@pytest.mark.parametrize("returns", [[0.0, 0.0], [0.1, 1 / 1.1 - 1], [0.0, 0.05], [-0.2, 0.25]])
def test_linking_goes_through_its_limits(returns: list[float]) -> None:
    r = np.array(returns)
    found = attribution.add_up(r[:, None] * 100.0, np.full(2, 100.0), attribution.linking_coefficients(r))
    assert found.contribution[0] == pytest.approx(np.prod(1 + r) - 1, abs=1e-12)


def test_a_day_like_the_benchmarks_is_linked_by_the_limit() -> None:
    """Near equality it is what it is at equality."""
    same, near = np.array([0.1, 0.0]), np.array([0.1 + 1e-9, 0.0])
    assert attribution.linking_active(same, same) == pytest.approx([1.0, 1.1])
    assert attribution.linking_active(near, same) == pytest.approx([1.0, 1.1], rel=1e-6)


def test_of_an_unknown_return_nothing_is_linked() -> None:
    for returns in ([0.1, math.nan], [0.1, -1.0]):
        assert np.isnan(attribution.linking_coefficients(np.array(returns))).all()


def test_factors_and_the_rest_are_the_whole_and_each_is_a_plain_product() -> None:
    chance = np.random.default_rng(4)
    t, f = 60, 8
    pnl = chance.normal(0.0, 500.0, t)
    exposure, slopes = chance.normal(0.0, 20_000.0, (t, f)), chance.normal(1.0, 0.2, (t, f))
    returns = chance.normal(0.0, 0.01, (t, f))
    slopes[:, 0] = 1.0
    exposure[:, 2], returns[10, 3], exposure[20, 0] = np.nan, np.nan, np.nan
    found = attribution.by_factor(pnl, exposure, slopes, returns)
    for at in range(t):
        whole = 0.0
        for k in range(f):
            move = returns[at, k] - (slopes[at, k] * returns[at, 0] if k else 0.0)
            part = exposure[at, k] * move
            if at == 20 or math.isnan(part):
                assert not found.known[at, k]
                part = 0.0
            assert found.factors[at, k] == pytest.approx(part)
            whole += part
        assert (found.rest[at], found.untold[at]) == pytest.approx(
            (0.0, pnl[at]) if at == 20 else (pnl[at] - whole, 0.0)
        )
    assert found.factors.sum() + found.rest.sum() + found.untold.sum() == pytest.approx(pnl.sum())


def test_brinson_fachler_adds_up_to_the_active_return_and_is_a_plain_loop_on_a_day() -> None:
    chance = np.random.default_rng(5)
    t, s = 120, 4
    weight, part = chance.uniform(-0.1, 0.4, (t, s)), chance.normal(0.0, 0.004, (t, s))
    against = np.tile([0.5, 0.3, 0.2, 0.0], (t, 1))
    sector = chance.normal(0.0, 0.01, (t, s))
    sector[:, 3] = np.nan
    own = part.sum(axis=1)
    found = attribution.brinson_fachler(weight, part, against, sector, own)
    assert found.allocation.sum() + found.selection.sum() == pytest.approx(found.active, rel=1e-10)
    assert found.allocation[3] == pytest.approx(0.0), "in no sector of the benchmark, nothing is allocated"
    day = attribution.brinson_fachler(weight[:1], part[:1], against[:1], sector[:1], own[:1])
    bench = float((against[0, :3] * sector[0, :3]).sum())
    for k in range(3):
        assert day.allocation[k] == pytest.approx((weight[0, k] - against[0, k]) * (sector[0, k] - bench))
        assert day.selection[k] == pytest.approx(part[0, k] - weight[0, k] * sector[0, k])
    assert day.allocation[4] == pytest.approx((1 - weight[0].sum()) * -bench), "cash"


# --- liquidity, replay -------------------------------------------------------------------------------------------------


def test_days_to_sell_are_a_plain_loops() -> None:
    volumes = np.array([[1000.0] * 63, [0.0] * 22 + [500.0] * 41, [math.nan] * 21 + [700.0] * 42])
    found = liquidity.daily_volume(volumes, np.ones_like(volumes))
    assert found.mean == pytest.approx([1000.0, math.nan, 700.0], nan_ok=True)
    assert found.n_obs.tolist() == [63, 41, 42]
    days = liquidity.days_to_sell(np.array([-400.0, 10.0, 2800.0]), found.mean, 0.2)
    assert days == pytest.approx([2.0, math.nan, 20.0], nan_ok=True)
    whole = liquidity.profile(np.array([-600.0, 200.0, 200.0]), days)
    assert whole.within == pytest.approx((0.3 + 0.2 / 20, 0.6 + 0.2 * 5 / 20, 0.8))
    assert (whole.unknown, whole.days) == pytest.approx((0.2, 20.0))
    assert liquidity.profile(np.array([]), np.array([])).unknown == 0.0


def test_a_replay_is_floored_and_its_factors_add_up() -> None:
    value, exposure = np.array([100.0, -100.0, 50.0, 10.0]), np.array([100.0, -100.0, 400.0, math.nan])
    betas = np.array([[1.0, 0.5], [4.0, math.nan], [1.0, 0.0], [1.0, 1.0]])
    found = by_factors(value, exposure, betas, np.array([1.0, 1.2]), np.array([-0.3, -0.5]))
    assert found.returns[:3] == pytest.approx([-0.3 + 0.5 * (-0.5 + 0.36), -1.0, -1.0])
    assert math.isnan(found.returns[3])
    assert found.factors.sum() == pytest.approx(np.nansum(found.money))
    assert found.money[1] == pytest.approx(100.0), "a short gains its value at most"
    without = by_factors(value, exposure, betas, np.array([1.0, 1.2]), np.array([-0.3, math.nan]))
    assert without.returns[0] == pytest.approx(-0.3), "a proxy that is not there moves nothing of its own"


PUT = Terms(-1, 110.0, 100.0, 0.5, 0.02, 0.4, black_scholes("p", 110.0, 100.0, 0.5, 0.02, 0.4))


def test_an_option_of_a_replay_is_worth_what_the_textbook_says_and_not_its_delta() -> None:
    """Two short puts in a crash: by their delta they would lose about half of what they do."""
    value, delta = np.array([-200.0 * PUT.price]), -0.29
    exposure = value * (delta * PUT.spot / PUT.price)
    betas, slopes, shocks = np.array([[1.2, 0.0]]), np.array([1.0, 1.0]), np.array([-0.3, math.nan])
    found = by_factors(value, exposure, betas, slopes, shocks, {0: PUT})
    worth = black_scholes("p", 110.0 * (1 - 0.36), 100.0, 0.5, 0.02, 0.4)
    assert found.money[0] == pytest.approx(-200.0 * (worth - PUT.price))
    assert found.factors.sum() == pytest.approx(found.money[0]), "the factors have all of it"
    assert found.money[0] < 1.5 * by_factors(value, exposure, betas, slopes, shocks).money[0] < 0.0
    assert math.isnan(option_return(PUT, math.nan))


def test_value_at_risk_after_trades_has_options_in_full_and_volatility_their_deltas() -> None:
    chance = np.random.default_rng(4)
    own = chance.normal(0.0, 0.02, (1, 504))
    series = what_if.fill(own, own[0], np.ones(1), np.zeros(1, np.bool_))
    leverage = np.array([-0.29 * PUT.spot / PUT.price])
    full = what_ifs._in_full(series.filled, leverage, {0: PUT})
    assert what_ifs._in_full(series.filled, leverage, {}) is series.filled
    value = np.array([-300.0])
    args = (1000.0, np.abs(value), value * leverage, np.ones((1, 8)), series, ["AAPL"])
    found, linear = what_if.figures(*args, full), what_if.figures(*args)
    worth = [black_scholes("p", 110.0 * (1 + r), 100.0, 0.5, 0.02, 0.4) for r in own[0]]
    lost = 0.3 * (np.array(worth) / PUT.price - 1.0)
    assert found.tails[0].var == pytest.approx(np.quantile(lost, 0.95))
    assert found.tails[0].var > linear.tails[0].var
    assert found.volatility == linear.volatility


def test_volatilities_are_read_by_symbol_and_only_where_there_are_any() -> None:
    row = {"symbols": ["AAPL", "X"], "greeks": [math.nan] * 5 + [0.31, 0.5, 0.1, 0.2, -0.1]}
    assert option_values.implied_volatilities(row) == {"X": 0.31}
    assert option_values.implied_volatilities(row | {"greeks": None}) == {}


@pytest.mark.parametrize(
    ("known", "money"), [([True, True, True], -13.0), ([True, True, False], -16.0), ([False, True, True], math.nan)]
)
def test_a_replays_total_is_of_four_fifths_of_gross_value_or_unknown(known: list[bool], money: float) -> None:
    """The rest stands beside, and is never counted as unmoved."""
    value, moved = np.array([60.0, -100.0, 30.0]), np.where(known, [-0.6, -0.2, 0.1], math.nan)
    found = total(value, np.abs(value), moved)
    assert found == pytest.approx((money, np.abs(value)[~np.array(known)].sum()), nan_ok=True)


def test_a_stretch_with_a_hole_is_taken_from_its_ends() -> None:
    returns = np.array([[0.1, -0.2], [0.1, math.nan], [math.nan, 0.1]])
    ends = np.array([[1.0, 9.0], [10.0, 12.0], [math.nan, 12.0]])
    assert compound(returns, ends) == pytest.approx([1.1 * 0.8 - 1, 0.2, math.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [("SPY", ("SPY", None)), ("VTV-VUG", ("VTV", "VUG")), ("^GSPC", ("^GSPC", None)), ("BRK-B", ("BRK-B", None))],
)
def test_a_proxy_may_be_the_difference_of_two_funds(proxy: str, expected: tuple[str, str | None]) -> None:
    assert proxy_legs(proxy) == expected


def test_the_first_session_of_a_range_has_the_bonds_return_too() -> None:
    """It is from the curve before it to its own: without that one an attribution of a single session, and any replay, had no rates."""
    days = sessions(12)
    known = curves.walk([day.astype(date) for day in days])
    whole = factor_returns.of_curve(known, days)
    assert np.isnan(whole[0])
    assert np.isfinite(whole[1:]).all()
    for first in range(1, len(days)):
        np.testing.assert_array_equal(factor_returns.of_curve(known, days[first:]), whole[first:])


# --- what-if -----------------------------------------------------------------------------------------------------------


def test_a_symbol_held_long_and_short_has_its_price_and_moves_with_both() -> None:
    """Of as much long as short, net value over net quantity is 0 over 0, which would be the price of a trade in it."""
    names, numbers, bought = ["A", "B", "C"], np.array([5.0, 0.0, -2.0]), np.array([5.0, 4.0, 1.0])
    of = Book(
        {}, date(2020, 12, 31), 1000.0, 100.0, names, [holding(name, {}) for name in names], numbers, 10.0 * numbers,
        bought, 10.0 * (2.0 * bought - numbers), np.zeros(3, np.bool_), 10.0 * numbers, np.ones((3, 8)), [None] * 8,
    )  # fmt: skip
    assert of.price.tolist() == [10.0, 10.0, 10.0]
    assert of.moves.tolist() == [1.0, 1.0, 1.0]


def test_lots_of_one_symbol_do_not_net_before_trades_nor_after() -> None:
    """As stored risk has it: gross value and concentration are of lots. What is sold is taken of long lots first."""
    of = what_if.Quantities(np.array([5.0, 4.0]), np.array([0.0, -4.0]))
    assert (of.net.tolist(), of.held.tolist()) == ([5.0, 0.0], [True, True])
    for quantity, long, short in ((3.0, 4.0, -1.0), (6.0, 6.0, 0.0), (-3.0, 1.0, -4.0), (-6.0, 0.0, -6.0)):
        after = of.apply_trade(np.array([0.0, quantity]))
        assert (after.long[1], after.short[1], after.net[0]) == (long, short, 5.0), quantity


@pytest.mark.parametrize(("nav", "expected"), [(1000.0, 0.0), (0.0, math.nan)])
def test_a_book_that_sells_everything_moves_with_nothing(nav: float, expected: float) -> None:
    """Betas of 0, as stored risk has them of a book without holdings, and not unknown ones for want of a proxy."""
    none = np.zeros(0)
    series = what_if.fill(np.zeros((0, LOOKBACK)), np.full(LOOKBACK, 0.01), none, np.zeros(0, np.bool_))
    found = what_if.figures(nav, none, none, np.zeros((0, 8)), series, [])
    figures = [*found.betas.tolist(), *found.volatility.values(), *(of.var for of in found.tails)]
    np.testing.assert_array_equal(figures, [expected] * (8 + 3 + 3))
    assert not np.signbit(figures).any() or math.isnan(expected)


def test_what_if_has_the_definitions_of_stored_risk() -> None:
    """Volatility, VaR, ES and concentration by the code that risk stores them with."""
    chance = np.random.default_rng(6)
    own, market = chance.normal(0.0, 0.012, (3, LOOKBACK)), chance.normal(0.0, 0.01, LOOKBACK)
    own[1, 5:9], market[100] = math.nan, math.nan
    shrunk = np.array([1.1, 0.7, math.nan])
    series = what_if.fill(own, market, shrunk, np.zeros(3, np.bool_))
    value, nav = np.array([60_000.0, -20_000.0, 30_000.0]), 100_000.0
    found = what_if.figures(nav, np.abs(value), value, np.ones((3, 8)), series, ["A", "B", "A"])
    path = (value / nav) @ np.where(
        np.isfinite(market), np.where(np.isfinite(own), own, np.array([[1.1], [0.7], [1.0]]) * market), 0.0
    )
    valid = np.isfinite(market)
    for window in VOLATILITY_WINDOWS:
        assert found.volatility[window] == pytest.approx(
            volatility.realized_volatility(path[None], valid[None], window)[0], rel=1e-12
        )
    expected = [of for of in tail.tails(path[None], valid[None], VAR_LEVELS) if of.method == "historical"]
    assert [(t.var, t.es, t.n_obs) for t in found.tails] == [
        pytest.approx((of.var[0], of.es[0], of.n_obs[0]), rel=1e-12) for of in expected
    ]
    spread = concentration.concentration([["A", "B", "A"]], np.abs(value)[None])
    assert (found.hhi, found.top_3) == pytest.approx((spread.hhi[0], spread.top_3[0]))
    assert found.betas == pytest.approx(np.full(8, 0.7))


def test_what_if_withholds_below_the_gate() -> None:
    series = what_if.fill(np.full((2, LOOKBACK), math.nan), walk(LOOKBACK), np.full(2, math.nan), np.zeros(2, np.bool_))
    found = what_if.figures(1000.0, np.ones(2), np.ones(2), np.full((2, 8), math.nan), series, ["A", "B"])
    assert math.isnan(found.volatility[252])
    assert all(math.isnan(t.var) for t in found.tails)
    assert (found.covered_weight, found.coverage) == (0.0, 0.0)
    assert np.isnan(found.betas).all()


def test_a_question_that_changes_nothing_needs_a_reader() -> None:
    assert role_for_call("POST", "/api/v1/portfolios/x/what-if") is Role.READER
    assert role_for_call("POST", "/api/v1/portfolios/x/what-if/y") is Role.EDITOR
    assert role_for_call("DELETE", "/api/v1/portfolios/x/what-if") is Role.EDITOR


def paid_out(nav: list[float], flow: list[float]) -> history.Snapshots:
    """An account of 1,000 without positions, whose NAV is what was put in."""
    n = len(nav)
    nothing, no = np.zeros(n), np.zeros(n, np.bool_)
    return history.Snapshots(
        sessions(n), np.array(nav), nothing, nothing, np.array(flow), np.ones(n), ~no, no, nothing, 1000.0
    )


def test_nothing_is_earned_on_what_rounding_leaves_of_an_account() -> None:
    """Paid out but for 0.4 of a cent, owed in cash: interest over next to nothing is no return."""
    found = paid_out([1000.0, 0.0, 0.0, 500.0], [0.0, -1000.0, 0.0, 500.0])
    terms = carries.Terms(0.02, 0.01)
    balances = np.array([[1000.0, 0.0], [1000.0, 0.0], [-0.004, 0.0], [0.0, 0.0]])
    of = carries.of_balances(found, slice(0, 4), balances, np.full(4, 0.0001), terms)
    assert of["interest"] == pytest.approx(0.2)
    assert (of["margin"], of["total_return"]) == (0.0, pytest.approx(1.0001**2 - 1.0))
    alone = carries.of_balances(found, slice(2, 3), balances[2:3], np.full(1, 0.0001), terms)
    assert (alone["interest"], alone["margin"], alone["total_return"]) == (0.0, 0.0, None)
