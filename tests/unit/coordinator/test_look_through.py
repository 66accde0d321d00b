"""What stands behind funds: by hand, and what a list of holdings must be."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from services.coordinator.compute.look_through import Line, Told, behind, concentration_of
from services.coordinator.errors import Invalid
from services.coordinator.reference.funds.rules import check

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


def test_a_short_fund_is_short_of_what_it_holds_and_funds_within_are_names() -> None:
    found = behind([Line("FUND", 0.0, -1000.0)], {"FUND": Told(("INNER", "AAPL"), np.array([0.6, 0.4])), "INNER": FUND})
    assert {name: of.net for name, of in found.items()} == {"INNER": -600.0, "AAPL": -400.0}
    assert np.isnan(concentration_of({}).hhi)


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
