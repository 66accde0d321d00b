"""The file itself: size, encoding, lines, cells. Knows nothing of what the cells mean."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from services.coordinator.importer import columns
from services.coordinator.importer.model import Issues

MAX_BYTES = 10 * 1024 * 1024
MAX_ROWS = 50_000
MAX_COLUMNS = 64
MAX_CELL_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Record:
    """One data row: the line it starts on, and its cells by column, stripped."""

    row: int
    cells: dict[str, str]


class _Lines:
    """Lines without comments, remembering where the current record began.

    A record may span lines inside quotes. Quotes come in pairs outside of a cell, so the parity of those seen so far tells
    whether a line starting with `#` is a comment or part of a quoted cell.
    """

    def __init__(self, text: str) -> None:
        self._lines = enumerate(io.StringIO(text, newline=""), start=1)
        self._inside = False
        self.start = 0

    def begin(self) -> None:
        self._inside = False
        self.start = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        for number, line in self._lines:
            if not self._inside and line.lstrip().startswith("#"):
                continue
            if not self.start:
                self.start = number
            self._inside ^= line.count('"') % 2 == 1
            return line
        raise StopIteration


def read(content: bytes, filename: str | None, issues: Issues) -> list[Record]:
    """All data rows of the file. Structural faults are reported; what can be read is returned, so that faults in the
    cells are found in the same pass."""
    if filename is not None and not filename.lower().endswith(".csv"):
        issues.error(
            None, None, "ERR_CSV_002", f"{filename!r} is not a .csv file. Save the sheet as CSV (UTF-8).", filename
        )
    if len(content) > MAX_BYTES:
        issues.error(
            None,
            None,
            "ERR_CSV_001",
            f"The file has {len(content):,} bytes; at most {MAX_BYTES:,} are read. Split the file.",
        )
        return []
    text = _decode(content, issues)
    if text is None:
        return []
    if not text.strip():
        issues.error(None, None, "ERR_CSV_003", "The file is empty. It needs a header row and at least one position.")
        return []
    return _records(text, issues)


def _decode(content: bytes, issues: Issues) -> str | None:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        issues.error(
            line, None, "ERR_CSV_006", f"Line {line} is not UTF-8 (byte {error.start}). Save the file as CSV UTF-8."
        )
        return None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        issues.error(line, None, "ERR_CSV_006", f"Line {line} holds a NUL byte. Save the file again as plain CSV.")
        return None
    return text


def _records(text: str, issues: Issues) -> list[Record]:
    lines = _Lines(text)
    # strict: a stray quote is an error here, not a guess about where the cell ends.
    reader = csv.reader(lines, strict=True)
    where: dict[str, int] | None = None
    width = 0
    records: list[Record] = []
    while True:
        lines.begin()
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            issues.error(
                lines.start or None,
                None,
                "ERR_CSV_006",
                f"Line {lines.start} cannot be read as CSV: {error}. Check its quotes.",
            )
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if not _fits(cells, lines.start, issues, header=where is None):
            if where is None:
                return []
            continue
        if where is None:
            where, width = columns.match(cells, lines.start, issues), len(cells)
            continue
        if len(cells) > width and any(cell.strip() for cell in cells[width:]):
            issues.error(
                lines.start,
                None,
                "ERR_CSV_006",
                f"Line {lines.start} has {len(cells)} cells, the header {width}. Quote cells that contain a comma.",
            )
            continue
        if len(records) == MAX_ROWS:
            issues.error(
                lines.start,
                None,
                "ERR_CSV_001",
                f"The file has more than {MAX_ROWS:,} rows. Split it; imports add to each other.",
            )
            break
        records.append(
            Record(lines.start, {name: cells[at].strip() if at < len(cells) else "" for name, at in where.items()})
        )
    if where is None:
        issues.error(None, None, "ERR_CSV_003", "The file holds only comments. It needs a header row and positions.")
    elif not records and not issues.refused:
        issues.error(None, None, "ERR_CSV_003", "The file has a header and no rows. Add at least one position.")
    return records


def _fits(cells: list[str], line: int, issues: Issues, *, header: bool) -> bool:
    other = columns.other_separator(cells) if header else None
    if other is not None:
        issues.error(
            line,
            None,
            "ERR_CSV_004",
            f"The cells are separated by {other}, not commas. Save the sheet as comma-separated CSV (UTF-8), with a point in "
            "decimals.",
        )
        return False
    if len(cells) > MAX_COLUMNS:
        issues.error(
            line,
            None,
            "ERR_CSV_006",
            f"Line {line} has {len(cells)} cells; at most {MAX_COLUMNS} columns are read. Remove some.",
        )
        return False
    for index, cell in enumerate(cells):
        # A character has at most four bytes: most cells need no encoding to be known to fit.
        if len(cell) * 4 > MAX_CELL_BYTES and len(cell.encode()) > MAX_CELL_BYTES:
            issues.error(
                line,
                None,
                "ERR_CSV_006",
                f"Cell {index + 1} of line {line} is over {MAX_CELL_BYTES:,} bytes. Shorten it.",
                cell,
            )
            return False
    return True
