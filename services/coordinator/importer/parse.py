"""The two ways in: a CSV file, and the items of a JSON body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from services.coordinator.importer import reader, rules
from services.coordinator.importer.columns import COLUMNS
from services.coordinator.importer.content import warn_duplicates
from services.coordinator.importer.model import Flow, Issues, Position
from services.coordinator.importer.rules import Rules

# Names and sectors are shown, stored and exported; a person's label is short.
MAX_LABEL = 200


@dataclass(frozen=True, slots=True)
class Parsed:
    """Positions that passed, and every error and warning. Nothing is saved while there is one error."""

    positions: tuple[Position, ...]
    issues: Issues


def parse_csv(content: bytes, filename: str | None, context: Rules) -> Parsed:
    """Check a portfolio CSV. Never raises on bad input: whatever is wrong is in `issues`."""
    issues = Issues()
    positions = []
    for record in reader.read(content, filename, issues):
        position = rules.position(record.row, record.cells, context, issues)
        if position is not None:
            positions.append(position)
    warn_duplicates(positions, issues)
    return Parsed(tuple(positions), issues)


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
