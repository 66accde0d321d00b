"""Portfolio figures against plain loops over the definitions, from daily returns to the picture that is stored."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.risk.compute import covariance, stress
from services.risk.compute.factor_model import FactorModel, factor_model
from services.risk.compute.inputs import Panel
from services.risk.compute.scenarios import Scenario
from services.risk.compute.stress import Shocks
from services.snapshots.compute import from_units
from shared.arrays import FloatVector
from shared.market.registry import FACTOR_NAMES
from tests.support import chain
from tests.support.chain import SCENARIOS, Unit, pictured
from tests.support.examples import examples
from tests.support.worlds import Lot, Portfolio, Symbol, World, run, weekdays

STOCKS = [f"S{i}" for i in range(10)]
RETURNS = chain.market(21, 504, STOCKS)
PANEL = chain.panel(RETURNS)
LONG_SHORT = Unit(1000.0, {"S0": 400.0, "S1": 350.0, "S2": 200.0, "S3": -250.0, "S4": 120.5})
EVEN = Unit(1000.0, dict.fromkeys(STOCKS, 100.0))


def series(unit: Unit) -> list[float]:
    """Constant weights of today on the holdings' past returns."""
    held = sorted(unit.values)
    return [sum(unit.values[s] / unit.nav * float(RETURNS[s][t]) for s in held) for t in range(504)]


def rms(values: list[float]) -> float:
    return math.sqrt(sum(r * r for r in values) / len(values))


def sd(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((r - mean) ** 2 for r in values) / (len(values) - 1))


def solve(rows: list[list[float]], y: list[float]) -> list[float]:
    """Least squares by the normal equations and Gauss-Jordan elimination; no library."""
    k = len(rows[0])
    table = [
        [sum(row[i] * row[j] for row in rows) for j in range(k)]
        + [sum(row[i] * v for row, v in zip(rows, y, strict=True))]
        for i in range(k)
    ]
    for i in range(k):
        pivot = max(range(i, k), key=lambda r: abs(table[r][i]))
        table[i], table[pivot] = table[pivot], table[i]
        table[i] = [value / table[i][i] for value in table[i]]
        for r in range(k):
            if r != i:
                table[r] = [a - table[r][i] * b for a, b in zip(table[r], table[i], strict=True)]
    return [line[-1] for line in table]


@pytest.mark.parametrize("unit", [LONG_SHORT, EVEN], ids=["long and short", "even"])
def test_volatility_equals_a_plain_loop(unit: Unit) -> None:
    of = pictured(PANEL, unit)[0].risk["volatility"]
    r = series(unit)
    for window in (21, 63, 252):
        # 1e-9: the same 504 products and sums in another order; what is compared is of order 0.1.
        assert of[f"realized_{window}"] == pytest.approx(math.sqrt(252) * sd(r[-window:]), rel=1e-9)
    rolling = [sd(r[t - 20 : t + 1]) for t in range(504 - 253, 504)]
    assert of["percentile_252"] == sum(value < rolling[-1] for value in rolling[:-1]) / 252
    year = r[-252:]
    mean = sum(year) / 252
    kurtosis = 252 * sum((x - mean) ** 4 for x in year) / sum((x - mean) ** 2 for x in year) ** 2
    z = math.log(rms(r[-21:]) / rms(r[-42:-21])) / math.sqrt((max(3.0, kurtosis) - 1) / 42)
    assert of["trend"]["z"] == pytest.approx(z, rel=1e-8)


def test_missing_returns_are_filled_by_beta_times_market_and_dropped_where_the_market_has_none() -> None:
    """A holding with holes, and three sessions on which SPY has no price, so that ^GSPC stands for the market."""
    holed = {symbol: values.copy() for symbol, values in RETURNS.items()}
    holed["S0"][350:390] = np.nan
    holed["^GSPC"][[60, 61, 470]] = np.nan
    holed["SPY"][[60, 61, 470]] = np.nan
    unit = Unit(1000.0, {"S0": 600.0, "S1": 400.0})
    panel = chain.panel(holed)
    assert panel.proxies[0, 0] == -1, "a market with a hole in the window is no market"
    assert pictured(panel, unit)[0].risk["volatility"]["realized_252"] is None

    holed["^GSPC"][470] = RETURNS["^GSPC"][470]
    panel = chain.panel(holed)
    assert panel.symbols[panel.proxies[0, 0]] == "^GSPC"
    beta = float(panel.shrunk[0, panel.symbols.index("S0")])
    own = [float(x) if math.isfinite(x) else beta * float(m) for x, m in zip(holed["S0"], holed["^GSPC"], strict=True)]
    r = [0.6 * x + 0.4 * float(y) for x, y in zip(own, holed["S1"], strict=True)]
    of = pictured(panel, unit)[0]
    assert of.risk["volatility"]["realized_252"] == pytest.approx(math.sqrt(252) * sd(r[-252:]), rel=1e-9)
    ordered = sorted(value for t, value in enumerate(r) if t not in {60, 61})
    assert of.risk["var"][0]["n_obs"] == 502
    assert of.risk["var"][0]["var"] == pytest.approx(-float(np.quantile(ordered, 0.05)), rel=1e-9)
    assert of.coverage == pytest.approx(0.6 * (1 - 40 / 252) + 0.4)


@pytest.mark.parametrize("unit", [LONG_SHORT, EVEN], ids=["long and short", "even"])
def test_har_forecast_equals_a_plain_loop(unit: Unit) -> None:
    of = pictured(PANEL, unit)[0].risk["volatility"]["forecast_21"]
    r = series(unit)

    def row(t: int) -> list[float]:
        return [1.0, abs(r[t]), rms(r[t - 4 : t + 1]), rms(r[t - 21 : t + 1])]

    rows = [row(t) for t in range(21, 504 - 21)]
    y = [rms(r[t + 1 : t + 22]) for t in range(21, 504 - 21)]
    beta = solve(rows, y)
    fitted = [sum(b * x for b, x in zip(beta, line, strict=True)) for line in rows]
    s2 = sum((a - b) ** 2 for a, b in zip(y, fitted, strict=True)) / (len(y) - 4)
    value = min(max(sum(b * x for b, x in zip(beta, row(503), strict=True)), min(y)), max(y))
    # 1e-6: normal equations square a condition number of some hundreds; the code centres and scales first.
    assert (of["method"], of["n_obs"]) == ("combined", 504)
    decay = [0.94**age for age in range(503, -1, -1)]
    ewma = sum(w * x * x for w, x in zip(decay, r, strict=True)) / sum(decay)
    w = of["har_weight"]
    combined = math.sqrt(252) * (w * value + (1 - w) * math.sqrt(ewma))
    width = math.exp(1.2816 * 1.2 * math.sqrt(math.log(1 + s2 / value**2)))
    assert 0.0 < w < 1.0
    assert of["value"] == pytest.approx(combined, rel=1e-6)
    assert of["low"] == pytest.approx(combined / width, rel=1e-6)
    assert of["high"] == pytest.approx(combined * width, rel=1e-6)
    assert of["variance"] == pytest.approx(252 * (w * (value**2 + s2) + (1 - w) * ewma), rel=1e-6)


@pytest.mark.parametrize("level", [0.95, 0.99])
def test_var_and_expected_shortfall_equal_a_plain_loop(level: float) -> None:
    found = {line["method"]: line for line in pictured(PANEL, LONG_SHORT)[0].risk["var"] if line["level"] == level}
    ordered = sorted(series(LONG_SHORT))
    place = (1 - level) * (len(ordered) - 1)
    low = math.floor(place)
    quantile = ordered[low] + (place - low) * (ordered[low + 1] - ordered[low])
    beyond = [x for x in ordered if x <= quantile]
    assert found["historical"]["var"] == pytest.approx(-quantile, rel=1e-9)
    assert found["historical"]["es"] == pytest.approx(-sum(beyond) / len(beyond), rel=1e-9)
    mean, spread, normal = sum(ordered) / len(ordered), sd(ordered), NormalDist()
    z = normal.inv_cdf(1 - level)
    assert found["normal"]["var"] == pytest.approx(-(mean + z * spread), rel=1e-9)
    assert found["normal"]["es"] == pytest.approx(-mean + spread * normal.pdf(z) / (1 - level), rel=1e-9)


def test_what_holdings_have_in_the_expected_shortfall_equals_a_plain_loop() -> None:
    """Components sum to the ES; without a holding, the rest as it is has the ES less its increment; with holes too."""
    returns = RETURNS | {"S1": np.where(np.arange(504) == 300, np.nan, RETURNS["S1"])}
    for made in (RETURNS, returns):
        panel = chain.panel(made)
        unit = Unit(1000.0, {"S0": 700.0, "S1": -200.0, "S2": 300.0})
        risk = pictured(panel, unit)[0].risk
        es = next(t["es"] for t in risk["var"] if (t["method"], t["level"]) == ("historical", 0.975))
        beta = panel.shrunk[0, panel.symbols.index("S1")]
        own = {s: np.where(np.isnan(made[s]), beta * made["SPY"], made[s]) for s in unit.values}
        weight = {s: v / 1000.0 for s, v in unit.values.items()}

        def shortfall(series: FloatVector) -> float:
            return -float(series[series <= np.quantile(series, 0.025)].mean())

        whole: FloatVector = np.sum([weight[s] * own[s] for s in own], axis=0)
        days = whole <= np.quantile(whole, 0.025)
        assert es == pytest.approx(shortfall(whole), rel=1e-12)
        parts = {row["symbol"]: row["es_975"] for row in risk["positions"]}
        for s, part in parts.items():
            assert part["marginal"] == pytest.approx(-own[s][days].mean(), rel=1e-9)
            assert part["component"] == pytest.approx(-weight[s] * own[s][days].mean(), rel=1e-9)
            assert part["incremental"] == pytest.approx(
                shortfall(whole) - shortfall(whole - weight[s] * own[s]), abs=1e-12
            )
        assert math.fsum(part["component"] for part in parts.values()) == pytest.approx(es, rel=1e-12)


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(st.floats(-900.0, 900.0).filter(lambda v: abs(v) > 1.0), min_size=2, max_size=10))
def test_contributions_sum_to_the_volatility(values: list[float]) -> None:
    unit = Unit(1000.0, dict(zip(STOCKS, values, strict=False)))
    of = pictured(PANEL, unit)[0].risk["decomposition"]
    contributions = [line["contribution"] for line in of["contributions"]]
    assert abs(math.fsum(contributions) - of["volatility"]) <= 1e-12 * max(1.0, *map(abs, contributions))
    assert math.fsum(line["share"] for line in of["contributions"]) == pytest.approx(1.0, abs=1e-9)
    shares = [line["share"] for line in of["factors"]]
    assert math.fsum(shares) + of["specific_share"] == pytest.approx(1.0, abs=1e-9)


def test_a_100_bp_rise_costs_long_tlt_its_duration() -> None:
    """-D·Δy + ½C·Δy² of the newest dated figures, within 20 %: what is lacking is the penalty, 1 - 1/1.1."""
    labels = [SCENARIOS.durations[-1].as_of]
    of = pictured(chain.panel(RETURNS, labels=labels), Unit(1000.0, {"TLT": 1000.0}), Unit(1000.0, {"TLT": -500.0}, 1))
    expected = SCENARIOS.durations[-1].proxy_return(100.0)
    assert expected == pytest.approx(-0.1776 + 0.0198, abs=1e-4)
    up = {s["id"]: s for s in of[0].stress["scenarios"]}
    assert up["rates_up_100"]["direct"]["fraction"] == pytest.approx(expected, rel=0.2)
    assert up["rates_up_100"]["direct"]["fraction"] < 0.0 < up["rates_down_100"]["direct"]["fraction"]
    short = {s["id"]: s for s in of[1].stress["scenarios"]}["rates_up_100"]["direct"]["money"]
    assert short == pytest.approx(-0.5 * up["rates_up_100"]["direct"]["money"]), "shorts hedge rates"


MODEL: FactorModel = factor_model(PANEL)
# Value and growth are legs of one axis: what a script of them is has tests of its own.
SINGLE = [name for name in FACTOR_NAMES if name not in ("value", "growth")]
shocks_of = st.dictionaries(st.sampled_from(SINGLE), st.floats(-0.6, 0.6), min_size=1, max_size=6)


def moved(shocks: dict[str, float]) -> Shocks:
    return stress.shocks(SCENARIOS, Scenario("x", "x", shocks, None), MODEL, PANEL.sessions)


@settings(max_examples=examples(80), deadline=None)
@given(shocks_of)
def test_a_scripted_shock_comes_out_as_scripted(shocks: dict[str, float]) -> None:
    found = moved(shocks)
    for name, value in shocks.items():
        k = FACTOR_NAMES.index(name)
        assert found.raw[0, k] == value
        rebuilt = found.propagated[0, k] + (MODEL.slopes[0, k] * found.propagated[0, 0] if k else 0.0)
        assert rebuilt == pytest.approx(value, abs=1e-12), "and in market and residual terms"


@settings(max_examples=examples(40), deadline=None)
@given(st.floats(-0.9, 0.9))
def test_market_only_propagated_is_the_direct_one(value: float) -> None:
    found = moved({"market": value})
    assert found.propagated == pytest.approx(found.direct, abs=1e-12)
    assert not found.capped.any()


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.floats(-900.0, 900.0).filter(lambda v: abs(v) > 1.0), min_size=1, max_size=10))
def test_both_attributions_sum_to_the_total_in_every_scenario(values: list[float]) -> None:
    unit = Unit(1500.0, dict(zip(STOCKS, values, strict=False)))
    gross = sum(map(abs, values))
    for scenario in pictured(PANEL, unit)[0].stress["scenarios"]:
        for way in ("direct", "propagated"):
            of = scenario[way]
            if of is None:
                continue
            assert of["fraction"] == pytest.approx(of["money"] / 1500.0, abs=1e-12)
            assert math.fsum(of["by_factor"].values()) == pytest.approx(of["money"], abs=1e-9 * gross)
            assert math.fsum(of["by_position"].values()) == pytest.approx(of["money"], abs=1e-9 * gross)
            assert of["money"] >= -gross * (1 + 1e-12) or min(values) < 0, "a long loses at most its value"


# --- coverage ----------------------------------------------------------------------------------------------------------


def without(symbols: list[str], first: int = 0) -> Panel:
    holed: dict[str, FloatVector] = {}
    for symbol, values in RETURNS.items():
        holed[symbol] = values.copy()
        if symbol in symbols:
            holed[symbol][first:] = np.nan
    return chain.panel(holed)


def withheld(risk: dict[str, Any]) -> list[Any]:
    return [
        risk["volatility"]["realized_252"], risk["volatility"]["forecast_21"]["value"], risk["beta"]["realized"],
        risk["decomposition"]["volatility"], risk["var"][0]["var"],
    ]  # fmt: skip


@pytest.mark.parametrize("gone", [1, 2, 3, 5])
def test_prices_dropped_from_some_of_ten_holdings_lower_coverage_to_what_it_is(gone: int) -> None:
    of = pictured(without(STOCKS[:gone]), EVEN)[0]
    assert of.coverage == pytest.approx(1.0 - gone / 10)
    assert of.quality == "partial"
    assert {reason["symbol"] for reason in of.reasons if reason["symbol"]} == set(STOCKS[:gone]), "the culprits by name"
    if gone <= 2:
        assert all(figure is not None for figure in withheld(of.risk))
    else:
        assert withheld(of.risk) == [None] * 5
        assert {"figure": "volatility.realized_252", "symbol": None, "reason": "low_coverage"} in of.reasons


def test_a_price_dropped_from_two_of_ten_holdings_lowers_coverage_and_never_the_nav() -> None:
    """The ledger's side: the last price is carried, then outside coverage, and always in NAV."""
    days = weekdays(date(2020, 3, 2), 10)
    full = {s: Symbol(s, dict.fromkeys(days, 50.0)) for s in STOCKS}
    holed = full | {s: Symbol(s, dict.fromkeys(days[:2], 50.0)) for s in STOCKS[:2]}
    lots = tuple(Lot(s, Decimal(10), days[0], Decimal(50), number=k + 1) for k, s in enumerate(STOCKS))
    for symbols in (full, holed):
        rows = run(World(days, symbols, (Portfolio(Decimal(9000), lots, {}, 1),)))
        assert {from_units(nav) for nav in rows.snapshots.nav[:, 0]} == {Decimal(9000)}
        expected = [1.0] * 10 if symbols is full else [1.0] * 7 + [0.8] * 3
        assert rows.snapshots.coverage[:, 0].tolist() == pytest.approx(expected), (
            "stale for five sessions, then uncovered"
        )


def test_diversification_of_holdings_that_move_as_one_is_none() -> None:
    """Two names for one series: ratio 1 and one bet, whatever the weights."""
    one = RETURNS["S0"][-252:]
    values = np.vstack([one, one])
    padded = np.hstack([np.zeros((2, 252)), values])
    everything = np.ones(padded.shape, dtype=np.bool_)
    of = covariance.covariance(covariance.columns(padded, everything, everything), np.array([[0, 1]]))
    parts = covariance.decompose(of, np.array([[0.3, 0.7]]))
    assert parts.volatility[0] == pytest.approx(np.sqrt(252) * one.std(ddof=1), rel=1e-2)
    assert parts.diversification_ratio[0] == pytest.approx(1.0, abs=1e-2)
    assert parts.effective_bets[0] == pytest.approx(1.0, abs=5e-2)
