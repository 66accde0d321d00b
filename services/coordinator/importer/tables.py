"""The rows of the header's table: headers that stand again, and other tables below it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from services.coordinator.importer.model import Issues
from services.coordinator.importer.presets import Preset, header_key, presets
from services.coordinator.importer.reader import Row, Sheet
from services.coordinator.importer.reading import Layout

# Names that a header must share with another one to be a header itself.
_SHARED_NAMES = 3
# Lines that a message names.
_NAMED = 5
# What another file of the same kind may lack, and be read all the same.
_LABELS = frozenset({
    "name", "sector", "investment_subtype", "price_basis", "exit_date", "exit_price", "fee", "commission", "amount", "broker_id",
})  # fmt: skip
_DIGIT = re.compile("[0-9]")
Columns = tuple[Mapping[str, int], int]
"""Where our columns stand, and how many cells a row has."""


def rows(sheet: Sheet, layout: Layout, issues: Issues) -> Iterator[tuple[int, Row, Columns]]:
    """Rows of the header's table, with their index and their columns. Files that were put together, and printed ones, have the header
    again, perhaps with its columns in another order. A broker's statement may go on with other tables, which are named."""
    header, other = _without_end(sheet.rows[layout.header].cells), False
    columns: Columns = layout.where, layout.width
    whole = layout.preset is None or layout.section is not None
    again: list[int] = []
    for index, row in enumerate(sheet.rows[layout.header + 1 :], start=layout.header + 1):
        where = None if layout.section is not None else _again(layout, header, row.cells)
        if where is not None:
            other, columns = False, (where, len(row.cells))
            again.append(row.line)
            continue
        if not whole and not other and _is_other_header(header, row.cells):
            other = True
            issues.warn(
                row.line, None, "skipped_row", f"Row {row.line}: another table begins here, which is not read.",
                ",".join(filter(None, row.cells)),
            )  # fmt: skip
        if not other:
            yield index, row, columns
    # Under headings that name a symbol each, every one has the header again.
    if again and (layout.preset is None or layout.preset.symbol_line is None):
        named = ", ".join(map(str, again[:_NAMED])) + (
            f" and {len(again) - _NAMED} more" if len(again) > _NAMED else ""
        )
        issues.warn(
            again[0], None, "repeated_header",
            f"The header stands again in line{'s' if len(again) > 1 else ''} {named}; the rows below are read by it.", named,
        )  # fmt: skip


def _without_end(header: Sequence[str]) -> Sequence[str]:
    """Without the empty cells that commas at the end of a line leave."""
    return header[: max((at for at, cell in enumerate(header, start=1) if cell), default=0)]


def _again(layout: Layout, header: Sequence[str], cells: Sequence[str]) -> Mapping[str, int] | None:
    """Where the columns stand by a row that names those a row needs again; None of any other row."""
    if _DIGIT.search("".join(cells)):
        return None
    keys, wanted = [header_key(cell) for cell in cells], [header_key(cell) for cell in header]
    if keys[: len(wanted)] == wanted:
        return layout.where
    if _of_another_layout(layout.preset, keys, wanted):
        return None
    there = {
        column: keys.index(wanted[at])
        for column, at in layout.where.items()
        if at < len(wanted) and wanted[at] and keys.count(wanted[at]) == 1
    }
    if not {column for column in layout.where if column not in _LABELS} <= set(there) or len(there) < _SHARED_NAMES:
        return None
    # A column without a name has its place from the one before it, and nothing says where that is now.
    return None if layout.preset is not None and layout.preset.positional else there


def _of_another_layout(own: Preset | None, keys: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether a header is another table's, though it shares names with this one: a list of trades below one of holdings."""
    if own is not None and own.is_header(keys):
        return False
    known = [preset for preset in presets().values() if preset is not own]
    if any(preset.is_header(keys) for preset in known):
        return True
    telling = {name for preset in known for column in ("date", "action") for name in preset.columns.get(column, ())}
    return own is not None and not telling.isdisjoint(set(keys) - set(wanted))


def refuse_twice(row: Row, names: Mapping[str, str], issues: Issues) -> bool:
    """Whether a column that is read stands twice in the header, so that nothing says which one is meant; reports each.

    names : ours to the header's key
    """
    twice = False
    for ours, name in names.items():
        there = [cell for cell in row.cells if header_key(cell) == name]
        if len(there) > 1:
            twice = True
            issues.error(
                row.line, ours, "ERR_CSV_005",
                f"Two columns are named {there[0]!r}, which is read as {ours}. Keep one of them, or give them different names.", there[0],
            )  # fmt: skip
    return twice


def warn_above(sheet: Sheet, layout: Layout, issues: Issues) -> None:
    """Name the tables above the header, of which nothing is read. A title or an account's name is a cell or two."""
    rows = [row for row in sheet.rows[: layout.header] if sum(map(bool, row.cells)) >= _SHARED_NAMES]
    if rows and layout.section is None:
        first, last = rows[0].line, rows[-1].line
        lines = f"line {first}" if first == last else f"lines {first} to {last}"
        issues.warn(
            first, None, "skipped_row",
            f"Above the header in line {sheet.rows[layout.header].line} stand{'s' if len(rows) == 1 else ''} {len(rows)} "
            f"row{'' if len(rows) == 1 else 's'} ({lines}) that {'is' if len(rows) == 1 else 'are'} not read. If they are another table, "
            "import it as a file of its own.", ",".join(filter(None, rows[0].cells)),
        )  # fmt: skip


def _is_other_header(header: Sequence[str], cells: Sequence[str]) -> bool:
    """Whether a row names columns, some of them as the header does: a statement's next table."""
    told = [cell for cell in cells if cell]
    known = {header_key(cell) for cell in header if cell}
    shared = sum(header_key(cell) in known for cell in told)
    return shared >= _SHARED_NAMES and not any(character.isdigit() for cell in told for character in cell)
