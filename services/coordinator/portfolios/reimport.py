"""A file against what is stored: which rows are new, which say the same, which say something else. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from sqlalchemy import RowMapping

from services.coordinator.importer import content
from services.coordinator.importer.basis_model import BY_THE_USER
from services.coordinator.importer.cells import plain_text
from services.coordinator.importer.model import Difference, Issues, Position

# What a corrected file may say anew of a lot it knows. Symbol, day, quantity and price are what it is known by.
_FIELDS = ("exit_date", "exit_price", "price_basis", "sector", "investment_class", "investment_subtype", "name")
# Equal shares at an equal price some days away are a corrected date; a quarter away, a savings plan.
_DAYS_APART = 31
Row = RowMapping


@dataclass(frozen=True, slots=True)
class Comparison:
    fresh: list[Position] = field(default_factory=list)
    known: list[tuple[Row, Position]] = field(default_factory=list)
    differences: list[Difference[Row]] = field(default_factory=list)


def compare_and_warn(stored: Sequence[Row], positions: Sequence[Position], issues: Issues) -> Comparison:
    """A list of lots against what is stored, with a warning of all that is perhaps there already."""
    found = compare(stored, positions)
    warn_similar(stored, found, issues)
    warn_held_already(stored, found, issues)
    warn_both_kinds(stored, {lot.symbol for lot in found.fresh}, issues, from_trades=False)
    return found


def compare(stored: Sequence[Row], positions: Sequence[Position]) -> Comparison:
    """Rows are matched by content and occurrence first, then by what was bought: symbol, day, quantity, price.

    A cell that is empty says nothing, so it is no difference. Two equal fills are two lots in each file.
    """
    result = Comparison()
    by_key = {row["content_key"]: row for row in stored if row["content_key"] is not None}
    used: set[UUID] = set()
    found: dict[int, Row] = {}
    for index, key in enumerate(content.content_keys(positions)):
        if key in by_key:
            found[index] = by_key[key]
            used.add(by_key[key]["id"])
    purchases: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in stored:
        if row["id"] not in used:
            purchases[row["symbol"], row["entry_date"], row["stated_quantity"], row["stated_entry_price"]].append(row)
    for index, position in enumerate(positions):
        lot = found.get(index)
        if lot is None and purchases[content.purchase(position)]:
            lot = purchases[content.purchase(position)].pop(0)
        if lot is None:
            result.fresh.append(position)
            continue
        result.known.append((lot, position))
        changes = _changes(lot, position)
        if changes:
            result.differences.append(Difference(position.row, lot, changes))
    return result


def statement_of(position: Position, *, without: Iterable[str] = (), complete: bool = False) -> dict[str, str]:
    """What a file says of a lot, beside what it is known by. `complete`: of a new lot, whose class counts as said."""
    values = {name: getattr(position, name) for name in _FIELDS}
    if not (position.class_stated or complete):
        del values["investment_class"]
    return {
        name: plain_text(value)
        for name, value in values.items()
        if value not in (None, "") and name not in set(without)
    }


def merge_statements(statements: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Several files' words of one lot, oldest first: the later over the earlier, and silence erases nothing."""
    result: dict[str, str] = {}
    for statement in statements:
        result.update(statement)
    return result


def restoring_edit(lot: Row, wanted: Mapping[str, str], *, taken_back: bool) -> dict[str, str | None]:
    """The edit that makes a stored lot say what the files that are left say of it."""
    body: dict[str, str | None] = {}
    for name in _FIELDS:
        now = _stored_text(lot, name)
        value = wanted.get(name)
        if name == "investment_class" and value is None:
            continue
        if name == "price_basis":
            # Nobody states one any more: it is for the closes to decide again.
            if value != now and (value is not None or (taken_back and now is not None)):
                body[name] = value or "auto"
        elif value != now:
            body[name] = value
    if "exit_date" in body or "exit_price" in body:
        body |= {name: wanted.get(name) for name in ("exit_date", "exit_price")}
    return body


def warn_similar(stored: Sequence[Row], found: Comparison, issues: Issues) -> None:
    """A new lot beside a stored one that is much like it: perhaps the same purchase, corrected."""
    named = {row["id"] for row, _ in found.known}
    of_symbol: dict[str, list[Row]] = defaultdict(list)
    for row in stored:
        of_symbol[row["symbol"]].append(row)
    for position in found.fresh:
        for row in of_symbol[position.symbol]:
            column, old, new = _likeness(row, position, named=row["id"] in named)
            if not column:
                continue
            issues.warn(
                position.row, column, "similar_lot",
                f"{position.symbol} of {row['entry_date']} is stored with {column} {old}, and row {position.row} says {new}. Both "
                "are kept; delete the stored lot, or undo its import, if this one corrects it.", new,
            )  # fmt: skip
            break


def _likeness(row: Row, position: Position, *, named: bool) -> tuple[str, str, str]:
    """(the column that differs, as stored, as new); ('', '', '') where the lots are not alike.

    named : whether the file has the stored lot too. Then another quantity at another price is another fill, and so is another day.
    """
    quantity = row["stated_quantity"] == position.quantity
    price = row["stated_entry_price"] == position.entry_price
    days = abs((row["entry_date"] - position.entry_date).days)
    if days and quantity and price and not named and days <= _DAYS_APART:
        return "entry_date", str(row["entry_date"]), str(position.entry_date)
    if days or (quantity and price) or (named and not quantity and not price):
        return "", "", ""
    if price:
        return "quantity", plain_text(row["stated_quantity"]), plain_text(position.quantity)
    if quantity:
        return "entry_price", plain_text(row["stated_entry_price"]), plain_text(position.entry_price)
    old = f"{plain_text(row['stated_quantity'])} at {plain_text(row['stated_entry_price'])}"
    return "quantity", old, f"{plain_text(position.quantity)} at {plain_text(position.entry_price)}"


def warn_both_kinds(stored: Sequence[Row], symbols: AbstractSet[str], issues: Issues, *, from_trades: bool) -> None:
    """A broker's list of holdings and its list of trades state the same shares. from_trades : whether the file at hand lists trades"""
    both = sorted(
        {row["symbol"] for row in stored if row["from_trades"] is not from_trades and row["symbol"] in symbols}
    )
    if both:
        named = ", ".join(both[:10]) + (f" and {len(both) - 10} more" if len(both) > 10 else "")
        kept, file = ("lots", "trades") if from_trades else ("trades", "lots")
        issues.warn(
            None, "symbol", "held_twice",
            f"{named}: there are {kept} of it in the portfolio, and this file adds {file}. Both count; if they are the same shares, take "
            "one of the imports back.", both[0],
        )  # fmt: skip


def warn_held_already(stored: Sequence[Row], found: Comparison, issues: Issues) -> None:
    """A list of holdings says what is held in all, so that the next one of them repeats what the last one brought."""
    named = {row["id"] for row, _ in found.known}
    open_lots: dict[str, list[Row]] = defaultdict(list)
    for row in stored:
        # Of lots from trades `warn_both_kinds` speaks.
        if row["id"] not in named and row["exit_date"] is None and not row["from_trades"]:
            open_lots[row["symbol"]].append(row)
    again = sorted({lot.symbol for lot in found.fresh if lot.undated and lot.symbol in open_lots})
    if again:
        told = ", ".join(
            f"{symbol} ({plain_text(sum((row['stated_quantity'] for row in open_lots[symbol]), Decimal(0)))})"
            for symbol in again[:10]
        ) + (f" and {len(again) - 10} more" if len(again) > 10 else "")
        issues.warn(
            None, "symbol", "held_already",
            f"{told}: open lots of it are stored, and this file, whose lots have no entry date, adds its holdings to them. Both count. If "
            "they are the same shares at a later day, take the earlier import back (--undo) and import this file again, or import "
            "what was bought and sold since as a list of trades or as lots with their dates.", again[0],
        )  # fmt: skip


def _changes(lot: Row, position: Position) -> dict[str, tuple[str | None, str]]:
    said = statement_of(position)
    changes = {
        name: (_stored_text(lot, name), value) for name, value in said.items() if value != _stored_text(lot, name)
    }
    if {"exit_date", "exit_price"} & set(changes):
        changes |= {name: (_stored_text(lot, name), said[name]) for name in ("exit_date", "exit_price") if name in said}
    return changes


def _stored_text(lot: Row, name: str) -> str | None:
    if name == "price_basis":
        return str(lot["price_basis"]) if lot["basis_reason"] in BY_THE_USER else None
    value = lot["stated_exit_price" if name == "exit_price" else name]
    return None if value is None else plain_text(value)
