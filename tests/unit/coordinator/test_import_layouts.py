"""Eight brokers' exports in their documented layouts, with values of our own: recognised, read, nothing dropped silently."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from services.coordinator.importer import presets
from services.coordinator.importer.parse import Parsed, parse_csv
from services.coordinator.importer.presets import POSITIONS
from services.coordinator.importer.reading import Options
from services.coordinator.importer.rules import Rules
from shared.market.calendar import calendar

RULES = Rules(calendar(), date(2020, 12, 30))

SCHWAB_POSITIONS = """"Positions for account Individual ...987 as of 04:05 PM ET, 2020/12/28","","","","","",""
"","","","","","",""
"Symbol","Description","Qty (Quantity)","Price","Mkt Val (Market Value)","Cost Basis","Security Type"
"KO","COCA-COLA CO","1,150","$54.10","$62,215.00","$41,400.00","Equity"
"KO 01/15/2021 55.00 C","CALL COCA-COLA $55 EXP 01/15/21","-3","$0.42","-$126.00","-$210.00","Option"
"Cash & Cash Investments","--","--","--","$7,410.02","--","Cash and Money Market"
"Account Total","--","--","--","$69,499.02","$41,190.00","--"
"""
SCHWAB_LOTS = """"KO Lot Details for Individual ...987 as of 12/28/2020","","","",""
"Open Date","Quantity","Price","Cost/Share","Market Value","Cost Basis"
"03/04/2020","1,000","$54.10","$56.20","$54,100.00","$56,200.00"
"06/10/2020","150","$54.10","$48.01","$8,115.00","$7,201.50"
"Total","1,150","","","$62,215.00","$63,401.50"
"PEP Lot Details for Individual ...987 as of 12/28/2020","","","",""
"Open Date","Quantity","Price","Cost/Share","Market Value","Cost Basis"
"03/05/2020","10","$144.00","$136.00","$1,440.00","$1,360.00"
"""
SCHWAB_TRANSACTIONS = """"Date","Action","Symbol","Description","Quantity","Price","Fees & Comm","Amount"
"12/18/2020","Expired","KO 12/18/2020 55.00 C","CALL COCA-COLA $55 EXP 12/18/20","3","","",""
"12/15/2020","Qualified Dividend","KO","COCA-COLA CO","","","","$41.00"
"11/16/2020","Sell","KO","COCA-COLA CO","400","$53.35","$0.11","$21339.89"
"10/05/2020","Sell to Open","KO 12/18/2020 55.00 C","CALL COCA-COLA $55 EXP 12/18/20","3","$0.70","$1.95","$208.05"
"03/04/2020","Buy","KO","COCA-COLA CO","1,000","$56.20","","-$56200.00"
"03/02/2020","MoneyLink Transfer","","Tfr BANK","","","","$60000.00"
"Transactions Total","","","","","","","$25389.94"
"""
FIDELITY_POSITIONS = """\ufeffAccount Number,Account Name,Symbol,Description,Quantity,Last Price,Current Value,Cost Basis Total,Type
Z11111111,INDIVIDUAL,SPAXX**,HELD IN MONEY MARKET,,,$812.45,,Cash,
Z11111111,INDIVIDUAL,KO,COCA COLA CO,1150,$54.10,$62215.00,$41400.00,Margin,
Z11111111,INDIVIDUAL, -KO210115C55,KO JAN 15 2021 $55 CALL,-3,$0.42,-$126.00,$210.00,Margin,
Z11111111,INDIVIDUAL,Pending Activity,,,,$9.10,,,

"The data and information in this spreadsheet is provided to you solely for your use and is not for distribution."

"Date downloaded Dec-28-2020 4:10 p.m ET"
"""
FIDELITY_HISTORY = """

Run Date,Action,Symbol,Description,Type,Quantity,Price ($),Commission ($),Fees ($),Accrued Interest ($),Amount ($),Settlement Date
 12/15/2020, DIVIDEND RECEIVED COCA COLA CO COM (KO) (Margin), KO, COCA COLA CO COM,Margin,,,,,,41,
 11/16/2020, YOU SOLD COCA COLA CO COM (KO) (Margin), KO, COCA COLA CO COM,Margin,-400,53.35,,0.11,,21339.89,11/18/2020
 10/05/2020, YOU SOLD OPENING TRANSACTION CALL (KO) COCA COLA CO JAN 15 21 $55 (100 SHS) (Margin), -KO210115C55, CALL (KO),Margin,-3,0.7,1.95,,,208.05,10/06/2020
 03/04/2020, YOU BOUGHT COCA COLA CO COM (KO) (Margin), KO, COCA COLA CO COM,Margin,1000,56.2,,,,-56200,03/06/2020
 03/02/2020, Electronic Funds Transfer Received (Cash), , No Description,Cash,,,,,,60000,

"The data and information in this spreadsheet is provided to you solely for your use."
"""  # noqa: E501 (a broker's line)
IBKR_ACTIVITY = """Statement,Header,Field Name,Field Value
Statement,Data,BrokerName,Interactive Brokers
Trades,Header,DataDiscriminator,Asset Category,Currency,Symbol,Date/Time,Quantity,T. Price,C. Price,Proceeds,Comm/Fee,Basis,Realized P/L,MTM P/L,Code
Trades,Data,Order,Stocks,USD,KO,"2020-03-04, 09:30:01","1,000",56.2,56.5,-56200,-1,56201,0,300,O
Trades,Data,Order,Stocks,USD,KO,"2020-11-16, 10:00:00",-400,53.35,53.2,21340,-1,-22480.4,-1141.4,60,C
Trades,SubTotal,,Stocks,USD,KO,,600,,,-34860,-2,33720.6,-1141.4,360,
Trades,Data,Order,Stocks,EUR,SAP,"2020-11-16, 10:00:00",10,99,99,-990,-1,991,0,0,O
Trades,Header,DataDiscriminator,Asset Category,Currency,Symbol,Date/Time,Quantity,T. Price,C. Price,Proceeds,Comm/Fee,Basis,Realized P/L,MTM P/L,Code
Trades,Data,Order,Equity and Index Options,USD,KO 15JAN21 55.0 C,"2020-10-05, 11:00:00",-3,0.7,0.72,210,-1.95,-208.05,0,-6,O
Trades,Total,,,USD,,,,,,-34650,-3.95,,,,
Dividends,Header,Currency,Date,Description,Amount
Dividends,Data,USD,2020-12-15,KO(US1912161007) Cash Dividend USD 0.41 per Share,246
"""  # noqa: E501
IBKR_FLEX_TRADES = """"AssetClass","Symbol","Description","CurrencyPrimary","DateTime","Quantity","TradePrice","IBCommission","Buy/Sell","TradeID","Open/CloseIndicator","LevelOfDetail"
"STK","KO","COCA-COLA CO/THE","USD","20200304;093001","1000","56.2","-1","BUY","71","O","EXECUTION"
"STK","KO","COCA-COLA CO/THE","USD","20201116;100000","-400","53.35","-1","SELL","72","C","EXECUTION"
"OPT","KO    210115C00055000","KO 15JAN21 55 C","USD","20201005;110000","-3","0.7","-1.95","SELL","73","O","EXECUTION"
"CASH","EUR.USD","EUR.USD","USD","20201005;110000","100","1.17","-2","BUY","74","","EXECUTION"
"STK","KO","COCA-COLA CO/THE","USD","20201116;100000","-400","56.2","","SELL","","C","CLOSED_LOT"
"""  # noqa: E501
IBKR_FLEX_LOTS = """"AssetClass","Symbol","CurrencyPrimary","Quantity","OpenPrice","OpenDateTime","LevelOfDetail"
"STK","KO","USD","600","","","SUMMARY"
"STK","KO","USD","600","56.2","20200304;093001","LOT"
"OPT","KO    210115C00055000","USD","-3","0.7","20201005;110000","LOT"
"""
VANGUARD = """Account Number,Investment Name,Symbol,Shares,Share Price,Total Value,
12345678,COCA COLA CO,KO,600,54.1,32460,
12345678,VANGUARD FEDERAL MONEY MARKET FUND,VMFXX,210.5,1,210.5,



Account Number,Trade Date,Settlement Date,Transaction Type,Transaction Description,Investment Name,Symbol,Shares,Share Price,Principal Amount,Commission Fees,Net Amount,Accrued Interest,Account Type,
12345678,03/04/2020,03/06/2020,Buy,Buy,COCA COLA CO,KO,1000.0,56.2,-56200,0,-56200,0,CASH,
12345678,11/16/2020,11/18/2020,Sell,Sell,COCA COLA CO,KO,-400.0,53.35,21340,0,21340,0,CASH,
12345678,11/18/2020,11/18/2020,Sweep in,Sweep,VANGUARD FEDERAL MONEY MARKET FUND,VMFXX,21340,1,-21340,0,-21340,0,CASH,
12345678,12/15/2020,12/15/2020,Dividend,Dividend Received,COCA COLA CO,KO,0.0,0,246,0,246,0,CASH,
"""  # noqa: E501
ETRADE_POSITIONS = """Account Summary
Account,Net Account Value
Individual -1234,33000

Symbol,Last Price $,Change $,Change %,Quantity,Price Paid $,Day's Gain $,Total Gain $,Total Gain %,Value $
KO,54.10,0.1,0.19,600,56.20,60,-1260,-3.74,32460.00
KO Jan 15 '21 $55 Call,0.42,0,0,-3,0.70,0,84,40,-126.00
CASH,,,,,,,,,666.00
TOTAL,,,,,,60,-1176,,33000.00
Generated at Dec 28 2020 04:12 PM ET
"""
ETRADE_TRANSACTIONS = """For Account:,#####1234

TransactionDate,TransactionType,SecurityType,Symbol,Quantity,Amount,Price,Commission,Description
11/16/20,Sold,EQ,KO,-400,21339.89,53.35,0.11,COCA COLA CO
12/15/20,Qualified Dividend,EQ,KO,0,246,0,0,COCA COLA CO
03/04/20,Bought,EQ,KO,1000,-56200,56.2,0,COCA COLA CO
03/02/20,Transfer,,,0,60000,0,0,ACH DEPOSIT
"""
ROBINHOOD = """"Activity Date","Process Date","Settle Date","Instrument","Description","Trans Code","Quantity","Price","Amount"
"12/18/2020","12/18/2020","12/21/2020","KO","Option Expiration for KO 12/18/2020 Call $55.00","OEXP","3S","",""
"12/15/2020","12/15/2020","12/15/2020","KO","Cash Div: R/D 2020-12-01 P/D 2020-12-15","CDIV","","","$246.00"
"11/16/2020","11/16/2020","11/18/2020","KO","Coca-Cola
CUSIP: 191216100","Sell","400","$53.35","$21,340.00"
"10/5/2020","10/5/2020","10/6/2020","KO","KO 12/18/2020 Call $55.00","STO","3","$0.70","$210.00"
"3/4/2020","3/4/2020","3/6/2020","KO","Coca-Cola
CUSIP: 191216100","Buy","1,000","$56.20","($56,200.00)"
"3/2/2020","3/2/2020","3/3/2020","","ACH Deposit","ACH","","","$60,000.00"
"""
TRADING212 = """Action,Time,ISIN,Ticker,Name,No. of shares,Price / share,Currency (Price / share),Exchange rate,Total,ID
Deposit,2020-03-02 09:00:00,,,,,,,,60000.00,D1
Market buy,2020-03-04 14:30:01,US1912161007,KO,"Coca-Cola",1000.0000000000,56.2000000000,USD,1,56200.00,EOF1
Limit sell,2020-11-16 15:00:00,US1912161007,KO,"Coca-Cola",400.0000000000,53.3500000000,USD,1,21340.00,EOF2
Dividend (Ordinary),2020-12-15 10:00:00,US1912161007,KO,"Coca-Cola",600.0,0.41,USD,Not available,246.00,
Market buy,2020-11-17 09:00:00,GB00B10RZP78,ULVR,"Unilever",10,4500,GBX,0.01,450.00,EOF3
"""
DEGIRO = """Date,Time,Product,ISIN,Reference exchange,Venue,Quantity,Price,,Local value,,Value,,Exchange rate,Transaction and/or third,,Total,,Order ID
16-11-2020,16:00,COCA-COLA COMPANY,US1912161007,NSY,XNYS,-400,53.3500,USD,21340.00,USD,21340.00,USD,,-0.50,USD,21339.50,USD,aaa-2
04-03-2020,15:30,COCA-COLA COMPANY,US1912161007,NSY,XNYS,1000,56.2000,USD,-56200.00,USD,-56200.00,USD,,-0.50,USD,-56200.50,USD,aaa-1
"""  # noqa: E501
ISIN = {"US1912161007": "KO"}


def parse(text: str, options: Options | None = None) -> Parsed:
    return parse_csv(text.encode(), "export.csv", RULES, options)


def listed(parsed: Parsed) -> list[tuple[str, str, Decimal | None, str, Decimal | None]]:
    assert parsed.issues.errors == []
    assert parsed.trades is not None
    return [(t.kind, t.symbol, t.quantity, t.day.isoformat(), t.price) for t in parsed.trades]


CALL = "KO210115C00055000"
BOUGHT = ("buy", "KO", Decimal(1000), "2020-03-04", Decimal("56.2"))
SOLD = ("sell", "KO", Decimal(400), "2020-11-16", Decimal("53.35"))
WRITTEN = ("short", CALL, Decimal(3), "2020-10-05", Decimal("0.7"))


@pytest.mark.parametrize(
    ("text", "preset", "day"),
    [
        (SCHWAB_POSITIONS, "schwab-positions", "2020-12-28"),
        (FIDELITY_POSITIONS, "fidelity-positions", "2020-12-28"),
        (ETRADE_POSITIONS, "etrade-positions", "2020-12-28"),
    ],
)
def test_positions_enter_on_the_day_of_the_file_at_its_price(text: str, preset: str, day: str) -> None:
    parsed = parse(text)
    assert parsed.issues.errors == []
    assert parsed.reading is not None
    assert (parsed.reading["preset"], parsed.reading["file_date"]) == (preset, day)
    share, option = parsed.positions
    assert (share.symbol, share.entry_price, share.entry_date.isoformat()) == ("KO", Decimal("54.10"), day)
    assert (option.symbol, option.quantity, option.investment_class) == (CALL, Decimal(-3), "OPTIONS")
    assert option.entry_price * option.quantity * option.multiplier == -126
    said = [issue for issue in parsed.issues.warnings if issue.code == "entered_at_date"]
    assert len(said) == 1
    assert day in said[0].message
    skipped = [issue.message for issue in parsed.issues.warnings if issue.code == "skipped_row"]
    assert any("cash" in message for message in skipped)


def test_lots_have_their_own_days_and_the_symbol_of_their_heading() -> None:
    parsed = parse(SCHWAB_LOTS)
    assert parsed.issues.errors == []
    assert [(lot.symbol, lot.quantity, lot.entry_date.isoformat(), lot.entry_price) for lot in parsed.positions] == [
        ("KO", Decimal(1000), "2020-03-04", Decimal("56.20")),
        ("KO", Decimal(150), "2020-06-10", Decimal("48.01")),
        ("PEP", Decimal(10), "2020-03-05", Decimal("136.00")),
    ]
    parsed = parse(IBKR_FLEX_LOTS)
    assert [(lot.symbol, lot.quantity, lot.entry_date.isoformat(), lot.entry_price) for lot in parsed.positions] == [
        ("KO", Decimal(600), "2020-03-04", Decimal("56.2")),
        (CALL, Decimal(-3), "2020-10-05", Decimal("0.7")),
    ]


def test_a_holdings_file_without_a_day_asks_for_one() -> None:
    holdings = VANGUARD.split("\n\n", maxsplit=1)[0]
    [error] = parse(holdings).issues.errors
    assert error.code == "ERR_CSV_007"
    assert "--entry-date" in error.message
    [lot] = parse(holdings, Options(entry_date="2020-12-28")).positions
    assert (lot.symbol, lot.at_close) == ("KO", True)


@pytest.mark.parametrize(
    ("text", "preset", "expected"),
    [
        (FIDELITY_HISTORY, "fidelity-history", [BOUGHT, WRITTEN, SOLD]),
        (IBKR_ACTIVITY, "ibkr-activity", [BOUGHT, WRITTEN, SOLD]),
        (IBKR_FLEX_TRADES, "ibkr-flex-trades", [BOUGHT, WRITTEN, SOLD]),
        (VANGUARD, "vanguard-transactions", [BOUGHT, SOLD]),
        (ETRADE_TRANSACTIONS, "etrade-transactions", [BOUGHT, SOLD]),
        (TRADING212, "trading212", [BOUGHT, SOLD]),
    ],
)
def test_trades_are_read_oldest_first(text: str, preset: str, expected: list[object]) -> None:
    parsed = parse(text)
    assert [trade for trade in listed(parsed) if trade[0] != "dividend"] == expected
    assert parsed.reading is not None
    assert parsed.reading["preset"] == preset


@pytest.mark.parametrize("text", [SCHWAB_TRANSACTIONS, ROBINHOOD])
def test_an_option_that_was_written_expires(text: str) -> None:
    parsed = parse(text)
    written = ("short", "KO201218C00055000", Decimal(3), "2020-10-05", Decimal("0.7"))
    expired = ("expire", "KO201218C00055000", Decimal(3), "2020-12-18", Decimal(0))
    assert [trade for trade in listed(parsed) if trade[0] != "dividend"] == [BOUGHT, written, SOLD, expired]
    assert [trade.amount for trade in parsed.trades or () if trade.kind == "dividend"] in (
        [Decimal(41)],
        [Decimal(246)],
    )


def test_a_broker_without_tickers_asks_for_them() -> None:
    parsed = parse(DEGIRO)
    assert [issue.code for issue in parsed.issues.errors] == ["ERR_CSV_003"]
    left = [issue.message for issue in parsed.issues.warnings if issue.code == "not_placed"]
    assert len(left) == 2
    assert "US1912161007=TICKER" in left[0]
    assert listed(parse(DEGIRO, Options(symbols=ISIN))) == [BOUGHT, SOLD]


def test_what_cannot_be_placed_is_listed_by_row() -> None:
    left = {issue.row: issue.message for issue in parse(TRADING212).issues.warnings if issue.code == "not_placed"}
    assert list(left) == [6]
    assert "GBX" in left[6]
    left = {issue.row: issue.message for issue in parse(IBKR_ACTIVITY).issues.warnings if issue.code == "not_placed"}
    assert list(left) == [7]
    odd = SCHWAB_TRANSACTIONS.replace('"Sell","KO"', '"Spun off","KO"')
    left = {issue.row: issue.message for issue in parse(odd).issues.warnings if issue.code == "not_placed"}
    assert "'Spun off'" in left[4]


def test_every_row_of_a_file_is_a_trade_or_is_named() -> None:
    for text in (SCHWAB_TRANSACTIONS, FIDELITY_HISTORY, ETRADE_TRANSACTIONS, ROBINHOOD, TRADING212):
        parsed = parse(text)
        told = {issue.row for issue in parsed.issues.warnings} | {trade.row for trade in parsed.trades or ()}
        header = int(str((parsed.reading or {})["header_row"]))
        rows = {
            number
            for number, line in enumerate(text.splitlines(), 1)
            if number > header and line and "CUSIP" not in line
        }
        assert rows <= told, rows - told


def test_fees_are_said_to_be_left_out() -> None:
    [said] = [issue for issue in parse(SCHWAB_TRANSACTIONS).issues.warnings if issue.code == "fees_left_out"]
    assert said.value == "2.06"


def test_a_list_of_trades_in_our_own_columns() -> None:
    text = "date,action,symbol,quantity,price,id\n2020-03-04,buy,KO,1000,56.2,a\n2020-11-16,sell,KO,400,53.35,b\n"
    assert listed(parse(text)) == [BOUGHT, SOLD]
    theirs = text.replace("date,action,symbol,quantity,price", "When,What,Ticker,Shares,At")
    named = {"date": "When", "action": "What", "symbol": "Ticker", "quantity": "Shares", "price": "At"}
    assert listed(parse(theirs, Options(mapping=named))) == [BOUGHT, SOLD]


def test_a_layout_can_be_chosen_or_refused() -> None:
    [error] = parse(SCHWAB_POSITIONS, Options(preset="fidelity-history")).issues.errors
    assert "Run Date".replace(" ", "").casefold() in error.message
    [error] = parse(SCHWAB_POSITIONS, Options(preset="merrill")).issues.errors
    assert "schwab-positions" in error.message


@pytest.mark.parametrize("name", sorted(presets.presets()))
def test_every_layout_is_whole(name: str) -> None:
    preset = presets.presets()[name]
    assert preset.documented
    assert {"quantity"} <= set(preset.columns)
    assert preset.kind == POSITIONS or preset.signed or preset.actions


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("kind =", "kin ="), "kin is unknown"),
        (('dialect = "uk"', 'dialect = "gb"'), "'gb'"),
        (('kind = "trades"', 'kind = "orders"'), "orders"),
    ],
)
def test_a_layout_that_cannot_be_read_is_named(change: tuple[str, str], words: str) -> None:
    from importlib import resources

    text = (resources.files(presets) / "trading212.toml").read_text()
    with pytest.raises(ValueError, match="layout mine") as raised:
        presets.parse("mine", text.replace(*change, 1))
    assert words in str(raised.value)
