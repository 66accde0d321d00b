"""The two ways in: a CSV file, and the items of a JSON body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from services.coordinator.importer import dialects, layouts, lots, reader, rules, trades
from services.coordinator.importer.columns import COLUMNS
from services.coordinator.importer.content import ask_about_sales, warn_duplicates
from services.coordinator.importer.dialects import PLAIN
from services.coordinator.importer.model import SHOWN_ERRORS, Flow, Issues, Position
from services.coordinator.importer.presets import TRADES
from services.coordinator.importer.reading import Layout, Options
from services.coordinator.importer.rules import Rules
from services.coordinator.importer.trades import Trade

# Names and sectors are shown, stored and exported; a person's label is short.
MAX_LABEL = 200


@dataclass(frozen=True, slots=True)
class Parsed:
    """Positions that passed, and every error and warning. Nothing is saved while there is one error."""

    positions: tuple[Position, ...]
    issues: Issues
    trades: tuple[Trade, ...] | None = None
    """Of a list of trades; its lots follow from all the trades of the portfolio."""
    reading: Mapping[str, object] | None = None
    """How the file was understood, said back to the user."""


def parse_csv(content: bytes, filename: str | None, context: Rules, options: Options | None = None) -> Parsed:
    """Check a portfolio CSV. Never raises on bad input: whatever is wrong is in `issues`."""
    options = options or Options()
    issues = Issues(shown=SHOWN_ERRORS)
    sheet = reader.read(content, filename, issues, _dialect(options))
    layout = layouts.locate(sheet, options, issues) if sheet.rows else None
    if layout is None:
        return Parsed((), issues)
    layout.separator = sheet.separator
    layout.levels, issues.dialect = layouts.levels(sheet, layout), layout.dialect.name
    found = _describe_layout(layout, sheet.rows[layout.header].line)
    if layout.kind == TRADES:
        listed = tuple(trades.read(sheet, layout, context, options, issues))
        if not listed and not issues.refused:
            issues.error(None, None, "ERR_CSV_003", "The file holds no trade. The warnings say what each row is.")
        return Parsed((), issues, listed, found)
    positions = tuple(lots.positions(sheet, layout, context, options, issues))
    if not positions and not issues.refused:
        issues.error(None, None, "ERR_CSV_003", "The file holds no position. The warnings say what each row is.")
    warn_duplicates(positions, issues)
    ask_about_sales(positions, issues)
    return Parsed(positions, issues, None, found)


def is_recognised(text: str) -> bool:
    """Whether some row of the file is the header of a broker's layout."""
    issues = Issues()
    sheet = reader.read(text.encode("utf-8", errors="replace"), None, issues)
    return layouts.recognise_layout(sheet, Options()) is not None


def _dialect(options: Options) -> dialects.Dialect:
    """What the cells may be separated by is asked before the header is found."""
    return options.dialect or PLAIN


def _describe_layout(layout: Layout, header: int) -> dict[str, object]:
    preset = layout.preset
    return {
        "preset": None if preset is None else preset.name,
        "title": "Leadline's own columns" if preset is None else preset.title,
        "kind": layout.kind,
        "dialect": layout.dialect.name,
        "dialect_means": layout.dialect.means,
        "header_row": header,
        "file_date": layout.file_date,
    }


def parse_items(items: Sequence[Mapping[str, object]], context: Rules) -> Parsed:
    """Check positions given as JSON objects with the CSV's columns in snake case. Rows count from 1."""
    issues = Issues()
    positions = []
    for row, item in enumerate(items, start=1):
        values = {column: cell_text(item.get(column)) for column in COLUMNS}
        for column in ("name", "sector"):
            if len(values[column]) > MAX_LABEL:
                issues.error(
                    row, column, "ERR_CSV_006", f"{column} is over {MAX_LABEL} characters. Shorten it.", values[column]
                )
        position = rules.position(row, values, context, issues)
        if position is not None:
            positions.append(position)
    warn_duplicates(positions, issues)
    return Parsed(tuple(positions), issues)


def parse_flows(items: Sequence[Mapping[str, object]], context: Rules, issues: Issues) -> list[Flow]:
    """Check flows given as JSON objects; errors are appended to `issues`."""
    flows = []
    for row, item in enumerate(items, start=1):
        values = {key: cell_text(item.get(key)) for key in ("date", "amount", "note")}
        parsed = rules.flow(row, values, context, issues)
        if parsed is not None:
            flows.append(parsed)
    return flows


def cell_text(value: object) -> str:
    """A JSON value as the text a cell would hold. A float becomes its shortest form, so 0.1 has one decimal."""
    if value is None:
        return ""
    if isinstance(value, float):
        text = repr(value)
        # 'nan' and 'inf' stay words, and are refused as such.
        return format(Decimal(text), "f") if text.strip("-")[0].isdigit() else text
    return str(value)
