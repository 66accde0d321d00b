"""What a file says beside the columns that are read: sides of positions, tables of another kind, shares that moved, options that no
spelling reads."""

from __future__ import annotations

from datetime import date

import pytest

from services.coordinator.importer import fifo
from services.coordinator.importer.dialects import DIALECTS
from services.coordinator.importer.parse import Parsed, parse_csv
from services.coordinator.importer.presets import presets
from services.coordinator.importer.reading import Options
from services.coordinator.importer.rules import Rules
from services.coordinator.portfolios.trade_lots import _numbers_as_written
from shared.market.calendar import calendar
from tests.unit.coordinator import test_import_layouts as layouts
from tests.unit.coordinator.test_import_odd_files import errors, said, trades

RULES = Rules(calendar(), date(2020, 12, 30))
FIDELITY_HISTORY = "Run Date,Action,Symbol,Description,Quantity,Price ($),Amount ($)\n"
SCHWAB = '"Date","Action","Symbol","Description","Quantity","Price","Fees & Comm","Amount"\n'
ETRADE = "TransactionDate,TransactionType,SecurityType,Symbol,Quantity,Amount,Price\n"
VANGUARD = "Account Number,Trade Date,Transaction Type,Symbol,Shares,Share Price,Principal Amount\n"
OWN = "symbol,quantity,entry_date,entry_price,{}\nKO,10,2020-03-04,50,{}\nPEP,{},2020-03-05,140,{}\n"


def parse(text: str, **options: object) -> Parsed:
    return parse_csv(text.encode(), "export.csv", RULES, Options(**options))  # type: ignore[arg-type]


# --- sides -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "long", "short", "remedy"),
    [
        ("Side", "BOT", "SLD", "map date='entry_date'"), ("Side", "B", "S", "action='Side'"), ("Type", "b", "s", "action='Type'"),
        ("Side", "Long", "Short", "negative quantity"), ("L/S", "L", "S", "negative quantity"), ("Pos", "long", "short", "negative"),
        ("Way", "Buy", "Sell short", "list of trades"), ("Way", "Sell short", "Buy to cover", "list of trades"),
        ("Transaction", "Purchase", "Redemption", "list of trades"), ("Way", "Bought", "Sold Short", "list of trades"),
        ("What", "BOT", "SLD", "list of trades"), ("Long/Short", "Long", "Short", "negative quantity"),
    ],
)  # fmt: skip
def test_a_column_that_says_which_way_a_row_goes_is_refused(header: str, long: str, short: str, remedy: str) -> None:
    """Sales and short positions were longs, with no more than "column ignored", and with `map` not even that."""
    for text, options in (
        (OWN.format(header, long, 5, short), {}),
        (OWN.replace("symbol", "Ticker").format(header, long, 5, short), {"mapping": {"symbol": "Ticker"}}),
    ):
        parsed = parse(text, **options)
        [issue] = parsed.issues.errors
        assert (issue.column, issue.code, parsed.positions) == (header, "ERR_CSV_004", ())
        assert remedy in issue.message


def test_trades_without_a_header_are_told_that_it_is_missing() -> None:
    """A first row of values was taken for the names of columns, and the remedy was to map the columns 'buy' and '2020-03-04'."""
    parsed = parse("2020-03-04,buy,KO,10,50\n2020-03-05,sell,KO,4,52\n2020-03-06,short,PEP,4,140\n")
    assert {issue.column for issue in parsed.issues.errors} == {"symbol", "quantity", "entry_date", "entry_price"}
    assert all("line 1 was taken for it" in issue.message for issue in parsed.issues.errors)


@pytest.mark.parametrize(
    ("header", "one", "quantity", "other"),
    [
        ("Side", "Long", "-5", "Short"), ("Term", "Long", "5", "Short"), ("Holding Period", "Short", "5", "Long"),
        ("Side", "Long", "5", "Long"), ("Kind", "S", "5", "S"), ("Rating", "Buy", "5", "Hold"), ("Rating", "Sell", "5", "Buy"),
        ("LT/ST", "Long", "5", "Short"), ("Tax status", "Short", "5", "Long"), ("Horizon", "Long", "5", "Short"), ("Size", "S", "5", "L"),
        ("Class", "B", "5", "S"), ("Grade", "B", "5", "S"), ("Style", "Long", "5", "Short"), ("Source", "Purchase", "5", "Redemption"),
    ],
)  # fmt: skip
def test_a_column_that_repeats_the_sign_or_says_no_side_is_only_ignored(
    header: str, one: str, quantity: str, other: str
) -> None:
    for text, options in (
        (OWN.format(header, one, quantity, other), {}),
        (OWN.replace("symbol", "Ticker").format(header, one, quantity, other), {"mapping": {"symbol": "Ticker"}}),
    ):
        parsed = parse(text, **options)
        assert (errors(parsed), len(parsed.positions)) == ([], 2)
        assert said(parsed, "unknown_column") == [(1, f"Column {header!r} is not known and is ignored.")]


def test_the_same_words_are_actions_of_a_list_of_trades() -> None:
    rows = "".join(f"2020-03-0{n},{word},KO,5,50\n" for n, word in enumerate(("BOT", "SLD", "b", "S", "Redemption"), 2))
    parsed = parse("date,action,symbol,quantity,price,Venue\n" + rows.replace("\n", ",X\n"))
    assert [kind for kind, _, _ in trades(parsed)] == ["buy", "sell", "buy", "sell", "sell"]
    assert said(parsed, "unknown_column") == [(1, "Column 'Venue' is not known and is ignored.")]


@pytest.mark.parametrize(
    ("text", "options", "column"),
    [
        ("Ticker,Ticker,quantity,entry_date,entry_price\nKO,PEP,5,2020-03-04,50\n", {"mapping": {"symbol": "Ticker"}}, "symbol"),
        ("date,action,symbol,quantity,price,price\n2020-03-04,buy,KO,5,50,51\n", {}, "price"),
        (layouts.FIDELITY_HISTORY.replace("Settlement Date", "Quantity"), {}, "quantity"),
    ],
)  # fmt: skip
def test_a_column_that_is_read_and_stands_twice_is_refused(text: str, options: dict[str, object], column: str) -> None:
    """The first of the two was read, silently."""
    assert (column, "ERR_CSV_005") in [(issue.column, issue.code) for issue in parse(text, **options).issues.errors]


# --- tables ----------------------------------------------------------------------------------------------------------


def test_the_trades_below_holdings_are_no_repeated_header() -> None:
    """Dividends and purchases were read as more holdings."""
    parsed = parse(layouts.VANGUARD, preset="vanguard-holdings", entry_date="2020-12-21")
    assert said(parsed, "repeated_header") == []
    assert any("another table begins here" in message for _, message in said(parsed, "skipped_row"))
    assert sum(lot.quantity for lot in parsed.positions if lot.symbol == "KO") == 600


def test_a_table_above_the_header_is_named_with_its_lines() -> None:
    parsed = parse(layouts.VANGUARD)
    told = [(row, message) for row, message in said(parsed, "skipped_row") if message.startswith("Above the header")]
    [(row, message)] = told
    assert row == 1
    assert "import it as a file of its own" in message
    own = parse(
        "Account,Owner,Value,Day\n\nTicker,quantity,entry_date,entry_price\nKO,5,2020-03-04,50\n",
        mapping={"symbol": "Ticker"},
    )
    assert [row for row, message in said(own, "skipped_row") if "Above the header" in message] == [1]


def test_sections_before_the_trades_of_a_statement_are_named() -> None:
    before = "Open Positions,Header,Symbol,Quantity\nOpen Positions,Data,KO,5\nOpen Positions,Data,PEP,2\n"
    parsed = parse(before + layouts.IBKR_ACTIVITY)
    assert any("Open Positions (2)" in message for _, message in said(parsed, "skipped_row"))


# --- shares that moved -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        (SCHWAB + '"03/04/2020","Journal","KO","COCA COLA","12","","",""\n', 12),
        (FIDELITY_HISTORY + "03/04/2020,TRANSFERRED FROM TO BROKERAGE OPTION,KO,COCA,12,,\n", 12),
        (FIDELITY_HISTORY + "03/04/2020,CONTRIB SHARES,KO,COCA,12,,600\n", 12),
        ("Activity/Trade Date,Activity Type,Description,Symbol,Quantity #,Price $\n03/04/20,Transfer,COCA,KO,-7,0\n", -7),
        (ETRADE + "03/04/20,Adjustment,EQ,KO,7,0,0\n", 7),
        (VANGUARD + "1,2020-03-04,Transfer (incoming),KO,7,0,0\n", 7),
        (VANGUARD + "1,2020-03-04,Rollover (incoming),KO,7,0,0\n", 7),
    ],
)  # fmt: skip
def test_shares_that_came_without_a_price_are_no_money(text: str, shares: int) -> None:
    parsed = parse(text)
    [(_, message)] = said(parsed, "not_placed")
    assert f"moves {abs(shares)} shares of KO without a price" in message
    assert ("write a purchase (buy)" if shares > 0 else "write a sale of them (sell)") in message
    assert said(parsed, "skipped_row") == []


@pytest.mark.parametrize(
    "row",
    [
        "03/04/2020,REDEMPTION FROM CORE ACCOUNT FIDELITY GOVERNMENT MONEY MARKET (SPAXX),SPAXX,MM,12,1,12",
        "03/04/2020,TRANSFERRED FROM TO BROKERAGE OPTION,EUR,No Description,500,,500",
        "03/04/2020,TRANSFERRED FROM TO BROKERAGE OPTION,,No Description,0,,500", "03/04/2020,IN LIEU OF FRX SHARE,KO,COCA,0.5,,25",
    ],
)  # fmt: skip
def test_money_stays_money(row: str) -> None:
    parsed = parse(FIDELITY_HISTORY + row + "\n")
    assert (said(parsed, "not_placed"), len(said(parsed, "skipped_row"))) == ([], 1)


# --- kinds, options, numbers as written --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Futures", "Crypto", "Fixed Income", "Commodity", "Something New"])
def test_a_kind_that_is_no_share_at_schwab_is_left_out_and_named(kind: str) -> None:
    preset = presets()["schwab-positions"]
    assert (preset.of_class(kind), preset.of_class("ETFs & Closed End Funds"), preset.of_class("equity")) == (
        None,
        "PUBLIC",
        "PUBLIC",
    )


@pytest.mark.parametrize(
    "symbol",
    [
        "AAPL210115C130000",
        "AAPL--210115C00130000",
        "1AAPL210115C130",
        "AAPL210230C00130000",
        "AAPL_210115C130",
        "AAPL_20210115_C_130",
    ],
)
def test_what_is_built_as_an_option_and_cannot_be_read_is_no_share(symbol: str) -> None:
    for text in (
        f"symbol,quantity,entry_date,entry_price\n{symbol},1,2020-03-04,5\n",
        f"date,action,symbol,quantity,price\n2020-03-04,buy,{symbol},1,5\n",
    ):
        parsed = parse(text)
        [issue] = parsed.issues.errors
        assert (issue.column, issue.code) == ("symbol", "ERR_POS_003")
        assert "AAPL210115C00130000" in issue.message


def test_a_ticker_is_no_option_and_a_private_holding_may_be_named_as_one_is() -> None:
    text = "symbol,quantity,entry_date,entry_price,investment_class\n{},1,2020-03-04,5,{}\n"
    assert [errors(parse(text.format(symbol, ""))) for symbol in ("BRK.B", "C", "PUT", "FTXP", "600519.SS")] == [[]] * 5
    assert errors(parse(text.format("FUND210115C13", "PRIVATE"))) == []


def test_the_lots_of_trades_show_their_numbers_as_they_are_written() -> None:
    rows = '"03/04/2020","Buy","KO","","1,000","$56.20","",""\n"11/16/2020","Sell","KO","","1,000","$53.35","",""\n'
    [lot] = fifo.match(parse(SCHWAB + rows).trades or (), {}).lots
    assert dict(_numbers_as_written(lot)) == {"quantity": "1,000", "entry_price": "$56.20", "exit_price": "$53.35"}


ACTIVITY = "Trades,Header,DataDiscriminator,Asset Category,Currency,Symbol,Date/Time,Quantity,T. Price,C. Price,Comm/Fee,Code\n"


@pytest.mark.parametrize(
    ("first", "second", "rest"),
    [
        (("10", "O"), ("-15", "C;O"), -5), (("-10", "O"), ("15", "C;O"), 5), (("10", "O"), ("-15", "O;C"), -5),
        (("10", "O"), ("-10", "C;O"), None),
    ],
)  # fmt: skip
def test_a_fill_through_zero_closes_and_opens_the_other_side(
    first: tuple[str, str], second: tuple[str, str], rest: int | None
) -> None:
    """The remainder of a sale was "not placed", that of a purchase opened the whole of it."""
    parsed = parse(ACTIVITY + "".join(
        f'Trades,Data,Order,Stocks,USD,KO,"2020-{month:02d}-04, 10:00:00",{quantity},50,50,0,{code}\n'
        for month, (quantity, code) in ((3, first), (4, second))
    ))  # fmt: skip
    book = fifo.match(parsed.trades or (), {})
    assert book.unplaced == ()
    assert [int(lot.quantity) for lot in book.lots if lot.closed] == [int(first[0])]
    assert [(int(lot.quantity), lot.opened.day.month) for lot in book.lots if not lot.closed] == (
        [] if rest is None else [(rest, 4)]
    )


def test_a_fill_that_closes_and_opens_is_not_placed_where_nothing_was_there_to_close() -> None:
    """An activity file that begins with it: how much of it was opened, nobody can tell."""
    parsed = parse(ACTIVITY + 'Trades,Data,Order,Stocks,USD,KO,"2020-03-04, 10:00:00",-15,50,50,0,C;O\n')
    book = fifo.match(parsed.trades or (), {})
    assert book.lots == ()
    assert [int(missing.quantity) for missing in book.unplaced] == [15]


def test_a_split_that_the_file_alone_lists_reaches_short_lots() -> None:
    text = "date,action,symbol,quantity,price\n2020-03-04,short,KO,10,50\n2020-03-10,split,KO,10,\n2020-03-20,cover,KO,20,25\n"
    book = fifo.match(parse(text).trades or (), {})
    assert book.unplaced == ()
    assert sorted((int(lot.quantity), lot.closed is not None) for lot in book.lots) == [(-10, True), (-10, True)]


def test_years_of_two_digits_are_said_once() -> None:
    text = "symbol,quantity,entry_date,entry_price\nKO,5,03/04/20,50\nPEP,5,03/05/20,140\n"
    parsed = parse(text, dialect=DIALECTS["us"])
    assert said(parsed, "two_digit_year") == [
        (2, "Years of two digits are taken as 20xx: 03/04/20 as 2020-03-04. Write four digits if another is meant.")
    ]
    assert said(parse(text.replace("/20,", "/2020,"), dialect=DIALECTS["us"]), "two_digit_year") == []


def test_a_sum_with_a_date_and_a_price_is_a_ticker_with_a_remark() -> None:
    parsed = parse("symbol,quantity,entry_date,entry_price\nTOTAL,5,2020-03-04,50\nTTE,5,2020-03-04,50\n")
    assert [(row, "sum of the others" in message) for row, message in said(parsed, "symbol_doubtful")] == [(2, True)]
