"""Headers in our own names, and headers that the user names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.coordinator.importer import cells, columns, tables
from services.coordinator.importer.columns import COLUMNS, CURRENCY, REQUIRED, canonical
from services.coordinator.importer.dialects import PLAIN
from services.coordinator.importer.model import Issues
from services.coordinator.importer.presets import POSITIONS, TRADES, header_key, presets
from services.coordinator.importer.reader import MAX_COLUMNS, Row, Sheet
from services.coordinator.importer.reading import PREAMBLE, TRADE_COLUMNS, TRADE_REQUIRED, Layout, Options
from services.coordinator.importer.sides import refuse_sides


def match_mapped_headers(sheet: Sheet, options: Options, issues: Issues) -> Layout | None:
    """The columns as the user names them; those that are not named are matched by our own names."""
    kind = TRADES if "action" in options.mapping else POSITIONS
    known = TRADE_COLUMNS if kind == TRADES else (*COLUMNS, CURRENCY)
    for named in options.mapping:
        if named not in known:
            issues.error(
                None, "map", "ERR_CSV_008", f"map names {named!r}, which is none of {', '.join(known)}.", named
            )
    theirs = {ours: header_key(name) for ours, name in options.mapping.items()}
    first = next(
        (n for n, row in enumerate(sheet.rows) if set(theirs.values()) <= {header_key(cell) for cell in row.cells}),
        None,
    )
    if first is None:
        closest = max(sheet.rows[:PREAMBLE], key=lambda row: columns.likeness(row.cells))
        missing = [
            name
            for name in options.mapping.values()
            if header_key(name) not in {header_key(cell) for cell in closest.cells}
        ]
        for name in missing:
            shown = ", ".join(cell for cell in closest.cells if cell)
            issues.error(
                closest.line, "map", "ERR_CSV_008",
                f"map names the column {name!r}, which the header in line {closest.line} does not have. It has: {shown}.", name,
            )  # fmt: skip
    if issues.refused or first is None:
        return None
    header = sheet.rows[first].cells
    keys = [header_key(cell) for cell in header]
    twice = tables.refuse_twice(sheet.rows[first], theirs, issues)
    where = {column: keys.index(name) for column, name in theirs.items()}
    for at, cell in enumerate(header):
        own = header_key(cell) if header_key(cell) in known else None
        ours = canonical(cell) or _currency(cell) if kind == POSITIONS else own
        if ours is not None and ours not in where and at not in where.values():
            where[ours] = at
    dialect = options.dialect or PLAIN
    if twice or (kind == POSITIONS and refuse_sides(sheet, first, where, dialect, issues)):
        return None
    warn_ignored(sheet.rows[first], where, issues)
    trades = presets()["trades"] if kind == TRADES else None
    layout = Layout(kind, dialect, first, where, len(header), trades)
    if trades is None:
        tables.warn_above(sheet, layout, issues)
    needed = TRADE_REQUIRED if kind == TRADES else _required_columns(options)
    return layout if _none_missing(needed, where, sheet.rows[first], issues) else None


def match_own_headers(sheet: Sheet, options: Options, issues: Issues) -> Layout | None:
    dialect, needed = options.dialect or PLAIN, _required_columns(options)
    first = next(
        (n for n, row in enumerate(sheet.rows[:PREAMBLE]) if {canonical(cell) for cell in row.cells} >= set(needed)),
        None,
    )
    if first is None:
        first = max(range(min(len(sheet.rows), PREAMBLE)), key=lambda n: (columns.likeness(sheet.rows[n].cells), -n))
    row = sheet.rows[first]
    how = (
        "write a first line that says so, such as sep=;"
        if dialect.grouped
        else "say how the file is written: dialect=eu (1.234,50) or dialect=us (1,234.50)"
    )
    for above in (row, *sheet.rows[:PREAMBLE]) if sheet.separator == "," else ():
        other = columns.other_separator(above.cells, _of_a_layout)
        if other is None:
            continue
        issues.error(
            above.line, None, "ERR_CSV_004",
            f"The cells are separated by {other}, not commas. Save the sheet as comma-separated CSV (UTF-8), with a point in "
            f"decimals, or {how}.",
        )  # fmt: skip
        return None
    if len(row.cells) > MAX_COLUMNS:
        issues.error(
            row.line, None, "ERR_CSV_006",
            f"Line {row.line} has {len(row.cells)} cells; at most {MAX_COLUMNS} columns are read. Remove some.",
        )  # fmt: skip
        return None
    known = {column: at for at, cell in enumerate(row.cells) if (column := canonical(cell))}
    # A row with a number in it is no header: the file has none, and that is what is to be said of it.
    if not any(cells.number(cell) is not None for cell in row.cells) and refuse_sides(
        sheet, first, known, dialect, issues
    ):
        return None
    where = _match_columns(row, issues)
    if not _none_missing(needed, where, row, issues) or issues.refused_at(row.line):
        return None
    for preamble in sheet.rows[:first]:
        issues.warn(
            preamble.line, None, "skipped_row", f"Row {preamble.line}: a line above the header, not a position.",
            ",".join(preamble.cells),
        )  # fmt: skip
    return Layout(POSITIONS, dialect, first, where, len(row.cells))


def _currency(header: str) -> str | None:
    """The column that is only compared with the portfolio's: nothing is converted."""
    return CURRENCY if header_key(header) in ("currency", "currencycode", "ccy") else None


def _of_a_layout(cells: Sequence[str]) -> bool:
    keys = {header_key(cell) for cell in cells}
    return any(preset.is_header(keys) for preset in presets().values())


def _required_columns(options: Options) -> tuple[str, ...]:
    # A day that the user names stands for the column, and the close of that day for the price.
    return REQUIRED[:2] if options.entry_date else REQUIRED


def _match_columns(row: Row, issues: Issues) -> dict[str, int]:
    """Position of each known column in the header row. Reports repeated columns, warns of unknown ones."""
    found: dict[str, int] = {}
    for index, header in enumerate(row.cells):
        column = canonical(header) or _currency(header)
        if column is None:
            continue
        if column in found:
            issues.error(
                row.line, column, "ERR_CSV_005",
                f"Two columns mean {column}: {row.cells[found[column]]!r} and {header!r}. Keep one of them.", header,
            )  # fmt: skip
        else:
            found[column] = index
    warn_ignored(row, found, issues)
    return found


def warn_ignored(row: Row, where: Mapping[str, int], issues: Issues) -> None:
    """Columns that are not read, each by its name."""
    for at, header in enumerate(row.cells):
        if header and at not in where.values():
            issues.warn(row.line, header, "unknown_column", f"Column {header!r} is not known and is ignored.", header)


def _none_missing(needed: Sequence[str], where: Mapping[str, int], row: Row, issues: Issues) -> bool:
    missing = [column for column in needed if column not in where]
    used = {row.cells[at] for at in where.values()}
    free = [cell for cell in row.cells if cell not in used]
    guesses = {column: columns.likely_header(column, free) for column in missing}
    together = " ".join(f"{ours}={theirs!r}" for ours, theirs in guesses.items() if theirs)
    for column, theirs in guesses.items():
        hint = (
            f"Did you mean {theirs!r}? Rename it, or map {together}."
            if theirs
            else f"The header row must name {', '.join(needed)}; line {row.line} was taken for it."
        )
        issues.error(row.line, column, "ERR_CSV_004", f"Column {column} is missing. {hint}")
    return not missing
