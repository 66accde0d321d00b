"""The data that comes with Leadline, as of 2020-12-31: what it cannot say is withheld with a reason, and it can say the rest."""

from __future__ import annotations

from datetime import date

import pytest

from tests.support import chain
from tests.support.chain import Unit, pictured
from tests.support.pipeline import BUNDLED_PRICES
from tests.support.pricefiles import grid
from tests.support.risk import Answered

AS_OF = date(2020, 12, 31)
HELD = {"AAPL": 30_000.0, "MSFT": 20_000.0, "JPM": 15_000.0, "KO": 10_000.0, "PG": 15_000.0, "XOM": -10_000.0}
PROXIES = ["^GSPC", "MTUM", "QUAL", "SIZE", "USMV", "VLUE"]


@pytest.fixture(scope="module")
def of() -> Answered:
    prices = grid(BUNDLED_PRICES, [*PROXIES, *HELD], date(2018, 12, 3), AS_OF)
    return pictured(chain.panel(prices.by_symbol(AS_OF), labels=[AS_OF]), Unit(100_000.0, HELD))[0]


def test_seven_of_24_scenarios_are_null_for_want_of_a_proxy(of: Answered) -> None:
    null = {s["id"]: s["reason"] for s in of.stress["scenarios"] if s["direct"] is None and s["propagated"] is None}
    assert len(of.stress["scenarios"]) == 24
    assert set(null) == {
        *(f"rates_{way}_{size}" for way in ("up", "down") for size in (25, 50, 100)), "rates_up_300",
    }  # fmt: skip
    assert set(null.values()) == {"no_proxy"}
    assert all(s["direct"]["money"] is not None for s in of.stress["scenarios"] if s["id"] not in null)


def test_a_replay_names_the_factors_that_it_has_no_proxy_of(of: Answered) -> None:
    crash = next(s for s in of.stress["scenarios"] if s["id"] == "covid_2020")
    assert crash["shocks"] == {
        "market": -0.3392, "value": pytest.approx(-0.3876 + 0.3392), "momentum": -0.3408, "quality": -0.3406, "size": -0.3911,
        "low_volatility": -0.3302, "rates": None,
    }  # fmt: skip
    named = [r["figure"] for r in of.reasons if r["reason"] == "not_replayed" and "covid" in r["figure"]]
    assert named == ["stress.covid_2020.shocks.rates"]


def test_rates_growth_and_what_needs_them_are_null_and_nothing_else_is(of: Answered) -> None:
    assert {"figure": "proxies.value", "symbol": None, "reason": "one_leg"} in of.reasons
    null = {f["factor"]: f["reason"] for f in of.exposures["factors"] if f["beta"] is None}
    assert null == dict.fromkeys(("growth", "rates", "ir_beta", "spread_growth_value"), "no_proxy")
    assert of.exposures["proxies"] == {
        "market": "^GSPC", "value": "VLUE-^GSPC", "growth": None, "momentum": "MTUM", "quality": "QUAL", "size": "SIZE",
        "low_volatility": "USMV", "rates": None,
    }  # fmt: skip


def test_size_is_called_what_its_proxy_is(of: Answered) -> None:
    """SIZE is an index of large and mid caps, tilted."""
    labels = {factor["factor"]: factor["label"] for factor in of.exposures["factors"]}
    assert (labels["size"], labels["low_volatility"]) == ("low-size tilt", "low volatility")


def test_a_withheld_move_of_yields_still_says_its_script(of: Answered) -> None:
    up = next(s for s in of.stress["scenarios"] if s["id"] == "rates_up_25")
    assert (up["reason"], up["shocks"], up["rates_bp"]) == ("no_proxy", {"rates": None}, 25)
    assert next(s for s in of.stress["scenarios"] if s["id"] == "market_down_5")["rates_bp"] is None


def test_active_weights_are_null_without_a_benchmark(of: Answered) -> None:
    assert of.risk["benchmark_date"] is None
    assert {sector["active"] for sector in of.risk["sectors"]} == {None}
    assert {"figure": "sectors.active", "symbol": None, "reason": "no_benchmark"} in of.reasons


def test_the_rest_is_there(of: Answered) -> None:
    volatility = of.risk["volatility"]
    assert all(
        volatility[name] is not None for name in ("realized_21", "realized_63", "realized_252", "percentile_252")
    )
    assert volatility["forecast_21"]["method"] == "combined"
    assert of.risk["beta"]["realized"] == pytest.approx(of.risk["beta"]["aggregated"], abs=0.15)
    assert of.risk["decomposition"]["volatility"] > 0.1
    assert (of.quality, of.coverage) == ("complete", 1.0), "a factor without a proxy is no holding's fault"
