"""How files write numbers, dates and options: read under a dialect, refused without one, and said back."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from services.coordinator.importer.dialects import DIALECTS, plain_date, plain_number
from services.coordinator.importer.option_names import occ_of
from services.coordinator.importer.parse import Parsed, parse_csv
from services.coordinator.importer.reading import Options
from services.coordinator.importer.rules import Rules
from shared.market.calendar import calendar

RULES = Rules(calendar(), date(2020, 12, 30))
HEADER = "symbol,quantity,entry_date,entry_price\n"


def parse(text: str, options: Options | None = None) -> Parsed:
    return parse_csv(text.encode(), "p.csv", RULES, options)


def errors(text: str, options: Options | None = None) -> list[tuple[int | None, str | None, str]]:
    return [(issue.row, issue.column, issue.message) for issue in parse(text, options).issues.errors]


def warned(parsed: Parsed) -> list[tuple[int | None, str]]:
    return [(issue.row, issue.code) for issue in parsed.issues.warnings]


@pytest.mark.parametrize(
    ("text", "dialect", "value"),
    [
        ("1234.50", "iso", "1234.50"), ("1,234.50", "iso", None), ("$5", "iso", None), ("(5)", "iso", None), ("−5", "iso", "-5"),
        ("$1,234.50", "us", "1234.50"), ("-$1,234.50", "us", "-1234.50"), ("$-3", "us", "-3"), ("(1,200)", "us", "-1200"),
        ("($45.10)", "us", "-45.10"), ("+7", "us", "+7"), ("1,2345", "us", None), ("1.234,50", "us", None), ("(-5)", "us", None),
        ("1.234,50", "eu", "1234.50"), ("1.000", "eu", "1000"), ("10,5", "eu", "10.5"), ("−2,5", "eu", "-2.5"), ("1 234,5", "eu", "1234.5"),
        ("10.5", "eu", None), ("1,234.50", "eu", None), ("12.34.567", "eu", None), ("1,234.5", "uk", "1234.5"), ("£9", "uk", "9"),
    ],
)  # fmt: skip
def test_numbers_are_read_as_their_dialect_writes_them(text: str, dialect: str, value: str | None) -> None:
    assert plain_number(text, DIALECTS[dialect]) == value


@pytest.mark.parametrize(
    ("text", "dialect", "day"),
    [
        ("03/04/2020", "iso", None), ("03/04/2020", "us", "2020-03-04"), ("03/04/2020", "uk", "2020-04-03"), ("3/4/20", "us", "2020-03-04"),
        ("03.04.2020", "eu", "2020-04-03"), ("13/01/2020", "us", None), ("20200304;093000", "us", "2020-03-04"),
        ("20200304", "eu", "2020-03-04"),
        ("2020-03-04, 09:30:00", "us", "2020-03-04"), ("2020-03-04 13:30:01", "uk", "2020-03-04"), ("Mar-04-2020", "us", "2020-03-04"),
        ("4 March 2020", "uk", "2020-03-04"), ("03/09/2020 as of 03/06/2020", "us", "2020-03-06"),
        ("2020/03/04", "us", "2020-03-04"), ("soon", "us", None),
    ],
)  # fmt: skip
def test_dates_are_read_as_their_dialect_writes_them(text: str, dialect: str, day: str | None) -> None:
    assert plain_date(text, DIALECTS[dialect]) == day


@pytest.mark.parametrize(
    ("cell", "character", "read"),
    [
        ("2,500", "a comma", "dialect=us and dialect=uk read it as 2500, dialect=eu reads it as 2.500"),
        ("$30", "'$'", "dialect=us, dialect=uk and dialect=eu read it as 30"),
        ("(40)", "'('", "read it as -40"), ("1 000", "a blank", "in a file, dialect=eu reads it as 1000"), ("5k", "'k'", ""),
    ],
)  # fmt: skip
def test_a_refused_number_names_the_character_and_who_reads_it(cell: str, character: str, read: str) -> None:
    [(row, column, message)] = errors(HEADER + f'KO,"{cell}",2020-03-04,50\n')
    assert (row, column) == (2, "quantity")
    assert character in message
    assert read in message
    assert ("dialect=" in message) is bool(read), "a dialect that does not read it is no remedy"
    assert "minus" in message, "a negative quantity is allowed, so the message does not say otherwise"


def test_a_refused_date_names_the_dialect_and_a_spreadsheets_number_its_day() -> None:
    [(_, _, message)] = errors(HEADER + "KO,5,03/04/2020,50\n")
    assert "a slash" in message
    assert "dialect=us reads it as 2020-03-04, dialect=uk and dialect=eu read it as 2020-04-03" in message
    [(_, _, message)] = errors(HEADER + "KO,5,2020/10/01,50\n")
    assert "dialect=us, dialect=uk and dialect=eu read it as 2020-10-01" in message
    [(_, _, message)] = errors(HEADER + "KO,5,43894,50\n")
    assert "2020-03-04" in message


def test_a_remedy_is_no_dialect_that_is_chosen_already() -> None:
    us = Options(dialect=DIALECTS["us"])
    text = HEADER + 'KO,"1.234,50",13/02/2020,50\nKO,1,March,fifty\n'
    told = {(row, column): message for row, column, message in errors(text, us)}
    for column, read in (("quantity", "1234.50"), ("entry_date", "2020-02-13")):
        message = told[2, column]
        assert "the file is read as dialect=us (numbers as $1,234.50" in message
        assert "dialect=eu read" in message
        assert read in message
        assert "dialect=us read" not in message
    assert "dialect=eu" not in told[3, "entry_date"], "no dialect reads it"


def test_the_unicode_minus_is_a_minus() -> None:
    assert parse(HEADER + "KO,−5,2020-03-04,50\n").positions[0].quantity == -5


def test_a_dialect_is_applied_and_said_back() -> None:
    parsed = parse(HEADER + 'KO,"(1,250)",03/04/2020,"$1,050.25"\n', Options(dialect=DIALECTS["us"]))
    [lot] = parsed.positions
    assert (lot.quantity, lot.entry_date, lot.entry_price) == (Decimal(-1250), date(2020, 3, 4), Decimal("1050.25"))
    assert dict(lot.written) == {"quantity": "(1,250)", "entry_price": "$1,050.25"}
    assert parsed.reading is not None
    assert parsed.reading["dialect"] == "us"
    assert "MM/DD/YYYY" in str(parsed.reading["dialect_means"])


def test_a_number_is_echoed_as_it_is_written() -> None:
    [lot] = parse(HEADER + "KO,1.000,2020-03-04,50\n").positions
    assert (lot.quantity, dict(lot.written)["quantity"]) == (Decimal(1), "1.000")
    [lot] = parse(HEADER.replace(",", ";") + "KO;1.000;04.03.2020;50,5\n", Options(dialect=DIALECTS["eu"])).positions
    assert (lot.quantity, lot.entry_price, dict(lot.written)["quantity"]) == (Decimal(1000), Decimal("50.5"), "1.000")


def test_a_declaration_of_another_separator_than_the_rows_have_is_said() -> None:
    parsed = parse("sep=;\n" + HEADER + "KO,5,2020-03-04,50\n")
    assert [lot.quantity for lot in parsed.positions] == [5]
    assert [issue.code for issue in parsed.issues.warnings] == ["separator_differs"]


def test_a_declared_separator_is_followed() -> None:
    for separator, words in ((";", "semicolons"), ("\t", "tabs")):
        text = HEADER.replace(",", separator) + separator.join(["KO", "5", "2020-03-04", "50"]) + "\n"
        assert [lot.row for lot in parse(f"sep={separator}\n" + text).positions] == [3]
        [(_, _, message)] = errors(text)
        assert words in message
        assert "dialect=" in message


def test_a_spreadsheets_text_formula_is_its_text() -> None:
    assert parse(HEADER + '"=""KO""",5,2020-03-04,50\n').positions[0].symbol == "KO"


@pytest.mark.parametrize(
    ("spelled", "occ"),
    [
        ("-KO210115C55", "KO210115C00055000"),
        ("KO210115P52.5", "KO210115P00052500"),
        ("KO 01/15/2021 55.00 C", "KO210115C00055000"),
        ("KO    210115C00055000", "KO210115C00055000"),
        ("KO 15JAN21 55 P", "KO210115P00055000"),
        ("KO 1/15/2021 Call $55.00", "KO210115C00055000"),
        ("Option Expiration for KO 1/15/2021 Put $1,055.00", "KO210115P01055000"),
        ("KO Jan 15 '21 $55 Call", "KO210115C00055000"),
        (".KO210115C55", "KO210115C00055000"),
        ("KO_011521P52.5", "KO210115P00052500"),
        ("KO JAN 15 2021 $55 CALL", "KO210115C00055000"),
        ("KO 15 Jan 2021 55 Put", "KO210115P00055000"),
        ("KO 01/15/21 C55", "KO210115C00055000"),
        ("KO 2021-01-15 55 C", "KO210115C00055000"),
        ("KO Jan 15 21 55 C", "KO210115C00055000"),
        ("KO_JAN", None), ("KO 2021-13-15 55 C", None),
        ("KO", None), ("BRK B", None), ("BTC-USD", None), ("KO 13/15/2021 55.00 C", None), ("7203.T", None),
    ],
)  # fmt: skip
def test_options_are_understood_as_brokers_spell_them(spelled: str, occ: str | None) -> None:
    assert occ_of(spelled) == occ
    if occ is not None:
        [lot] = parse(HEADER + f'"{spelled}",-2,2020-03-04,5\n').positions
        assert (lot.symbol, lot.investment_class, lot.multiplier) == (occ, "OPTIONS", 100)


def test_an_underscore_is_no_reason_and_a_stated_class_is_believed() -> None:
    parsed = parse(
        HEADER.strip()
        + ",investment_class\nKO_US_EQ,5,2020-03-04,50,\nBRK_B,1,2020-03-04,200,PUBLIC\nFO_X,1,2020-03-04,9,PUBLIC\n"
    )
    assert [lot.investment_class for lot in parsed.positions] == ["PUBLIC", "PUBLIC", "PRIVATE"]
    assert warned(parsed) == [(2, "symbol_doubtful"), (4, "class_contradicts_symbol")]
    assert "write KO" in parsed.issues.warnings[0].message


def test_zero_prices_are_taken_and_said() -> None:
    parsed = parse(
        HEADER.strip() + ",exit_date,exit_price\nKO,5,2020-03-04,0,,\nKO210115C00055000,1,2020-03-04,2,2020-03-20,0\n"
    )
    assert [lot.entry_price for lot in parsed.positions] == [0, 2]
    assert [lot.exit_price for lot in parsed.positions] == [None, 0]
    assert warned(parsed) == [(2, "zero_price"), (3, "zero_price")]
    [(_, column, message)] = errors(HEADER + "KO,5,2020-03-04,-3\n")
    assert column == "entry_price"
    assert "negative quantity" in message


def test_a_wrong_header_is_all_that_is_said_with_what_it_may_mean() -> None:
    rows = "".join(f"2020-03-{day:02},Buy,KO,{day},50\n" for day in range(2, 28))
    parsed = parse("Date,Action,Ticker,Shares,Price\n" + rows)
    assert [(issue.row, issue.column) for issue in parsed.issues.errors] == [
        (1, "symbol"), (1, "quantity"), (1, "entry_date"), (1, "entry_price"),
    ]  # fmt: skip
    said = " ".join(issue.message for issue in parsed.issues.errors)
    assert "Did you mean 'Ticker'?" in said
    assert "quantity='Shares'" in said
    assert "entry_price='Price'" in said


def test_columns_can_be_named() -> None:
    text = "Ticker,Shares,Date Acquired,Cost/Share,Note\nKO,5,2020-03-04,50,x\n"
    named = {"symbol": "Ticker", "quantity": "shares", "entry_date": "Date Acquired", "entry_price": "Cost/Share"}
    [lot] = parse(text, Options(mapping=named)).positions
    assert (lot.symbol, lot.quantity, lot.entry_price) == ("KO", Decimal(5), Decimal(50))
    [(_, _, message)] = errors(text, Options(mapping=named | {"quantity": "Units"}))
    assert "'Units'" in message
    assert "Shares" in message
    [(_, _, message)] = errors(text, Options(mapping=named | {"colour": "Note"}))
    assert "'colour'" in message


def test_rows_that_are_no_position_are_named_and_the_others_kept() -> None:
    parsed = parse(
        "My holdings\n\n" + HEADER + "KO,5,2020-03-04,50\nTotal,5,,\nCash & Cash Investments,--,--,--\nPending Activity,,,\n"
        '"Date downloaded Mar-05-2020 4:00 p.m ET",,,\n'
    )  # fmt: skip
    assert [lot.symbol for lot in parsed.positions] == ["KO"]
    assert [issue.message.split(",")[0] for issue in parsed.issues.warnings if issue.code == "skipped_row"] == [
        "Row 1: a line above the header", "Row 5: a total", "Row 6: cash", "Row 7: pending activity", "Row 8: a footer",
    ]  # fmt: skip
    assert [lot.symbol for lot in parse(HEADER + "CASH,5,2020-03-04,50\n").positions] == ["CASH"], (
        "a whole row is a position"
    )


def test_a_sale_in_a_list_of_lots_is_asked_about() -> None:
    parsed = parse(HEADER + "KO,100,2020-03-04,50\nPEP,-5,2020-03-04,130\nKO,-100,2020-03-18,45\n")
    [question] = [issue for issue in parsed.issues.warnings if issue.code == "is_sale?"]
    assert question.row == 4
    assert "Is row 4 a sale?" in question.message
    assert "row 2" in question.message


def test_lots_without_dates_need_a_day() -> None:
    text = "symbol,quantity\nKO,5\n"
    assert {column for _, column, _ in errors(text)} == {"entry_date", "entry_price"}
    [lot] = parse(text, Options(entry_date="2020-03-04")).positions
    assert (lot.entry_date, lot.at_close) == (date(2020, 3, 4), True)
    assert warned(parse(text, Options(entry_date="2020-03-04"))) == [(None, "entered_at_date")]
    assert errors(text, Options(entry_date="4.3.2020"))[0][1] == "entry_date"


def test_at_most_twenty_errors_are_shown_and_all_are_counted() -> None:
    parsed = parse(HEADER + "KO,x,2020-03-04,50\n" * 33)
    assert (parsed.issues.shown, parsed.issues.total) == (20, 33)


@pytest.mark.parametrize(
    ("symbol", "kind"),
    [
        ("US0378331005", "an ISIN"), ("US0378331006", "an ISIN with a wrong check digit"), ("IE00B4L5Y983", "an ISIN"),
        ("037833100", "a CUSIP"), ("38259P508", "a CUSIP"), ("H1467J104", "a CUSIP"), ("37833100", "a CUSIP that lost its leading zero"),
        ("2046251", "a SEDOL"), ("BBG000B9XRY4", "a FIGI"),
        ("037833101", None), ("2046252", None), ("0700.HK", None), ("600519", None), ("BTC-USD", None), ("MYFUND2019", None),
    ],
)  # fmt: skip
def test_a_number_that_names_a_security_is_refused_before_a_source_is_asked(symbol: str, kind: str | None) -> None:
    found = errors(HEADER + f"{symbol},5,2020-03-04,50\n")
    assert [(row, column) for row, column, _ in found] == ([] if kind is None else [(2, "symbol")])
    if kind is not None:
        assert f"{symbol} is {kind}, not a ticker" in found[0][2]
        assert f"symbols {symbol}=TICKER" in found[0][2]
    named = parse(HEADER + f"{symbol},5,2020-03-04,50\n", Options(symbols={symbol: "KO"}))
    assert [lot.symbol for lot in named.positions] == ["KO"]
    header = HEADER.strip() + ",investment_class\n"
    private = parse(header + f"{symbol},5,2020-03-04,50,PRIVATE\n")
    assert [lot.investment_class for lot in private.positions] == ["PRIVATE"], "a bond at its stated value"


def test_a_money_market_fund_is_told_how_it_is_held() -> None:
    [(_, _, message)] = errors(HEADER + "SPAXX**,2500,2020-03-04,1\n")
    assert "Write SPAXX with investment_subtype MONEY_MARKET" in message
    parsed = parse(HEADER + "SPAXX,2500,2020-03-04,1\nNFLXX,1,2020-03-04,1\nNFLX,1,2020-03-04,350\n")
    assert warned(parsed) == [(2, "symbol_doubtful"), (3, "symbol_doubtful")]
    assert "MONEY_MARKET" in parsed.issues.warnings[0].message
    header = HEADER.strip() + ",investment_subtype\n"
    assert warned(parse(header + "SPAXX,2500,2020-03-04,1,money market\n")) == []


def test_a_dash_in_both_cells_of_an_exit_is_none_and_in_one_of_them_half_an_exit() -> None:
    header = HEADER.strip() + ",exit-date,EXIT PRICE\n"
    parsed = parse(header + "KO,5,2020-03-04,50,-,N/A\nKO,6,2020-03-04,50,null,\n")
    assert [lot.exit_date for lot in parsed.positions] == [None, None]
    [(row, column, _)] = errors(header + "KO,5,2020-03-04,50,2020-03-05,-\n")
    assert (row, column) == (2, "exit_price")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html><html><body>Sign in, please</body></html>", "a web page (HTML)"),
        (b"PK\x03\x04\x14\x00\x06\x00", "an Excel workbook"),
        (b'[{"symbol": "KO", "quantity": 5}]', "JSON"),
        (HEADER.encode("utf-16"), "UTF-16 text"),
    ],
)
def test_a_file_of_another_kind_is_named_with_its_remedy(content: bytes, kind: str) -> None:
    [issue] = parse_csv(content, "p.csv", RULES).issues.errors
    assert issue.code == "ERR_CSV_006"
    assert f"The file is no CSV but {kind}" in issue.message
    assert ";" in issue.message, "and what to do"
