"""Whatever the operator's files hold, they are read, or refused as `BadPriceFile` with file, column, row, symbol and remedy."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.ingest.model.market import History, NoData, NoDataReason, Request
from services.ingest.providers.file.problems import BadPriceFile
from services.ingest.providers.file.provider import FileProvider
from shared.market.calendar import exchange_calendar

ASKED = Request("KO", date(2020, 8, 27), date(2020, 8, 31))


def csv(directory: Path, text: str, *, actions: str | None = None, skip: bool = False) -> FileProvider:
    (directory / "prices.csv").write_text(text)
    if actions is not None:
        (directory / "corporate_actions.csv").write_text(actions)
    return FileProvider(directory / "prices.csv", exchange_calendar, skip_bad_rows=skip)


def parquet(directory: Path, **columns: Any) -> FileProvider:
    pq.write_table(pa.table(columns), directory / "prices.parquet")
    return FileProvider(directory / "prices.parquet", exchange_calendar)


def refused(provider: FileProvider) -> str:
    with pytest.raises(BadPriceFile) as raised:
        provider.load()
    return str(raised.value)


def test_another_encoding_is_named_with_the_one_to_save_in(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_bytes("symbol,date,close\nKO,2020-08-27,49.0\n".encode("utf-16"))
    words = refused(FileProvider(tmp_path / "prices.csv", exchange_calendar))
    assert words == "prices.csv is no CSV but UTF-16 text; save it as CSV UTF-8"
    (tmp_path / "prices.csv").write_bytes("symbol,date,close\nKÖ,2020-08-27,49.0\n".encode("cp1252"))
    words = refused(FileProvider(tmp_path / "prices.csv", exchange_calendar))
    assert words.startswith(
        "prices.csv, column symbol, row 2: 'K\N{REPLACEMENT CHARACTER}' is not UTF-8; save the file as CSV UTF-8"
    )


DAYS = [date(2020, 8, 27), date(2020, 8, 28)]
STAMPS = [datetime(2020, 8, 27), datetime(2020, 8, 28)]  # noqa: DTZ001 (as files hold them)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"symbol": ["KO", "KO"], "date": [20200827, 20200828], "close": [49.0, 49.5]}, ["column date", "YYYY-MM-DD"]),
        ({"symbol": [["KO"], ["KO"]], "date": DAYS, "close": [49.0, 49.5]}, ["column symbol", "list"]),
        ({"symbol": ["KO", "KO"], "date": DAYS, "close": [{"a": 1.0}, {"a": 2.0}]}, ["column close", "struct"]),
        ({"symbol": ["KO", "KO"], "date": DAYS, "close": [[49.0], [49.5]]}, ["column close", "list"]),
        ({"symbol": ["KO", "KO"], "date": DAYS, "close": [True, False]}, ["column close", "write numbers"]),
        ({"symbol": [b"K\xff", b"KO"], "date": DAYS, "close": [49.0, 49.5]}, ["column symbol", "binary"]),
        ({"symbol": ["KO", "K\x1b[2J"], "date": DAYS, "close": [49.0, 49.5]}, ["column symbol, row 2", "U+001B"]),
        ({"symbol": ["KO", "K" * 101], "date": DAYS, "close": [49.0, 49.5]}, ["column symbol, row 2", "100 characters"]),
        ({"symbol": ["KO", "KO"], "date": DAYS, "close": [49.0, -1.0]}, ["column close, row 2", "symbol KO", "leave the cell empty"]),
    ],
    ids=["whole-number dates", "symbol lists", "structs", "price lists", "booleans", "binary", "escape", "long", "negative"],
)  # fmt: skip
def test_odd_parquet_is_refused_with_its_column(tmp_path: Path, columns: dict[str, Any], words: list[str]) -> None:
    said = refused(parquet(tmp_path, **columns))
    assert "prices.parquet" in said
    assert all(word in said for word in words), said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("cell", "remedy"),
    [
        ("2020/8/27", "write 2020-08-27"), ("08/27/2020", "write the year first"), ("44070", "a spreadsheet counts 2020-08-27 so"),
        ("2020-08-32", "there is no such day"), ("date", "the header again, delete the row"), ("last week", "is no price, delete"),
    ],
)  # fmt: skip
def test_a_date_that_cannot_be_read_is_told_what_to_write(tmp_path: Path, cell: str, remedy: str) -> None:
    said = refused(csv(tmp_path, f"symbol,date,close\nKO,2020-08-26,49\nKO,{cell},49.5\n"))
    assert "prices.csv, column date, row 3" in said
    assert remedy in said
    assert "symbol KO" in said


def _flipped(content: bytes, at: int, end: int) -> bytes:
    return content[:at] + bytes(byte ^ 0xFF for byte in content[at:end]) + content[end:]


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda content: content[: len(content) // 2], ["ends in the middle", "copy it again"]),
        (lambda content: _flipped(content, len(content) - 60, len(content) - 8), ["cannot be read as Parquet", "copy it again"]),
        (lambda content: _flipped(content, 4, len(content) // 2), ["cannot be read as Parquet, column ", "It is damaged"]),
        (lambda _: b"PAR1PAR1", ["cannot be read as Parquet", "write it again"]),
        (lambda _: b"", ["is empty", "write it again"]),
        (lambda _: b"symbol,date,close\nKO,2020-08-27,49\n", ["is no Parquet file", "the ending .csv"]),
        (lambda _: b"<!doctype html><p>Moved", ["but a web page", "save the data itself"]),
    ],
    ids=["cut", "footer", "column", "ends alone", "empty", "csv", "page"],
)  # fmt: skip
def test_a_damaged_parquet_file_is_refused_with_a_remedy(
    tmp_path: Path, harm: Callable[[bytes], bytes], words: list[str]
) -> None:
    days = [date(1990, 1, 1) + timedelta(days=n) for n in range(5_000)]
    provider = parquet(tmp_path, symbol=["KO"] * 5_000, date=days, close=[40.0 + n / 7 for n in range(5_000)])
    file = tmp_path / "prices.parquet"
    file.write_bytes(harm(file.read_bytes()))
    said = refused(provider)
    assert "prices.parquet" in said
    assert all(word in said for word in words), said


def test_stamps_below_a_microsecond_are_days(tmp_path: Path) -> None:
    stamps = pa.array(np.array(STAMPS, dtype="datetime64[ns]") + np.timedelta64(1, "ns"))
    provider = parquet(tmp_path, symbol=["KO", "KO"], date=stamps, close=[49.0, 49.5])
    [answer] = provider.fetch([ASKED])
    assert isinstance(answer, History)
    assert answer.bars.close.tolist() == [49.0, 49.5]


def test_dictionaries_and_decimals_are_read(tmp_path: Path) -> None:
    symbols = pa.array(["KO", "KO"]).dictionary_encode()
    provider = parquet(tmp_path, symbol=symbols, date=DAYS, close=pa.array([49, 50], pa.decimal128(10, 2)))
    assert provider.symbols() == {"KO"}


def test_a_text_in_every_row_is_held_once(tmp_path: Path) -> None:
    """1,000 rows of one symbol of 100 kB: refused by its length, without a tenth of a gigabyte of strings."""
    said = refused(parquet(tmp_path, symbol=["K" * 100_000] * 1_000, date=[DAYS[0]] * 1_000, close=[1.0] * 1_000))
    assert "over 100 characters" in said
    assert "and 980 more" in said


def test_a_wide_file_is_told_that_it_should_be_long(tmp_path: Path) -> None:
    wide = ",".join(["date", *(f"S{n}" for n in range(20_000))])
    for said in (
        refused(csv(tmp_path, wide + "\n2020-08-27\n")),
        refused(parquet(tmp_path, **{f"S{n}": [1.0] for n in range(200)})),
    ):
        assert "one row for each symbol and date" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["prices.csv is empty"]),
        ("symbol;date;close\nKO;2020-08-27;49,5\n", ["semicolons", "comma-separated", "point in decimals"]),
        ("Ticker,Date,Close\nKO,2020-08-27,49\n", ["column symbol: is missing", "Rename ticker to symbol"]),
        ("Date,Open,Close\n2020-08-27,48,49\n", ["column symbol: is missing", "has it in each row"]),
        ("symbol,date,close\nKO,08/27/2020,49\n", ["column date, row 2", "'08/27/2020'", "symbol KO", "year first"]),
        ('symbol,date,close\nKO,2020-08-27,"1,049.50"\n', ["column close, row 2", "symbol KO", "thousands separators"]),
        ("symbol,date,close\nKO,2020-08-27,$49\n", ["row 2", "currency signs"]),
        ("symbol,date,close,adj_close\nKO,2020-08-27,49,-0.7\n", ["column adj_close, row 2: -0.7", "symbol KO", "leave the cell empty"]),
        ("symbol,date,close\nBRK-B,2020-08-27,9\nBRK.B,2020-08-27,9\n", ["row 3: BRK.B has a second row", "keep one"]),
        ("<!DOCTYPE html>\n<html><body>Get your key, now</body></html>\n", ["no CSV but a web page (HTML)", "save the data itself"]),
        ("<html><body>429, too many</body></html>", ["no CSV but a web page (HTML)"]),
        ('{"error": "limit"}', ["no CSV but JSON", "a header row"]),
        ("symbol,date,close\nKO,2020-08-27\nKO,2020-08-28,50,1\n", ["row 2: has 2 cells, the header 3", "row 3: has 4", "for each column"]),
        ('symbol,date,close\n"KO,2020-08-27,49\n', ["row 2: has 1 cell, the header 3", "check its quotes"]),
        ("symbol,date,close\n", ["has no row", "a row for each symbol and session"]),
        ("KO,2020-08-27,49\n", ["row 1: 'KO,2020-08-27,49' is no header", "symbol,date,close"]),
        ("My prices\nsymbol,date,close\nKO,2020-08-27,49\n", ["row 1: 'My prices' is no header"]),
        ("\n\nsymbol,date,close\nKO,2020-08-27,49\n", ["row 1: is empty", "remove what stands above it"]),
        ("symbol,date,adjusted_close\nKO,2020-08-27,49\n", ["column close", "Rename adjusted_close to adj_close"]),
    ],
    ids=[
        "empty", "semicolons", "ticker", "yahoo", "us dates", "thousands", "dollar", "negative", "twice", "page", "page in a line", "json",
        "ragged", "open quote", "no rows", "no header", "title", "empty lines", "adjusted",
    ],
)  # fmt: skip
def test_a_csv_is_refused_with_symbol_and_remedy(tmp_path: Path, text: str, words: list[str]) -> None:
    said = refused(csv(tmp_path, text))
    assert all(word in said for word in words), said


def test_words_for_a_split_are_told_the_number(tmp_path: Path) -> None:
    actions = (
        "symbol,ex_date,type,value\nKO,2020-08-28,split,2:1\nKO,2020-08-28,spinoff,3\nKO,2020-08-28,dividend,$0.41\n"
    )
    said = refused(csv(tmp_path, "symbol,date,close\nKO,2020-08-27,49\n", actions=actions))
    assert "row 2: '2:1' is not a number; write new shares per old as one number: 4 for 4:1" in said
    assert "row 3: 'spinoff' is neither split nor dividend, nor none; leave the row out" in said
    assert "row 4: '$0.41' is not a number; write digits and a point alone" in said


def test_actions_of_a_symbol_without_prices_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    actions = "symbol,ex_date,type,value\nPEP,2020-08-28,split,2\n"
    with caplog.at_level(logging.WARNING):
        csv(tmp_path, "symbol,date,close\nKO,2020-08-27,49\n", actions=actions).load()
    assert "actions of 1 symbols without prices are not used: PEP" in caplog.text


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"PK\x03\x04\x14\x00\x06\x00", "an Excel workbook or another ZIP archive; save the sheet"),
        (b"\x1f\x8b\x08\x00\xff", "compressed (gzip); unpack it first"),
        (b"PAR1\x15\x04\x15", "a Parquet file; give its name the ending .parquet"),
        (b"%PDF-1.7\n", "a PDF; save the sheet"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, head: bytes, words: str) -> None:
    (tmp_path / "prices.csv").write_bytes(head)
    assert words in refused(FileProvider(tmp_path / "prices.csv", exchange_calendar))


RAGGED = "symbol,date,close\nKO,2020-08-27,49\nKO,2020-08-28\n\nKO,2020-08-28,50\nKO,2020-08-31,x\n"


def test_rows_with_cells_too_many_or_too_few_are_left_out_by_the_rule_too(tmp_path: Path) -> None:
    said = refused(csv(tmp_path, RAGGED))
    assert said.startswith("prices.csv, row 3: has 2 cells, the header 3 ('KO,2020-08-28')")
    provider = csv(tmp_path, RAGGED, skip=True)
    [answer] = provider.fetch([ASKED])
    assert isinstance(answer, History)
    assert answer.bars.close.tolist() == [49.0, 50.0]
    [left] = provider.skipped_rows()
    assert left.rows == 2
    assert "column close, row 6: 'x' is not a number" in left.why[1], "rows are counted as they stand in the file"


def test_a_value_that_no_action_can_have_is_told_the_remedy_that_helps(tmp_path: Path) -> None:
    actions = "symbol,ex_date,type,value\nKO,2020-08-28,dividend,0\n"
    said = refused(csv(tmp_path, "symbol,date,close\nKO,2020-08-27,49\n", actions=actions))
    assert "row 2: 0 is not a split or dividend that can be; leave the row out (symbol KO)" in said


BAD_ROWS = "symbol,date,close\nKO,2020-08-27,49\nKO,2020-08-28,0\nPEP,2020-08-28,x\nKO,2020-08-27,50\n"


def test_bad_rows_can_be_left_out_by_a_stated_rule(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert "row 3" in refused(csv(tmp_path, BAD_ROWS)), "without the rule the file is refused"
    with caplog.at_level(logging.WARNING):
        provider = csv(tmp_path, BAD_ROWS, skip=True)
        [answer] = provider.fetch([ASKED])
    assert isinstance(answer, History)
    assert answer.bars.sessions.tolist() == [date(2020, 8, 27)]
    assert answer.bars.close.tolist() == [49.0], "of two rows of a day the first counts"
    [left] = provider.skipped_rows()
    assert (left.file, left.rows) == ("prices.csv", 3)
    assert "3 rows were left out (LEADLINE_DATA_BAD_ROWS=skip): prices.csv, column close, row" in caplog.text
    assert "row 5: KO has a second row" in caplog.text
    assert "missing" in refused(csv(tmp_path, "symbol,close\nKO,1\n", skip=True)), (
        "what no row is to blame for is refused"
    )


def test_a_file_replaced_by_a_hostile_one_is_a_provider_that_is_down(tmp_path: Path) -> None:
    """The service lives, says why, and takes up the next good file."""
    provider = parquet(tmp_path, symbol=["KO", "KO"], date=DAYS, close=[49.0, 49.5])
    provider.load()
    hostile: list[dict[str, Any]] = [
        {"symbol": ["KO"], "date": [20200827], "close": [49.0]},
        {"symbol": [["KO"]], "date": [DAYS[0]], "close": [49.0]},
        {"symbol": [b"\xff"], "date": [DAYS[0]], "close": [49.0]},
    ]
    for number, columns in enumerate(hostile):
        replace(tmp_path, number, **columns)
        [answer] = provider.fetch([ASKED])
        assert isinstance(answer, NoData)
        assert answer.reason is NoDataReason.PROVIDER_DOWN
        assert "prices.parquet" in (answer.detail or "")
    replace(tmp_path, 9, symbol=["KO"], date=[DAYS[0]], close=[51.0])
    [answer] = provider.fetch([ASKED])
    assert isinstance(answer, History)
    assert answer.bars.close.tolist() == [51.0]


def replace(directory: Path, number: int, **columns: Any) -> None:
    pq.write_table(pa.table(columns), directory / "new")
    then = (directory / "new").stat().st_mtime - 600 + number
    os.utime(directory / "new", (then, then))
    (directory / "new").rename(directory / "prices.parquet")


def test_a_row_that_is_not_utf8_is_named_and_may_be_left_out(tmp_path: Path) -> None:
    content = (
        "symbol,date,close\nKO,2020-08-27,49\n" + "KO,2020-08-28,50\n".rjust(2000, "\n") + "K\u00d6,2020-08-28,51\nKO\n"
    )
    (tmp_path / "prices.csv").write_bytes(content.encode("cp1252"))
    line = content[: content.index("K\u00d6")].count("\n") + 1
    said = refused(FileProvider(tmp_path / "prices.csv", exchange_calendar))
    assert f"row {line + 1}: has 1 cell" in said
    (tmp_path / "prices.csv").write_bytes(content.removesuffix("KO\n").encode("cp1252"))
    said = refused(FileProvider(tmp_path / "prices.csv", exchange_calendar))
    assert f"column symbol, row {line}: " in said
    assert "is not UTF-8; save the file as CSV UTF-8" in said
    provider = FileProvider(tmp_path / "prices.csv", exchange_calendar, skip_bad_rows=True)
    assert provider.symbols() == {"KO"}
    assert [left.rows for left in provider.skipped_rows()] == [1]


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("symbol,date,close\n\n\nKO,2020-08-27,49\n\nKO,2020-08-28,x\n", 6),
        ('symbol,date,close,name\nKO,2020-08-27,49,"Coca\nCola"\nKO,2020-08-28,x,\n', 4),
        ('symbol,date,close,name\nKO,2020-08-27,49,"Coca\nCola"\n\nKO,2020-08-28,x\n', 5),
        ("symbol,date,close\n\nKO,2020-08-27,49\n\nKO,2020-08-27,50\n", 5),
    ],
    ids=["empty lines", "a cell over two lines", "both and ragged", "second row of a day"],
)
def test_rows_are_counted_as_a_person_finds_them(tmp_path: Path, text: str, row: int) -> None:
    said = refused(csv(tmp_path, text))
    assert f"row {row}: " in said, said


def test_a_file_of_nothing_but_faults_is_refused_under_the_rule_too(tmp_path: Path) -> None:
    said = refused(csv(tmp_path, "symbol,date,close\nKO,2020-08-27,x\nPEP,2020-08-27,y\n", skip=True))
    assert "row 2: 'x' is not a number" in said


GOOD = "symbol,date,close\nKO,2020-08-27,49\n"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("KO,2020-08-28,split,4\nKO,2020-08-28,Split,4.0\n", "row 3: KO has the same split in row 2; keep one of them"),
        ("KO,2020-08-28,dividend,1\nKO,2020-08-28,dividend,1\n", "keep one of them, or add up the amounts in one row"),
        ("KO,2020-08-28,split,1e-9\n", "row 2: 1e-09 is no split that can be"),
        ("".join(f"KO,20{n}-08-28,split,999999\n" for n in range(10, 15)), "row 6: the splits of KO make"),
    ],
    ids=["split", "dividend", "small", "together"],
)
def test_actions_that_are_there_twice_or_cannot_be_are_named(tmp_path: Path, rows: str, words: str) -> None:
    """A split of 4 that was pasted twice made 16 shares of one."""
    actions = "symbol,ex_date,type,value\n" + rows
    assert words in refused(csv(tmp_path, GOOD, actions=actions))
    csv(tmp_path, GOOD, actions=actions, skip=True).load()


def test_a_symbol_is_described_once(tmp_path: Path) -> None:
    (tmp_path / "symbols.csv").write_text("symbol,name\nBRK-B,x\nBRK.B,y\n")
    assert "symbols.csv, column symbol, row 3: BRK.B is described in row 2 already" in refused(csv(tmp_path, GOOD))


@pytest.mark.parametrize(
    ("rows", "whole"),
    [
        ("KO,2020-08-31,split,four\n", False), ("KO,2020-08-31,splt,4\n", False),
        ("KO,2020-08-31,split,4,\n", False), ("KO,,none,\n", False), ("KO,2020-08-28,dividend,0.4\n", True),
    ],
)  # fmt: skip
def test_a_symbol_of_which_a_row_of_actions_is_left_out_has_no_whole_list(
    tmp_path: Path, rows: str, *, whole: bool
) -> None:
    """Its split was dropped, and its closes were taken for those of a share that never split. A row pasted twice lacks nothing."""
    actions = f"symbol,ex_date,type,value\nKO,2020-08-28,dividend,0.4\nPEP,2020-08-28,dividend,1\n{rows}"
    provider = csv(tmp_path, GOOD, actions=actions, skip=True)
    [answer] = provider.fetch([ASKED])
    assert isinstance(answer, History)
    assert (answer.lists_splits, len(answer.actions)) == ((True, 1) if whole else (False, 0))
    [left] = provider.skipped_rows()
    assert ("the other actions of KO are not used either" in " ".join(left.why)) is not whole
    assert "PEP are not used" not in " ".join(left.why)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("KO,2020-08-27,1_000", "'1_000' is not a number"), ("KO,2020-08-27,١٢", "'١٢' is not a number"),
        ("KO,2020-W35-4,50", "'2020-W35-4' is not a date"), ("KO,٢٠٢٠-٠٨-٢٧,50", "is not a date"),
    ],
)  # fmt: skip
def test_what_only_a_programming_language_takes_for_a_number_or_a_date_is_refused(
    tmp_path: Path, row: str, words: str
) -> None:
    assert words in refused(csv(tmp_path, f"symbol,date,close\n{row}\n"))
