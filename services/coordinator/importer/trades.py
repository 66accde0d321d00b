"""Rows of a list of trades, checked. What cannot be placed is listed, never guessed."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

from services.coordinator.importer import cells, special_rows, trade_rows
from services.coordinator.importer.cells import plain_text
from services.coordinator.importer.identifiers import identifier_of
from services.coordinator.importer.layouts import other_level, records, warn_levels
from services.coordinator.importer.model import Issues
from services.coordinator.importer.option_names import occ_of
from services.coordinator.importer.presets import ADDING, KINDS
from services.coordinator.importer.reader import Sheet
from services.coordinator.importer.reading import Layout, Options, Record
from services.coordinator.importer.row_refusals import (
    refuse_foreign,
    refuse_money,
    refuse_shifted,
    refuse_unread_option,
)
from services.coordinator.importer.rules import Rules
from shared.market.symbols import parse_occ

OPENING, CLOSING = frozenset({"buy", "short"}), frozenset({"sell", "cover", "expire"})
NOT_PLACED = "not_placed"
_NUMBERS_READ = ("quantity", "price", "amount")
# Of the money of a split's two bookings, whose prices are rounded; and how far apart prices of one moment are by nothing else.
_ROUNDING, _TELLING = Decimal("0.01"), Decimal("0.04")
_SIDE_SUFFIX = re.compile(r"([0-9.]+)[SL]")


@dataclass(frozen=True, slots=True)
class Trade:
    """One fill, split or dividend as the broker reports it. Quantities are positive: `kind` says which way.

    quantity : shares or contracts; of a split or of what was received the shares that were added; None of a dividend
    price    : per share; None of a split, a dividend and what was received; 0 of what expired or came for nothing
    amount   : money, of a dividend
    """

    row: int
    kind: str
    symbol: str
    day: date
    quantity: Decimal | None = None
    price: Decimal | None = None
    time: str = ""
    sequence: int = 0
    broker_id: str | None = None
    name: str | None = None
    amount: Decimal | None = None
    price_basis: str | None = None
    """What the user says quantity and price are; None: as traded, as a confirmation of a trade is."""
    opens_rest: bool = False
    """Whether the broker says of one fill that it closes and opens: what is left once all is closed opens the other side."""
    written: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    """Column and text of each number as the file at hand writes it; empty of a trade that is kept."""
    key: str = ""
    """What makes it the same trade in another file: the broker's id, else its content and occurrence."""


def read(sheet: Sheet, layout: Layout, context: Rules, options: Options, issues: Issues) -> list[Trade]:
    """All trades of a file, oldest first. Rows that are wrong are errors, rows that are none are warnings."""
    found: list[Trade] = []
    fees = Decimal(0)
    repeated: Counter[str] = Counter()
    for row, record in records(sheet, layout, issues):
        level = other_level(record, layout)
        if level is not None:
            repeated[level] += 1
            continue
        trade = _trade(row.cells, record, layout, context, options, issues)
        if trade is not None:
            found.append(trade)
            fees += sum(
                (abs(value) for name in ("fee", "commission") if (value := cells.number(record.cells.get(name, "")))),
                Decimal(0),
            )
    warn_levels(repeated, layout, issues)
    if fees:
        issues.warn(
            None, "fee", "fees_left_out",
            f"Fees and commissions of {fees} are not part of the lots: prices are kept as traded. Enter them as cash flows if "
            "they are to count.", str(fees),
        )  # fmt: skip
    if layout.preset is not None and layout.preset.split_pairs:
        found = _join_split_pairs(found, issues)
    return assign_keys(in_order(found), layout)


def _join_split_pairs(trades: Sequence[Trade], issues: Issues) -> list[Trade]:
    """With one split instead of each sale of all shares and purchase of the new ones, for the same money at one moment."""
    sales = {(each.symbol, each.day, each.time): each for each in trades if each.kind == "sell"}
    result = {id(each): each for each in trades}
    for bought in trades:
        sold = sales.get((bought.symbol, bought.day, bought.time)) if bought.kind == "buy" else None
        if (
            sold is None
            or id(sold) not in result
            or not (bought.price and bought.quantity and sold.price and sold.quantity)
        ):
            continue
        added, paid = bought.quantity - sold.quantity, bought.quantity * bought.price
        if abs(paid - sold.quantity * sold.price) > paid * _ROUNDING or abs(bought.price / sold.price - 1) < _TELLING:
            continue
        del result[id(sold)], result[id(bought)]
        if added > 0:
            result[id(bought)] = replace(bought, kind="split", quantity=added, price=None)
        else:
            _leave_out(
                bought.row,
                trade_rows.lacks_shares("split", {"quantity": str(added)}),
                issues,
                bought.symbol,
            )
    return list(result.values())


def in_order(trades: Sequence[Trade]) -> list[Trade]:
    """Oldest first. Files come in both orders; within a second, what opens comes before what closes, which FIFO cannot tell
    apart from the other way round unless something would be sold that is bought only then."""
    newest_first = bool(trades) and trades[0].day > trades[-1].day
    listed = list(reversed(trades)) if newest_first else list(trades)
    ordered = sorted(listed, key=place)
    return [replace(trade, sequence=number) for number, trade in enumerate(ordered)]


def place(trade: Trade) -> tuple[date, bool, str, bool]:
    """Where a trade stands among others: by day and time. A split is in force from the open of its day."""
    return trade.day, trade.kind not in ADDING, trade.time, trade.kind in CLOSING


def assign_keys(trades: Sequence[Trade], layout: Layout | None = None) -> list[Trade]:
    """With keys that tell them apart. An id that stands on several rows is an order's, and names none of its fills."""
    unique = layout is not None and layout.preset is not None and layout.preset.unique_id
    named = Counter((trade.broker_id, trade.kind) for trade in trades if trade.broker_id)
    seen: Counter[str] = Counter()
    found = []
    for trade in trades:
        if unique and trade.broker_id and named[trade.broker_id, trade.kind] == 1:
            key = f"id:{hashlib.sha256(trade.broker_id.encode()).hexdigest()[:32]}:{trade.kind}"
        else:
            parts = (trade.kind, trade.symbol, trade.day, plain_text(trade.quantity), plain_text(trade.price), trade.time,
                     plain_text(trade.amount), trade.broker_id)  # fmt: skip
            digest = hashlib.sha256(repr([str(part) for part in parts]).encode()).hexdigest()[:32]
            seen[digest] += 1
            key = f"{digest}:{seen[digest]}"
        found.append(replace(trade, key=key))
    return found


def _trade(
    row: Sequence[str], record: Record, layout: Layout, context: Rules, options: Options, issues: Issues
) -> Trade | None:
    preset, got = layout.preset, record.cells
    assert preset is not None
    what = trade_rows.not_a_trade(row, record, layout)
    if what is not None:
        issues.warn(
            record.row, None, "skipped_row", f"Row {record.row}: {what}, not a trade.", ",".join(filter(None, row))
        )
        return None
    broker_class = got.get("type", "")
    if broker_class and preset.classes and preset.of_class(broker_class) is None:
        special_rows.say_no_class(record.row, got.get("symbol", ""), broker_class, issues)
        return None
    if refuse_shifted(record, layout, issues):
        return None
    kind = trade_rows.kind_of(got, layout)
    if kind is None:
        _leave_out(
            record.row,
            f"its action {got.get('action', '')!r} is none that is known. If it is one of {', '.join(KINDS)}, write that instead",
            issues,
            got.get("action"),
        )
        return None
    if kind == "cash" and (why := trade_rows.moved_shares(got)):
        _leave_out(record.row, why, issues, got.get("quantity"))
        return None
    if kind == "cash":
        issues.warn(
            record.row, "action", "skipped_row",
            f"Row {record.row}: money, not a trade ({got.get('action', '')}). Deposits and withdrawals are cash flows; "
            "add those that count.", got.get("amount"),
        )  # fmt: skip
        return None
    currency = got.get("currency", "").upper()
    if currency and currency != options.currency:
        _leave_out(record.row, f"it is priced in {currency}, the portfolio in {options.currency}", issues, currency)
        return None
    if refuse_money(record, _NUMBERS_READ, options.currency, issues):
        return None
    refuse_foreign(record, layout, _NUMBERS_READ, issues)
    if why := trade_rows.lacks_shares(kind, got):
        _leave_out(record.row, why, issues, got.get("quantity") or got.get("symbol"))
        return None
    symbol = _symbol(record, layout, options, issues)
    if symbol is None:
        return None
    if parse_occ(symbol) is None and trade_rows.is_of_option(kind, got, preset):
        _leave_out(
            record.row,
            f"{got.get('action') or kind!r} is of an option, and {symbol} names none that can be read",
            issues,
            symbol,
        )
        return None
    return _check_trade(kind, symbol, record, context, issues)


def _symbol(record: Record, layout: Layout, options: Options, issues: Issues) -> str | None:
    got, preset = record.cells, layout.preset
    assert preset is not None
    isin = got.get("isin", "")
    for name in (got.get("symbol", ""), isin):
        if ours := options.symbol_of_name(name):
            return cells.symbol(ours, record.row, "symbol", issues)
    if preset.option_from:
        option = occ_of(got.get(preset.option_from, "").splitlines()[0] if got.get(preset.option_from) else "")
        if option is not None:
            return option
    text = got.get("symbol", "")
    if not text and isin:
        _leave_out(
            record.row, f"the broker writes no ticker for {got.get('name') or isin}: name it with symbols {isin}=TICKER", issues, isin
        )  # fmt: skip
        return None
    if not text and "symbol" not in layout.where:
        _leave_out(record.row, "the file names no symbol", issues)
        return None
    symbol = occ_of(text) or cells.symbol(text, record.row, "symbol", issues)
    if symbol is not None and refuse_unread_option(symbol, record.row, issues):
        return None
    number = None if symbol is None else identifier_of(symbol)
    if symbol is not None and number is not None:
        _leave_out(
            record.row, f"{symbol} is {number}, not a ticker: name it with symbols {symbol}=TICKER", issues, symbol
        )
        return None
    return symbol


def _check_trade(kind: str, symbol: str, record: Record, context: Rules, issues: Issues) -> Trade | None:
    got, row, found = record.cells, record.row, issues.of_row()
    first, today = context.calendar.first, context.today
    day = cells.day(got.get("date", ""), row, "date", cells.DATE, found, first=first, last=today)
    quantity = price = amount = None
    if kind != "dividend":
        text = got.get("quantity", "")
        suffixed = _SIDE_SUFFIX.fullmatch(text)
        text = suffixed[1] if suffixed else text
        if kind in ("buy", "cover") and text.startswith("-"):
            _leave_out(
                row, f"a purchase of {text} {symbol} takes an earlier one back: take both out of the file, or enter what was held",
                issues, symbol,
            )  # fmt: skip
            return None
        # Which way it went is what `kind` says; brokers write a sale with or without the minus.
        text = text.lstrip("+-")
        quantity = cells.amount(text, row, "quantity", cells.QUANTITY, cells.MAX_QUANTITY, found)
    if kind in ("buy", "sell", "short", "cover"):
        text = got.get("price", "")
        if not text and not got.get("amount") and kind == "sell" and parse_occ(symbol) is not None:
            text = "0"
        price = cells.amount(text, row, "price", cells.PRICE, cells.MAX_PRICE, found, zero=True)
    elif kind == "expire":
        price = Decimal(0)
    elif kind == "dividend":
        amount = cells.number(got.get("amount", ""))
        if amount is None and (shares := cells.number(got.get("quantity", ""))):
            amount = shares * (cells.number(got.get("price", "")) or 0)
    name = cells.words(got.get("name", ""), row, "name", found)
    issues.extend(found)
    if found.refused or day is None:
        return None
    return Trade(row, kind, symbol, day, quantity, price, got.get("time", ""),
                 broker_id=got.get("broker_id") or None, name=name, amount=amount, written=record.written,
                 opens_rest=kind in ("sell", "cover") and trade_rows.codes_of(got) >= {"C", "O"})  # fmt: skip


def _leave_out(row: int, why: str, issues: Issues, value: str | None = None) -> None:
    issues.warn(row, None, NOT_PLACED, f"Row {row} is left out: {why}.", value)
