"""As traded or split-adjusted, decided by hand-computed closes."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from services.coordinator.importer import basis, parse
from services.coordinator.importer.basis import Decision, Market
from services.coordinator.importer.model import Issues
from services.coordinator.importer.rules import Rules
from shared.market.calendar import calendar

RULES = Rules(calendar(), date(2020, 12, 30))
# AAPL on Friday 2020-08-28: 499.23 as traded, 124.8075 after the 4:1 split of Monday the 31st.
AAPL = Market(close=499.23, adj_close=123.0, splits=((date(2014, 6, 9), 7.0), (date(2020, 8, 31), 4.0)))


def decide(price: str, market: Market | None, **change: object) -> tuple[Decision, Issues]:
    row = {"symbol": "AAPL", "quantity": "100", "entry_date": "2020-08-28", "entry_price": price} | change
    parsed = parse.parse_items([row], RULES)
    assert parsed.issues.errors == []
    issues = Issues()
    return basis.decide(parsed.positions[0], market, issues), issues


def test_the_nearer_close_in_logarithm_decides() -> None:
    traded, _ = decide("499.23", AAPL)
    assert (traded.price_basis, traded.quantity, traded.entry_price) == ("as_traded", Decimal(100), Decimal("499.23"))
    adjusted, _ = decide("124.81", AAPL)
    assert (adjusted.price_basis, adjusted.quantity, adjusted.entry_price) == (
        "split_adjusted",
        Decimal(25),
        Decimal("499.24"),
    )
    # The geometric middle is 249.615; the arithmetic one 312.02.
    assert decide("249.62", AAPL)[0].price_basis == "as_traded"
    assert decide("249.61", AAPL)[0].price_basis == "split_adjusted"


def test_without_a_later_split_both_closes_are_one_and_the_tie_is_as_traded() -> None:
    decision, issues = decide("499", Market(499.23, None, ((date(2014, 6, 9), 7.0), (date(2020, 8, 28), 4.0))))
    assert (decision.price_basis, decision.close_as_traded, decision.close_split_adjusted) == (
        "as_traded",
        499.23,
        499.23,
    )
    assert issues.warnings == []


def test_the_exit_is_converted_by_the_splits_after_it() -> None:
    before, _ = decide("124.81", AAPL, entry_date="2020-08-27", exit_date="2020-08-28", exit_price="125")
    assert before.exit_price == 500
    after, _ = decide("124.81", AAPL, exit_date="2020-08-31", exit_price="129")
    assert (after.entry_price, after.exit_price) == (Decimal("499.24"), Decimal(129))


def test_a_reverse_split_makes_fewer_dearer_shares_of_the_file_more_and_cheaper() -> None:
    decision, _ = decide("40", Market(5.0, None, ((date(2020, 9, 1), 0.125),)), quantity="10")
    assert (decision.price_basis, decision.quantity, decision.entry_price) == (
        "split_adjusted",
        Decimal(80),
        Decimal(5),
    )


@pytest.mark.parametrize(
    ("price", "warned"), [("62.5", False), ("62", True), ("998", False), ("999", True), ("250", False)]
)
def test_a_price_outside_half_to_double_of_either_close_is_warned_about(price: str, *, warned: bool) -> None:
    _, issues = decide(price, AAPL)
    assert [issue.code for issue in issues.warnings] == (["price_basis_mismatch"] if warned else [])


def test_the_users_word_stands() -> None:
    assert decide("124.81", AAPL, price_basis="as_traded")[0].price_basis == "as_traded"
    assert decide("499.23", AAPL, price_basis="split_adjusted")[0].quantity == 25


def test_without_a_price_as_traded_is_assumed_and_said() -> None:
    decision, issues = decide("124.81", None)
    assert (decision.price_basis, decision.known, issues.warnings) == ("as_traded", False, [])
    parsed = parse.parse_items([{"symbol": "AAPL", "quantity": 1, "entry_date": "2020-08-28", "entry_price": 1}], RULES)
    basis.warn_unknown(parsed.positions, [decision], issues)
    assert [issue.code for issue in issues.warnings] == ["price_basis_assumed"]
    assert "AAPL" in issues.warnings[0].message


def test_an_override_that_cannot_be_carried_out_is_refused() -> None:
    _, issues = decide("124.81", None, price_basis="split_adjusted")
    assert [issue.code for issue in issues.errors] == ["ERR_POS_026"]


def test_where_only_an_adjusted_close_exists_the_position_is_on_it() -> None:
    decision, issues = decide("120", Market(None, 123.0, AAPL.splits))
    assert (decision.price_basis, decision.quantity, decision.entry_price) == ("adjusted", Decimal(100), Decimal(120))
    assert issues.warnings == []
    assert [i.code for i in decide("20", Market(None, 123.0, ()))[1].warnings] == ["price_basis_mismatch"]
