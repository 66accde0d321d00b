"""Where the header stands, what its columns mean, and the rows below it as cells of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from services.coordinator.importer import dialects, own_headers
from services.coordinator.importer.columns import canonical
from services.coordinator.importer.dialects import Dialect
from services.coordinator.importer.model import Issues
from services.coordinator.importer.presets import POSITIONS, TRADES, Preset, header_key, presets
from services.coordinator.importer.reader import MAX_ROWS, Row, Sheet
from services.coordinator.importer.reading import (
    DATES,
    NOTHING,
    NUMBERS,
    PREAMBLE,
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
    if options.mapping:
        return own_headers.mapped(sheet, options, issues)
    found = None if options.preset == "none" else recognised(sheet, options)
    if found is not None:
        return found if _whole(found, sheet.rows[found.header], issues) else None
    if options.preset not in (None, "", "none"):
        chosen = presets()[str(options.preset)]
        wanted = ", ".join(sorted(chosen.header))
        issues.error(
            None, "preset", "ERR_CSV_008",
            f"No row of the file is the header of {chosen.title}, which names {wanted}. Leave preset away, or name the columns "
            "with map.", options.preset,
        )  # fmt: skip
        return None
    return own_headers.own(sheet, options, issues)


def records(sheet: Sheet, layout: Layout, issues: Issues) -> Iterator[tuple[Row, Record | None]]:
    """The rows below the header; None beside a row that does not count as data (another section, a repeated header)."""
    header, count, where = sheet.rows[layout.header].cells, 0, layout.where
    symbol = ""
    for index, row in enumerate(sheet.rows):
        named = _section_symbol(layout, row)
        if named is not None:
            symbol = named
        if index <= layout.header or named is not None or row.cells == header:
            continue
        cells = row.cells
        if layout.section is not None:
            if cells[0] != layout.section or len(cells) < 2 or cells[1] not in ("Header", "Data"):
                continue
            if cells[1] == "Header":
                # Each kind of security has a header of its own, with columns of its own.
                where = _where(layout.preset, cells) if layout.preset else where
                continue
        elif layout.preset is None and len(cells) > layout.width and any(cells[layout.width :]):
            issues.error(
                row.line, None, "ERR_CSV_006",
                f"Line {row.line} has {len(cells)} cells, the header {layout.width}. Quote cells that contain a comma.",
            )  # fmt: skip
            continue
        if count == MAX_ROWS or (sheet.cut and index == len(sheet.rows) - 1):
            issues.error(
                row.line, None, "ERR_CSV_001",
                f"The file has more than {MAX_ROWS:,} rows. Split it; imports add to each other.",
            )  # fmt: skip
            return
        count += 1
        yield row, _record(row, layout, where, symbol)
    if not count and not issues.refused:
        issues.error(None, None, "ERR_CSV_003", "The file has a header and no rows. Add at least one position.")


def _record(row: Row, layout: Layout, where: Mapping[str, int], symbol: str) -> Record:
    cells: dict[str, str] = {}
    written = []
    for column, at in where.items():
        raw = row.cells[at] if at < len(row.cells) else ""
        if layout.preset is not None and raw.casefold() in NOTHING:
            raw = ""
        plain: str | None = raw
        if raw and column in NUMBERS:
            written.append((column, raw))
            plain = dialects.plain_number(raw, layout.dialect)
        elif raw and column in DATES:
            plain = dialects.plain_date(raw, layout.dialect)
            if column == "date" and not cells.get("time"):
                cells["time"] = dialects.time_of(raw)
        # What cannot be read stays as it is, and is refused with the words of the rule it breaks.
        cells[column] = raw if plain is None else plain
    if symbol and not cells.get("symbol"):
        cells["symbol"] = symbol
    return Record(row.line, cells, tuple(written))


def recognised(sheet: Sheet, options: Options) -> Layout | None:
    """The layout whose header some row is. Of several, the more telling one."""
    chosen = None if options.preset in (None, "") else options.preset
    best: tuple[tuple[int, int], int, Preset] | None = None
    for index, row in enumerate(sheet.rows):
        keys = {header_key(cell) for cell in row.cells}
        for preset in presets().values():
            if chosen is not None and preset.name != chosen:
                continue
            if not preset.header <= keys:
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
    return not missing


def _file_date(rows: Sequence[Row], preset: Preset, dialect: Dialect) -> str | None:
    """The day the broker wrote the file, from its first or last lines."""
    if preset.date_line is None:
        return None
    for row in (*rows[:PREAMBLE], *rows[-PREAMBLE:]):
        for cell in row.cells[:2]:
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
