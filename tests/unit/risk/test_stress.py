"""Scenarios, the factor model behind them, and their effect, by hand and against loops."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest

from services.risk.compute.factor_model import factor_model, model_risk
from services.risk.compute.scenario_file import parse
from services.risk.compute.scenarios import BadScenarios, Duration, Scenario, Scenarios
from services.risk.compute.stress import Shocks, apply, shocks
from shared.market.registry import FACTOR_NAMES
from tests.unit.risk import cases

PANEL = cases.panel(["AAA", "BBB"], 3)
MODEL = factor_model(PANEL)
BY_ID = {scenario.id: scenario for scenario in cases.SCENARIOS.scenarios}


def moved(scenario: Scenario) -> Shocks:
    return shocks(cases.SCENARIOS, scenario, MODEL, PANEL.sessions)


def windows(s: int) -> Any:
    """(F, 252) returns of the proxies on session s."""
    return PANEL.windows()[PANEL.proxies[s], s][:, -252:]


def test_the_22_scenarios_are_there() -> None:
    assert len(BY_ID) == 22
    assert BY_ID["market_down_10"].shocks == {"market": -0.1}
    assert sorted(s.rates_bp for s in BY_ID.values() if s.rates_bp is not None) == [-100, -50, -25, 25, 50, 100, 300]


def test_slopes_leave_residuals_without_market() -> None:
    for s in range(3):
        raw = windows(s)
        for k in range(1, 8):
            slope, _ = np.polyfit(raw[0], raw[k], 1)
            assert MODEL.slopes[s, k] == pytest.approx(slope, rel=1e-9)
            assert abs(MODEL.sample[s, 0, k]) < 1e-18


def test_sample_covariance_and_correlation_against_numpy() -> None:
    for s in range(3):
        raw = windows(s)
        residual = raw - MODEL.slopes[s][:, None] * raw[0]
        residual[0] = raw[0]
        assert MODEL.sample[s] == pytest.approx(np.cov(residual, ddof=1), abs=1e-16)
        assert MODEL.correlation[s] == pytest.approx(np.corrcoef(raw), abs=1e-13)


def test_recent_covariance_against_a_plain_loop() -> None:
    raw = windows(2)
    weight = np.array([0.5 ** (age / 63) for age in range(251, -1, -1)])
    weight /= weight.sum()
    residual = raw - MODEL.slopes[2][:, None] * raw[0]
    residual[0] = raw[0]
    means = [sum(weight * row) for row in residual]
    for i in range(8):
        for j in range(8):
            expected = sum(weight * (residual[i] - means[i]) * (residual[j] - means[j]))
            if (i == 0) != (j == 0):
                expected = 0.0
            assert MODEL.recent[2, i, j] == pytest.approx(expected, abs=1e-17)


@pytest.mark.parametrize("id_", sorted(BY_ID))
def test_a_scripted_shock_comes_out_as_scripted(id_: str) -> None:
    found = moved(BY_ID[id_])
    index = list(BY_ID[id_].scripted())
    assert found.reasons == (None, None, None)
    assert np.array_equal(found.raw[:, index], found.scripted[:, index])
    # The residual shocks say the same: raw = b·market + residual.
    rebuilt = MODEL.slopes * found.propagated[:, :1] + found.propagated
    rebuilt[:, 0] = found.propagated[:, 0]
    assert rebuilt == pytest.approx(found.raw, abs=1e-15)


@pytest.mark.parametrize("id_", [id_ for id_, s in BY_ID.items() if list(s.shocks) == ["market"]])
def test_a_market_only_scenario_propagated_is_the_direct_one(id_: str) -> None:
    found = moved(BY_ID[id_])
    assert found.propagated == pytest.approx(found.direct, abs=1e-14)
    assert found.raw == pytest.approx(MODEL.slopes * BY_ID[id_].shocks["market"], abs=1e-14)


@pytest.mark.parametrize(
    "script", [{"value": 0.01, "growth": -0.004}, {"market": -0.02, "size": 0.015}, {"market": 0.01, "value": -0.01}]
)
def test_unscripted_factors_take_the_conditional_mean(script: dict[str, float]) -> None:
    """Of all that is scripted at once, the market with it: what a style is told beside the market moves the others too."""
    found = moved(Scenario("x", "x", script, None))
    assert not found.capped.any()
    scripted = [FACTOR_NAMES.index(name) for name in script]
    free = [k for k in range(8) if k not in scripted]
    for s in range(3):
        b = MODEL.slopes[s]
        lift = np.eye(8)
        lift[1:, 0] = b[1:]
        sigma = lift @ MODEL.recent[s] @ lift.T
        mean = sigma[np.ix_(free, scripted)] @ np.linalg.solve(sigma[np.ix_(scripted, scripted)], list(script.values()))
        assert found.raw[s, free] == pytest.approx(mean, rel=1e-8)


def test_scripted_proxies_that_move_as_one_take_the_smallest_answer_and_disturb_no_other_session() -> None:
    """On the last session two residuals are one series; the shock that both are given is as if one of them were given it."""
    k, twin = FACTOR_NAMES.index("momentum"), FACTOR_NAMES.index("quality")
    recent, slopes = MODEL.recent.copy(), MODEL.slopes.copy()
    recent[2, twin], recent[2, :, twin] = recent[2, k], recent[2, :, k]
    recent[2, twin, twin], slopes[2, twin] = recent[2, k, k], slopes[2, k]
    model = replace(MODEL, recent=recent, slopes=slopes)
    both = Scenario("x", "x", {"market": -0.02, "momentum": -0.03, "quality": -0.03}, None)
    one = Scenario("x", "x", {"market": -0.02, "momentum": -0.03}, None)
    found, alone = (shocks(cases.SCENARIOS, of, model, PANEL.sessions) for of in (both, one))
    assert found.raw[2] == pytest.approx(alone.raw[2], abs=1e-12)
    assert np.array_equal(found.raw[:2], shocks(cases.SCENARIOS, both, MODEL, PANEL.sessions).raw[:2])


def test_implied_shocks_are_capped_at_three_sigma_of_a_quarter_and_named() -> None:
    found = moved(Scenario("x", "x", {"value": -0.9}, None))
    limit = 3.0 * math.sqrt(63) * np.sqrt(np.diagonal(MODEL.recent, axis1=1, axis2=2))
    assert found.capped[:, 0].all()
    assert not found.capped[:, 1].any()
    assert found.propagated[:, 0] == pytest.approx(-limit[:, 0])
    assert (np.abs(np.delete(found.propagated, 1, axis=1)) <= np.delete(limit, 1, axis=1) * (1 + 1e-12)).all()
    assert found.raw[:, 1].tolist() == [-0.9] * 3
    # The scripted proxy's residual takes up what the capped market no longer explains.
    assert found.propagated[:, 1] == pytest.approx(-0.9 - MODEL.slopes[:, 1] * found.propagated[:, 0])


def test_direct_leaves_an_unscripted_market_alone() -> None:
    found = moved(BY_ID["small_cap_10"])
    assert found.direct[:, 0].tolist() == [0.0] * 3
    assert found.direct[:, FACTOR_NAMES.index("size")].tolist() == [0.1] * 3
    found = moved(BY_ID["quality_flight_12"])
    k = FACTOR_NAMES.index("quality")
    assert found.direct[:, k] == pytest.approx(0.12 + 0.05 * MODEL.slopes[:, k])


def test_a_scenario_on_a_factor_without_proxy_is_withheld_and_the_others_stand() -> None:
    panel = cases.panel(["AAA"], without=["growth"])
    model = factor_model(panel)
    reasons = {s.id: shocks(cases.SCENARIOS, s, model, panel.sessions).reasons[0] for s in cases.SCENARIOS.scenarios}
    assert {id_ for id_, reason in reasons.items() if reason} == {
        "value_rotation_20",
        "growth_rally_15",
        "covid_2020",
        "dot_com_2000",
    }
    assert set(reasons.values()) == {None, "no_proxy"}


def test_a_yield_rise_costs_a_long_bond_fund_its_duration() -> None:
    """+100 bp on the rates proxy itself (beta 1): -D% plus half its convexity, on a long holding a loss within 20 % of D."""
    found = moved(BY_ID["rates_up_100"])
    betas = np.zeros((3, 1, 8))
    betas[:, 0, 7] = 1.0
    betas[:, 0, 0] = MODEL.slopes[:, 7]
    loss = apply(np.full((3, 1), 1000.0), betas, found.direct[:, None])
    assert loss.money == pytest.approx(1000.0 * (-0.01 * 17.76 + 0.5 * 0.0001 * 395.1))
    assert (np.abs(loss.money / 1000.0 + 0.1776) < 0.2 * 0.1776).all()
    short = apply(np.full((3, 1), -1000.0), betas, found.direct[:, None])
    assert short.money.tolist() == (-loss.money).tolist()


def test_a_duration_counts_from_its_date_on() -> None:
    of = Scenarios((), (Duration(date(2015, 1, 2), 10.0, 100.0), Duration(date(2020, 1, 2), 20.0, 400.0)))
    assert of.duration_on(date(2015, 1, 1)) is None
    before, after = of.duration_on(date(2020, 1, 1)), of.duration_on(date(2020, 1, 2))
    assert before is not None
    assert after is not None
    assert before.proxy_return(100.0) == pytest.approx(-0.1 + 0.005)
    assert after.proxy_return(100.0) == pytest.approx(-0.2 + 0.02)


def test_effect_on_holdings_against_a_plain_loop() -> None:
    rng = np.random.default_rng(4)
    value, betas, shock = rng.normal(0, 500, (2, 5)), rng.normal(0, 1, (2, 5, 8)), rng.normal(0, 0.3, (2, 8))
    betas[0, 3] = np.nan
    betas[:, :, 4] = np.nan
    found = apply(value, betas, shock[:, None])
    for g in range(2):
        by_factor, total = np.zeros(8), 0.0
        for i in range(5):
            if np.isnan(betas[g, i, 0]):
                assert np.isnan(found.by_position[g, 0, i])
                continue
            parts = np.nan_to_num(betas[g, i]) * shock[g]
            if parts.sum() < -1.0:
                parts = parts * (-1.0 / parts.sum())
            by_factor += value[g, i] * parts
            total += value[g, i] * parts.sum()
            assert found.by_position[g, 0, i] == pytest.approx(value[g, i] * parts.sum(), rel=1e-12)
        assert found.by_factor[g, 0] == pytest.approx(by_factor, rel=1e-12)
        assert found.money[g, 0] == pytest.approx(total, rel=1e-12)
        assert found.by_factor[g, 0].sum() == pytest.approx(found.money[g, 0], rel=1e-12)


def test_a_long_loses_at_most_its_value_and_a_short_gains_at_most_its_value() -> None:
    betas = np.zeros((1, 2, 8))
    betas[0, :, 0], betas[0, :, 1] = 3.0, 1.0
    shock = np.array([[-0.4, -0.3, 0, 0, 0, 0, 0, 0]])
    found = apply(np.array([[100.0, -100.0]]), betas, shock[None])
    assert found.by_position[0, 0] == pytest.approx([-100.0, 100.0])
    alone = apply(np.array([[100.0]]), betas[:, :1], shock[None])
    assert alone.by_factor[0, 0, :2] == pytest.approx([-80.0, -20.0])


def test_model_volatility_against_a_plain_product() -> None:
    rng = np.random.default_rng(6)
    beta, weight, sd = rng.normal(0, 1, (3, 8)), rng.normal(0, 0.3, (3, 4)), rng.uniform(0.005, 0.02, (3, 4))
    sd[1, 2] = np.nan
    found = model_risk(MODEL.sample, MODEL.available, beta, weight, sd)
    for g in range(3):
        specific = float(np.nansum((weight[g] * sd[g]) ** 2))
        total = float(beta[g] @ MODEL.sample[g] @ beta[g]) + specific
        assert found.volatility[g] == pytest.approx(math.sqrt(252 * total), rel=1e-12)
        assert found.specific[g] == pytest.approx(specific / total, rel=1e-12)
        assert found.shares[g].sum() + found.specific[g] == pytest.approx(1.0, abs=1e-12)


def test_a_users_scenario_replaces_the_one_of_the_same_id() -> None:
    own = parse(
        {"scenarios": [{"id": "market_down_10", "shocks": {"market": -0.12}}, {"id": "mine", "shocks": {"size": 0.1}}]}
    )
    merged = cases.SCENARIOS.extended(own)
    assert len(merged.scenarios) == 23
    assert {s.id: s for s in merged.scenarios}["market_down_10"].shocks == {"market": -0.12}
    assert merged.durations == cases.SCENARIOS.durations


ENTRY = {"as_of": date(2020, 1, 2), "duration": 18.0, "convexity": 396.0}


def dated(**what: object) -> dict[str, object]:
    return {"scenarios": [], "rates": {"durations": [ENTRY | what]}}


@pytest.mark.parametrize(
    ("document", "part"),
    [
        ([], "not a mapping"),
        ({"scenarios": 3}, "no list"),
        ({"scenarios": [{"name": "x"}]}, "no id"),
        ({"scenarios": [{"id": "x"}]}, "no shocks"),
        ({"scenarios": [{"id": "x", "shocks": {"moon": 1.0}}]}, "'moon'"),
        ({"scenarios": [{"id": "x", "shocks": {"market": "much"}}]}, "not a finite number"),
        ({"scenarios": [{"id": "x", "shocks": {"market": float("nan")}}]}, "not a finite number"),
        ({"scenarios": [{"id": "x", "shocks": {"market": -1.5}}]}, "lose more"),
        ({"scenarios": [{"id": "x", "shocks": {"rates": 0.1, "rates_bp": 5}}]}, "both"),
        ({"scenarios": [{"id": "x", "shocks": {"size": 0.1}}, {"id": "x", "shocks": {"size": 0.2}}]}, "twice"),
        ({"rates": {"durations": [{"duration": 3}]}, "scenarios": []}, "as_of"),
        ({"scenarios": [], "scenario": []}, "'scenario' is not known"),
        (None, "not a mapping"),
        ({}, "no list"),
        ({"scenarios": [], "rates": None}, "not a mapping with a list"),
        ({"scenarios": [], "rates": [1]}, "not a mapping with a list"),
        ({"scenarios": [], "rates": {"durations": None}}, "durations is None, not a list"),
        ({"scenarios": [], "rates": {"durations": [3]}}, "as_of"),
        ({"scenarios": [], "rates": {"duration": []}}, "'duration' is not known"),
        (dated(as_of=datetime(2020, 1, 1, tzinfo=UTC)), "without a time"),
        (dated(as_of="2020-01-01"), "not a date"),
        (dated(duration=-17.0), "positive and in years"),
        (dated(duration=170.0), "at most 60"),
        (dated(convexity=3.9), "multiply it first"),
        (dated(convexity=-395.0), "less than duration squared"),
        (dated(convexity=39_500.0), "five times"),
        (dated(convexity=None), "not a finite number"),
        (dated(yield_=0.01), "'yield_' is not known"),
        ({"rates": {"durations": [ENTRY, ENTRY | {"duration": 18.0}]}}, "two durations are dated 2020-01-02"),
        ({"scenarios": ["x"]}, "no id"),
        ({"scenarios": [{"id": "a.b", "shocks": {"market": 0.1}}]}, "letters, digits"),
        ({"scenarios": [{"id": ["x"], "shocks": {"market": 0.1}}]}, "letters, digits"),
        ({"scenarios": [{"id": "x", "name": ["y"], "shocks": {"market": 0.1}}]}, "not a text"),
        ({"scenarios": [{"id": "x", "shock": {}, "shocks": {"market": 0.1}}]}, "'shock' is not known"),
        ({"scenarios": [{"id": "x", "shocks": {1: 0.1, "market": 0.1}}]}, "shocks 1;"),
        ({"scenarios": [{"id": "x", "shocks": {"market": -20}}]}, "-2000%.*-20 % is -0.2"),
        ({"scenarios": [{"id": "x", "shocks": {"market": 20}}]}, "2000%.*-20 % is -0.2"),
        ({"scenarios": [{"id": "x", "shocks": {"market": -1}}]}, "lose more"),
        ({"scenarios": [{"id": "x", "shocks": {"market": True}}]}, "not a finite number"),
        ({"scenarios": [{"id": "x", "shocks": {"market": 10**400}}]}, "not a finite number"),
        ({"scenarios": [{"id": "x", "shocks": {"rates_bp": 0.01}}]}, "less than a basis point"),
        ({"scenarios": [{"id": "x", "name": "\x1b[2J", "shocks": {"market": 0.1}}]}, r"U\+001B"),
        ({"scenarios": [{"id": "x", "name": "x" * 201, "shocks": {"market": 0.1}}]}, "201 characters"),
        ({"scenarios": [{"id": f"x{n}", "shocks": {"market": 0.1}} for n in range(501)]}, "501 scenarios"),
        (
            {"scenarios": [{"id": "x", "shocks": {"rates_bp": 1000}}], "rates": {"durations": [ENTRY]}},
            "beyond 455 basis points",
        ),
    ],
)
def test_a_wrong_scenario_is_named(document: object, part: str) -> None:
    with pytest.raises(BadScenarios, match=part):
        parse(document)


def test_durations_alone_are_a_file() -> None:
    merged = cases.SCENARIOS.extended(parse({"rates": {"durations": [ENTRY]}}))
    assert merged.scenarios == cases.SCENARIOS.scenarios
    assert merged.duration_on(date(2020, 1, 2)) == Duration(**ENTRY)  # type: ignore[arg-type]
    assert merged.duration_on(date(2020, 1, 1)) == cases.SCENARIOS.durations[-1]
    assert merged.duration_on(date(2009, 1, 1)) is None


def test_a_users_move_of_yields_is_held_against_the_built_in_durations() -> None:
    with pytest.raises(BadScenarios, match="Script the return of the proxy"):
        cases.SCENARIOS.extended(parse({"scenarios": [{"id": "x", "shocks": {"rates_bp": 900}}]}))


def test_the_digest_is_of_all_that_moves_a_figure() -> None:
    def digest(shock: float, basis_points: float, **what: object) -> str:
        scenarios = [
            {"id": "a", "shocks": {"market": shock, "size": 0.1}}, {"id": "b", "shocks": {"rates_bp": basis_points}},
        ]  # fmt: skip
        return parse({"scenarios": scenarios, "rates": {"durations": [ENTRY | what]}}).digest()

    same = digest(-0.1, 100.0)
    assert digest(-0.1, 100) == same, "a whole number is the same number"
    others = [
        digest(-0.2, 100.0), digest(-0.1, 101.0), digest(-0.1, 100.0, duration=18.1), digest(-0.1, 100.0, convexity=397.0),
        digest(-0.1, 100.0, as_of=date(2020, 1, 3)),
    ]  # fmt: skip
    assert len({same, *others}) == 6


def test_scripted_shocks_do_not_bear_the_name_of_what_happened() -> None:
    for id_ in ("financial_crisis_2008", "covid_2020", "dot_com_2000"):
        assert BY_ID[id_].name.startswith("Hypothetical: ")
