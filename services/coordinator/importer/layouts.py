"""Where the header stands, what its columns mean, and the rows below it as cells of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from services.coordinator.importer import dialects, own_headers, tables
from services.coordinator.importer.columns import COLUMNS, REQUIRED, canonical
from services.coordinator.importer.dialects import Dialect
from services.coordinator.importer.model import Issues
from services.coordinator.importer.presets import POSITIONS, TRADES, Preset, header_key, presets
from services.coordinator.importer.reader import MAX_ROWS, Row, Sheet
from services.coordinator.importer.reading import (
    DATES,
    NOTHING,
    NUMBERS,
    PREAMBLE,
    TRADE_COLUMNS,
    TRADE_REQUIRED,
    Layout,
    Options,
    Record,
)


def locate(sheet: Sheet, options: Options, issues: Issues) -> Layout | None:
    """The layout of a file, or None after reporting what its header lacks. A header that is wrong is the only thing said."""
    if options.preset not in (None, "", "none") and options.preset not in presets():
        names = ", ".join(sorted(presets()))
        issues.error(
            None, "preset", "ERR_CSV_008", f"There is no layout {options.preset!r}. There is {names}.", options.preset
        )
        return None
    found = None if options.preset == "none" else recognise_layout(sheet, options)
    if options.mapping:
        found = None if found is None else _with_named_columns(found, sheet.rows[found.header], options)
        if found is None:
            return own_headers.match_mapped_headers(sheet, options, issues)
    if found is not None:
        if found.preset is presets()["trades"]:
            own_headers.warn_ignored(sheet.rows[found.header], found.where, issues)
        return found if _whole(found, sheet.rows[found.header], issues) else None
    if options.preset not in (None, "", "none"):
        chosen = presets()[str(options.preset)]
        wanted = ", ".join(sorted(" or ".join(sorted(names)) for names in chosen.header))
        issues.error(
            None, "preset", "ERR_CSV_008",
            f"No row of the file is the header of {chosen.title}, which names {wanted}. Leave preset away, or name the columns "
            "with map.", options.preset,
        )  # fmt: skip
        return None
    return own_headers.match_own_headers(sheet, options, issues)


def records(sheet: Sheet, layout: Layout, issues: Issues) -> Iterator[tuple[Row, Record]]:
    """The rows below the header that are data: not of another section or table, and no header again."""
    count, told_years = 0, False
    where: Mapping[str, int] = layout.where
    width = layout.width
    if layout.preset is not None:
        tables.warn_above(sheet, layout, issues)
    unread: Counter[str] = Counter()
    if layout.section is not None:
        unread.update(row.cells[0] for row in sheet.rows[: layout.header] if row.cells[1:2] == ["Data"])
    above = (_section_symbol(layout, row) for row in reversed(sheet.rows[: layout.header]))
    symbol = next(filter(None, above), "")
    for index, row, found in tables.rows(sheet, layout, issues):
        named = _section_symbol(layout, row)
        if named is not None:
            symbol = named
            continue
        cells = row.cells
        if layout.section is None:
            where, width = found
        else:
            if cells[0] != layout.section or len(cells) < 2 or cells[1] not in ("Header", "Data"):
                unread[cells[0]] += cells[0] != layout.section and cells[1:2] == ["Data"]
                continue
            if cells[1] == "Header":
                # Each kind of security has a header of its own, with columns of its own.
                where = _where(layout.preset, cells) if layout.preset else where
                continue
        if count == MAX_ROWS or (sheet.cut and index == len(sheet.rows) - 1):
            issues.error(
                row.line, None, "ERR_CSV_001",
                f"The file has more than {MAX_ROWS:,} rows. Split it; imports add to each other.",
            )  # fmt: skip
            return
        count += 1
        record = _record(row, layout, where, width, symbol)
        # Of a broker's layout it is known.
        if record.short_year and not told_years and layout.preset in (None, presets()["trades"]):
            told_years = True
            issues.warn(
                row.line, None, "two_digit_year",
                f"Years of two digits are taken as 20xx: {record.short_year}. Write four digits if another is meant.", record.short_year,
            )  # fmt: skip
        yield row, record
    if told := ", ".join(f"{name} ({rows})" for name, rows in unread.items() if rows):
        issues.warn(
            None, None, "skipped_row", f"Read is {layout.section} alone. Not read, with their numbers of rows: {told}.", told
        )  # fmt: skip
    if not count and not issues.refused:
        issues.error(None, None, "ERR_CSV_003", "The file has a header and no rows. Add at least one position.")


def levels(sheet: Sheet, layout: Layout) -> dict[str, str]:
    """The one level of detail that counts, by column that names levels: a file may list orders and their executions, which are the
    same trades twice. The first of the layout's levels that the file has."""
    found = {}
    for column, wanted in ({} if layout.preset is None else layout.preset.only).items():
        at = layout.where.get(column)
        if at is not None:
            rows = [row.cells for row in sheet.rows[layout.header + 1 :] if at < len(row.cells)]
            there = {cells[at].casefold() for cells in rows if layout.section in (None, cells[0])}
            found[column] = next(
                (level.casefold() for level in wanted if level.casefold() in there), wanted[0].casefold()
            )
    return found


def other_level(record: Record, layout: Layout) -> str | None:
    """The level of detail of a row that repeats others at another one; None where it counts."""
    told = ((record.cells.get(column, ""), level) for column, level in layout.levels.items())
    return next((cell for cell, level in told if cell and cell.casefold() != level), None)


def warn_levels(left: Mapping[str, int], layout: Layout, issues: Issues) -> None:
    for level, count in left.items():
        issues.warn(
            None, None, "skipped_row",
            f"Of level {level}, {count} row{'s are' if count > 1 else ' is'} left out: rows of level "
            f"{', '.join(layout.levels.values()).upper()} count, which say the same. If there are none, export the file with them.", level,
        )  # fmt: skip


def _record(row: Row, layout: Layout, where: Mapping[str, int], width: int, symbol: str) -> Record:
    cells: dict[str, str] = {}
    written, foreign = [], set()
    short_year = ""
    for column, at in where.items():
        raw = row.cells[at] if at < len(row.cells) else ""
        if layout.preset is not None and raw.casefold() in NOTHING:
            raw = ""
        plain: str | None = raw
        if raw and column in NUMBERS:
            written.append((column, raw))
            plain = dialects.plain_number(raw, layout.dialect)
            if plain is None and dialects.plain_number(raw, dialects.PLAIN) is not None:
                foreign.add(column)
        elif raw and column in DATES:
            plain = dialects.plain_date(raw, layout.dialect)
            if plain is not None and plain[:4] not in raw:
                short_year = f"{raw} as {plain}"
            if column == "date" and not cells.get("time"):
                cells["time"] = dialects.time_of(raw)
        elif column == "time":
            # Without seconds it stays without: what was kept of earlier files is known by it.
            clock = dialects.time_of(f" {raw}")
            plain = clock[: 4 if raw.count(":") == 1 else 6] or cells.get("time", "")
        # What cannot be read stays as it is, and is refused with the words of the rule it breaks.
        cells[column] = raw if plain is None else plain
    if symbol and not cells.get("symbol"):
        cells["symbol"] = symbol
    surplus = 0
    if layout.section is None and not (layout.preset is not None and layout.preset.tail) and any(row.cells[width:]):
        surplus = len(row.cells) - width
    return Record(row.line, cells, tuple(written), width, surplus, short_year, frozenset(foreign))


def recognise_layout(sheet: Sheet, options: Options) -> Layout | None:
    """The layout whose header some row is. Of several, the more telling one."""
    chosen = None if options.preset in (None, "") else options.preset
    best: tuple[tuple[int, int], int, Preset] | None = None
    names = frozenset(name for preset in presets().values() for either in preset.header for name in either)
    fewest = min(len(preset.header) for preset in presets().values())
    for index, row in enumerate(sheet.rows):
        keys = {header_key(cell) for cell in row.cells}
        if len(keys & names) < fewest:
            # Nearly all rows: none of the layouts need be asked.
            continue
        for preset in presets().values():
            if chosen is not None and preset.name != chosen:
                continue
            if not preset.is_header(keys):
                continue
            if preset.section is not None and row.cells[:2] != [preset.section, "Header"]:
                continue
            score = (preset.rank, len(preset.header))
            if best is None or score > best[0]:
                best = score, index, preset
    if best is None:
        return None
    _, index, preset = best
    cells = sheet.rows[index].cells
    return Layout(
        preset.kind,
        options.dialect or preset.dialect,
        index,
        _where(preset, cells),
        len(cells),
        preset,
        _file_date(sheet.rows, preset, options.dialect or preset.dialect),
    )


def _where(preset: Preset, header: Sequence[str]) -> dict[str, int]:
    keys = [header_key(cell) for cell in header]
    where: dict[str, int] = {}
    for column, names in preset.columns.items():
        at = next((keys.index(name) for name in names if name in keys), None)
        if at is not None:
            where[column] = at
    for column, right in preset.positional.items():
        if "price" in where and column not in where:
            where[column] = where["price"] + right
    # A user may add columns of ours to a broker's file: exit_date, sector, price_basis.
    for at, cell in enumerate(header):
        ours = canonical(cell)
        if preset.kind == POSITIONS and ours is not None and ours not in where and at not in where.values():
            where[ours] = at
    return where


def _with_named_columns(layout: Layout, header: Row, options: Options) -> Layout | None:
    """A broker's layout with some of its columns under the names the user gives; None where the user names all that a row needs."""
    known = TRADE_COLUMNS if layout.kind == TRADES else (*COLUMNS, "close_price")
    keys = [header_key(cell) for cell in header.cells]
    named = {ours: header_key(theirs) for ours, theirs in options.mapping.items()}
    alone = {*TRADE_REQUIRED} if "action" in named else {*REQUIRED}
    if alone <= set(named) or not set(named) <= set(known) or not set(named.values()) <= set(keys):
        return None
    return replace(layout, where={**layout.where, **{ours: keys.index(key) for ours, key in named.items()}})


def _whole(layout: Layout, row: Row, issues: Issues) -> bool:
    """Whether a recognised header has what its rows need; reports what it lacks."""
    preset = layout.preset
    assert preset is not None
    if layout.kind == TRADES:
        needed = [column for column in preset.columns if column in TRADE_REQUIRED]
    else:
        needed = ["quantity"] if preset.symbol_line is not None else ["symbol", "quantity"]
    missing = [column for column in needed if column not in layout.where]
    for column in missing:
        issues.error(
            row.line, column, "ERR_CSV_004",
            f"The file looks like {preset.title}, and has no column {column}. Export it again with all columns, or name the "
            f"column with map {column}=…",
        )  # fmt: skip
    read = {column: header_key(row.cells[at]) for column, at in layout.where.items() if at < len(row.cells)}
    named = {column: key for column, key in read.items() if key and column not in preset.positional}
    return not tables.refuse_twice(row, named, issues) and not missing


def _file_date(rows: Sequence[Row], preset: Preset, dialect: Dialect) -> str | None:
    """The day the broker wrote the file, from its first or last lines."""
    if preset.date_line is None:
        return None
    for row in (*rows[:PREAMBLE], *rows[-PREAMBLE:]):
        # A comma that is not quoted may have cut the date.
        for cell in (*row.cells[:2], " ".join(filter(None, row.cells))):
            found = preset.date_line.match(cell)
            if found:
                return dialects.plain_date(found[1].replace(",", ""), dialect)
    return None


def _section_symbol(layout: Layout, row: Row) -> str | None:
    """The symbol a heading names for the rows below it."""
    if layout.preset is None or layout.preset.symbol_line is None:
        return None
    found = layout.preset.symbol_line.match(row.cells[0])
    return found[1].strip() if found else None
