"""Losses by factor: against a plain loop over the worst days, and as the solution of the problem that a reverse stress poses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
from scipy.optimize import minimize

from services.risk.compute.factor_model import factor_model
from services.risk.compute.inputs import Panel
from services.risk.compute.report import build_reports
from shared.market.registry import FACTOR_NAMES, JOINT_FACTORS, LOOKBACK, REVERSE_LOSS
from shared.market.stress_losses import apply
from tests.support.risk import Answered, answered
from tests.unit.risk import cases
from tests.unit.risk.cases import Lot, Unit

STOCKS = ["AAA", "BBB", "CCC"]
VALUES: Mapping[str, float] = MappingProxyType({"AAA": 500.0, "BBB": -200.0, "CCC": 300.0})
PANEL = cases.panel(STOCKS, 2)
MODEL = factor_model(PANEL)
JOINT = np.flatnonzero(JOINT_FACTORS)


def pictured(panel: Panel = PANEL, *, nav: float = 1000.0, values: Mapping[str, float] = VALUES) -> Answered:
    unit = Unit(nav, tuple(Lot(symbol, value) for symbol, value in values.items()), session=1)
    [found] = build_reports(panel, cases.book(panel, [unit]), cases.SCENARIOS)
    return answered(found, cases.SCENARIOS)


def test_factors_and_the_rest_have_the_whole_expected_shortfall() -> None:
    of = pictured()
    windows = PANEL.windows()[:, 1]
    series = sum(value / 1000.0 * windows[PANEL.symbols.index(symbol)] for symbol, value in VALUES.items())
    quantile = float(np.quantile(series, 0.025))
    worst = [t for t in range(LOOKBACK) if series[t] <= quantile]
    beta = {f["factor"]: f["beta"] for f in of.exposures["factors"] if f["set"] == "joint"}
    market = windows[PANEL.proxies[1, 0]]
    found = of.risk["es_factors"]
    for k in JOINT.tolist():
        own = windows[PANEL.proxies[1, k]] - (MODEL.slopes[1, k] * market if k else 0.0)
        expected = -beta[FACTOR_NAMES[k]] * math.fsum(own[t] for t in worst) / len(worst)
        assert found["factors"][FACTOR_NAMES[k]] == pytest.approx(expected, rel=1e-9), FACTOR_NAMES[k]
    es = next(t["es"] for t in of.risk["var"] if (t["method"], t["level"]) == ("historical", 0.975))
    assert set(found["factors"]) == {FACTOR_NAMES[k] for k in JOINT}
    assert math.fsum(found["factors"].values()) + found["specific"] == pytest.approx(es, rel=1e-12)


def test_a_reverse_stress_is_the_likeliest_move_that_loses_so_much() -> None:
    """The least s'Σ⁻¹s of all moves with b's = -x, as a general optimiser finds it; and a book of those betas loses x by it."""
    of = pictured()
    found = of.risk["reverse_stress"]
    b = np.array([next(f["beta"] for f in of.exposures["factors"] if f["factor"] == FACTOR_NAMES[k]) for k in JOINT])
    inverse = np.linalg.inv(MODEL.recent[1][np.ix_(JOINT, JOINT)])
    scale = np.sqrt(np.diagonal(MODEL.recent[1])[JOINT])
    best = minimize(
        lambda u: (u * scale) @ inverse @ (u * scale), np.zeros(len(b)), method="SLSQP", options={"ftol": 1e-14, "maxiter": 500},
        constraints={"type": "eq", "fun": lambda u: b @ (u * scale) + REVERSE_LOSS},
    )  # fmt: skip
    move = best.x * scale
    raw = move + np.where(JOINT > 0, MODEL.slopes[1, JOINT] * move[0], 0.0)
    assert [found["shocks"][FACTOR_NAMES[k]] for k in JOINT] == pytest.approx(raw.tolist(), rel=1e-4, abs=1e-5)
    assert found["sigmas"] == pytest.approx(math.sqrt(best.fun / 63), rel=1e-4)
    shock = np.zeros((1, 1, 8))
    shocks = [found["shocks"][FACTOR_NAMES[k]] for k in JOINT]
    shock[0, 0, JOINT] = [
        s - MODEL.slopes[1, k] * shocks[0] if k else s for k, s in zip(JOINT.tolist(), shocks, strict=True)
    ]
    held = {p["symbol"]: [p["betas"][name] for name in FACTOR_NAMES] for p in of.exposures["positions"]}
    small = apply(np.array([[*VALUES.values()]]), np.array([[held[s] for s in VALUES]]), shock / 10.0)
    assert small.money[0, 0] == pytest.approx(-1000.0 * REVERSE_LOSS / 10.0, rel=1e-9), "before any floor"


def test_a_move_in_which_a_factor_loses_all_is_no_move() -> None:
    """A thousandth of NAV in shares: nothing that the market does loses a tenth; how far off it is stands there all the same."""
    of = pictured(nav=1000.0 * sum(VALUES.values()))
    found = of.risk["reverse_stress"]
    assert set(found["shocks"].values()) == {None}
    assert found["sigmas"] > 5.0
    assert {"figure": "reverse_stress", "symbol": None, "reason": "implausible"} in of.reasons
    # Also where five deviations are more than everything: of a market that moves eight times as much.
    wild = replace(PANEL, returns=(8.0 * PANEL.returns).clip(-0.9, 3.0))
    loud = pictured(wild, nav=20.0 * sum(VALUES.values()))
    assert loud.risk["reverse_stress"]["sigmas"] < 5.0
    assert set(loud.risk["reverse_stress"]["shocks"].values()) == {None}
    assert {"figure": "reverse_stress", "symbol": None, "reason": "implausible"} in loud.reasons


def test_without_exposures_or_nav_nothing_is_said_and_why() -> None:
    for of, reason in (
        (pictured(nav=-5.0), "nav_not_positive"),
        (pictured(cases.panel(STOCKS, 2, without=["market"])), "no_proxy"),
    ):
        assert of.risk["es_factors"] is of.risk["reverse_stress"] is None
        for figure in ("es_factors", "reverse_stress"):
            assert {"figure": figure, "symbol": None, "reason": reason} in of.reasons
    still = pictured(values={})
    assert still.risk["reverse_stress"] is None
    assert {"figure": "reverse_stress", "symbol": None, "reason": "zero_variance"} in still.reasons


def test_what_is_uncovered_stands_beside_with_the_markets_move() -> None:
    """Covered value alone, and everything filled with beta 1: of beta and of stress."""
    joint = PANEL.joint.copy()
    joint[:, PANEL.symbols.index("BBB")] = np.nan
    of = pictured(replace(PANEL, joint=joint), values={"AAA": 800.0, "BBB": -100.0})
    beta = of.risk["beta"]
    assert beta["aggregated"] == pytest.approx(0.8 * joint[1, PANEL.symbols.index("AAA"), 0])
    assert beta["aggregated_filled"] == pytest.approx(beta["aggregated"] - 0.1)
    by_id = {scenario["id"]: scenario for scenario in of.stress["scenarios"]}
    down = by_id["market_down_10"]["direct"]
    assert down["fraction_filled"] == pytest.approx(down["fraction"] + 0.1 * 0.1)
    small = by_id["small_cap_10"]
    assert small["direct"]["fraction_filled"] == small["direct"]["fraction"], "the market stands still"
    moved = small["propagated"]["shocks"]["market"]
    assert small["propagated"]["fraction_filled"] == pytest.approx(small["propagated"]["fraction"] - 0.1 * moved)
