"""One test per code of the position, portfolio and flow families, and what the importer makes of a good row."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from services.coordinator.importer import account, parse
from services.coordinator.importer.content import content_keys
from services.coordinator.importer.model import Issues, Position
from services.coordinator.importer.rules import Rules
from shared.market.calendar import calendar

TODAY = date(2020, 12, 30)
RULES = Rules(calendar(), TODAY)
GOOD: dict[str, object] = {"symbol": "AAPL", "quantity": "100", "entry_date": "2020-01-02", "entry_price": "300.35"}
OPTION: dict[str, object] = GOOD | {
    "symbol": "AAPL", "investment_class": "OPTIONS", "underlying_symbol": "AAPL", "strike_price": "130",
    "expiration_date": "2021-01-15", "option_type": "call",
}  # fmt: skip


def errors(**change: object) -> list[tuple[str | None, str]]:
    parsed = parse.parse_items([GOOD | change], RULES)
    assert bool(parsed.positions) != parsed.issues.refused
    return [(issue.column, issue.code) for issue in parsed.issues.errors]


def option_errors(**change: object) -> list[tuple[str | None, str]]:
    return [(i.column, i.code) for i in parse.parse_items([OPTION | change], RULES).issues.errors]


def good(**change: object) -> Position:
    parsed = parse.parse_items([GOOD | change], RULES)
    assert parsed.issues.errors == []
    return parsed.positions[0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"symbol": ""}, [("symbol", "ERR_POS_001")]),
        ({"symbol": "A" * 101}, [("symbol", "ERR_POS_002")]),
        ({"symbol": "AA PL"}, [("symbol", "ERR_POS_003")]),
        ({"symbol": "=cmd()"}, [("symbol", "ERR_POS_003")]),
        ({"symbol": "ÄPL"}, [("symbol", "ERR_POS_003")]),
        ({"symbol": "-"}, [("symbol", "ERR_POS_003")]),
        ({"symbol": "."}, [("symbol", "ERR_POS_003")]),
        ({"quantity": ""}, [("quantity", "ERR_POS_004")]),
        ({"quantity": "many"}, [("quantity", "ERR_POS_005")]),
        ({"quantity": "NaN"}, [("quantity", "ERR_POS_005")]),
        ({"quantity": "-inf"}, [("quantity", "ERR_POS_005")]),
        ({"quantity": "1,000"}, [("quantity", "ERR_POS_005")]),
        ({"quantity": "٣"}, [("quantity", "ERR_POS_005")]),
        ({"quantity": "1e400"}, [("quantity", "ERR_POS_005")]),
        ({"quantity": float("nan")}, [("quantity", "ERR_POS_005")]),
        ({"quantity": float("-inf")}, [("quantity", "ERR_POS_005")]),
        ({"quantity": "0"}, [("quantity", "ERR_POS_006")]),
        ({"quantity": "-0.000"}, [("quantity", "ERR_POS_006")]),
        ({"quantity": "1.00000000001"}, [("quantity", "ERR_POS_007")]),
        ({"quantity": "1." + "0" * 40 + "1"}, [("quantity", "ERR_POS_007")]),
        ({"entry_price": ""}, [("entry_price", "ERR_POS_008")]),
        ({"entry_price": "$12"}, [("entry_price", "ERR_POS_009")]),
        ({"entry_price": "Infinity"}, [("entry_price", "ERR_POS_009")]),
        ({"entry_price": "-1"}, [("entry_price", "ERR_POS_010")]),
        ({"entry_price": "0.00000000001"}, [("entry_price", "ERR_POS_011")]),
        ({"entry_date": ""}, [("entry_date", "ERR_POS_012")]),
        ({"entry_date": "02.01.2020"}, [("entry_date", "ERR_POS_013")]),
        ({"entry_date": "2020-02-30"}, [("entry_date", "ERR_POS_013")]),
        ({"entry_date": "20200102"}, [("entry_date", "ERR_POS_013")]),
        ({"entry_date": "2020-12-31"}, [("entry_date", "ERR_POS_014")]),
        ({"entry_date": "1990-01-01"}, [("entry_date", "ERR_POS_015")]),
        ({"entry_date": "0001-01-01"}, [("entry_date", "ERR_POS_015")]),
        ({"investment_class": "STOCKS"}, [("investment_class", "ERR_POS_016")]),
        ({"investment_subtype": "HEDGE_FUND"}, [("investment_subtype", "ERR_POS_017")]),
        ({"exit_date": "2020-01-01", "exit_price": "5"}, [("exit_date", "ERR_POS_018")]),
        ({"exit_date": "2020-02-03"}, [("exit_price", "ERR_POS_008")]),
        ({"exit_price": "5"}, [("exit_date", "ERR_POS_012")]),
        ({"exit_date": "2021-01-04", "exit_price": "-5"}, [("exit_price", "ERR_POS_010"), ("exit_date", "ERR_POS_014")]),
        ({"quantity": "1000000000001"}, [("quantity", "ERR_POS_024")]),
        ({"quantity": "1e12", "entry_price": "1e3"}, [("quantity", "ERR_POS_024")]),
        ({"price_basis": "adjusted"}, [("price_basis", "ERR_POS_025")]),
        ({"name": "x" * 201}, [("name", "ERR_CSV_006")]),
    ],
)  # fmt: skip
def test_each_fault_has_its_code(change: dict[str, object], expected: list[tuple[str, str]]) -> None:
    if "name" in change:
        assert [(i.column, i.code) for i in parse.parse_items([GOOD | change], RULES).issues.errors] == expected
    else:
        assert errors(**change) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"underlying_symbol": ""}, [("underlying_symbol", "ERR_POS_019")]),
        ({"strike_price": ""}, [("strike_price", "ERR_POS_020")]),
        ({"strike_price": "-5"}, [("strike_price", "ERR_POS_020")]),
        ({"strike_price": "130.0001"}, [("strike_price", "ERR_POS_020")]),
        ({"expiration_date": ""}, [("expiration_date", "ERR_POS_021")]),
        ({"expiration_date": "soon"}, [("expiration_date", "ERR_POS_021")]),
        ({"option_type": ""}, [("option_type", "ERR_POS_022")]),
        ({"option_type": "straddle"}, [("option_type", "ERR_POS_022")]),
        (
            {"underlying_symbol": "", "strike_price": "", "expiration_date": "", "option_type": ""},
            [("underlying_symbol", "ERR_POS_019"), ("strike_price", "ERR_POS_020"), ("expiration_date", "ERR_POS_021"),
             ("option_type", "ERR_POS_022")],
        ),
        (
            {"symbol": "AAPL210115C00140000", "option_type": "put"},
            [("strike_price", "ERR_POS_020"), ("option_type", "ERR_POS_022")],
        ),
    ],
)  # fmt: skip
def test_an_option_says_what_it_lacks_or_contradicts(
    change: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    assert option_errors(**change) == expected


def test_messages_name_the_thing_and_give_the_value() -> None:
    (issue,) = parse.parse_items([GOOD | {"entry_date": "1989-12-29"}], RULES).issues.errors
    assert issue.document() == {
        "row": 1,
        "column": "entry_date",
        "code": "ERR_POS_015",
        "message": "entry_date 1989-12-29 is before 1990-01-02, where the exchange calendar begins. Enter it on that day, at its value "
        "then.",
        "value": "1989-12-29",
    }


def test_all_faults_of_all_rows_come_at_once() -> None:
    bad = {"symbol": "", "quantity": "x", "entry_date": "x", "entry_price": "x", "investment_class": "x"}
    parsed = parse.parse_items([bad, GOOD, bad], RULES)
    assert [issue.row for issue in parsed.issues.errors] == [1] * 5 + [3] * 5
    assert len(parsed.positions) == 1


def test_ten_decimals_and_trailing_zeros_pass() -> None:
    position = good(quantity="-0.1234567891", entry_price="1.50000000000000")
    assert (position.quantity, position.entry_price) == (Decimal("-0.1234567891"), Decimal("1.5"))


def test_json_numbers_are_taken_at_their_shortest_form() -> None:
    assert good(quantity=0.1, entry_price=1e-10).quantity == Decimal("0.1")
    assert good(quantity=7, entry_price=12.5).quantity == 7


@pytest.mark.parametrize(
    ("day", "session"),
    [
        ("2020-07-03", "2020-07-06"),
        ("2020-07-04", "2020-07-06"),
        ("2020-01-02", "2020-01-02"),
        ("1990-01-02", "1990-01-02"),
    ],
)
def test_an_entry_on_a_non_session_counts_from_the_next(day: str, session: str) -> None:
    assert good(entry_date=day).entry_session == date.fromisoformat(session)


def test_an_exit_on_a_non_session_counts_on_the_next() -> None:
    position = good(exit_date="2020-07-03", exit_price="90")
    assert (position.exit_session, position.exit_price) == (date(2020, 7, 6), Decimal(90))


def test_the_rules_know_the_day_of_the_request() -> None:
    """A process that is up for days accepts each new day's trades (bug 45)."""
    tomorrow = GOOD | {"entry_date": "2020-12-31"}
    assert parse.parse_items([tomorrow], RULES).issues.refused
    assert not parse.parse_items([tomorrow], Rules(calendar(), date(2020, 12, 31))).issues.refused


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, "PUBLIC"),
        ({"symbol": "CASH_USD"}, "PRIVATE"),
        ({"symbol": "EQIX"}, "PUBLIC"),
        ({"symbol": "AAPL", "investment_class": "private"}, "PRIVATE"),
        ({"symbol": "AAPL210115C00130000"}, "OPTIONS"),
    ],
)
def test_the_class_is_inferred_where_it_is_not_stated(change: dict[str, object], kind: str) -> None:
    assert good(**change).investment_class == kind


def test_an_occ_symbol_fills_the_option_columns() -> None:
    option = good(symbol="AAPL  210115C00130000")
    assert (option.symbol, option.underlying_symbol, option.option_type) == ("AAPL210115C00130000", "AAPL", "CALL")
    assert (option.strike_price, option.expiration_date, option.multiplier) == (Decimal(130), date(2021, 1, 15), 100)


def test_an_option_is_never_stored_under_its_underlying() -> None:
    fields = {key: value for key, value in OPTION.items() if key != "investment_class"}
    (option,) = parse.parse_items([fields | {"option_type": "P"}], RULES).positions
    assert (option.symbol, option.investment_class, option.option_type) == ("AAPL210115P00130000", "OPTIONS", "PUT")


def test_a_duplicate_row_is_a_warning_and_two_positions() -> None:
    parsed = parse.parse_items([GOOD, GOOD | {"symbol": "KO"}, GOOD], RULES)
    assert parsed.issues.errors == []
    assert [(issue.row, issue.code) for issue in parsed.issues.warnings] == [(3, "ERR_POS_023")]
    assert len(parsed.positions) == 3


def test_content_keys_count_occurrences_and_ignore_labels_and_order() -> None:
    rows = [GOOD, GOOD | {"quantity": "100.00", "name": "Apple"}, GOOD | {"quantity": "101"}]
    keys = content_keys(parse.parse_items(rows, RULES).positions)
    assert keys[0].removesuffix(":1") == keys[1].removesuffix(":2")
    assert len(set(keys)) == 3
    turned = content_keys(parse.parse_items(rows[::-1], RULES).positions)
    assert set(turned) == set(keys)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"name_": " "}, "ERR_PORT_002"),
        ({"name_": "x" * 256}, "ERR_PORT_003"),
        ({"equity_": ""}, "ERR_PORT_004"),
        ({"equity_": "lots"}, "ERR_PORT_005"),
        ({"equity_": "nan"}, "ERR_PORT_005"),
        ({"equity_": "-1"}, "ERR_PORT_006"),
        ({"equity_": "1000000000000.01"}, "ERR_PORT_007"),
        ({"type_": "piggy"}, "ERR_PORT_009"),
        ({"currency_": "dollar"}, "ERR_PORT_010"),
        ({"equity_": "1.00001"}, "ERR_PORT_011"),
    ],
)
def test_each_fault_of_the_header_has_its_code(fields: dict[str, str], code: str) -> None:
    issues = Issues()
    account.check(**({"name_": "A", "equity_": "1000", "type_": "", "currency_": ""} | fields), issues=issues)
    assert [issue.code for issue in issues.errors] == [code]


def test_header_defaults() -> None:
    issues = Issues()
    found = account.check(name_=" A ", equity_="1000.5", type_="", currency_="eur", issues=issues)
    assert issues.errors == []
    assert (found.name, found.account_type, found.currency, found.equity_balance) == (
        "A",
        "taxable",
        "EUR",
        Decimal("1000.5"),
    )


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"date": ""}, "ERR_FLOW_001"),
        ({"date": "x"}, "ERR_FLOW_001"),
        ({"date": "2021-01-04"}, "ERR_FLOW_002"),
        ({"date": "1980-01-04"}, "ERR_FLOW_003"),
        ({"amount": "0"}, "ERR_FLOW_004"),
        ({"amount": ""}, "ERR_FLOW_004"),
        ({"amount": "1.00001"}, "ERR_FLOW_004"),
        ({"amount": "inf"}, "ERR_FLOW_004"),
    ],
)
def test_each_fault_of_a_flow_has_its_code(change: dict[str, object], code: str) -> None:
    issues = Issues()
    flows = parse.parse_flows([{"date": "2020-01-02", "amount": -5} | change], RULES, issues)
    assert flows == []
    assert [issue.code for issue in issues.errors] == [code]


def test_a_subtype_must_not_contradict_the_contract() -> None:
    assert option_errors(investment_subtype="put") == [("investment_subtype", "ERR_POS_017")]
    assert option_errors(symbol="AAPL210115C00130000", investment_subtype="PUT", option_type="") == [
        ("investment_subtype", "ERR_POS_017")
    ]
    assert option_errors(investment_subtype="CALL") == []
    assert option_errors(investment_subtype="equity option") == []


def test_an_expiry_before_the_entry_is_named_beside_other_faults() -> None:
    assert option_errors(expiration_date="2019-12-20") == [("expiration_date", "ERR_POS_021")]
    assert option_errors(expiration_date="2019-12-20", quantity="0", strike_price="x", option_type="both") == [
        ("quantity", "ERR_POS_006"),
        ("strike_price", "ERR_POS_020"),
        ("option_type", "ERR_POS_022"),
        ("expiration_date", "ERR_POS_021"),
    ]
    assert option_errors(expiration_date="2020-01-02") == [], "of the day itself"


def test_a_message_speaks_of_what_was_sent() -> None:
    issues = Issues()
    parse.parse_flows([{"date": "2020-01-02", "amount": "0"}], RULES, issues)
    assert [issue.code for issue in issues.errors] == ["ERR_FLOW_004"]
    assert "short" not in issues.errors[0].message
    assert "money out" in issues.errors[0].message
    empty = parse.parse_items([dict.fromkeys(GOOD), dict.fromkeys(OPTION) | {"investment_class": "OPTIONS"}], RULES)
    assert len(empty.issues.errors) == 12
    assert not [issue.message for issue in empty.issues.errors if "row" in issue.message.lower()]


# --- nothing paid, nothing received, and money -------------------------------------------------------------------------


def test_what_cost_nothing_or_brought_nothing_is_a_lot_with_a_remark() -> None:
    parsed = parse.parse_items([GOOD | {"entry_price": "0", "exit_date": "2020-06-01", "exit_price": "0.00"}], RULES)
    assert parsed.issues.errors == []
    assert (parsed.positions[0].entry_price, parsed.positions[0].exit_price) == (Decimal(0), Decimal(0))
    assert [(issue.column, issue.code) for issue in parsed.issues.warnings] == [
        ("entry_price", "zero_price"),
        ("exit_price", "zero_price"),
    ]


def test_an_option_that_expired_worthless_leaves_at_nothing() -> None:
    parsed = parse.parse_items([OPTION | {"exit_date": "2020-11-20", "exit_price": "0"}], RULES)
    assert parsed.issues.errors == []
    assert parsed.positions[0].exit_price == Decimal(0)


def test_proceeds_that_nobody_can_receive_are_refused_like_such_a_cost() -> None:
    assert errors(quantity="1e12", entry_price="1", exit_date="2020-06-01", exit_price="1e3") == [
        ("quantity", "ERR_POS_024")
    ]


def test_cash_is_money_unless_it_is_said_to_be_a_company() -> None:
    parsed = parse.parse_items([GOOD | {"symbol": "CASH", "entry_price": "1"}], RULES)
    assert (parsed.positions[0].investment_class, parsed.positions[0].investment_subtype) == ("PUBLIC", "CASH")
    assert [issue.code for issue in parsed.issues.warnings] == ["taken_as_cash"]
    bank = parse.parse_items([GOOD | {"symbol": "CASH", "investment_subtype": "stock"}], RULES)
    assert (bank.positions[0].investment_subtype, bank.issues.warnings) == ("STOCK", [])


def test_a_money_market_fund_is_a_subtype() -> None:
    assert good(symbol="SPAXX", investment_subtype="Money Market").investment_subtype == "MONEY_MARKET"
