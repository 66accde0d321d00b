"""What stands behind funds: by hand, and what a list of holdings must be."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from services.coordinator.compute.look_through import Line, Told, behind, concentration_of
from services.coordinator.errors import Invalid
from services.coordinator.reference.funds.rules import check
from services.coordinator.results.book import holding
from services.coordinator.results.held import Held
from services.coordinator.results.look_through import Facts, figures

DAY, TODAY = date(2020, 6, 30), date(2020, 12, 31)
FUND = Told(("AAPL", "XOM"), np.array([0.5, 0.3]))


def test_a_fund_is_its_holdings_and_what_is_not_told_stays_its_own() -> None:
    lines = [Line("FUND", 1000.0, 0.0), Line("AAPL", 0.0, -200.0), Line("KO", 100.0, 0.0)]
    found = behind(lines, {"FUND": FUND})
    assert {name: (of.direct, of.through) for name, of in found.items()} == {
        "AAPL": (-200.0, 500.0), "XOM": (0.0, 300.0), "FUND": (pytest.approx(200.0), 0.0), "KO": (100.0, 0.0),
    }  # fmt: skip
    assert sum(of.net for of in found.values()) == pytest.approx(900.0)
    # The short does not net in gross value: what is concentrated is concentrated on both sides.
    assert found["AAPL"].gross == 700.0
    assert sum(of.gross for of in found.values()) == pytest.approx(1300.0)
    shares = np.array([700.0, 300.0, 200.0, 100.0]) / 1300.0
    assert concentration_of(found).hhi == pytest.approx(10_000 * (shares**2).sum())
    assert concentration_of(found).top_3 == pytest.approx(1200 / 1300)


def test_a_list_that_sums_to_one_but_for_rounding_leaves_nothing_of_the_fund() -> None:
    weights = np.full(10, 0.1)
    weights[-1] = 0.1 - 2e-16
    assert 1.0 - weights.sum() > 0.0
    names = tuple(f"S{k}" for k in range(10))
    found = behind([Line("FUND", 1000.0, -10.0)], {"FUND": Told(names, weights)})
    assert sorted(found) == sorted(names), "no name with a weight of 1e-16"
    body, _ = figures(
        held({"FUND": (1000.0, 0.0)}), Facts({"FUND": Told(names, weights, ("",) * 10)}, {}, {}), np.ones(1)
    )
    assert (body["names"], body["looked_through"], body["funds"][0]["told"]) == (10, 1.0, 1.0)


def test_a_short_fund_is_short_of_what_it_holds_and_funds_within_are_names() -> None:
    found = behind([Line("FUND", 0.0, -1000.0)], {"FUND": Told(("INNER", "AAPL"), np.array([0.6, 0.4])), "INNER": FUND})
    assert {name: of.net for name, of in found.items()} == {"INNER": -600.0, "AAPL": -400.0}
    assert np.isnan(concentration_of({}).hhi)


DAY_OF_OPTIONS = date(2020, 1, 2)
PUT, CALL = "SPY200701P00100000", "SPY200701C00100000"
PROFILED: dict[str, tuple[str, str | None]] = {"SPY": ("etf", None)}


def held(values: dict[str, tuple[float, float]], nav: float = 10_000.0) -> Held:
    """values : (long, short) of each symbol"""
    long, short = (np.array([pair[k] for pair in values.values()]) for k in (0, 1))
    names = list(values)
    return Held(
        DAY_OF_OPTIONS, nav, names, [holding(name, {}) for name in names], long + short, long - short,
        np.zeros(len(names), np.bool_),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "leverage", "behind_spy", "gross"),
    [
        ({PUT: (500.0, 0.0)}, -8.0, -4000.0, 4000.0),
        ({PUT: (0.0, -500.0)}, -8.0, 4000.0, 4000.0),
        ({CALL: (500.0, 0.0)}, 9.0, 4500.0, 4500.0),
        ({CALL: (0.0, -500.0)}, 9.0, -4500.0, 4500.0),
        ({CALL: (500.0, -200.0)}, 9.0, 2700.0, 6300.0),
    ],
)
def test_an_option_on_a_fund_is_what_it_moves(
    values: dict[str, tuple[float, float]], leverage: float, behind_spy: float, gross: float
) -> None:
    """A long put is short of what the fund holds: by its value it would add to it."""
    facts = Facts(
        {"SPY": Told(("AAPL", "XOM"), np.array([0.5, 0.3]), ("Information Technology", "Energy"))}, PROFILED, {}
    )
    body, reasons = figures(held(values), facts, np.array([leverage]))
    items = {item["symbol"]: item["money"] for item in body["items"]}
    assert items == pytest.approx({"AAPL": 0.5 * behind_spy, "XOM": 0.3 * behind_spy, "SPY": 0.2 * behind_spy})
    sectors = {line["sector"]: line for line in body["sectors"]}
    assert sectors["Energy"]["net"] == pytest.approx(0.3 * behind_spy / 10_000.0)
    assert sum(line["gross"] for line in body["sectors"]) == pytest.approx(gross / 10_000.0)
    assert (body["looked_through"], reasons) == (pytest.approx(0.8), [])


def test_an_option_without_a_delta_stands_under_its_own_name_and_says_so() -> None:
    facts = Facts({"SPY": Told(("AAPL",), np.array([1.0]), ("",))}, PROFILED, {PUT: "ETF"})
    body, reasons = figures(held({"SPY": (1000.0, 0.0), PUT: (500.0, 0.0)}), facts, np.array([1.0, np.nan]))
    assert {item["symbol"]: item["money"] for item in body["items"]} == {"AAPL": 1000.0, PUT: 500.0}
    assert {item["symbol"]: item["sector"] for item in body["items"]}[PUT] == "Unclassified"
    assert body["looked_through"] == pytest.approx(1000 / 1500)
    assert {(reason["symbol"], reason["reason"]) for reason in reasons} == {(PUT, "no_delta")}
    assert {fund["symbol"]: fund["reason"] for fund in body["funds"]} == {"SPY": None, PUT: "no_delta"}


def test_of_nothing_held_nothing_stands_behind() -> None:
    body, reasons = figures(held({}), Facts({}, {}, {}), np.zeros(0))
    assert (body["items"], body["funds"], body["sectors"], body["looked_through"]) == ([], [], [], None)
    assert set(body["concentration"].values()) == {None}
    assert [reason["reason"] for reason in reasons] == ["no_holdings"]


def test_a_list_is_one_row_a_name_in_the_field_s_sectors() -> None:
    of = check("vti", DAY, [
        {"symbol": "brk-b", "weight": "0.2", "sector": "Financial Services"}, {"symbol": "AAPL", "weight": 0.3},
        {"symbol": "BRK.B", "weight": 0.1, "sector": None},
    ], TODAY)  # fmt: skip
    assert (of.symbol, of.holdings, of.sectors) == ("VTI", ("AAPL", "BRK.B"), ("", "Financials"))
    assert of.weights == pytest.approx((0.3, 0.3))
    # Rounded weights of a whole list are brought to 1.
    whole = check("VTI", DAY, [{"symbol": "A", "weight": 0.505}, {"symbol": "B", "weight": 0.5}], TODAY)
    assert sum(whole.weights) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("rows", "day", "part"),
    [
        ([], DAY, "no holdings"),
        ([{"symbol": "A", "weight": 0.5}], date(2021, 1, 1), "in the future"),
        ([{"symbol": "", "weight": 0.5}], DAY, "no symbol"),
        ([{"symbol": "VTI", "weight": 0.5}], DAY, "holds itself"),
        ([{"symbol": "A", "weight": "much"}], DAY, "not a number"),
        ([{"symbol": "A"}], DAY, "is not there"),
        ([{"symbol": "A", "weight": -0.1}], DAY, "below 0"),
        ([{"symbol": "A", "weight": 7}], DAY, "Write decimals"),
        ([{"symbol": "A", "weight": 0.6}, {"symbol": "B", "weight": 0.6}], DAY, "there twice"),
        ([{"symbol": "A", "weight": 0}], DAY, "all 0"),
        ([{"symbol": "A", "weight": 0.5, "sector": "Robots"}], DAY, "no GICS sector"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused_with_row_and_remedy(
    rows: list[dict[str, Any]], day: date, part: str
) -> None:
    with pytest.raises(Invalid) as refused:
        check("VTI", day, rows, TODAY)
    assert part in str(refused.value.errors)
