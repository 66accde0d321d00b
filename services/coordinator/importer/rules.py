"""What a row must satisfy as a whole. CSV rows and JSON positions go through the same function."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from services.coordinator.importer import cells, identifiers, options
from services.coordinator.importer.model import CLASSES, OPTIONS, PRIVATE, PUBLIC, Flow, Issues, Position
from services.coordinator.importer.option_names import occ_of
from services.coordinator.importer.reading import NOTHING
from services.coordinator.importer.row_refusals import refuse_unread_option
from shared.market.calendar import Calendar
from shared.market.registry import OPTION_MULTIPLIER
from shared.market.symbols import CASH_SUBTYPES, CASH_SYMBOL, SymbolKind, classify

SUBTYPES: dict[str, frozenset[str]] = {
    PUBLIC: frozenset(
        {"STOCK", "ETF", "ETN", "MUTUAL_FUND", "CLOSED_END_FUND", "REIT", "ADR", "BOND"} | set(CASH_SUBTYPES)
    ),
    OPTIONS: frozenset({"CALL", "PUT", "EQUITY_OPTION", "INDEX_OPTION"}),
    PRIVATE: frozenset(
        {"PRIVATE_EQUITY", "VENTURE_CAPITAL", "PRIVATE_CREDIT", "PRIVATE_REIT", "REAL_ESTATE", "HEDGE_FUND"}
        | {"COMMODITY", "CRYPTOCURRENCY", "CASH", "OTHER"}
    ),
}
# Trading 212's interface names AAPL so.
_INSTRUMENT_CODE = re.compile(r"([A-Z0-9.]+)_[A-Z]{2}_EQ")
# SPAXX, VMFXX, SWVXX: five letters, the last two X.
_MONEY_MARKET = re.compile(r"[A-Z]{3}XX")
# What a line of sums is called: with a date and a price it is what the user says it is.
_SUMS = frozenset({"TOTAL", "TOTALS", "SUBTOTAL", "SUM", "SUMME", "GESAMT", "TOTAAL", "TOTALE", "SALDO", "BALANCE"})
BASES = ("as_traded", "split_adjusted")
_CLASS_OF = {SymbolKind.PUBLIC: PUBLIC, SymbolKind.OPTION: OPTIONS, SymbolKind.PRIVATE: PRIVATE}


@dataclass(frozen=True, slots=True)
class Rules:
    """What the rules need to know of the world. Made for each request, so a process that runs for days knows the date."""

    calendar: Calendar
    today: date
    """The exchange date: a trade of today is allowed, one of tomorrow is not."""


def position(row: int, values: Mapping[str, str], rules: Rules, issues: Issues) -> Position | None:
    """A position from cells in snake case, or None after reporting every cell that is wrong."""
    found = issues.of_row()

    def get(column: str) -> str:
        return values.get(column, "").strip()

    first, today = rules.calendar.first, rules.today

    spelled = occ_of(get("symbol"))
    symbol = spelled or cells.symbol(get("symbol"), row, "symbol", found)
    signed = cells.LONG_OR_SHORT
    quantity = cells.amount(get("quantity"), row, "quantity", cells.QUANTITY, cells.MAX_QUANTITY, found, signed=signed)
    price = cells.amount(get("entry_price"), row, "entry_price", cells.PRICE, cells.MAX_PRICE, found, zero=True)
    entry = cells.day(get("entry_date"), row, "entry_date", cells.DATE, found, first=first, last=today)
    exit_date, exit_price = _exit(row, values, entry, rules, found)
    kind = _class(row, symbol, values, found)
    _refuse_identifier(row, symbol, kind, found)
    subtype = _subtype(row, kind, get("investment_subtype"), found)
    if symbol == CASH_SYMBOL and kind == PUBLIC and subtype is None:
        subtype = _take_as_cash(row, found)
    _doubt_money(row, symbol, kind, subtype, found)
    option = options.NONE
    if kind == OPTIONS:
        option = options.contract(row, symbol, values, rules.calendar.first, entry, subtype, found)
    basis = _basis(row, get("price_basis"), found)
    _say_zero(row, price, exit_price, found)
    name = cells.words(get("name"), row, "name", found)
    sector = cells.words(get("sector"), row, "sector", found)
    _amounts(row, kind, quantity, {"entry_price": price, "exit_price": exit_price}, found)
    issues.extend(found)
    if found.refused or symbol is None or quantity is None or price is None or entry is None or kind is None:
        return None
    return Position(
        row=row,
        symbol=option.symbol or symbol,
        quantity=quantity,
        entry_date=entry,
        entry_session=rules.calendar.on_or_after(entry),
        entry_price=price,
        investment_class=kind,
        investment_subtype=subtype,
        exit_date=exit_date,
        exit_session=None if exit_date is None else rules.calendar.on_or_after(exit_date),
        exit_price=exit_price,
        name=name,
        sector=sector,
        price_basis=basis,
        underlying_symbol=option.underlying,
        strike_price=option.strike,
        expiration_date=option.expiration,
        option_type=option.type,
        class_stated=bool(get("investment_class")),
    )


def _amounts(
    row: int, kind: str | None, quantity: Decimal | None, prices: Mapping[str, Decimal | None], issues: Issues
) -> None:
    """What the lot costs and brings, within what the ledger holds."""
    for column, price in prices.items():
        if quantity is None or price is None:
            continue
        if abs(quantity) * price * (OPTION_MULTIPLIER if kind == OPTIONS else 1) > cells.MAX_VALUE:
            message = f"quantity times {column} is beyond {cells.MAX_VALUE:,f}. Check the units of both."
            issues.error(row, "quantity", cells.OUT_OF_RANGE, message, str(quantity))


def flow(row: int, values: Mapping[str, str], rules: Rules, issues: Issues) -> Flow | None:
    """A cash flow from `date`, `amount` and `note`."""
    found = Issues()
    codes = cells.NumberCodes("ERR_FLOW_004", "ERR_FLOW_004", "ERR_FLOW_004", "ERR_FLOW_004")
    dates = cells.DateCodes("ERR_FLOW_001", "ERR_FLOW_001", "ERR_FLOW_002", "ERR_FLOW_003")
    day = cells.day(
        values.get("date", "").strip(), row, "date", dates, found, first=rules.calendar.first, last=rules.today
    )
    text = values.get("amount", "").strip()
    amount = cells.amount(text, row, "amount", codes, cells.MAX_QUANTITY, found, signed=cells.IN_OR_OUT)
    if amount is not None and cells.decimals(amount) > 4:
        found.error(row, "amount", "ERR_FLOW_004", f"amount {text} has over 4 decimals. Money is kept to 4.", text)
    note = cells.words(values.get("note", "").strip(), row, "note", found)
    issues.extend(found)
    if found.refused or day is None or amount is None:
        return None
    return Flow(row, day, rules.calendar.on_or_after(day), amount, note)


def _say_zero(row: int, price: Decimal | None, exit_price: Decimal | None, issues: Issues) -> None:
    """A price of zero is meant rarely and mistyped often: taken, and said."""
    if price == 0:
        issues.warn(
            row, "entry_price", "zero_price", "entry_price is 0: the lot is taken as received for nothing.", "0"
        )
    if exit_price == 0:
        issues.warn(row, "exit_price", "zero_price", "exit_price is 0: the lot is taken as expired or cancelled.", "0")


def _exit(
    row: int, values: Mapping[str, str], entry: date | None, rules: Rules, issues: Issues
) -> tuple[date | None, Decimal | None]:
    """Exit date and price: both or neither."""
    date_text, price_text = values.get("exit_date", "").strip(), values.get("exit_price", "").strip()
    # A dash or N/A in both says what two empty cells say; in one of them it is half an exit.
    if all(text.casefold() in ("", "null", *NOTHING) for text in (date_text, price_text)):
        return None, None
    price = cells.amount(price_text, row, "exit_price", cells.PRICE, cells.MAX_PRICE, issues, zero=True)
    first, today = rules.calendar.first, rules.today
    day = cells.day(date_text, row, "exit_date", cells.DATE, issues, first=first, last=today)
    if day is not None and entry is not None and day < entry:
        issues.error(
            row,
            "exit_date",
            "ERR_POS_018",
            f"exit_date {day} is before entry_date {entry}. Swap or correct them.",
            date_text,
        )
    return day, price


def _class(row: int, symbol: str | None, values: Mapping[str, str], issues: Issues) -> str | None:
    """The stated class, else OPTIONS where option fields are filled, else what the symbol says."""
    text = values.get("investment_class", "").strip()
    if text and text.upper() not in CLASSES:
        issues.error(
            row, "investment_class", "ERR_POS_016", f"investment_class {text!r} is none of {', '.join(CLASSES)}.", text
        )
        return None
    if not text and any(values.get(column, "").strip() for column in options.FIELDS):
        return OPTIONS
    if symbol is None:
        return text.upper() or PUBLIC
    kind = _CLASS_OF[classify(symbol, text)]
    if text and kind != text.upper():
        issues.warn(
            row,
            "investment_class",
            "class_contradicts_symbol",
            f"investment_class {text.upper()} is not kept: {symbol} names {'an option' if kind == OPTIONS else 'a private holding'}, "
            f"and is taken as {kind}. Correct the symbol if {text.upper()} is meant.",
            text,
        )
    if not text:
        _doubt_symbol(row, symbol, kind, issues)
    return kind


def _doubt_symbol(row: int, symbol: str, kind: str, issues: Issues) -> None:
    """What a symbol was taken for, where it might mean something else."""
    code = _INSTRUMENT_CODE.fullmatch(symbol)
    if code is not None and kind == PUBLIC:
        message = f"{symbol} looks like a broker's instrument code; as a listed symbol write {code[1]}"
    elif kind == PRIVATE:
        message = f"{symbol} is taken for a private holding, held at its stated value; state investment_class=PUBLIC if it is listed"
    elif symbol in _SUMS:
        message = f"{symbol} is taken for a ticker; delete the row if it is a sum of the others"
    elif "_" in symbol:
        message = f"{symbol} is taken for a listed symbol; state investment_class=PRIVATE if it has no market"
    else:
        return
    issues.warn(row, "symbol", "symbol_doubtful", message + ".", symbol)


def _refuse_identifier(row: int, symbol: str | None, kind: str | None, issues: Issues) -> None:
    """A number that names a security, or an option that cannot be read: every source would answer that it does not know it."""
    if symbol is not None and kind == PUBLIC and refuse_unread_option(symbol, row, issues):
        return
    identifier = identifiers.identifier_of(symbol) if symbol is not None and kind == PUBLIC else None
    if symbol is not None and identifier is not None:
        issues.error(row, "symbol", "ERR_POS_028", identifiers.no_ticker(symbol, identifier), symbol)


def _take_as_cash(row: int, issues: Issues) -> str:
    issues.warn(
        row,
        "symbol",
        "taken_as_cash",
        "CASH is taken as money at its stated price. If it is the ticker of a company, give investment_subtype STOCK.",
        CASH_SYMBOL,
    )
    return "CASH"


def _doubt_money(row: int, symbol: str | None, kind: str | None, subtype: str | None, issues: Issues) -> None:
    """Money market funds end in XX, and few sources price them."""
    if symbol is not None and kind == PUBLIC and subtype is None and _MONEY_MARKET.fullmatch(symbol):
        issues.warn(
            row,
            "symbol",
            "symbol_doubtful",
            f"{symbol} looks like a money market fund, which few sources price: state investment_subtype MONEY_MARKET to hold it "
            "at its stated price.",
            symbol,
        )


def _subtype(row: int, kind: str | None, text: str, issues: Issues) -> str | None:
    if not text or kind is None:
        return None
    subtype = "_".join(text.upper().replace("-", " ").replace("_", " ").split())
    if subtype in SUBTYPES[kind]:
        return subtype
    issues.error(
        row,
        "investment_subtype",
        "ERR_POS_017",
        f"investment_subtype {text!r} is not one of {kind}: {', '.join(sorted(SUBTYPES[kind]))}.",
        text,
    )
    return None


def _basis(row: int, text: str, issues: Issues) -> str | None:
    basis = text.lower().replace(" ", "_").replace("-", "_")
    if basis in ("", "auto"):
        return None
    if basis in BASES:
        return basis
    issues.error(row, "price_basis", "ERR_POS_025", f"price_basis {text!r} is none of auto, {', '.join(BASES)}.", text)
    return None
