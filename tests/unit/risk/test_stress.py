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
from services.risk.compute.scenarios import BadScenarios, Duration, Replay, Scenario, Scenarios
from services.risk.compute.stress import Shocks, all_shocks, shocks
from shared.arrays import FloatVector
from shared.market.registry import FACTOR_NAMES, JOINT_FACTORS, LOOKBACK
from shared.market.stress_losses import apply
from tests.unit.risk import cases

PANEL = cases.panel(["AAA", "BBB"], 3)
MODEL = factor_model(PANEL)
BY_ID = {scenario.id: scenario for scenario in cases.SCENARIOS.scenarios}
VALUE_AT = FACTOR_NAMES.index("value")
JOINT = np.flatnonzero(JOINT_FACTORS)


def moved(scenario: Scenario) -> Shocks:
    return shocks(cases.SCENARIOS, scenario, MODEL, PANEL.sessions)


def windows(s: int) -> Any:
    """(F, 252) returns of the proxies on session s."""
    return PANEL.windows()[PANEL.proxies[s], s][:, -252:]


def test_the_24_scenarios_are_there() -> None:
    assert len(BY_ID) == 24
    assert BY_ID["market_down_10"].shocks == {"market": -0.1}
    assert sorted(s.rates_bp for s in BY_ID.values() if s.rates_bp is not None) == [-100, -50, -25, 25, 50, 100, 300]


def test_slopes_leave_residuals_without_market() -> None:
    for s in range(3):
        raw = windows(s)
        for k in JOINT[1:].tolist():
            slope, _ = np.polyfit(raw[0], raw[k], 1)
            assert MODEL.slopes[s, k] == pytest.approx(slope, rel=1e-9)
            assert abs(MODEL.sample[s, 0, k]) < 1e-18


def test_sample_covariance_and_correlation_against_numpy() -> None:
    for s in range(3):
        raw = windows(s)
        residual = raw - MODEL.slopes[s][:, None] * raw[0]
        residual[0] = raw[0]
        assert MODEL.sample[s][np.ix_(JOINT, JOINT)] == pytest.approx(np.cov(residual[JOINT], ddof=1), abs=1e-16)
        assert MODEL.correlation[s][np.ix_(JOINT, JOINT)] == pytest.approx(np.corrcoef(raw[JOINT]), abs=1e-13)
        alone = FACTOR_NAMES.index("growth")
        assert not MODEL.sample[s, alone].any(), "growth is reported, and in no model"
        assert np.isnan(MODEL.correlation[s, alone]).all()


def test_recent_covariance_against_a_plain_loop() -> None:
    raw = windows(2)
    weight = np.array([0.5 ** (age / 63) for age in range(251, -1, -1)])
    weight /= weight.sum()
    residual = raw - MODEL.slopes[2][:, None] * raw[0]
    residual[0] = raw[0]
    means = [sum(weight * row) for row in residual]
    for i in JOINT.tolist():
        for j in JOINT.tolist():
            expected = sum(weight * (residual[i] - means[i]) * (residual[j] - means[j]))
            if (i == 0) != (j == 0):
                expected = 0.0
            assert MODEL.recent[2, i, j] == pytest.approx(expected, abs=1e-17)


@pytest.mark.parametrize("id_", sorted(BY_ID))
def test_a_scripted_shock_comes_out_as_scripted(id_: str) -> None:
    found = moved(BY_ID[id_])
    index = list(BY_ID[id_].scripted_factors())
    assert found.reasons == (None, None, None)
    relative = [k for k in index if BY_ID[id_].is_relative(FACTOR_NAMES[k])]
    stated = [k for k in index if k not in relative]
    assert np.array_equal(found.raw[:, stated], found.scripted[:, stated])
    assert np.array_equal(found.propagated[:, relative], found.scripted[:, relative])
    assert not found.capped[:, index].any()
    # The residual shocks say the same: raw = b·market + residual.
    rebuilt = MODEL.slopes * found.propagated[:, :1] + found.propagated
    rebuilt[:, 0] = found.propagated[:, 0]
    assert rebuilt == pytest.approx(found.raw, abs=1e-15)


@pytest.mark.parametrize("id_", [id_ for id_, s in BY_ID.items() if s.scripted_factors() == (0,)])
def test_a_market_only_scenario_propagated_is_the_direct_one(id_: str) -> None:
    found = moved(BY_ID[id_])
    assert found.propagated == pytest.approx(found.direct, abs=1e-14)
    assert found.raw == pytest.approx(MODEL.slopes * BY_ID[id_].shocks["market"], abs=1e-14)


@pytest.mark.parametrize(
    "script",
    [{"momentum": 0.01, "quality": -0.004}, {"market": -0.02, "size": 0.015}, {"market": 0.01, "quality": -0.01}],
)
def test_unscripted_factors_take_the_conditional_mean(script: dict[str, float]) -> None:
    """Of all that is scripted at once, the market with it: what a style is told beside the market moves the others too."""
    found = moved(Scenario("x", "x", script, None))
    assert not found.capped.any()
    scripted = [FACTOR_NAMES.index(name) for name in script]
    free = [k for k in range(8) if k not in scripted and JOINT_FACTORS[k]]
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
    k = FACTOR_NAMES.index("quality")
    found = moved(Scenario("x", "x", {"quality": -0.9}, None))
    limit = 3.0 * math.sqrt(63) * np.sqrt(np.diagonal(MODEL.recent, axis1=1, axis2=2))
    assert found.capped[:, 0].all()
    assert not found.capped[:, k].any()
    assert found.propagated[:, 0] == pytest.approx(-limit[:, 0])
    assert (np.abs(np.delete(found.propagated, k, axis=1)) <= np.delete(limit, k, axis=1) * (1 + 1e-12)).all()
    assert found.raw[:, k].tolist() == [-0.9] * 3
    # The scripted proxy's residual takes up what the capped market no longer explains.
    assert found.propagated[:, k] == pytest.approx(-0.9 - MODEL.slopes[:, k] * found.propagated[:, 0])


def axis(script: dict[str, float], *, relative: bool = False) -> FloatVector:
    """(3,) residual shock of value, by hand: as the legs' residuals go together over the window."""
    found = moved(Scenario("x", "x", script, None, relative=relative))
    assert found.reasons == (None,) * 3
    assert np.array_equal(found.direct[:, VALUE_AT], found.propagated[:, VALUE_AT])
    return found.direct[:, VALUE_AT]


def test_value_and_growth_are_one_axis() -> None:
    """Both legs: their difference. One: its residual times Cov(axis, leg) / Var(leg) of the window, signed. Here VTV is the axis."""
    both = moved(Scenario("x", "x", {"value": -0.02, "growth": 0.01}, None))
    assert both.raw[:, VALUE_AT].tolist() == [-0.03] * 3
    assert not both.direct[:, FACTOR_NAMES.index("growth")].any()
    assert axis({"value": 0.02}) == pytest.approx([0.02] * 3)
    assert axis({"market": -0.1, "value": 0.02}) == pytest.approx(0.02 + 0.1 * MODEL.slopes[:, VALUE_AT])
    assert axis({"market": -0.1, "value": 0.02}, relative=True) == pytest.approx([0.02] * 3)
    found, expected = axis({"market": -0.1, "growth": 0.02}), []
    for s in range(3):
        m, value, growth = (
            PANEL.returns[PANEL.symbols.index(name), s : s + LOOKBACK][-252:] for name in ("SPY", "VTV", "VUG")
        )
        slope = [np.polyfit(m, of, 1) for of in (value, growth)]
        z = [of - np.polyval(line, m) for of, line in zip((value, growth), slope, strict=True)]
        expected.append((0.02 + 0.1 * slope[1][0]) * (z[0] @ z[1]) / (z[1] @ z[1]))
    assert found == pytest.approx(expected, rel=1e-8)


def test_direct_leaves_an_unscripted_market_alone() -> None:
    found = moved(BY_ID["small_cap_10"])
    assert found.direct[:, 0].tolist() == [0.0] * 3
    k = FACTOR_NAMES.index("size")
    assert found.direct[:, k] == pytest.approx(3 * np.sqrt(63 * MODEL.recent[:, k, k]))
    found = moved(Scenario("x", "x", {"quality": 0.12, "market": -0.05}, None))
    k = FACTOR_NAMES.index("quality")
    assert found.direct[:, k] == pytest.approx(0.12 + 0.05 * MODEL.slopes[:, k])


def test_a_relative_shock_is_beside_the_markets_share_and_moves_no_market() -> None:
    """The mean of the others given residuals: the market has none of it, since residuals are what it leaves."""
    script = {"market": -0.05, "quality": 0.01, "size": -0.02}
    found = moved(Scenario("x", "x", script, None, relative=True))
    index = [FACTOR_NAMES.index(name) for name in ("quality", "size")]
    free = [k for k in JOINT[1:].tolist() if k not in index]
    assert np.array_equal(found.direct[:, index], np.tile([0.01, -0.02], (3, 1)))
    assert np.array_equal(found.propagated[:, index], found.direct[:, index])
    assert found.propagated[:, 0].tolist() == [-0.05] * 3
    assert found.raw[:, index] == pytest.approx(-0.05 * MODEL.slopes[:, index] + [0.01, -0.02])
    for s in range(3):
        own = MODEL.recent[s]
        mean = own[np.ix_(free, index)] @ np.linalg.solve(own[np.ix_(index, index)], [0.01, -0.02])
        assert found.propagated[s, free] == pytest.approx(mean, rel=1e-8)
    alone = moved(Scenario("x", "x", {"quality": 0.01}, None, relative=True))
    assert np.abs(alone.propagated[:, 0]).max() < 1e-15


def test_sigmas_are_of_the_sessions_own_quarter_and_stand_beside_returns() -> None:
    found = moved(Scenario("x", "x", {"market": -0.05}, None, sigmas={"quality": 3.0}))
    k = FACTOR_NAMES.index("quality")
    expected = 3.0 * np.sqrt(63 * MODEL.recent[:, k, k])
    assert found.direct[:, k] == pytest.approx(expected)
    assert found.raw[:, k] == pytest.approx(expected - 0.05 * MODEL.slopes[:, k])
    assert len(set(found.direct[:, k].tolist())) == 3, "of each session"
    assert not found.implausible.any()


def test_a_scripted_residual_beyond_five_sigma_of_a_quarter_is_implausible_and_the_market_never_is() -> None:
    k = FACTOR_NAMES.index("quality")
    quarter = float(np.sqrt(63 * MODEL.recent[:, k, k]).max())
    for size, implausible in ((5.01, True), (-5.01, True), (4.0, False)):
        found = moved(Scenario("x", "x", {"market": -0.6, "quality": size * quarter}, None, relative=True))
        assert found.implausible[:, k].all() == implausible, size
        assert not np.delete(found.implausible, k, axis=1).any()
    # A fund's return that says the market's share with it is no residual.
    raw = Scenario("x", "x", {"market": -0.3, "quality": -0.3 * float(MODEL.slopes[0, k])}, None)
    assert not moved(raw).implausible[0].any()


WINDOW = (date(2020, 2, 19), date(2020, 3, 23))


def test_a_replay_takes_the_returns_of_the_proxies_that_there_are() -> None:
    replay = BY_ID["covid_2020"].replay
    assert replay is not None
    found = moved(BY_ID["covid_2020"])
    names = MODEL.proxies[0]
    expected = [replay.returns[name or ""] if joint else 0.0 for name, joint in zip(names, JOINT_FACTORS, strict=True)]
    assert found.raw == pytest.approx(np.tile(expected, (3, 1)))
    assert found.direct == pytest.approx(found.propagated), "with all of them scripted nothing is left to follow"
    assert not found.not_replayed.any()

    panel = cases.panel(["AAA"], without=["growth"])
    model = factor_model(panel)
    known = Replay(*WINDOW, {"SPY": -0.3, "QUAL": -0.28})
    of = shocks(cases.SCENARIOS, Scenario("x", "x", {}, None, replay=known), model, panel.sessions)
    assert of.reasons == (None,)
    missing = [FACTOR_NAMES[k] for k in np.flatnonzero(of.not_replayed[0])]
    assert missing == ["value", "momentum", "size", "low_volatility", "rates"]
    plain = Scenario("x", "x", {"market": -0.3, "quality": -0.28}, None)
    assert np.array_equal(of.raw, shocks(cases.SCENARIOS, plain, model, panel.sessions).raw), "the rest follows"


def test_a_replay_that_does_not_know_the_sessions_market_is_withheld() -> None:
    unknown = Scenario("x", "x", {}, None, replay=Replay(*WINDOW, {"^GSPC": -0.3, "QUAL": -0.28}))
    found = moved(unknown)
    assert found.reasons == ("no_proxy",) * 3
    assert not found.raw.any()
    assert not found.not_replayed.any()


def test_one_session_alone_is_shocked_to_the_same_digits() -> None:
    for s in range(3):
        alone = cases.one_session(PANEL, s)
        own = all_shocks(cases.SCENARIOS, factor_model(alone), alone.sessions)
        for one, whole in zip(own, all_shocks(cases.SCENARIOS, MODEL, PANEL.sessions), strict=True):
            assert one.raw[0].tobytes() == whole.raw[s].tobytes(), one.scenario.id


def test_a_scenario_on_a_factor_without_proxy_is_withheld_and_the_others_stand() -> None:
    panel = cases.panel(["AAA"], without=["value"])
    model = factor_model(panel)
    reasons = {s.id: shocks(cases.SCENARIOS, s, model, panel.sessions).reasons[0] for s in cases.SCENARIOS.scenarios}
    assert {id_ for id_, reason in reasons.items() if reason} == {
        "value_rotation_20",
        "growth_rally_15",
        "financial_crisis_2008",
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
    merged = cases.SCENARIOS.extend(own)
    assert len(merged.scenarios) == 25
    assert {s.id: s for s in merged.scenarios}["market_down_10"].shocks == {"market": -0.12}
    assert merged.durations == cases.SCENARIOS.durations


ENTRY = {"as_of": date(2020, 1, 2), "duration": 18.0, "convexity": 396.0}


def dated(**what: object) -> dict[str, object]:
    return {"scenarios": [], "rates": {"durations": [ENTRY | what]}}


SATURDAY = {"from": date(2020, 2, 22), "to": date(2020, 2, 23)}


def window(first: date, last: date) -> dict[str, object]:
    return {"scenarios": [{"id": "x", "replay": {"from": first, "to": last}}]}


def test_a_replay_with_stated_returns_may_be_older_than_the_calendar() -> None:
    of = {"from": date(1987, 10, 13), "to": date(1987, 10, 19), "returns": {"SPY": -0.28}}
    assert parse({"scenarios": [{"id": "x", "replay": of}]}).scenarios[0].replay == Replay(
        date(1987, 10, 13), date(1987, 10, 19), {"SPY": -0.28}
    )


def replayed(**what: object) -> dict[str, object]:
    return {"from": WINDOW[0], "to": WINDOW[1], "returns": {"SPY": -0.3}} | what


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
        ({"scenarios": [{"id": "x", "shocks": {"market": 0.1}, "relative": True}]}, "shocks no style"),
        ({"scenarios": [{"id": "x", "shocks": {"size": 0.1}, "relative": "yes"}]}, "write true or false"),
        ({"scenarios": [{"id": "x", "sigmas": {"market": 3}}]}, "'market' in sigmas"),
        ({"scenarios": [{"id": "x", "sigmas": {}}]}, "write standard deviations"),
        ({"scenarios": [{"id": "x", "sigmas": {"size": 25}}]}, "beyond 20"),
        ({"scenarios": [{"id": "x", "sigmas": {"value": 3, "growth": 3}}]}, "one axis, value less growth"),
        ({"scenarios": [{"id": "x", "shocks": {"market": 0.1}, "vol": 0.5}]}, "implied volatilities do"),
        (
            {"scenarios": [{"id": "x", "shocks": {"market": 0.1}, "vol": {"relative": 0.5, "points": 1}}]},
            "implied volatilities do",
        ),
        ({"scenarios": [{"id": "x", "shocks": {"market": 0.1}, "vol": {"relative": -1}}]}, "between -1 and 10"),
        ({"scenarios": [{"id": "x", "shocks": {"market": 0.1}, "vol": {"points": 0.05}}]}, "a point is one per cent"),
        ({"scenarios": [{"id": "x", "sigmas": {"size": 3}, "shocks": {"size": 0.1}}]}, "keep one"),
        ({"scenarios": [{"id": "x", "sigmas": {"rates": 3}, "shocks": {"rates_bp": 50}}]}, "keep one"),
        ({"scenarios": [{"id": "x", "replay": 2020}]}, "write it as"),
        ({"scenarios": [{"id": "x", "replay": replayed(), "shocks": {"market": 0.1}}]}, "shocks beside replay"),
        ({"scenarios": [{"id": "x", "replay": replayed(to=date(2020, 2, 19))}]}, "not after"),
        ({"scenarios": [{"id": "x", "replay": replayed(to="2020-03-23")}]}, "not a date"),
        (window(date(2020, 2, 22), date(2020, 2, 23)), "no session lies after 2020-02-22"),
        ({"scenarios": [{"id": "x", "replay": replayed(to=date(2020, 2, 20)) | SATURDAY}]}, "no session lies after"),
        (window(date(1987, 10, 13), date(1987, 10, 19)), "before 1990-01-02, from which on sessions are known; state"),
        (window(date(2020, 2, 19), date(2120, 3, 23)), "a replay is what happened"),
        ({"scenarios": [{"id": "x", "replay": replayed(to=date(2120, 3, 23))}]}, "a replay is what happened"),
        ({"scenarios": [{"id": "x", "replay": replayed(returns={})}]}, "no returns of proxies"),
        ({"scenarios": [{"id": "x", "replay": replayed(returns={"AAPL": 0.1})}]}, "'AAPL'; known are SPY"),
        ({"scenarios": [{"id": "x", "replay": replayed(returns={"QUAL": 0.1})}]}, "no return of the market"),
        ({"scenarios": [{"id": "x", "replay": replayed(returns={"SPY": -33.7})}]}, "-20 % is -0.2"),
        ({"scenarios": [{"id": "x", "replay": replayed(start=1)}]}, "'start' is not known"),
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


def test_growth_in_sigmas_is_value_with_the_sign_turned() -> None:
    for sigmas in ({"growth": -2.0}, {"value": 2.0}, {"value": 2.0, "growth": -2.0}):
        [found] = parse({"scenarios": [{"id": "x", "sigmas": sigmas}]}).scenarios
        assert found.sigmas == {"value": 2.0}


def test_durations_alone_are_a_file() -> None:
    merged = cases.SCENARIOS.extend(parse({"rates": {"durations": [ENTRY]}}))
    assert merged.scenarios == cases.SCENARIOS.scenarios
    assert merged.duration_on(date(2020, 1, 2)) == Duration(**ENTRY)  # type: ignore[arg-type]
    assert merged.duration_on(date(2020, 1, 1)) == cases.SCENARIOS.durations[-1]
    assert merged.duration_on(date(2009, 1, 1)) is None


def test_a_users_move_of_yields_is_held_against_the_built_in_durations() -> None:
    with pytest.raises(BadScenarios, match="Script the return of the proxy"):
        cases.SCENARIOS.extend(parse({"scenarios": [{"id": "x", "shocks": {"rates_bp": 900}}]}))


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
    sets: list[dict[str, object]] = [
        {"shocks": {"size": 0.1}}, {"shocks": {"size": 0.1}, "relative": True}, {"sigmas": {"size": 3}}, {"sigmas": {"size": 2}},
        {"replay": replayed()}, {"replay": replayed(returns={"SPY": -0.31})}, {"replay": replayed(to=date(2020, 3, 24))},
    ]  # fmt: skip
    assert len({parse({"scenarios": [{"id": "a", **of}]}).digest() for of in sets}) == len(sets)


def test_what_is_made_up_does_not_bear_the_name_of_what_happened() -> None:
    for id_ in ("financial_crisis_2008", "dot_com_2000"):
        assert BY_ID[id_].name.startswith("Hypothetical: ")
    for id_, scenario in BY_ID.items():
        if scenario.replay is not None:
            assert f"{scenario.replay.first} to {scenario.replay.last}" in scenario.name, id_
    assert [id_ for id_, of in BY_ID.items() if of.replay] == ["covid_2020", "selloff_2018", "rate_rise_2022"]
