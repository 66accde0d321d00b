"""Of covered value alone, beside what the market fills: two readings of one hole."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

from services.risk.compute.inputs import Kind, Panel
from shared.arrays import FloatVector
from shared.market.registry import LOOKBACK
from tests.unit.risk import cases
from tests.unit.risk.cases import Lot, Unit
from tests.unit.risk.test_report import STOCKS, even, leaves, only, pictured, reasons

WINDOWS = (21, 63, 252)


def series(panel: Panel, weights: Mapping[str, float]) -> FloatVector:
    """A plain loop over what is there: a return that is missing adds nothing."""
    total = np.zeros(LOOKBACK)
    for symbol, weight in weights.items():
        own = panel.returns[panel.symbols.index(symbol), -LOOKBACK:]
        for t in range(LOOKBACK):
            if math.isfinite(own[t]):
                total[t] += weight * own[t]
    return total


def test_what_a_holding_lacks_adds_nothing_and_its_coverage_stands_beside() -> None:
    panel = cases.forget(cases.panel(STOCKS), "S0", 0, LOOKBACK - 31)
    of = only(panel, even())
    alone = of.risk["covered_only"]
    own = series(panel, dict.fromkeys(STOCKS, 0.1))
    for window in WINDOWS:
        expected = math.sqrt(252) * np.std(own[-window:], ddof=1)
        assert alone[f"realized_{window}"] == pytest.approx(expected, rel=1e-12)
        missing = max(0, window - 30) / window
        assert alone[f"coverage_{window}"] == pytest.approx(1 - 0.1 * missing)
    assert alone["realized_252"] != of.risk["volatility"]["realized_252"]
    # The month has every return, and there is nothing to tell apart.
    assert alone["realized_21"] == of.risk["volatility"]["realized_21"]
    [var] = [line for line in alone["var"] if (line["method"], line["level"]) == ("historical", 0.95)]
    assert var["var"] == pytest.approx(-np.quantile(own, 0.05), rel=1e-12)
    assert alone["coverage_var"] == pytest.approx(1 - 0.1 * (LOOKBACK - 30) / LOOKBACK)
    market = panel.returns[panel.symbols.index(cases.MARKET), -252:]
    assert alone["beta"] == pytest.approx(np.polyfit(market, own[-252:], 1)[0])


def test_a_price_that_is_no_evidence_adds_nothing_either() -> None:
    panel = cases.panel(STOCKS)
    lots = tuple(Lot(symbol, 100.0, unpriceable=symbol == "S5") for symbol in STOCKS)
    alone = only(panel, Unit(1000.0, lots)).risk["covered_only"]
    own = series(panel, {symbol: 0.1 for symbol in STOCKS if symbol != "S5"})
    assert alone["realized_252"] == pytest.approx(math.sqrt(252) * np.std(own[-252:], ddof=1), rel=1e-12)
    assert alone["coverage_252"] == pytest.approx(0.9)


def test_with_everything_covered_it_is_what_stands_beside_digit_by_digit() -> None:
    of = only(cases.panel(STOCKS), even())
    alone = of.risk["covered_only"]
    assert [alone[f"coverage_{of_}"] for of_ in (*WINDOWS, "var")] == [1.0] * 4
    assert [alone[f"realized_{w}"] for w in WINDOWS] == [of.risk["volatility"][f"realized_{w}"] for w in WINDOWS]
    assert alone["forecast_21"] == of.risk["volatility"]["forecast_21"]["value"]
    assert alone["beta"] == of.risk["beta"]["realized"]
    assert [line["es"] for line in alone["var"]] == [line["es"] for line in of.risk["var"]]


def test_a_private_holding_leaves_the_same_series_and_a_lower_coverage() -> None:
    of = only(cases.panel(STOCKS, kinds={"S9": Kind.PRIVATE}), even())
    alone = of.risk["covered_only"]
    assert alone["realized_252"] == pytest.approx(of.risk["volatility"]["realized_252"], rel=1e-12)
    assert alone["coverage_252"] == pytest.approx(0.9)


def test_it_is_withheld_under_the_same_gates_and_says_why() -> None:
    panel = cases.panel(STOCKS)
    for symbol in STOCKS[:3]:
        panel = cases.forget(panel, symbol, 0, LOOKBACK - 1, "not_found")
    of = only(panel, even())
    alone = dict(of.risk["covered_only"])
    assert alone["coverage_252"] == pytest.approx(0.7)
    assert {value for name, value in alone.items() if not name.startswith(("coverage", "var"))} == {None}
    assert {line["var"] for line in alone["var"]} == {None}
    assert ("covered_only", None, "low_coverage") in reasons(of)
    broke = only(cases.panel(STOCKS), even(nav=-5.0))
    assert ("covered_only", None, "nav_not_positive") in reasons(broke)
    assert None in set(leaves(broke.risk["covered_only"]))


def test_units_beside_it_change_no_digit() -> None:
    panel = cases.forget(cases.panel(STOCKS), "S3", 0, LOOKBACK - 101)
    units = [even(), Unit(500.0, (Lot("S3", 400.0), Lot("S4", 2000.0)), portfolio=1)]
    book = cases.book(panel, units)
    together = pictured(panel, book)
    assert [of.risk["covered_only"] for of in together] == [
        only(panel, Unit(unit.nav, unit.lots)).risk["covered_only"] for unit in units
    ]
