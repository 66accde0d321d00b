"""Which proxy stands for a factor, and what is null without one."""

from dataclasses import replace

import numpy as np
import pytest

from services.factors.compute import Exposures, exposures
from shared.market import registry
from tests.unit.factors.market import FIRST_CHOICE, WINDOW, Market, chosen, market
from tests.unit.factors.test_regressions import assert_agrees, plain_joint

BUNDLED = {"^GSPC", "MTUM", "QUAL", "SIZE", "USMV", "VLUE"}


def facts(data: Market, *rows: int) -> Exposures:
    return exposures(data.returns, data.proxies, np.array(rows or (data.last,), dtype=np.int64))


def test_the_registry_is_the_table_of_the_design() -> None:
    assert {f.name: f.proxies for f in registry.FACTORS} == {
        "market": ("SPY", "^GSPC"),
        "value": ("VTV", "IVE", "VLUE"),
        "growth": ("VUG", "IVW"),
        "momentum": ("MTUM",),
        "quality": ("QUAL",),
        "size": ("IWM", "SIZE"),
        "low_volatility": ("USMV",),
        "rates": ("TLT",),
    }
    assert registry.FACTOR_NAMES[0] == "market", "arrays start with the market"
    assert len(set(registry.PROXY_SYMBOLS)) == len(registry.PROXY_SYMBOLS) == 13
    assert not set(registry.REFERENCE_ETFS) & set(registry.PROXY_SYMBOLS)


def test_the_first_proxy_with_a_whole_window_is_chosen() -> None:
    assert facts(market()).geometry.symbols[0] == tuple(FIRST_CHOICE.values())


def test_one_missing_return_passes_the_choice_on_and_only_while_it_is_in_the_window() -> None:
    data = market(sessions=WINDOW + 12)
    data.proxies[10, registry.PROXY_SYMBOLS.index("VTV")] = np.nan
    table = facts(data, WINDOW + 9, WINDOW + 10).geometry.symbols
    assert [symbols[1] for symbols in table] == ["IVE-IVW", "VTV-VUG"]
    data.proxies[10, registry.PROXY_SYMBOLS.index("IVW")] = np.nan
    table = facts(data, WINDOW + 9, WINDOW + 10).geometry.symbols
    assert [symbols[1:3] for symbols in table] == [("VLUE-SPY", "VUG"), ("VTV-VUG", "VUG")], "a pair needs both"


def test_before_the_first_whole_window_there_is_no_proxy() -> None:
    data = market()
    result = facts(data, WINDOW - 2, WINDOW - 1)
    assert result.geometry.symbols[0] == (None,) * 8
    assert result.reasons(0, 0)["market_beta"] == result.reasons(0, 0)["joint"] == "no_proxy"
    assert result.reasons(1, 0) == {}


def test_without_a_proxy_the_factor_is_null_and_the_others_are_as_if_it_did_not_exist() -> None:
    data = market(symbols=4, gaps=0.03).without(*(set(registry.PROXY_SYMBOLS) - BUNDLED))
    result = facts(data)
    assert result.geometry.symbols[0] == ("^GSPC", "VLUE-^GSPC", None, "MTUM", "QUAL", "SIZE", "USMV", None)
    for s in range(4):
        assert result.reasons(0, s) == {
            "ir_beta": "no_proxy",
            "spread_growth_value": "no_proxy",
            "growth": "no_proxy",
            "rates": "no_proxy",
            "alpha": "price_index",
        }
        n = int(result.n_obs[0, s])
        assert result.observations()[0, s].tolist() == [n, 0, 0, n, n, n, n]
    assert np.isnan(result.joint[0][:, [2, 7]]).all()
    assert np.isfinite(result.joint[0][:, [0, 1, 3, 4, 5, 6]]).all()
    assert np.isnan(result.ir_beta).all()
    assert np.isnan(result.spreads[0, :, 0]).all()
    assert np.isfinite(result.spreads[0, :, 1:]).all()
    # The regression on the six that are left, worked out again by the slow version.
    names = {f: s for f, s in zip(registry.FACTOR_NAMES, result.geometry.symbols[0], strict=True) if s}
    for s in range(4):
        betas, r2, sd = plain_joint(data.returns[-WINDOW:, s], chosen(data, data.last, names))
        there = [registry.FACTOR_NAMES.index(name) for name in betas]
        np.testing.assert_allclose(result.joint[0, s, there], list(betas.values()), rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(result.fit[0, s, [0, 2]], [r2, sd], rtol=1e-9)


def test_without_a_market_everything_is_null() -> None:
    data = market().without("SPY", "^GSPC")
    result = facts(data)
    assert np.isnan(result.joint).all()
    assert np.isnan(result.market).all()
    assert result.n_obs.tolist() == [[0] * 9]
    reasons = result.reasons(0, 0)
    assert set(reasons.values()) <= {"no_proxy", "zero_variance"}
    assert reasons["market_beta"] == reasons["joint"] == reasons["spread_momentum"] == "no_proxy"


@pytest.mark.parametrize("flat", ["MTUM", "TLT"])
def test_a_proxy_that_only_follows_the_market_says_nothing(flat: str) -> None:
    data = market()
    data.proxies[:, registry.PROXY_SYMBOLS.index(flat)] = 0.7 * data.proxy("SPY")
    result = facts(data)
    factor = next(f.name for f in registry.FACTORS if flat in f.proxies)
    assert result.reasons(0, 0)[factor] == "zero_variance"
    assert np.isnan(result.joint[0, :, registry.FACTOR_NAMES.index(factor)]).all()
    assert np.isfinite(result.joint[0, :, 0]).all()


def test_slopes_and_sigmas_describe_the_residuals() -> None:
    data = market()
    result = facts(data)
    factors = chosen(data, data.last, FIRST_CHOICE)
    m = factors["market"]
    for f, (name, x) in enumerate(factors.items()):
        slope, intercept = np.polyfit(m, x, 1)
        np.testing.assert_allclose(result.geometry.slopes[0, f], slope, rtol=1e-9)
        if name != "market":
            np.testing.assert_allclose(result.geometry.sigmas[0, f], (x - slope * m - intercept).std(), rtol=1e-9)
    assert np.isnan(result.geometry.sigmas[0, 0])


def test_substitutes_change_the_numbers_as_statsmodels_says() -> None:
    data = market(symbols=2).without("VTV", "SPY", "IWM")
    names = FIRST_CHOICE | {"market": "^GSPC", "value": "IVE-IVW", "size": "SIZE"}
    result = facts(data)
    assert result.geometry.symbols[0] == tuple(names.values())
    for s in range(2):
        assert_agrees(result, 0, s, data.returns[-WINDOW:, s], chosen(data, data.last, names))


def with_curve(data: Market, returns: np.ndarray) -> Market:
    return replace(data, proxies=np.column_stack([data.proxies, returns]))


def test_the_yield_curve_stands_for_rates_only_where_no_fund_is_whole() -> None:
    data = market(sessions=WINDOW + 12)
    fund = data.proxies[:, registry.PROXY_SYMBOLS.index("TLT")].copy()
    data.proxies[10, registry.PROXY_SYMBOLS.index("TLT")] = np.nan
    table = facts(with_curve(data, fund), WINDOW + 9, WINDOW + 10).geometry.symbols
    assert [symbols[-1] for symbols in table] == [registry.CURVE_PROXY, "TLT"]
    fund[WINDOW + 9] = np.nan
    assert facts(with_curve(data, fund), WINDOW + 9).geometry.symbols[0][-1] is None, "its own curve is not there yet"


def test_the_factors_on_the_curve_are_those_of_a_fund_with_its_returns() -> None:
    data = market(symbols=4, gaps=0.03)
    fund = data.proxies[:, registry.PROXY_SYMBOLS.index("TLT")]
    on_fund, on_curve = facts(data), facts(with_curve(data.without("TLT"), fund))
    np.testing.assert_array_equal(on_curve.joint, on_fund.joint)
    np.testing.assert_array_equal(on_curve.ir_beta, on_fund.ir_beta)
    assert on_curve.geometry.symbols[0][-1] == registry.CURVE_PROXY
