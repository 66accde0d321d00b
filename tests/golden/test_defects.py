"""What the engine that this replaces got wrong, one test for each where no other test shows it. The table is docs/defects.md."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from services.risk.compute import volatility
from services.risk.compute.factor_model import factor_model
from services.snapshots.compute import from_units
from shared.market.registry import BETA_MIN_OBS, FACTOR_NAMES, LOOKBACK
from tests.support import chain
from tests.support.chain import Unit, pictured
from tests.support.worlds import Lot, Portfolio, Symbol, World, run, weekdays

STOCKS = [f"S{i}" for i in range(6)]
RETURNS = chain.market(17, LOOKBACK, STOCKS)
PANEL = chain.panel(RETURNS)
BY_ID = {scenario.id: scenario for scenario in chain.SCENARIOS.scenarios}


def test_an_index_like_portfolio_moves_as_the_market_is_scripted_in_every_propagated_scenario() -> None:
    """Correlations taken for betas and added up once sent such a portfolio up 6.7 % in a flight to quality. SPY's return is the market's,
    whatever else the scenario says; where it says nothing of the market, the mean given all that is said, within its cap."""
    of = pictured(PANEL, Unit(1000.0, {"SPY": 1000.0}))[0].stress["scenarios"]
    assert len(of) == 24
    model = factor_model(PANEL)
    lift = np.eye(8)
    lift[1:, 0] = model.slopes[0, 1:]
    sigma = lift @ model.recent[0] @ lift.T
    limit = 3 * math.sqrt(63 * sigma[0, 0])
    implied = 0
    for scenario in of:
        fraction, shocks = scenario["propagated"]["fraction"], scenario["shocks"]
        if "market" in shocks:
            assert fraction == pytest.approx(shocks["market"], abs=1e-12), scenario["id"]
            assert scenario["direct"]["fraction"] == pytest.approx(shocks["market"], abs=1e-12)
            continue
        if BY_ID[scenario["id"]].sigmas:
            # Of the styles' residuals the market has no part.
            assert fraction == pytest.approx(0.0, abs=1e-12), scenario["id"]
            continue
        said = [FACTOR_NAMES.index(name) for name in shocks]
        mean = sigma[0, said] @ np.linalg.solve(sigma[np.ix_(said, said)], list(shocks.values()))
        assert fraction == pytest.approx(np.clip(mean, -limit, limit), rel=1e-9), scenario["id"]
        implied += abs(mean) < limit
    assert implied >= 2, "the cap hides the mean of the others"


def test_a_recent_listing_does_not_shorten_anybodys_window() -> None:
    """A batch joined on common dates, and a matrix without incomplete rows, both lost everyone's history to the youngest."""
    young = {**RETURNS, "NEW": np.where(np.arange(LOOKBACK) < LOOKBACK - BETA_MIN_OBS, np.nan, RETURNS["S5"])}
    panel = chain.panel(young)
    names, alone = chain.facts(RETURNS, [LOOKBACK - 1])
    together, beside = chain.facts(young, [LOOKBACK - 1])
    for symbol in STOCKS:
        assert beside.n_obs[0, together.index(symbol)] == 252
        assert beside.joint[0, together.index(symbol)].tobytes() == alone.joint[0, names.index(symbol)].tobytes()
    assert beside.n_obs[0, together.index("NEW")] == 63
    held = dict.fromkeys(STOCKS, 150.0) | {"NEW": 100.0}
    of = pictured(panel, Unit(1000.0, held))[0]
    # Every session of everybody counts, the youngest's missing ones by its beta.
    filled = np.where(np.isnan(young["NEW"]), beside.shrunk[0, together.index("NEW")] * RETURNS["SPY"], young["NEW"])
    r = 0.1 * filled + sum(0.15 * RETURNS[symbol] for symbol in STOCKS)
    assert of.risk["volatility"]["realized_252"] == pytest.approx(math.sqrt(252) * np.std(r[-252:], ddof=1), rel=1e-9)
    assert of.risk["beta"]["n_obs"] == 252
    assert {line["n_obs"] for line in of.risk["var"] if line["method"] == "historical"} == {LOOKBACK}
    assert of.risk["volatility"]["forecast_21"]["method"] == "combined"
    assert of.risk["volatility"]["forecast_21"]["n_obs"] == LOOKBACK
    assert of.coverage == pytest.approx(0.9 + 0.1 * 63 / 252)
    assert of.correlations["labels"] == sorted(held)


def test_the_forecast_of_pure_noise_of_20_percent_is_20_percent() -> None:
    """A forecast of |r| is a forecast of 0.798 of the volatility: 16 % where it is 20 %."""
    noise = np.random.default_rng(3).normal(0.0, 0.20 / math.sqrt(252), (400, LOOKBACK))
    of = volatility.forecast(noise, np.ones(noise.shape, dtype=np.bool_))
    assert of.har.all()
    # The standard error of the mean of 400 forecasts is some 0.05 %; Jensen takes 1.2 % of a root mean square of 21.
    assert of.value.mean() == pytest.approx(0.20, abs=0.004)


def test_the_percentile_is_there_with_the_history_that_is_kept() -> None:
    """252 earlier values need 273 returns; the history kept is 504, and not a number of calendar days."""
    of = pictured(PANEL, Unit(1000.0, dict.fromkeys(STOCKS, 150.0)))[0].risk["volatility"]
    assert 0.0 <= of["percentile_252"] <= 1.0


def test_a_market_neutral_book_has_the_volatility_of_its_nav() -> None:
    """Dividing by the signed sum of values explodes where longs and shorts are even."""
    neutral = {"S0": 500.0, "S1": 500.0, "S2": -500.0, "S3": -500.0}
    of = pictured(PANEL, Unit(1000.0, neutral))[0].risk
    r = sum(value / 1000.0 * RETURNS[symbol][-252:] for symbol, value in neutral.items())
    assert of["volatility"]["realized_252"] == pytest.approx(math.sqrt(252) * np.std(r, ddof=1), rel=1e-9)
    assert of["volatility"]["realized_252"] < 1.0


def test_shorts_take_rate_risk_away() -> None:
    """Absolute weights made every short add to it."""
    long = pictured(PANEL, Unit(1000.0, {"TLT": 600.0, "S0": 100.0}))[0]
    both = pictured(PANEL, Unit(1000.0, {"TLT": 600.0, "S0": 100.0, "S1": -100.0, "SPY": -0.0}))[0]
    hedged = pictured(PANEL, Unit(1000.0, {"TLT": -600.0, "S0": 100.0}))[0]

    def rates(of: object) -> float:
        factors = of.exposures["factors"]  # type: ignore[attr-defined]
        return float(next(f["beta"] for f in factors if f["factor"] == "ir_beta"))

    own = {f["factor"]: f for f in pictured(PANEL, Unit(1000.0, {"S1": 1000.0}))[0].exposures["factors"]}["ir_beta"][
        "beta"
    ]
    assert rates(long) > 0.5
    assert rates(both) == pytest.approx(rates(long) - 0.1 * own, abs=1e-12)
    assert rates(hedged) < -0.5


def test_a_net_short_portfolio_can_lose_more_than_its_net_and_gains_when_the_market_falls() -> None:
    """Net exposure was replaced by one unit of money, and losses clipped at 99 % of it."""
    of = pictured(PANEL, Unit(1000.0, {"SPY": -2000.0}))[0].stress["scenarios"]
    by_id = {scenario["id"]: scenario["direct"] for scenario in of}
    assert by_id["market_rally_25"]["fraction"] == pytest.approx(-0.5)
    assert by_id["market_crash_35"]["fraction"] == pytest.approx(0.7)


DAYS = weekdays(date(2019, 12, 26), 12)
FLAT = Symbol("A", dict.fromkeys(DAYS, 100.0))


def test_a_session_without_positions_keeps_the_nav() -> None:
    """A snapshot without positions had a NAV of 0, and a drawdown of everything."""
    lots = (Lot("A", Decimal(50), DAYS[0], Decimal(99), DAYS[3], Decimal(101), number=1),)
    s = run(World(DAYS, {"A": FLAT}, (Portfolio(Decimal(10_000), lots, {}, 1),))).snapshots
    assert s.positions[4:, 0].tolist() == [0] * 8
    assert [from_units(nav) for nav in s.nav[3:, 0]] == [Decimal(10_100)] * 9
    assert s.drawdown.min() == 0.0


def test_a_withdrawal_is_no_drawdown_and_a_deposit_no_return() -> None:
    """The drawdown is of the time-weighted index, not of NAV."""
    lots = (Lot("A", Decimal(50), DAYS[0], Decimal(100), number=1),)
    flows = {DAYS[2]: Decimal(90_000), DAYS[5]: Decimal(-60_000)}
    s = run(World(DAYS, {"A": FLAT}, (Portfolio(Decimal(10_000), lots, flows, 1),))).snapshots
    assert from_units(s.nav[-1, 0]) == 40_000
    assert s.drawdown.tolist() == [[0.0]] * 12
    assert s.cumulative_return.tolist() == [[0.0]] * 12


def test_year_to_date_begins_with_the_last_session_of_the_year_before() -> None:
    """New Year's Day is no session, and a base that must be one was never found."""
    prices = {day: 100.0 + k for k, day in enumerate(DAYS)}
    lots = (Lot("A", Decimal(100), DAYS[0], Decimal(100), number=1),)
    s = run(World(DAYS, {"A": Symbol("A", prices)}, (Portfolio(Decimal(10_000), lots, {}, 1),))).snapshots
    last_year = max(t for t, day in enumerate(DAYS) if day.year == 2019)
    nav = [float(from_units(value)) for value in s.nav[:, 0]]
    assert s.ytd_return[-1, 0] == pytest.approx(nav[-1] / nav[last_year] - 1)
    assert s.mtd_return[-1, 0] == pytest.approx(nav[-1] / nav[last_year] - 1)
