"""As traded or split-adjusted, decided by hand-computed closes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from services.coordinator.importer import basis, basis_warnings, parse
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


def test_a_stated_price_far_from_the_close_is_marked_and_the_word_stands() -> None:
    """Trades are as traded by their nature: one at a tenth of its price was a warning, and the book complete."""
    for stated, price in (("as_traded", "49.9"), ("split_adjusted", "499.23")):
        far, issues = decide(price, AAPL, price_basis=stated)
        assert (far.price_basis, far.reason) == (stated, "stated_mismatch")
        assert [issue.code for issue in issues.warnings] == ["price_basis_mismatch"]
    for price in ("450", "0"):
        near, issues = decide(price, AAPL, price_basis="as_traded")
        assert (near.reason, issues.warnings) == ("stated", [])


def test_without_a_price_as_traded_is_assumed_and_said() -> None:
    decision, issues = decide("124.81", None)
    assert (decision.price_basis, decision.known, issues.warnings) == ("as_traded", False, [])
    parsed = parse.parse_items([{"symbol": "AAPL", "quantity": 1, "entry_date": "2020-08-28", "entry_price": 1}], RULES)
    basis_warnings.warn_unknown(parsed.positions, [decision], issues)
    assert [issue.code for issue in issues.warnings] == ["price_basis_assumed"]
    assert "AAPL" in issues.warnings[0].message


def test_what_is_stated_as_split_adjusted_waits_for_its_splits_and_is_converted_by_them() -> None:
    waiting, issues = decide("124.81", None, price_basis="split_adjusted")
    assert (waiting.price_basis, waiting.quantity, waiting.entry_price) == (
        "split_adjusted",
        Decimal(100),
        Decimal("124.81"),
    )
    assert (waiting.assumed, waiting.reason, issues.errors) == (True, "stated", [])
    known, _ = decide("124.81", AAPL, price_basis="split_adjusted")
    assert (known.quantity, known.entry_price, known.assumed) == (Decimal(25), Decimal("499.24"), False)


def test_where_only_an_adjusted_close_exists_the_position_is_on_it() -> None:
    decision, issues = decide("120", Market(None, 123.0, AAPL.splits))
    assert (decision.price_basis, decision.quantity, decision.entry_price) == ("adjusted", Decimal(100), Decimal(120))
    assert issues.warnings == []
    assert [i.code for i in decide("20", Market(None, 123.0, ()))[1].warnings] == ["price_basis_mismatch"]


# --- one basis for a file and a symbol ---------------------------------------------------------------------------------

# A stock dividend of a twentieth on 2020-11-02: 100.00 as traded on 2020-10-01 is 95.2381 since.
TWENTIETH = Market(close=100.0, adj_close=95.2381, splits=((date(2020, 11, 2), 1.05),))
QUARTER = Market(close=100.0, adj_close=80.0, splits=((date(2020, 11, 2), 1.25),))


def decide_file(prices: Sequence[str], market: Market, **change: object) -> tuple[list[Decision], list[str]]:
    rows = [
        {"symbol": "STKX", "quantity": "100", "entry_date": "2020-10-01", "entry_price": price} | change
        for price in prices
    ]
    parsed = parse.parse_items(rows, RULES)
    assert parsed.issues.errors == []
    issues = Issues()
    decisions = basis.decide_file(parsed.positions, [market] * len(rows), issues)
    assert issues.errors == []
    return decisions, [issue.code for issue in issues.warnings]


@pytest.mark.parametrize(
    ("market", "price"), [(TWENTIETH, "97"), (TWENTIETH, "94.1"), (QUARTER, "89"), (QUARTER, "90")]
)
def test_where_both_readings_are_plausible_it_is_as_traded_with_a_remark(market: Market, price: str) -> None:
    """97 is nearer to 95.24 than to 100; a fill that far below the close is an everyday one."""
    (decision,), warned = decide_file([price], market)
    assert (decision.price_basis, decision.quantity, decision.reason) == ("as_traded", Decimal(100), "ambiguous")
    assert warned == ["price_basis_ambiguous"]


def test_the_range_of_the_day_says_more_than_the_distance_to_its_close() -> None:
    ranged = replace(TWENTIETH, low=98.5, high=101.0)
    (adjusted,), warned = decide_file(["94.4"], ranged)
    assert (adjusted.price_basis, adjusted.quantity) == ("split_adjusted", Decimal("95.2380952381"))
    assert warned == []
    (traded,), _ = decide_file(["98.6"], ranged)
    assert (traded.price_basis, traded.reason) == ("as_traded", "compared")


def test_all_fills_of_a_file_are_on_one_basis() -> None:
    prices = ["100.5", "97", "98", "81"]
    decisions, _ = decide_file(prices, QUARTER)
    assert [d.price_basis for d in decisions] == ["as_traded"] * 4, "three can only be as traded"
    decisions, _ = decide_file(["80.2", "79", "90"], QUARTER)
    assert [d.price_basis for d in decisions] == ["split_adjusted"] * 3, "two can only be split-adjusted"
    assert [str(d.quantity) for d in decisions] == ["80.0000000000"] * 3


def test_a_lot_that_the_basis_of_its_file_does_not_fit_is_marked() -> None:
    decisions, warned = decide_file(["499", "501", "124.8"], AAPL, entry_date="2020-08-28")
    assert [(d.price_basis, d.reason) for d in decisions] == [
        ("as_traded", "compared"),
        ("as_traded", "compared"),
        ("as_traded", "mismatch"),
    ]
    assert warned == ["price_basis_mismatch"]


def test_what_was_decided_of_a_file_stands_for_the_rest_of_it() -> None:
    rows = [{"symbol": "STKX", "quantity": 10, "entry_date": "2020-10-01", "entry_price": p} for p in ("90", "95")]
    positions = parse.parse_items(rows, RULES).positions
    both = [QUARTER, QUARTER]
    found = basis.decide_file(positions, both, Issues(), decided=["split_adjusted", None])
    assert [d.price_basis for d in found] == ["split_adjusted"] * 2
    apart = basis.decide_file(positions, both, Issues(), files=["a", "b"], decided=["split_adjusted", None])
    assert [d.price_basis for d in apart] == ["split_adjusted", "as_traded"]


def test_a_lot_that_costs_nothing_follows_its_file() -> None:
    decisions, _ = decide_file(["80", "0"], QUARTER)
    assert [(d.price_basis, d.entry_price) for d in decisions] == [
        ("split_adjusted", Decimal(100)),
        ("split_adjusted", Decimal(0)),
    ]
    (alone,), _ = decide_file(["0"], replace(QUARTER, splits=()))
    assert (alone.price_basis, alone.reason) == ("as_traded", "compared")


def test_on_adjusted_closes_a_price_a_sixth_away_is_a_mismatch() -> None:
    only_adjusted = Market(close=None, adj_close=37.994, splits=((date(2020, 8, 31), 4.0),))
    (traded,), warned = decide_file(["157.92"], only_adjusted, entry_date="2019-01-02")
    assert (traded.price_basis, traded.quantity, traded.reason, warned) == (
        "adjusted", Decimal(100), "mismatch", ["price_basis_mismatch"],
    )  # fmt: skip
    (fits,), warned = decide_file(["39.48"], only_adjusted, entry_date="2019-01-02")
    assert (fits.reason, warned) == ("compared", [])


def test_every_conversion_is_said_with_both_quantities() -> None:
    rows = [{"symbol": "STKX", "quantity": 100, "entry_date": "2020-10-01", "entry_price": "80"}] * 4
    positions = parse.parse_items(rows, RULES).positions
    issues = Issues()
    decisions = basis.decide_file(positions, [QUARTER] * 4, issues)
    basis_warnings.warn_converted(positions, decisions, issues)
    (said,) = issues.warnings
    assert said.code == "price_basis_converted"
    assert "100 at 80 as 80 at 100" in said.message
    assert "and 1 more" in said.message


def test_an_amount_that_nobody_can_hold_is_refused_at_the_price_of_the_market() -> None:
    rows = [{"symbol": "TINY", "quantity": "1000000000", "entry_date": "2020-10-01", "entry_price": "0.01"}]
    issues = Issues()
    basis.decide_file(parse.parse_items(rows, RULES).positions, [Market(600_000.0, None, ())], issues)
    assert [(issue.column, issue.code) for issue in issues.errors] == [("quantity", "ERR_POS_024")]
