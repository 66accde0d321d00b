"""The real prices that come with Leadline: what they can say is right, what they cannot is withheld."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import deploy.embedded
from services.factors.compute import exposures
from shared.arrays import FloatMatrix, FloatVector
from shared.market import registry
from tests.unit.factors.market import WINDOW, Market
from tests.unit.factors.test_regressions import plain_joint

STOCKS = ["AAPL", "JPM", "KO", "AMZN"]


@pytest.fixture(scope="module")
def returns() -> pd.DataFrame:
    """Total returns of 2019 and 2020, decimal daily, of the sessions of the index."""
    path = Path(deploy.embedded.__file__).parent / "data" / "prices.parquet"
    levels = pd.read_parquet(path).pivot(index="date", columns="symbol", values="adj_close")
    levels = levels.loc["2018-12-01":"2020-12-31"].dropna(subset=["^GSPC"])
    return levels.pct_change(fill_method=None)


def columns(returns: pd.DataFrame, symbols: list[str]) -> FloatMatrix:
    return returns.reindex(columns=symbols).to_numpy(dtype=np.float64)


def test_what_has_a_proxy_agrees_with_a_plain_solve_and_the_rest_is_withheld(returns: pd.DataFrame) -> None:
    proxies = columns(returns, list(registry.PROXY_SYMBOLS))
    last = len(returns) - 1
    result = exposures(columns(returns, STOCKS), proxies, np.array([last]))
    assert result.geometry.symbols[0] == ("^GSPC", "VLUE-^GSPC", None, "MTUM", "QUAL", "SIZE", "USMV", None)
    names = {f: s for f, s in zip(registry.FACTOR_NAMES, result.geometry.symbols[0], strict=True) if s}
    factors: dict[str, FloatVector] = {
        factor: Market(proxies, proxies).proxy(symbol)[-WINDOW:] for factor, symbol in names.items()
    }
    for s, symbol in enumerate(STOCKS):
        betas, r2, sd = plain_joint(columns(returns, STOCKS)[-WINDOW:, s], factors)
        there = [registry.FACTOR_NAMES.index(name) for name in betas]
        np.testing.assert_allclose(result.joint[0, s, there], list(betas.values()), rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(result.fit[0, s, [0, 2]], [r2, sd], rtol=1e-9)
        assert result.reasons(0, s)["growth"] == result.reasons(0, s)["rates"] == "no_proxy", symbol
        assert result.reasons(0, s)["alpha"] == "price_index", symbol
    assert result.quality()[0, STOCKS.index("KO")] == "full"
    assert result.quality()[0, STOCKS.index("AMZN")] == "limited", "its prices end on 2020-07-31"


def test_a_bank_moves_more_with_the_market_than_a_soft_drink(returns: pd.DataFrame) -> None:
    result = exposures(
        columns(returns, ["JPM", "KO"]), columns(returns, list(registry.PROXY_SYMBOLS)), np.array([len(returns) - 1])
    )
    jpm, ko = result.market[0, :, 0]
    assert 0.7 < ko < 1.0 < jpm < 1.5
