"""The CSV as a file: size, encoding, lines, headers. One test per code of the CSV family."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from services.coordinator.importer import layouts, reader
from services.coordinator.importer.columns import COLUMNS, canonical
from services.coordinator.importer.model import Issues
from services.coordinator.importer.parse import Parsed, parse_csv
from services.coordinator.importer.reading import Options
from services.coordinator.importer.rules import Rules
from shared.market.calendar import calendar

RULES = Rules(calendar(), date(2020, 12, 30))
HEADER = "symbol,quantity,entry_date,entry_price\n"
ROW = "AAPL,100,2020-01-02,300.35\n"


def parse(text: str | bytes, filename: str | None = "p.csv") -> Parsed:
    return parse_csv(text.encode() if isinstance(text, str) else text, filename, RULES)


def codes(parsed: Parsed) -> list[tuple[int | None, str]]:
    return [(issue.row, issue.code) for issue in parsed.issues.errors]


def test_a_plain_file_is_read() -> None:
    parsed = parse(HEADER + ROW)
    assert codes(parsed) == []
    assert [position.symbol for position in parsed.positions] == ["AAPL"]


def test_the_older_twelve_headers_are_understood() -> None:
    parsed = parse(
        "Symbol,Quantity,Entry Price Per Share,Entry Date,Investment Class,Investment Subtype,Underlying Symbol,Strike Price,"
        "Expiration Date,Option Type,Exit Date,Exit Price Per Share\n"
        "AAPL210115C00130000,-2,4.25,2020-12-01,OPTIONS,CALL,AAPL,130.00,2021-01-15,CALL,2020-12-29,7.10\n"
    )
    assert codes(parsed) == []
    (option,) = parsed.positions
    assert (option.symbol, option.option_type) == ("AAPL210115C00130000", "CALL")
    assert (option.quantity, option.entry_price, option.exit_price) == (Decimal(-2), Decimal("4.25"), Decimal("7.1"))
    assert option.strike_price == Decimal(130)
    assert parsed.issues.warnings == []


@pytest.mark.parametrize(
    "header", ["ENTRY_PRICE", " entry price ", "EntryPrice", "entry__price", "Entry Price Per Share"]
)
def test_headers_match_without_case_spaces_and_underscores(header: str) -> None:
    assert canonical(header) == "entry_price"


def test_every_column_is_its_own_name() -> None:
    assert [canonical(column) for column in COLUMNS] == list(COLUMNS)


def test_comments_blank_lines_bom_and_line_ends_do_not_matter() -> None:
    text = (
        "\ufeff# made by hand\r\n"
        + HEADER.replace("\n", "\r\n")
        + '\r\n  # a note, with "one quote\r\n'
        + ROW
        + ",,,\r\n"
    )
    parsed = parse(text)
    assert codes(parsed) == []
    assert [position.row for position in parsed.positions] == [5]


def test_a_hash_inside_a_quoted_cell_is_no_comment_and_rows_keep_their_line() -> None:
    parsed = parse(
        'symbol,quantity,entry_date,entry_price,name\nAAPL,1,2020-01-02,300,"Apple\n# 1 of ""two"""\nKO,0,2020-01-02,5,\n'
    )
    assert [position.name for position in parsed.positions] == ['Apple\n# 1 of "two"']
    assert codes(parsed) == [(4, "ERR_POS_006")]


def test_unknown_columns_are_ignored_and_said() -> None:
    parsed = parse("symbol,quantity,entry_date,entry_price,broker\nAAPL,1,2020-01-02,300,x\n")
    assert codes(parsed) == []
    assert [(issue.column, issue.code) for issue in parsed.issues.warnings] == [("broker", "unknown_column")]


def test_001_a_file_over_ten_megabytes_is_not_read() -> None:
    assert codes(parse(HEADER + "#" + "x" * reader.MAX_BYTES)) == [(None, "ERR_CSV_001")]


def test_001_the_50_001st_row_is_refused() -> None:
    issues = Issues()
    sheet = reader.read((HEADER + ROW * (reader.MAX_ROWS + 1)).encode(), "p.csv", issues)
    layout = layouts.locate(sheet, Options(), issues)
    assert layout is not None
    records = list(layouts.records(sheet, layout, issues))
    assert [(issue.row, issue.code) for issue in issues.errors] == [(reader.MAX_ROWS + 2, "ERR_CSV_001")]
    assert len(records) == reader.MAX_ROWS


def test_002_the_name_must_end_in_csv() -> None:
    assert codes(parse(HEADER + ROW, "p.xlsx")) == [(None, "ERR_CSV_002")]
    assert codes(parse(HEADER + ROW, "P.CSV")) == []
    assert codes(parse(HEADER + ROW, None)) == []


@pytest.mark.parametrize("text", ["", " \n\n", "# only\n# comments\n", HEADER])
def test_003_nothing_to_import(text: str) -> None:
    assert codes(parse(text)) == [(None, "ERR_CSV_003")]


def test_004_every_missing_column_is_named() -> None:
    parsed = parse("symbol,entry_date\nAAPL,2020-01-02\n")
    missing = [issue.column for issue in parsed.issues.errors if issue.code == "ERR_CSV_004"]
    assert missing == ["quantity", "entry_price"]


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_004_another_separator_is_named(separator: str, name: str) -> None:
    text = (HEADER + ROW).replace(",", separator)
    for each in (text, text.replace("300.35", "300,35")):
        parsed = parse(each)
        assert [(issue.row, issue.code) for issue in parsed.issues.errors] == [(1, "ERR_CSV_004")]
        assert name in parsed.issues.errors[0].message
    assert codes(parse(HEADER.strip() + ",name\n" + ROW.strip() + f",a{separator}b\n")) == []


def test_005_a_column_may_come_once() -> None:
    parsed = parse("symbol,quantity,entry_date,entry_price,Entry Price Per Share\nAAPL,1,2020-01-02,300,300\n")
    assert codes(parsed) == [(1, "ERR_CSV_005")]


@pytest.mark.parametrize(
    ("content", "row"),
    [
        (HEADER.encode() + b"AAPL,1,2020-01-02,\xff\n", 2),
        (HEADER.encode() + ROW.encode() + b"AA\0PL,1,2020-01-02,3\n", 3),
        (HEADER.encode("utf-16"), 1),
        ((HEADER + "AAPL,1,000,2020-01-02,3\n").encode(), 2),
        ((HEADER + 'AA"PL",1,2020-01-02,3\n' + '"AAPL"x,1,2020-01-02,3\n').encode(), 3),
        ((HEADER + ROW + '"AAPL,1,2020-01-02,3\n').encode(), 3),
        ((HEADER + "A" * 1025 + ",1,2020-01-02,3\n").encode(), 2),
        ((HEADER + "é" * 513 + ",1,2020-01-02,3\n").encode(), 2),
        (("c," * 64 + "symbol\n" + ROW).encode(), 1),
    ],
    ids=[
        "not utf-8",
        "nul",
        "utf-16",
        "too many cells",
        "stray quote",
        "open quote",
        "long cell",
        "long bytes",
        "65 columns",
    ],
)
def test_006_what_is_not_csv_names_its_line(content: bytes, row: int) -> None:
    found = [issue.row for issue in parse(content).issues.errors if issue.code == "ERR_CSV_006"]
    assert row in found


def test_a_broken_line_does_not_hide_the_errors_of_the_others() -> None:
    parsed = parse(HEADER + ",1,2020-01-02,3\n" + '"AAPL"x,1,2020-01-02,3\n' + "KO,zero,2020-01-02,3\n")
    assert codes(parsed) == [(3, "ERR_CSV_006"), (2, "ERR_POS_001"), (4, "ERR_POS_005")]


def test_a_short_row_lacks_what_it_lacks() -> None:
    assert codes(parse(HEADER + "AAPL,1\n")) == [(2, "ERR_POS_008"), (2, "ERR_POS_012")]


def test_all_errors_are_counted_and_ten_thousand_listed() -> None:
    parsed = parse(HEADER + ",,,\nx!,q,d,p\n" * 4000)
    assert parsed.issues.total == 4 * 4000
    assert len(parsed.issues.errors) == 10_000
