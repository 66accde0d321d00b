"""Price files: what is read, what is refused and how that is said."""

import logging
import os
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from services.ingest.model.market import Action, History, NoData, NoDataReason, ProviderErrorKind, Request
from services.ingest.providers.file import provider as module
from services.ingest.providers.file.format import BadPriceFile
from services.ingest.providers.file.provider import FileProvider
from shared.market.calendar import exchange_calendar

HEADER = "symbol,date,open,high,low,close,adj_close,volume\n"
GOOD = HEADER + "AAPL,2020-08-28,126,126.4,124.5,124.8075,122.757,176436116\nAAPL,2020-08-31,,,,129.04,126.92,\n"


def provider(directory: Path, text: str, *, actions: str | None = None, symbols: str | None = None) -> FileProvider:
    (directory / "prices.csv").write_text(text)
    if actions is not None:
        (directory / "corporate_actions.csv").write_text(actions)
    if symbols is not None:
        (directory / "symbols.csv").write_text(symbols)
    return FileProvider(directory / "prices.csv", exchange_calendar)


def history(source: FileProvider, symbol: str, first: date, last: date) -> History:
    [answer] = source.fetch([Request(symbol, first, last)])
    assert isinstance(answer, History)
    return answer


def test_bars_are_served_as_delivered(tmp_path: Path) -> None:
    found = history(provider(tmp_path, GOOD), "AAPL", date(2020, 8, 1), date(2020, 9, 30))
    assert found.bars.sessions.tolist() == [date(2020, 8, 28), date(2020, 8, 31)]
    assert found.bars.close.tolist() == [124.8075, 129.04]
    assert np.isnan(found.bars.open[1])
    assert found.bars.split_adjusted
    assert found.listed_from == date(2020, 8, 28)
    assert not found.lists_splits, "without a list of actions nobody knows the splits"


def test_nothing_after_the_last_session_asked_for_is_served(tmp_path: Path) -> None:
    found = history(provider(tmp_path, GOOD), "AAPL", date(2020, 8, 28), date(2020, 8, 28))
    assert found.bars.sessions.tolist() == [date(2020, 8, 28)]
    early = history(provider(tmp_path, GOOD), "AAPL", date(2019, 8, 28), date(2019, 8, 28))
    assert len(early.bars.sessions) == 0


def test_a_symbol_without_bars_is_not_found(tmp_path: Path) -> None:
    answers = list(provider(tmp_path, GOOD).fetch([Request("QZZXQ", date(2020, 8, 28), date(2020, 8, 31))]))
    assert answers == [NoData("QZZXQ", NoDataReason.NOT_FOUND)]


def test_symbols_have_one_spelling(tmp_path: Path) -> None:
    assert provider(tmp_path, HEADER + " brk-b ,2020-08-28,,,,200,,\n").symbols() == {"BRK.B"}


def test_headers_may_be_written_in_any_case(tmp_path: Path) -> None:
    source = provider(tmp_path, "Symbol,Date,Adj Close\nSPY,2020-08-28,320.5\n")
    found = history(source, "SPY", date(2020, 8, 28), date(2020, 8, 28))
    assert found.bars.adj_close.tolist() == [320.5]
    assert np.isnan(found.bars.close).all()


def test_actions_and_profiles_stand_beside_the_prices(tmp_path: Path) -> None:
    source = provider(
        tmp_path,
        GOOD,
        actions="symbol,ex_date,type,value,source\nAAPL,2020-08-31,split,4.0,x\nAAPL,2020-08-07,dividend,0.82,x\n",
        symbols="symbol,asset_type,name,sector\nAAPL,stock,Apple Inc.,Information Technology\n",
    )
    found = history(source, "AAPL", date(2020, 8, 28), date(2020, 8, 28))
    assert found.lists_splits
    assert found.actions == (Action(date(2020, 8, 7), "dividend", 0.82), Action(date(2020, 8, 31), "split", 4.0))
    assert found.profile is not None
    assert (found.profile.asset_type, found.profile.sector) == ("stock", "Information Technology")


def test_a_file_may_state_that_a_symbol_has_no_actions(tmp_path: Path) -> None:
    """Otherwise a symbol that pays nothing could not be told from one whose dividends nobody wrote down."""
    listed = "symbol,ex_date,type,value\nAAPL,,NONE,\nSPY,2020-12-18,dividend,1.58\n"
    source = provider(tmp_path, GOOD + "SPY,2020-08-28,,,,350,,\nXOM,2020-08-28,,,,40,,\n", actions=listed)
    day = date(2020, 8, 28)
    stated, other, silent = (history(source, symbol, day, day) for symbol in ("AAPL", "SPY", "XOM"))
    assert (stated.lists_splits, stated.actions) == (True, ())
    assert other.lists_splits
    assert not silent.lists_splits


def test_bars_on_days_without_a_session_are_dropped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        source = provider(tmp_path, GOOD + "AAPL,2020-08-29,,,,1,,\nAAPL,2020-12-25,,,,1,,\n")
        found = history(source, "AAPL", date(2020, 8, 1), date(2020, 12, 31))
    assert len(found.bars.sessions) == 2
    assert "prices.csv: 2 bars on days without a session were dropped, the first on 2020-08-29" in caplog.text


def test_a_row_without_any_price_is_no_bar(tmp_path: Path) -> None:
    source = provider(tmp_path, GOOD + "AAPL,2020-09-01,1,1,1,,,5\nVOID,2020-09-01,1,1,1,,,5\n")
    assert len(history(source, "AAPL", date(2020, 8, 1), date(2020, 12, 31)).bars.sessions) == 2
    assert source.symbols() == {"AAPL"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("date,close\n2020-08-28,1\n", "prices.csv, column symbol: is missing; the file has date, close"),
        ("symbol,date,volume\nA,2020-08-28,1\n", "column close: neither close nor adj_close is there"),
        (GOOD + "AAPL,2020-13-01,,,,1,,\n", "prices.csv, column date, row 4: '2020-13-01' is not a date YYYY-MM-DD"),
        (GOOD + "AAPL,,,,,1,,\n", "column date, row 4: is empty or no date"),
        (GOOD + "AAPL,2020-09-01,,,,12a,,\n", "column close, row 4: '12a' is not a number"),
        (GOOD + "AAPL,2020-09-01,,,,0,,\n", "column close, row 4: 0 is not a price that can be"),
        (GOOD + "AAPL,2020-09-01,,,,-1,,\n", "column close, row 4: -1 is not a price that can be"),
        (GOOD + "AAPL,2020-09-01,,,,inf,,\n", "column close, row 4: inf is not a price that can be"),
        (GOOD + "AAPL,2020-09-01,,,,1,,-5\n", "column volume, row 4: -5 is not a volume that can be"),
        (GOOD + ",2020-09-01,,,,1,,\n", "column symbol, row 4: is empty"),
        (GOOD + "AAPL,2020-08-31,,,,1,,\n", "column date, row 4: AAPL has a second row for 2020-08-31"),
        ("symbol,date,close,close\nA,2020-08-28,1,2\n", "column close: is there twice"),
        (GOOD + "AAPL,2020-09-01\n", "prices.csv, row 4: has 2 cells, the header 8"),
    ],
)
def test_what_is_wrong_is_named_by_file_column_and_row(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadPriceFile) as raised:
        provider(tmp_path, text).load()
    assert message in str(raised.value)
    assert str(raised.value).count(", row 4: ") <= 1, "a cell is told once"


def test_all_errors_are_told_at_once_and_not_more_than_a_person_reads(tmp_path: Path) -> None:
    bad = "".join(f"AAPL,{year}-01-02,,,,x,,\n" for year in range(1990, 2020))
    with pytest.raises(BadPriceFile) as raised:
        provider(tmp_path, HEADER + bad).load()
    assert str(raised.value).count("is not a number") == 20
    assert "and 10 more" in str(raised.value)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ("symbol,ex_date,type\nA,2020-01-02,split\n", "corporate_actions.csv, column value: is missing"),
        ("symbol,ex_date,type,value\nA,2020-01-02,split,1e300\n", "1e+300 is"),
        ("symbol,ex_date,type,value\nA,2020-01-02,dividend,1e8\n", "1e+08 is no dividend that can be"),
        (
            "symbol,ex_date,type,value\nA,2020-01-02,merger,1\n",
            "column type, row 2: 'merger' is neither split nor dividend, nor none",
        ),
        ("symbol,ex_date,type,value\nA,2020-01-02,split,0\n", "column value, row 2: 0 is not"),
        ("symbol,ex_date,type,value\nA,2020-01-02,split,\n", "column value, row 2: is empty"),
        ("symbol,ex_date,type,value\nA,,split,2\n", "column ex_date, row 2: is empty or no date"),
        ("symbol,ex_date,type,value\nA,2020-13-02,split,2\n", "column ex_date, row 2: '2020-13-02' is not a date"),
        (
            "symbol,ex_date,type,value\nA,2020-01-02,none,\n",
            "column ex_date, row 2: is not empty, in a row that states",
        ),
        ("symbol,ex_date,type,value\nA,,none,0.5\n", "column value, row 2: is not empty, in a row that states"),
        (
            "symbol,ex_date,type,value\nA,,none,\nB,2020-01-02,split,2\nA,2020-01-02,dividend,0.5\n",
            "column type, row 2: A is stated to have no splits and pay no dividends, and row 4 lists one",
        ),
    ],
)
def test_a_bad_list_of_actions_is_refused(tmp_path: Path, actions: str, message: str) -> None:
    with pytest.raises(BadPriceFile) as raised:
        provider(tmp_path, GOOD, actions=actions).load()
    assert message in str(raised.value)


def test_a_file_that_is_not_there_says_where_to_name_it() -> None:
    with pytest.raises(BadPriceFile, match="LEADLINE_DATA"):
        FileProvider(Path("nowhere.csv"), exchange_calendar).load()
    with pytest.raises(BadPriceFile, match="LEADLINE_DATA"):
        FileProvider(None, exchange_calendar).load()


def test_parquet_and_csv_give_the_same(tmp_path: Path) -> None:
    csv = provider(tmp_path, GOOD)
    frame = pd.read_csv(tmp_path / "prices.csv", parse_dates=["date"])
    frame.iloc[::-1].to_parquet(tmp_path / "prices.parquet")
    parquet = FileProvider(tmp_path / "prices.parquet", exchange_calendar)
    ours, theirs = (history(p, "AAPL", date(2020, 1, 1), date(2020, 12, 31)).bars for p in (csv, parquet))
    for name in ("sessions", "open", "high", "low", "close", "adj_close", "volume"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_a_bad_cell_of_parquet_is_named_by_its_row(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"symbol": ["A", "A"], "date": pd.to_datetime(["2020-01-02", "2020-01-03"]), "close": [1.0, -2.0]}
    )
    frame.to_parquet(tmp_path / "p.parquet")
    with pytest.raises(BadPriceFile, match=r"p\.parquet, column close, row 2: -2 is not a price"):
        FileProvider(tmp_path / "p.parquet", exchange_calendar).load()


def test_an_announced_end_is_passed_on(tmp_path: Path) -> None:
    source = provider(tmp_path, GOOD, symbols="symbol,delisted_on\nAAPL,2020-09-15\n")
    assert history(source, "AAPL", date(2020, 8, 28), date(2020, 8, 31)).delisted_on == date(2020, 9, 15)


LATER = GOOD + "MSFT,2020-08-31,,,,225.53,,\n"


def replaced(source: FileProvider, directory: Path, text: str, name: str = "prices.csv") -> FileProvider:
    """As a person would: a finished file, renamed into place, some seconds old."""
    (directory / "new").write_text(text)
    aged(directory / "new")
    (directory / "new").rename(directory / name)
    return source


def aged(path: Path) -> None:
    then = path.stat().st_mtime - 60
    os.utime(path, (then, then))


def test_what_reading_took_is_given_back_once_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading takes a multiple of what is kept, and the process that keeps it lives for months."""
    given = []
    monkeypatch.setattr(module, "give_memory_back", lambda: given.append(1))
    source = provider(tmp_path, GOOD)
    assert (source.reads(), source.reads(), len(given)) == (1, 1, 1)
    replaced(source, tmp_path, LATER)
    assert (source.reads(), len(given)) == (2, 2)


def test_a_file_that_was_replaced_is_read_again_and_one_that_was_not_is_not(tmp_path: Path) -> None:
    source = provider(tmp_path, GOOD)
    assert source.symbols() == {"AAPL"}
    assert (source.reads(), source.reads()) == (1, 1)
    replaced(source, tmp_path, LATER)
    assert source.symbols() == {"AAPL", "MSFT"}
    assert (source.reads(), source.reads()) == (2, 2)


def test_actions_that_appear_beside_the_file_are_seen(tmp_path: Path) -> None:
    source = provider(tmp_path, GOOD)
    aged(tmp_path / "prices.csv")
    assert not history(source, "AAPL", date(2020, 8, 28), date(2020, 8, 31)).lists_splits
    replaced(source, tmp_path, "symbol,ex_date,type,value\nAAPL,2020-08-31,split,4\n", "corporate_actions.csv")
    assert history(source, "AAPL", date(2020, 8, 28), date(2020, 8, 31)).lists_splits


@pytest.mark.parametrize("text", ["", GOOD[:-75], GOOD + "AAPL,2020-09-0", None])
def test_a_file_that_is_half_written_or_gone_is_down_and_what_was_read_comes_back(
    tmp_path: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    source = provider(tmp_path, GOOD)
    source.load()
    if text is None:
        (tmp_path / "prices.csv").unlink()
    else:
        replaced(source, tmp_path, text)
    for _ in range(3):
        [answer] = source.fetch([Request("AAPL", date(2020, 8, 28), date(2020, 8, 31))])
        assert isinstance(answer, NoData)
        assert (answer.reason, answer.fault) == (NoDataReason.PROVIDER_DOWN, ProviderErrorKind.BAD_BODY), (
            "not an absence of the symbol"
        )
        assert "prices.csv" in (answer.detail or "")
        assert "rename it into its place" in (answer.detail or "")
        assert source.reads() == 1
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1, "told once"
    replaced(source, tmp_path, LATER)
    assert history(source, "MSFT", date(2020, 8, 28), date(2020, 8, 31)).bars.close.tolist() == [225.53]


def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    """Cut between two rows a CSV looks whole; so a file written to a moment ago is looked at again."""
    (tmp_path / "prices.csv").write_text(GOOD)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            (tmp_path / "prices.csv").write_text(LATER)  # the writer goes on
        else:
            aged(tmp_path / "prices.csv")

    source = FileProvider(tmp_path / "prices.csv", exchange_calendar, sleep=sleep)
    source.load()
    (tmp_path / "prices.csv").write_text(HEADER)
    assert source.symbols() == {"AAPL", "MSFT"}
    assert len(slept) == 2
    assert all(0 < seconds <= 2 for seconds in slept)


def test_a_bad_file_at_the_start_stops_it(tmp_path: Path) -> None:
    source = provider(tmp_path, GOOD + "AAPL,2020-09-0")
    with pytest.raises(BadPriceFile):
        list(source.fetch([Request("AAPL", date(2020, 8, 28), date(2020, 8, 31))]))
    with pytest.raises(BadPriceFile):
        source.reads()


def test_what_is_kept_of_a_file_holds_no_column_that_is_not_there_and_sessions_once(tmp_path: Path) -> None:
    text = "symbol,date,close\nAAPL,2020-08-28,126\nAAPL,2020-08-31,127\nMSFT,2020-08-28,2\nMSFT,2020-08-31,3\n"
    contents = provider(tmp_path, text)._read()
    assert {len(of.volume) for of in contents.bars.values()} == {2}
    assert all(np.isnan(of.volume).all() and of.volume.strides == (0,) for of in contents.bars.values())
    assert contents.bars["AAPL"].sessions is contents.bars["MSFT"].sessions
