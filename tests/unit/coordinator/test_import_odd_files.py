"""Files as brokers and spreadsheets really write them: what is read of them, what is refused, and that nothing is taken for
something else without a word."""

from __future__ import annotations

from datetime import date

import pytest

from services.coordinator.importer.dialects import DIALECTS, plain_date, time_of
from services.coordinator.importer.option_names import occ_of
from services.coordinator.importer.parse import Parsed, parse_csv
from services.coordinator.importer.reading import Options
from services.coordinator.importer.rules import Rules
from services.coordinator.importer.trades import NOT_PLACED
from shared.market.calendar import calendar

RULES = Rules(calendar(), date(2020, 12, 30))
HEADER = "symbol,quantity,entry_date,entry_price\n"
TRADES = "date,action,symbol,quantity,price,id,time\n"
FLEX = (
    '"AssetClass","Symbol","CurrencyPrimary","DateTime","Quantity","TradePrice","Buy/Sell","TradeID","LevelOfDetail"\n'
)
ROBINHOOD = '"Activity Date","Instrument","Description","Trans Code","Quantity","Price","Amount"\n'
SCHWAB = '"Date","Action","Symbol","Description","Quantity","Price","Fees & Comm","Amount"\n'
FIDELITY_HISTORY = "Run Date,Action,Symbol,Description,Quantity,Price ($),Amount ($)\n"
FIDELITY = "Account Number,Account Name,Symbol,Description,Quantity,Last Price,Current Value,Type\n"
ACTIVITY = "Trades,Header,DataDiscriminator,Asset Category,Currency,Symbol,Date/Time,Quantity,T. Price,C. Price,Comm/Fee,Code\n"
EU, US = Options(dialect=DIALECTS["eu"]), Options(dialect=DIALECTS["us"])


def parse(text: str, options: Options | None = None) -> Parsed:
    return parse_csv(text.encode(), "export.csv", RULES, options)


def errors(parsed: Parsed) -> list[tuple[int | None, str | None, str]]:
    return [(issue.row, issue.column, issue.code) for issue in parsed.issues.errors]


def said(parsed: Parsed, code: str) -> list[tuple[int | None, str]]:
    return [(issue.row, issue.message) for issue in parsed.issues.warnings if issue.code == code]


def trades(parsed: Parsed) -> list[tuple[str, str, float]]:
    assert parsed.issues.errors == []
    return [(trade.kind, trade.symbol, float(trade.quantity or 0)) for trade in parsed.trades or ()]


# --- money -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "options", "sign"),
    [
        ('"€1,234.50"', US, "€"), ('"1.234,50 €"', EU, "€"), ("£12", Options(), "£"),
        ('"$12.50"', Options(US.dialect, currency="EUR"), "$"),
    ],
)  # fmt: skip
def test_money_of_another_currency_is_never_read_as_the_portfolios(cell: str, options: Options, sign: str) -> None:
    """Euros were taken for as many dollars."""
    parsed = parse(HEADER + f"KO,5,2020-03-04,{cell}\n", options)
    [issue] = parsed.issues.errors
    assert (issue.row, issue.column, issue.code) == (2, "entry_price", "ERR_CSV_010")
    assert f"is in {sign}, the portfolio in {options.currency}" in issue.message


def test_money_of_the_portfolios_currency_is_read() -> None:
    [lot] = parse(HEADER + 'KO,5,2020-03-04,"€1,234.50"\n', Options(US.dialect, currency="EUR")).positions
    assert lot.entry_price == 1234.5


def test_a_column_of_currencies_is_compared_with_the_portfolios() -> None:
    parsed = parse(HEADER.replace("\n", ",Currency\n") + "KO,5,2020-03-04,50,usd\nSAP,5,2020-03-04,100,EUR\n")
    assert errors(parsed) == [(3, "currency", "ERR_CSV_010")]
    assert [lot.symbol for lot in parsed.positions] == ["KO"]


def test_a_trade_in_euros_is_refused_and_an_accounts_own_total_is_not() -> None:
    head = SCHWAB + '"03/04/2020","Buy","KO","COCA COLA","10","{price}","","{amount}"\n'
    refused = parse(head.format(price="50.00", amount="-€500.00"))
    assert errors(refused) == [(2, "amount", "ERR_CSV_010")]
    assert trades(parse(head.format(price="$50.00", amount="-€455.00"))) == [("buy", "KO", 10)]


# --- numbers, dates, cells -------------------------------------------------------------------------------------------


def test_a_plain_number_is_none_of_a_dialect_with_a_decimal_comma() -> None:
    text = HEADER.replace(",", ";") + "KO;1.000;04.03.2020;50.25\nKO;12.5;04.03.2020;50,25\n"
    parsed = parse(text, EU)
    assert errors(parsed) == [(2, "entry_price", "ERR_CSV_009"), (3, "quantity", "ERR_CSV_009")]
    assert "'50.25' is no number of dialect=eu (numbers as 1.234,50" in parsed.issues.errors[0].message


@pytest.mark.parametrize(
    ("row", "dialect"),
    [
        ("KO;0.123;04.03.2020;50", EU), ("KO;-0.500;04.03.2020;50", EU), ('KO,"0,123",03/04/2020,50', US),
        ('KO,"00,120",03/04/2020,50', US), ('KO,"-0,500",03/04/2020,50', US),
    ],
)  # fmt: skip
def test_a_group_of_thousands_never_stands_behind_a_zero(row: str, dialect: Options) -> None:
    """Read as a group it would be a thousand times what was meant."""
    header = HEADER.replace(",", ";") if dialect is EU else HEADER
    assert [(row, column) for row, column, _ in errors(parse(f"{header}{row}\n", dialect))] == [(2, "quantity")]


def test_a_date_with_points_is_no_american_one() -> None:
    assert plain_date("03.04.2020", DIALECTS["us"]) is None
    assert plain_date("03.04.2020", DIALECTS["eu"]) == "2020-04-03"
    assert plain_date("03-04-2020", DIALECTS["us"]) == "2020-03-04"


@pytest.mark.parametrize(
    ("text", "dialect", "day", "clock"),
    [
        ("03/04/2020;093001", "us", "2020-03-04", "093001"), ("20200304;093001 EST", "us", "2020-03-04", "093001"),
        ("04-MAR-20;0930", "us", "2020-03-04", "093000"), ("2020-03-04, 09:30:01", "us", "2020-03-04", "093001"),
        ("03/04/2020 1:15 PM", "us", "2020-03-04", "131500"), ("03/04/2020 12:05 AM", "us", "2020-03-04", "000500"),
        ("Mar 4 2020 04:12 p.m ET", "us", "2020-03-04", "161200"), ("Mar 4 2020", "us", "2020-03-04", ""),
        ("2020-03-04 14:30:01.123", "uk", "2020-03-04", "143001"), ("04-03-2020", "uk", "2020-03-04", ""),
    ],
)  # fmt: skip
def test_days_and_times_as_they_are_written(text: str, dialect: str, day: str, clock: str) -> None:
    assert (plain_date(text, DIALECTS[dialect]), time_of(text)) == (day, clock)


def test_trades_of_a_day_are_in_the_order_of_the_clock_however_it_is_written() -> None:
    parsed = parse(
        TRADES
        + "2020-03-04,buy,KO,10,50,a,9:30 AM\n2020-03-04,sell,KO,10,51,b,1:15 PM\n2020-03-04,buy,KO,3,51,c,14:15\n"
        "2020-03-05,buy,PEP,1,130,d,9:30\n2020-03-05,sell,PEP,1,131,e,10:05\n"
    )
    assert [trade[2] for trade in trades(parsed)] == [10, 10, 3, 1, 1]
    assert [trade.time for trade in parsed.trades or ()] == ["0930", "1315", "1415", "0930", "1005"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("KO,1,2020-03-04T12:24,50", "a time stands beside it, which is read under a dialect"),
        ("KO,1,2020-03-04 12:24:00,50", "a time stands beside it"), ("KO,1,2020-03-04,EUR 50", "it holds 'E'"),
        ("KO,1,2020-03-04,50e", "is not a number"),
    ],
)  # fmt: skip
def test_what_is_in_the_way_is_named(row: str, words: str) -> None:
    [issue] = parse(HEADER + row + "\n").issues.errors
    assert words in issue.message


def test_columns_that_are_named_may_hold_the_words_of_other_languages() -> None:
    text = "Datum;Typ;Wert;Stück;Ticker-Symbol;Kurs\n2020-03-04T00:00;Kauf;5.281,00;600;KO;8,80\n"
    text += "2020-03-09T00:00;Verkauf;880,00;100;KO;8,80\n"
    named = {"date": "Datum", "action": "Typ", "symbol": "Ticker-Symbol", "quantity": "Stück", "price": "Kurs"}
    parsed = parse(text, Options(dialect=DIALECTS["eu"], mapping=named))
    assert trades(parsed) == [("buy", "KO", 600), ("sell", "KO", 100)]


@pytest.mark.parametrize("cell", ["N/A", "n/a", "#N/A", "#REF!", "#NAME?"])
def test_a_symbol_that_is_missing_is_refused_and_no_row_is_a_comment_by_chance(cell: str) -> None:
    parsed = parse(HEADER + f"{cell},10,2020-03-04,50\nKO,1,2020-03-04,50\n# a comment\n")
    assert [(row, column) for row, column, _ in errors(parsed)] == [(2, "symbol")]
    assert [lot.symbol for lot in parsed.positions] == ["KO"]


def test_blanks_before_quotes_and_lines_that_end_in_a_carriage_return_are_read() -> None:
    [lot] = parse('symbol, quantity, entry_date, entry_price, name\nKO, "1", 2020-03-04, 50, "Coca, Cola"\n').positions
    assert (float(lot.quantity), lot.name) == (1, "Coca, Cola")
    assert len(parse((HEADER + "KO,1,2020-03-04,50\n").replace("\n", "\r")).positions) == 1


def test_a_sentence_with_commas_does_not_decide_what_separates_cells() -> None:
    text = "Holdings, as of today, from, my, bank, with, many, commas\n" + HEADER.replace(",", ";")
    [lot] = parse(text + "KO;1,000;03/04/2020;$50.25\n", US).positions
    assert (float(lot.quantity), float(lot.entry_price)) == (1000, 50.25)


def test_a_layout_with_other_separators_is_told_the_dialects() -> None:
    text = "Action;Time;ISIN;Ticker;No. of shares;Price / share\nMarket buy;2020-03-04 14:30:01;US1912161007;KO;10,5;56,20\n"
    parsed = parse(text)
    [(row, _, code)] = errors(parsed)
    assert (row, code) == (1, "ERR_CSV_004")
    assert "separated by semicolons" in parsed.issues.errors[0].message
    assert "dialect=eu" in parsed.issues.errors[0].message
    assert trades(parse(text, EU)) == [("buy", "KO", 10.5)]


# --- rows that are no position ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("Total:,5,,", "a total"), ("Sub-Total,5,,50", "a total"), ("Grand total (USD),,,", "a total"), ("Gesamtsumme,5,,", "a total"),
        ("Cash & Cash Equivalents,5000,,", "cash"), ("Cash (USD),5000,,1", "cash"), ("Free cash,10,,", "cash"), ("Bank sweep,,,", "cash"),
        ("Unsettled trades,1,,", "pending activity"), ("Source: my bank,,,", "a footer"),
        ("The data, and information in this sheet, is provided to you solely, for your use, alone", "a footer"),
        ("Brokerage services are provided by Some Brokerage LLC (SBL), 900 Street, Smithfield, RI 02917.", "a footer"),
    ],
)  # fmt: skip
def test_rows_of_other_kinds_are_named(row: str, what: str) -> None:
    parsed = parse(HEADER + f"KO,1,2020-03-04,50\n{row}\n")
    assert parsed.issues.errors == []
    assert said(parsed, "skipped_row") == [(3, f"Row 3: {what}, not a position.")]


def test_half_a_row_is_an_error_and_no_footer() -> None:
    parsed = parse(
        "name,symbol,quantity,entry_date,entry_price\nThe Procter and Gamble Company Inc,PG,10,2020-03-04,\n"
    )
    assert errors(parsed) == [(2, "entry_price", "ERR_POS_008")]


def test_a_comma_that_is_not_quoted_moves_no_number_into_another_column() -> None:
    """1,150 at $54.10 was 1 at 150."""
    text = FIDELITY + "X1,IND,KO,COCA COLA CO,1,150,$54.10,$62,215.00,Margin,\n"
    dated = text + '"Date downloaded 12/28/2020 4:10 PM ET"\n'
    assert errors(parse(dated)) == [(2, None, "ERR_CSV_006")]
    whole = dated.replace("1,150", "1150").replace("$62,215", "$62215")
    assert [lot.quantity for lot in parse(whole).positions] == [1150]


def test_what_a_broker_lists_without_a_quantity_is_named() -> None:
    text = FIDELITY + "X1,IND,KO,COCA COLA CO,5,$54.10,$270.50,Margin\nX1,IND,QXYZ,BROKERAGELINK,,,$100.00,\n"
    parsed = parse(text + '"Date downloaded Dec-28-2020 4:10 p.m ET"\n')
    assert [lot.symbol for lot in parsed.positions] == ["KO"]
    assert (3, "Row 3: a row without a quantity, not a position.") in said(parsed, "skipped_row")


def test_a_date_that_a_comma_has_cut_is_the_files_date() -> None:
    text = "Symbol,Last Price $,Quantity,Price Paid $\nKO,54.10,600,56.20\nGenerated at Dec 28, 2020 04:12 PM ET\n"
    assert (parse(text).reading or {})["file_date"] == "2020-12-28"


def test_several_accounts_in_a_file_and_another_table_below() -> None:
    head = '"Symbol","Description","Quantity","Price","Cost Basis","Asset Type"\n'
    parsed = parse(
        '"Positions for All-Accounts as of 10:15 AM ET, 12/28/2020"\n"Individual ...123"\n' + head
        + '"BRK/B","BERKSHIRE","10","$230.00","$1,000.00","Equity"\n"Account Total","--","--","--","$3","--"\n"Roth IRA ...456"\n' + head
        + '"BRK/B 01/15/2021 230.00 C","CALL","-2","$5.00","-$800.00","Option"\n'
    )  # fmt: skip
    assert [(lot.symbol, float(lot.quantity)) for lot in parsed.positions] == [
        ("BRK.B", 10),
        ("BRKB210115C00230000", -2),
    ]
    cash = '"ClientAccountID","CurrencyPrimary","Symbol","Quantity","Amount"\n"U1","USD","KO","","4.1"\n'
    parsed = parse(FLEX + '"STK","KO","USD","20200304;093001","10","56.2","BUY","71","EXECUTION"\n' + cash)
    assert trades(parsed) == [("buy", "KO", 10)]
    assert said(parsed, "skipped_row") == [(3, "Row 3: another table begins here, which is not read.")]


# --- the same trade once, and nothing for what it is not -------------------------------------------------------------


def test_a_purchase_of_less_than_nothing_is_a_correction_and_no_second_purchase() -> None:
    parsed = parse(TRADES + "2020-03-02,buy,KO,10,50,1,\n2020-03-03,buy,KO,-10,50,2,\n2020-03-04,sell,XOM,-5,60,3,\n")
    assert trades(parsed) == [("buy", "KO", 10.0), ("sell", "XOM", 5.0)]
    [(row, message)] = said(parsed, NOT_PLACED)
    assert row == 3
    assert "a purchase of -10 KO takes an earlier one back" in message


def test_sections_of_a_statement_that_are_not_read_are_named() -> None:
    bought = 'Trades,Data,Order,Stocks,USD,KO,"2020-03-04, 09:31:00",10,50,50,-1,O\n'
    other = (
        "Dividends,Header,Currency,Date,Amount\nDividends,Data,USD,2020-03-05,4\nTransfers,Data,Stocks,USD,MSFT,50\n"
    )
    parsed = parse(ACTIVITY + bought + "Trades,SubTotal,,Stocks,USD,KO,,10,,,-1,\n" + other)
    assert trades(parsed) == [("buy", "KO", 10.0)]
    [(_, message)] = said(parsed, "skipped_row")
    assert message.endswith("Not read, with their numbers of rows: Dividends (1), Transfers (1).")


def test_orders_and_their_executions_are_the_same_trades() -> None:
    order = '"STK","KO","USD","20200304;093001","1000","56.2","BUY","","ORDER"\n'
    fills = "".join(f'"STK","KO","USD","20200304;09300{n}","500","56.2","BUY","7{n}","EXECUTION"\n' for n in (1, 2))
    both = parse(FLEX + order + fills)
    assert trades(both) == [("buy", "KO", 500), ("buy", "KO", 500)]
    assert [message.split(":")[0] for _, message in said(both, "skipped_row")] == ["Of level ORDER, 1 row is left out"]
    assert trades(parse(FLEX + order)) == [("buy", "KO", 1000)]
    row = 'Trades,Data,{},Stocks,USD,KO,"2020-03-04, 09:30:01",{},56.2,56.5,-1,O\n'
    activity = ACTIVITY + row.format("Order", 1000) + row.format("Trade", 600) + row.format("Trade", 400)
    assert trades(parse(activity)) == [("buy", "KO", 1000)]


def test_an_id_that_stands_on_several_rows_is_an_orders() -> None:
    text = (
        TRADES
        + "2020-03-04,buy,KO,10,50,a,\n2020-03-04,buy,KO,5,50,a,\n2020-03-04,buy,KO,5,50,a,\n2020-03-05,sell,KO,1,50,b,\n"
    )
    keys = [trade.key for trade in parse(text).trades or ()]
    assert len(set(keys)) == 4, "each fill counts"
    assert [trade.key for trade in parse(text).trades or ()] == keys
    assert keys[3].startswith("id:")


def test_a_split_is_in_force_from_the_open_and_one_that_takes_shares_away_is_the_sources() -> None:
    parsed = parse(TRADES + "2020-03-04,buy,KO,10,50,a,9:30\n2020-03-04,split,KO,30,,b,\n2020-03-05,split,KO,-9,,c,\n")
    assert trades(parsed) == [("split", "KO", 30), ("buy", "KO", 10)]
    [(row, message)] = said(parsed, "not_placed")
    assert (row, "reverse split" in message) == (4, True)


@pytest.mark.parametrize(
    ("text", "row"),
    [
        (ROBINHOOD + '"10/5/2020","KO","KO weekly call","STO","3","$0.70","$210.00"\n', 2),
        (ROBINHOOD + '"10/5/2020","KO","gone","OEXP","3S","",""\n', 2),
        (SCHWAB + '"10/05/2020","Sell to Open","KO","CALL","3","$0.70","","$210.00"\n', 2),
        (FLEX + '"OPT","KO","USD","20200304;093001","-1","5","SELL","75","EXECUTION"\n', 2),
        (TRADES + "2020-03-04,expire,KO,10,,a,\n", 2),
    ],
    ids=["robinhood", "expired", "schwab", "flex", "own"],
)  # fmt: skip
def test_an_option_that_cannot_be_read_is_listed_and_never_the_share(text: str, row: int) -> None:
    parsed = parse(text)
    assert not parsed.trades
    [(found, message)] = said(parsed, "not_placed")
    assert (found, "is of an option" in message) == (row, True)


@pytest.mark.parametrize("kind", ["FUT", "CFD", "FOP", "BOND", "CRYPTO"])
def test_what_cannot_be_valued_here_is_listed_and_never_a_share(kind: str) -> None:
    parsed = parse(FLEX + f'"{kind}","ESZ0","USD","20200304;093001","1","3700","BUY","71","EXECUTION"\n')
    assert not parsed.trades
    assert [row for row, message in said(parsed, "not_placed") if repr(kind) in message] == [2]
    lots = '"AssetClass","Symbol","CurrencyPrimary","Quantity","OpenPrice","OpenDateTime","LevelOfDetail"\n'
    parsed = parse(lots + f'"{kind}","ESZ0","USD","1","3700","20200304;093001","LOT"\n')
    assert not parsed.positions
    assert [row for row, message in said(parsed, "not_placed") if repr(kind) in message] == [2]


@pytest.mark.parametrize(
    "spelled",
    ["BRK/B 01/15/2021 230.00 C", "BRK.B 1/15/2021 Call $230.00", "BRK B 15JAN21 230 C", "-BRKB210115C230", "BRK.B Jan 15 '21 $230 Call"],
)  # fmt: skip
def test_options_on_a_class_of_share_are_understood(spelled: str) -> None:
    assert occ_of(spelled) == "BRKB210115C00230000"


def test_free_text_at_the_end_of_a_row_may_hold_commas() -> None:
    text = "TransactionDate,TransactionType,SecurityType,Symbol,Quantity,Amount,Price,Commission,Description\n"
    assert trades(parse(text + "03/04/20,Bought,EQ,KO,10,-562,56.2,0,COCA COLA, CO, THE\n")) == [("buy", "KO", 10)]


def test_headers_with_another_of_their_names_are_recognised() -> None:
    text = "Run Date,Action,Symbol,Description,Quantity,Price,Commission,Fees,Amount\n"
    text += "03/04/2020,YOU BOUGHT COCA COLA (KO),KO,C,10,56.2,,,-562\n"
    parsed = parse(text)
    assert trades(parsed) == [("buy", "KO", 10)]
    assert (parsed.reading or {})["preset"] == "fidelity-history"


def test_a_name_that_is_no_ticker_may_be_named_for_the_whole_file() -> None:
    parsed = parse(HEADER + "BAC PRL,1,2020-03-04,1400\n")
    assert "symbols BAC PRL=TICKER (--symbol)" in parsed.issues.errors[0].message
    [lot] = parse(HEADER + "BAC PRL,1,2020-03-04,1400\n", Options(symbols={"BAC PRL": "BAC-PL"})).positions
    assert lot.symbol == "BAC-PL"


# --- what is in the way ----------------------------------------------------------------------------------------------


def test_a_header_that_stands_again_is_read_with_its_own_order() -> None:
    """Files that were put together: the second one's columns stand in another order, or lack a label."""
    text = (
        HEADER.replace("\n", ",sector\n")
        + "KO,5,2020-03-04,50,Staples\nSymbol,Quantity,Entry Date,Entry Price,Sector\nPEP,1,2020-03-04,140,\n"
    )
    text += "entry_date,symbol,entry_price,quantity\n2020-03-05,MSFT,170,3\n"
    parsed = parse(text)
    assert parsed.issues.errors == []
    assert [(lot.symbol, float(lot.quantity), float(lot.entry_price)) for lot in parsed.positions] == [
        ("KO", 5, 50),
        ("PEP", 1, 140),
        ("MSFT", 3, 170),
    ]
    [(row, message)] = said(parsed, "repeated_header")
    assert (row, "lines 3, 5" in message) == (3, True)
    again = parse(
        ROBINHOOD
        + '"3/4/2020","KO","Coca","Buy","5","$50","($250)"\n'
        + ROBINHOOD
        + '"3/5/2020","KO","Coca","Sell","2","$51","$102"\n'
    )
    assert [(trade.kind, trade.row) for trade in again.trades or ()] == [("buy", 2), ("sell", 4)]


@pytest.mark.parametrize(
    "row", [",,,,,5000", ",5000,,,Cash & Cash Investments,", ",,,,Cash,5000", "USD,5000,,,,", ",,,,Total,9000"]
)
def test_cash_in_columns_of_its_own_is_named(row: str) -> None:
    parsed = parse(HEADER.replace("\n", ",name,cash\n") + f"KO,5,2020-03-04,50,Coca,\n{row}\n")
    assert (errors(parsed), len(parsed.positions)) == ([], 1)
    assert [row for row, _ in said(parsed, "skipped_row")] == [3]


def test_sales_are_never_read_as_purchases() -> None:
    """A list of trades whose columns were named as those of positions held twice what was sold."""
    text = "Date,Action,Ticker,Shares,Price\n2020-03-04,Buy,KO,10,50\n2020-03-05,Sell,KO,4,51\n"
    named = {"symbol": "Ticker", "quantity": "Shares", "entry_date": "Date", "entry_price": "Price"}
    for options in (None, Options(mapping=named)):
        [issue] = parse(text, options).issues.errors
        assert "map date='Date' symbol='Ticker' quantity='Shares' price='Price' action='Action'" in issue.message
    followed = {"date": "Date", "action": "Action", "symbol": "Ticker", "quantity": "Shares", "price": "Price"}
    assert trades(parse(text, Options(mapping=followed))) == [("buy", "KO", 10), ("sell", "KO", 4)]


def test_a_column_that_a_brokers_file_calls_otherwise_is_named_within_its_layout() -> None:
    """The message that a column is missing asks for that; it was read as a file without a layout, and refused."""
    named = (
        SCHWAB.replace('"Amount"', '"Amount","Unit price"')
        + '"03/04/2020","Buy","KO","COCA COLA","1,000","","","-$50,000","$50.00"\n'
    )
    [trade] = parse(named, Options(mapping={"price": "Unit price"})).trades or ()
    assert trade.price == 50
    assert trade.quantity == 1000


def test_an_identifier_is_named_as_the_file_or_the_message_writes_it() -> None:
    [issue] = parse(HEADER + "us1912161007,5,2020-03-04,50\n").issues.errors
    assert "symbols US1912161007=TICKER" in issue.message
    [lot] = parse(HEADER + "us1912161007,5,2020-03-04,50\n", Options(symbols={"US1912161007": "KO"})).positions
    assert lot.symbol == "KO"


# --- shares without money --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        (
            SCHWAB + '"03/04/2020","Stock Dividend","KO","K","5","","",""\n"03/05/2020","Spin-off","XYZ","X","7","","",""\n',
            "receive receive",
        ),
        (ROBINHOOD + '"3/4/2020","XYZ","Spun","SOFF","7","",""\n"3/5/2020","KO","Coca","SPL","5","",""\n', "receive split"),
        (
            FIDELITY_HISTORY + "03/04/2020,DISTRIBUTION SPINOFF FROM:191216100,XYZ,X,7,,\n03/05/2020,DISTRIBUTION,FUND,F,,,12.50\n",
            "receive dividend",
        ),
        (TRADES + "2020-03-04,stock dividend,KO,5,,,\n2020-03-05,spin-off,XYZ,7,,,\n", "receive receive"),
    ],
)  # fmt: skip
def test_stock_dividends_and_spin_offs_bring_shares(text: str, kinds: str) -> None:
    """`Stock Dividend` was taken for a dividend of no money, and a spin-off for a split of what is not held."""
    parsed = parse(text)
    assert parsed.issues.errors == []
    assert " ".join(trade.kind for trade in parsed.trades or ()) == kinds


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('"Qualified Dividend","KO","COCA","5","","",""', "write the action receive"),
        ('"Stock Split","KO","COCA","","","",""', "Give the quantity that was added"),
        ('"Stock Split","KO","COCA","-90","","",""', "write a sale of the shares of before"),
        ('"Reverse Split","KO","COCA","-90","","",""', "If it is one of buy, sell"),
    ],
)
def test_shares_that_cannot_be_placed_are_listed_with_a_remedy(row: str, words: str) -> None:
    parsed = parse(SCHWAB + '"03/03/2020","Buy","KO","COCA","100","$50","",""\n' + f'"03/04/2020",{row}\n')
    [(line, message)] = said(parsed, NOT_PLACED)
    assert (line, words in message) == (3, True)


def test_a_word_of_ours_counts_in_a_brokers_file() -> None:
    """Messages ask for it."""
    assert trades(parse(SCHWAB + '"03/04/2020","receive","KO","COCA","5","","",""\n')) == [("receive", "KO", 5)]


@pytest.mark.parametrize(
    "header",
    [
        "Action,Time,ISIN,Ticker,Name,No. of shares,Price / share,Currency (Price / share),Exchange rate,Result (EUR),Total (EUR),Notes,ID",
        "Action,Time,Ticker,Name,No. of shares,Price per share,Currency,Total (EUR),ID",
    ],
)
def test_older_headers_of_a_broker_are_recognised(header: str) -> None:
    values = {"Action": "Limit sell", "Time": "2020-03-04 14:30:06", "Ticker": "KO", "No. of shares": "2.5", "Price / share": "50.5",
              "Price per share": "50.5", "Currency (Price / share)": "USD", "Currency": "USD", "ID": "EOF1"}  # fmt: skip
    rows = [header, ",".join(values.get(name, "") for name in header.split(","))]
    rows.append(rows[1].replace("USD", "GBX").replace("EOF1", "EOF2"))
    parsed = parse("\n".join(rows))
    assert trades(parsed) == [("sell", "KO", 2.5)]
    assert [row for row, _ in said(parsed, NOT_PLACED)] == [3]


def test_a_split_that_is_booked_as_sale_and_purchase_is_a_split() -> None:
    """Matched as trades beside the source's split, the sale would close a tenth of the shares at ten times their price."""
    head = "Datum,Tijd,Product,ISIN,Beurs,Uitvoeringsplaats,Aantal,Koers,,Lokale waarde,,Waarde EUR,Order ID\n"
    rows = [
        '29-06-2020,00:00,COCA COLA,US1912161007,NSY,,60,"35,026",USD,"-2101,56",USD,,',
        '29-06-2020,00:00,COCA COLA,US1912161007,NSY,,-6,"350,26",USD,"2101,56",USD,,',
        '04-03-2020,15:30,COCA COLA,US1912161007,NSY,,6,"300,00",USD,"-1800,00",USD,,ab',
        '04-03-2020,15:30,COCA COLA,US1912161007,NSY,,-1,"300,10",USD,"300,10",USD,,ac',
        '05-03-2020,15:30,SAP,DE0007164600,XET,,1,"100,00",EUR,"-100,00",EUR,,ad',
    ]
    parsed = parse(head + "\n".join(rows), Options(symbols={"US1912161007": "KO"}))
    assert parsed.reading is not None
    assert parsed.reading["preset"] == "degiro-local"
    assert trades(parsed) == [("buy", "KO", 6), ("sell", "KO", 1), ("split", "KO", 54)]
    assert [row for row, _ in said(parsed, NOT_PLACED)] == [6]
    reverse = parse(
        head + "\n".join([rows[0].replace(",60,", ",-60,"), rows[1].replace(",-6,", ",6,"), rows[2]]),
        Options(symbols={"US1912161007": "KO"}),
    )
    assert trades(reverse) == [("buy", "KO", 6)]
    assert "takes shares away" in said(reverse, NOT_PLACED)[0][1]


def test_a_split_of_trading_212_is_a_split() -> None:
    """A row opens the new shares and another closes the old ones."""
    head = "Action,Time,ISIN,Ticker,Name,No. of shares,Price / share,Currency (Price / share),ID\n"
    rows = [("Market buy", "2020-03-04 14:30:06", "1.5", "120", "EOF1"), ("Stock split open", "2020-03-10 00:00:00", "6", "30.6", "EOF2"),
            ("Stock split close", "2020-03-10 00:00:00", "1.5", "122.5", "EOF3")]  # fmt: skip
    text = head + "".join(
        f"{what},{when},US1,KO,Coca,{shares},{price},USD,{id_}\n" for what, when, shares, price, id_ in rows
    )
    assert trades(parse(text)) == [("buy", "KO", 1.5), ("split", "KO", 4.5)]


def test_an_activity_file_names_options_in_words() -> None:
    text = (
        "All Transactions Activity Types\n\nAccount Activity for X -0000 from Prior Year\n\nTotal:,-1.00\n\n"
        "Activity/Trade Date,Transaction Date,Settlement Date,Activity Type,Description,Symbol,Cusip,Quantity #,Price $,Amount $,"
        "Commission,Category,Note\n"
        "03/04/20,03/04/20,03/06/20,Bought,COCA COLA,KO,--,10,50.25,-502.50,0.0,--,--\n"
        "03/05/20,03/05/20,03/05/20,Sold Short,PUT  KO     06/19/20    50.000,KO,--,-1.0,1.5,149.49,0.51,--,--\n"
        "03/06/20,03/06/20,03/06/20,Online Transfer,ACH DEPOSIT,--,--,,,1000.0,0.0,--,--\n"
        "04/01/20,04/01/20,04/01/20,Qualified Dividend,COCA COLA,KO,--,,,4.10,0.0,--,--\n"
        "06/19/20,06/19/20,06/22/20,Option Expired,PUT  KO     06/19/20    50.000 EXP,KO,--,1.0,0.00,0.00,0.0,--,--\n"
    )
    parsed = parse(text)
    assert trades(parsed) == [
        ("buy", "KO", 10),
        ("short", "KO200619P00050000", 1),
        ("dividend", "KO", 0),
        ("expire", "KO200619P00050000", 1),
    ]
    assert [row for row, _ in said(parsed, "skipped_row")] == [10]
