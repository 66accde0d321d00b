"""Records of a file of positions, as the cells the rules check: dates and prices that the file leaves to the day it was made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

from services.coordinator.importer import cells, rules, special_rows
from services.coordinator.importer.columns import REQUIRED
from services.coordinator.importer.identifiers import identifier_of, no_ticker
from services.coordinator.importer.layouts import other_level, records, warn_levels
from services.coordinator.importer.model import OPTIONS, PRIVATE, Issues, Position
from services.coordinator.importer.option_names import occ_of
from services.coordinator.importer.presets import Preset
from services.coordinator.importer.reader import Sheet
from services.coordinator.importer.reading import NOTHING, Layout, Options, Record
from services.coordinator.importer.row_refusals import refuse_foreign, refuse_money, refuse_shifted
from services.coordinator.importer.rules import Rules
from services.coordinator.importer.special_rows import say_no_class
from shared.market.symbols import normalise

LEFT_OUT = "skipped_row"
# Replaced by the day's close before anything is stored; a number, so that the other rules can be checked.
_UNKNOWN_PRICE = "1"
_NUMBERS_READ = ("quantity", "entry_price", "exit_price", "close_price", "strike_price")


@dataclass(frozen=True, slots=True)
class _Day:
    """The day that lots without one enter on, and where it comes from."""

    text: str
    named: bool
    """By the user, not by the file: then the file's prices are of another day, unless it says the same."""


def positions(sheet: Sheet, layout: Layout, context: Rules, options: Options, issues: Issues) -> Iterator[Position]:
    """The lots of a file. Rows that are no position are warnings, rows that are wrong are errors."""
    day = _day(layout, options, issues)
    if day is None:
        return
    undated: Counter[bool] = Counter()
    repeated: Counter[str] = Counter()
    for row, record in records(sheet, layout, issues):
        level = other_level(record, layout)
        if level is not None:
            repeated[level] += 1
            continue
        if _other(row.cells, record, layout, options, issues) or refuse_shifted(record, layout, issues):
            continue
        if refuse_money(record, _NUMBERS_READ, options.currency, issues):
            continue
        refuse_foreign(record, layout, _NUMBERS_READ, issues)
        values, without_date, at_close = _values(record, layout, options, day)
        if layout.preset is not None and _leave_out_unnamed(record.row, values, issues):
            continue
        position = rules.position(record.row, values, context, issues)
        if position is not None:
            undated[at_close] += without_date
            own = cells.number(record.cells.get("close_price", "")) if at_close else None
            of = date.fromisoformat(layout.file_date) if at_close and layout.file_date else None
            yield replace(
                position, at_close=at_close, undated=without_date, file_price=own, file_day=of, written=record.written
            )
    warn_levels(repeated, layout, issues)
    for at_close, count in undated.items():
        if count:
            _say_undated(count, day, issues, at_close=at_close)


def _say_undated(count: int, day: _Day, issues: Issues, *, at_close: bool) -> None:
    source = "as entry_date says" if day.named else "the day the file is of"
    # A price that stands in the file with a day the user names is what the user says it was then.
    price = "that day's close" if at_close else "the price the file gives"
    issues.warn(
        None, "entry_date", "entered_at_date",
        f"{count} position{'s have' if count > 1 else ' has'} no entry date and enter{'' if count > 1 else 's'} on {day.text}, "
        f"{source}, at {price}. What was gained before is not in the file.", day.text,
    )  # fmt: skip


def _day(layout: Layout, options: Options, issues: Issues) -> _Day | None:
    """None after reporting that nobody says when undated lots enter."""
    if options.entry_date:
        try:
            date.fromisoformat(options.entry_date)
        except ValueError:
            issues.error(
                None, "entry_date", "ERR_POS_013",
                f"entry_date {options.entry_date!r} is not a date. Write it as YYYY-MM-DD.", options.entry_date,
            )  # fmt: skip
            return None
        return _Day(options.entry_date, named=options.entry_date != layout.file_date)
    if layout.file_date is not None:
        return _Day(layout.file_date, named=False)
    if "entry_date" not in layout.where:
        issues.error(
            None, "entry_date", "ERR_CSV_007",
            "The file says neither when its positions were entered nor of which day it is. Give that day as entry_date "
            "(--entry-date YYYY-MM-DD): they enter then, at that day's close"
            f"{' or, where none is stored yet, at the price the file gives' if 'close_price' in layout.where else ''}.",
        )  # fmt: skip
        return None
    return _Day("", named=True)


def _values(record: Record, layout: Layout, options: Options, day: _Day) -> tuple[dict[str, str], bool, bool]:
    """The cells for the rules, whether the lot had no date of its own, and whether its price is the close of its day."""
    values = {
        key: value for key, value in record.cells.items() if key not in ("type", "level", "currency", "close_price")
    }
    preset = layout.preset
    symbol = values.get("symbol", "")
    values["symbol"] = options.symbol_of_name(symbol) or symbol
    if preset is not None and preset.classes and not values.get("investment_class"):
        kind = record.cells.get("type", "")
        values["investment_class"] = (kind and preset.of_class(kind)) or ""
        if occ_of(values["symbol"]) is not None:
            values["investment_class"] = OPTIONS
    undated, at_close = not values.get("entry_date") and bool(day.text), False
    if undated:
        values["entry_date"] = day.text
        if not values.get("entry_price"):
            own = record.cells.get("close_price", "")
            at_close = day.named or not own
            values["entry_price"] = _UNKNOWN_PRICE if at_close else own
    return values, undated, at_close


def _leave_out_unnamed(row: int, values: dict[str, str], issues: Issues) -> bool:
    """Whether a broker names a security by a number alone (most bonds): left out and named, the rest of its file counts."""
    symbol = normalise(values["symbol"])
    kind = None if values.get("investment_class", "").upper() == PRIVATE else identifier_of(symbol)
    if kind is not None:
        issues.warn(row, "symbol", "not_placed", f"Row {row} is left out: {no_ticker(symbol, kind)}", symbol)
    return kind is not None


def _of_other_currency(record: Record, preset: Preset | None, own: str, issues: Issues) -> bool:
    """Whether a row is priced in another currency than the portfolio's; says so. Of a broker's file the rest counts."""
    currency = record.cells.get("currency", "").upper()
    if not currency or currency == own:
        return False
    if preset is None:
        issues.error(
            record.row, "currency", "ERR_CSV_010",
            f"Row {record.row} is priced in {currency}, the portfolio in {own}. Amounts are not converted: write them in {own}, or leave "
            "the row out.", currency,
        )  # fmt: skip
    else:
        issues.warn(
            record.row, "currency", "not_placed",
            f"Row {record.row} is left out: it is priced in {currency}, the portfolio in {own}.", currency,
        )  # fmt: skip
    return True


def _other(row: list[str], record: Record, layout: Layout, options: Options, issues: Issues) -> bool:
    """Whether a row is no position of this portfolio; says so."""
    preset, got = layout.preset, record.cells
    if preset is not None:
        kind = got.get("type", "")
        if kind and preset.classes and not preset.of_class(kind):
            if preset.of_class(kind) == "":
                issues.warn(record.row, None, LEFT_OUT, f"Row {record.row}: cash, not a position.", got.get("symbol"))
            else:
                say_no_class(record.row, got.get("symbol", ""), kind, issues)
            return True
    if _of_other_currency(record, preset, options.currency, issues):
        return True
    needed = REQUIRED if preset is None else ("symbol", "quantity")
    filled = sum(bool(got.get(column)) and got[column].casefold() not in NOTHING for column in needed)
    # Below a heading that names the symbol, the first cell says what a row is.
    named = preset is not None and preset.symbol_line is not None
    what = special_rows.reason(row, "" if named else got.get("symbol") or got.get("name", ""), preset, filled)
    if what is None and not any(got.values()):
        what = "nothing in the columns that are read"
    if what is None and preset is None and got.get("symbol", "").upper() == options.currency and filled < len(REQUIRED):
        what = "cash"
    if what is None and preset is not None and filled == 1 and len([cell for cell in row if cell]) <= 2:
        what = "a footer"
    if what is None and preset is not None and not got.get("quantity"):
        what = "a row without a quantity"
    if what is None:
        return False
    issues.warn(record.row, None, LEFT_OUT, f"Row {record.row}: {what}, not a position.", ",".join(filter(None, row)))
    return True
