"""What the joint set must say of the factors themselves, whose answer is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.risk.compute.volatility import trend
from shared.arrays import FloatVector
from shared.market.registry import BETA_WINDOW, FACTOR_NAMES, JOINT_FACTORS, JOINT_PENALTY
from tests.support import chain
from tests.support.chain import Unit, pictured

ROWS = np.arange(BETA_WINDOW)


def wave(frequency: int, phase: float = 0.0) -> FloatVector:
    """A series of unit population variance and mean 0; two of different frequencies are uncorrelated, exactly."""
    values: FloatVector = np.sqrt(2.0) * np.sin(2.0 * np.pi * frequency * ROWS / BETA_WINDOW + phase)
    return values


def betas(returns: dict[str, FloatVector], symbol: str) -> dict[str, float]:
    names, of = chain.facts(returns, [BETA_WINDOW - 1])
    return dict(zip(FACTOR_NAMES, of.joint[0, names.index(symbol)].tolist(), strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_spy_on_spy_has_beta_one_and_no_styles(seed: int) -> None:
    """Through both layers: the symbol's facts, and the exposures of a portfolio that is nothing but SPY."""
    of = pictured(chain.panel(chain.market(seed, 504, [])), Unit(1000.0, {"SPY": 1000.0}))[0]
    joint = {f["factor"]: f["beta"] for f in of.exposures["factors"] if f["set"] == "joint"}
    reported = {f["factor"]: f["beta"] for f in of.exposures["factors"] if f["set"] == "reported"}
    assert joint.pop("market") == pytest.approx(1.0, abs=1e-12)
    assert list(joint.values()) == pytest.approx([0.0] * 6, abs=1e-12)
    assert reported["market_beta"] == pytest.approx(1.0, abs=1e-12), "before any shrinkage"
    assert reported["market_beta_shrunk"] == pytest.approx(1.0, abs=1e-12), "no error, so nothing to shrink"


def test_a_twin_of_tlt_is_shrunk_by_the_penalty_alone() -> None:
    """With residuals that are orthogonal to all others: 1 / (1 + 0.1)."""
    m = 0.01 * wave(3)
    twin = 0.0002 - 0.3 * m + 0.006 * wave(7)
    found = betas({"SPY": m, "TLT": twin, "X": twin}, "X")
    assert found["rates"] == pytest.approx(1.0 / (1.0 + JOINT_PENALTY), rel=1e-12)
    assert found["market"] == pytest.approx(-0.3, rel=1e-12)


def test_a_proxy_is_its_own_factor_and_a_substitute_is_none() -> None:
    """b_k on the market and 1 on itself, without error. The legs of a difference and the fund of growth, which is only reported, are
    funds like any other."""
    returns = chain.market(3, 504, [])
    names, of = chain.facts(returns, [503])
    proxies = of.geometry.symbols[0]
    assert (proxies[1], proxies[2]) == ("VTV-VUG", "VUG")
    joint = np.array(JOINT_FACTORS)
    for f, proxy in enumerate(proxies):
        if f in (1, 2):
            continue
        s = names.index(str(proxy))
        expected = np.eye(8)[f]
        expected[0] = of.geometry.slopes[0, f]
        assert of.joint[0, s, joint].tolist() == expected[joint].tolist(), proxy
        assert of.joint_stderr[0, s, joint].tolist() == [0.0] * 7
        assert of.fit[0, s, [0, 2]].tolist() == [1.0, 0.0]
    for fund in ("VTV", "VUG", "IVE"):
        assert abs(of.joint[0, names.index(fund), 1]) < 0.9
        assert of.fit[0, names.index(fund), 2] > 0.0


def test_growth_is_regressed_on_by_itself_and_moves_nothing() -> None:
    """1 of its own fund, by OLS on the market and it; and the joint set is the one of a market without any growth fund beside it."""
    returns = chain.market(3, 504, ["X"])
    names, of = chain.facts(returns, [503])
    growth = FACTOR_NAMES.index("growth")
    assert of.joint[0, names.index("VUG"), growth] == pytest.approx(1.0, rel=1e-9)
    x, m = returns["X"][-BETA_WINDOW:], np.column_stack([np.ones(BETA_WINDOW), returns["SPY"][-BETA_WINDOW:]])
    alone = np.linalg.lstsq(np.column_stack([m, returns["VUG"][-BETA_WINDOW:]]), x, rcond=None)[0][2]
    assert of.joint[0, names.index("X"), growth] == pytest.approx(alone, rel=1e-9)
    panel = chain.panel(returns)
    stressed = pictured(panel, Unit(1000.0, {"X": 1000.0}))[0].stress["scenarios"]
    for scenario in stressed:
        for leg in (scenario["direct"], scenario["propagated"]):
            assert leg is None or "growth" not in leg["by_factor"]


def test_a_scripted_move_of_a_proxy_comes_out_as_scripted_on_its_holder() -> None:
    of = pictured(
        chain.panel(chain.market(3, 504, [])), Unit(1000.0, {"MTUM": 1000.0}), Unit(1000.0, {"QUAL": 500.0}, 1)
    )
    for picture, factor, weight in ((of[0], "momentum", 1.0), (of[1], "quality", 0.5)):
        crash = next(s for s in picture.stress["scenarios"] if s["id"] == "covid_2020")
        assert crash["propagated"]["fraction"] == pytest.approx(weight * crash["shocks"][factor], rel=1e-9)


@pytest.mark.parametrize("correlation", [-0.95, -0.5, 0.0, 0.8])
def test_opposed_styles_share_an_exposure(correlation: float) -> None:
    """c = (R + 0.1 I)⁻¹ R e₁. At -0.95, as residuals of value and growth funds are: 0.64 and -0.31 of one another's scale, which is
    why the joint set has their difference instead."""
    m, own = 0.01 * wave(3), 0.004 * wave(7)
    opposed = 0.003 * (correlation * wave(7) + np.sqrt(1.0 - correlation**2) * wave(11))
    found = betas({"SPY": m, "QUAL": 0.9 * m + own, "MTUM": 1.1 * m + opposed, "X": 0.9 * m + own}, "X")
    r = np.array([[1.0, correlation], [correlation, 1.0]])
    c = np.linalg.solve(r + JOINT_PENALTY * np.eye(2), r[:, 0])
    assert found["quality"] == pytest.approx(c[0], rel=1e-10)
    assert found["momentum"] == pytest.approx(c[1] * 4.0 / 3.0, rel=1e-10), "in units of momentum's own residual"
    assert found["market"] == pytest.approx(0.9, rel=1e-10), "the market is not penalised"
    if correlation == -0.95:
        assert c == pytest.approx([0.6423, -0.3089], abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.floats(-3.0, 3.0), st.floats(-2.0, 2.0), st.floats(-0.01, 0.01))
def test_a_symbol_made_of_market_and_one_style_has_those_betas(beta: float, style: float, drift: float) -> None:
    """y = drift + β m + s·Z_k: the market beta comes out whole, the style's shrunk by 1/1.1, every other is nothing."""
    m, z = 0.01 * wave(3), 0.004 * wave(9)
    returns = {"SPY": m, "QUAL": 0.95 * m + z, "TLT": 0.006 * wave(13), "Y": drift + beta * m + style * z}
    if not np.ptp(returns["Y"]) > 1e-9:
        return
    found = betas(returns, "Y")
    assert found["market"] == pytest.approx(beta, abs=1e-9)
    assert found["quality"] == pytest.approx(style / (1.0 + JOINT_PENALTY), abs=1e-9)
    assert found["rates"] == pytest.approx(0.0, abs=1e-9)
    assert np.isnan(found["growth"]), "no proxy, so null and not zero"


def test_a_trend_that_compares_months_is_quiet_where_a_slope_cries_wolf() -> None:
    """On noise without any trend the t-value of a slope through rolling volatilities exceeds 2 in some 70 % of cases [T]."""
    rng = np.random.default_rng(5)
    noise = rng.normal(0.0, 0.01, (600, 504))
    rolling = np.sqrt(
        np.stack([noise[:, k : k + 21].var(axis=1, ddof=1) for k in range(504 - 21 - 62, 504 - 20)], axis=1)
    )
    x = np.arange(rolling.shape[1]) - (rolling.shape[1] - 1) / 2
    centred = rolling - rolling.mean(axis=1, keepdims=True)
    slope = centred @ x / (x @ x)
    residual = centred - slope[:, None] * x
    t = slope / np.sqrt((residual**2).sum(axis=1) / (len(x) - 2) / (x @ x))
    assert (np.abs(t) > 2.0).mean() > 0.6
    z = trend(noise, np.ones(noise.shape, dtype=np.bool_))
    assert (np.abs(z) > 2.0).mean() < 0.09
