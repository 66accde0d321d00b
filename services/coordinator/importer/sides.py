"""Columns of a file of positions that say which way each row goes: its sales and short positions would be read as longs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.coordinator.importer import cells, columns, dialects
from services.coordinator.importer.columns import canonical
from services.coordinator.importer.dialects import Dialect
from services.coordinator.importer.model import Issues
from services.coordinator.importer.presets import header_key, presets
from services.coordinator.importer.reader import Sheet

# More words than that are no list of what can be done.
_ACTIONS = 40
_SALES = frozenset({"sell", "short", "cover"})
_LONG, _SHORT = frozenset({"long", "l"}), frozenset({"short", "s"})
# Long and short, purchase and redemption, letters and opinions are sides only where the column's name says so: a lot is held for the
# short term, a fund is of small companies, an analyst says sell.
_PARTS_OF_NAMES = (
    "side", "action", "buy", "sell", "b/s", "l/s", "long/", "direction", "transaction", "trade", "verb", "operation", "activity", "order",
)  # fmt: skip
_NAMES = frozenset({"type", "pos", "position", "positiontype", "way", "ls", "bs", "long", "short", "longshort"})
_TERM = ("term", "holdingperiod", "gain", "tax", "lt/st", "rating", "recommend", "opinion")
# Nothing but what is done, whatever the column is named.
_DEEDS = ("sell", "sold", "sld", "bot", "buy to ")


def refuse_sides(sheet: Sheet, first: int, where: Mapping[str, int], dialect: Dialect, issues: Issues) -> bool:
    """Whether a column says what each row does, or on which side it is held, which no quantity repeats; reports it, with the remedy.

    first : index of the header; where : cells of the columns that are known already, which say no side
    """
    header = sheet.rows[first]
    rows = [row.cells for row in sheet.rows[first + 1 :]]
    for at, name in enumerate(header.cells):
        if not name or canonical(name) is not None or at in where.values():
            continue
        words = {cells[at].strip().casefold() for cells in rows if at < len(cells) and cells[at].strip()}
        if not words or len(words) > _ACTIONS or any(part in header_key(name) for part in _TERM):
            continue
        named = _names_sides(name)
        if named and words <= _LONG | _SHORT:
            if words & _SHORT and not _are_signed(rows, at, where, dialect):
                _refuse_short(header.line, name, issues)
                return True
            continue
        told = [presets()["trades"].action(word) for word in words]
        if not (named or any(word.startswith(_DEEDS) for word in words)):
            continue
        if not _SALES.isdisjoint(told) and told.count(None) * 2 <= len(told):
            _refuse_trades(header.cells, header.line, name, issues)
            return True
    return False


def _names_sides(name: str) -> bool:
    key = header_key(name)
    return key in _NAMES or any(part in key for part in _PARTS_OF_NAMES)


def _are_signed(rows: Sequence[Sequence[str]], at: int, where: Mapping[str, int], dialect: Dialect) -> bool:
    """Whether the quantity of each short row says so itself."""
    quantity = where.get("quantity")
    if quantity is None:
        return False
    short = [
        row[quantity] for row in rows if at < len(row) and row[at].strip().casefold() in _SHORT and quantity < len(row)
    ]
    numbers = [cells.number(dialects.plain_number(text, dialect) or "") for text in short if text]
    return all(number is not None and number < 0 for number in numbers)


def _refuse_short(line: int, name: str, issues: Issues) -> None:
    issues.error(
        line, name, "ERR_CSV_004",
        f"Column {name!r} says which rows are short, and their quantities do not: a short position has a negative quantity. Write the "
        f"minus in the rows that are short, and leave the column {name!r} out; leave it out alone if it says something else.", name,
    )  # fmt: skip


def _refuse_trades(headers: Sequence[str], line: int, name: str, issues: Issues) -> None:
    free = [cell for cell in headers if cell and cell != name]
    like = {"date": "entry_date", "symbol": "symbol", "quantity": "quantity", "price": "entry_price"}
    guesses = {ours: _name_of_column(ours, of, free) for ours, of in like.items()}
    named = " ".join(f"{ours}={theirs!r}" for ours, theirs in {**guesses, "action": name}.items())
    issues.error(
        line, name, "ERR_CSV_004",
        f"Column {name!r} says what each row does: the file is a list of trades, and not of positions. Name its columns: map {named}.",
        name,
    )  # fmt: skip


def _name_of_column(ours: str, column: str, headers: Sequence[str]) -> str:
    own = next((header for header in headers if header_key(header) == ours or canonical(header) == column), None)
    return own or columns.likely_header(column, headers) or "…"
