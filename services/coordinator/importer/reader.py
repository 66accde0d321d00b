"""The file itself: size, encoding, lines, cells. Knows nothing of what the cells mean."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.coordinator.importer.dialects import PLAIN, Dialect
from services.coordinator.importer.model import Issues
from shared.file_kinds import other_kind

MAX_BYTES = 10 * 1024 * 1024
MAX_ROWS = 50_000
MAX_COLUMNS = 64
MAX_CELL_BYTES = 1024


# A broker's statement has more columns than anybody writes by hand.
MAX_STATEMENT_COLUMNS = 256
# Preambles, other sections and footers stand beside the rows that count.
MAX_LINES = MAX_ROWS + 5_000
_DECLARED = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
# What a spreadsheet writes where a formula failed: a cell, and no comment.
_SHEET_ERROR = re.compile(r"#(?:N/A|REF!|NAME\?|VALUE!|DIV/0!|NUM!|NULL!)", re.IGNORECASE)
_SEPARATORS = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the file: the line it starts on, and its cells."""

    line: int
    cells: list[str]


@dataclass(frozen=True, slots=True)
class Sheet:
    """All rows that hold anything. `cut` where there are more lines than are read."""

    rows: list[Row]
    separator: str = ","
    cut: bool = False


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
            if not self._inside and _is_comment(line):
                continue
            if not self.start:
                self.start = number
            self._inside ^= line.count('"') % 2 == 1
            return line
        raise StopIteration


def read(content: bytes, filename: str | None, issues: Issues, dialect: Dialect = PLAIN) -> Sheet:
    """All rows of the file, whatever they mean. Structural faults are reported; what can be read is returned, so that faults
    in the cells are found in the same pass."""
    if filename is not None and not filename.lower().endswith(".csv"):
        issues.error(
            None,
            None,
            "ERR_CSV_002",
            f"{filename!r} is not a .csv file. Save the sheet as CSV (UTF-8); a file of text with columns needs that ending alone.",
            filename,
        )
    if len(content) > MAX_BYTES:
        issues.error(
            None,
            None,
            "ERR_CSV_001",
            f"The file has {len(content):,} bytes; at most {MAX_BYTES:,} are read. Split the file.",
        )
        return Sheet([])
    text = _decode(content, issues)
    if text is None:
        return Sheet([])
    if not text.strip():
        issues.error(None, None, "ERR_CSV_003", "The file is empty. It needs a header row and at least one position.")
        return Sheet([])
    return _rows(text, dialect, issues)


def _decode(content: bytes, issues: Issues) -> str | None:
    kind = other_kind(content[:512])
    if kind is not None:
        issues.error(1, None, "ERR_CSV_006", f"The file is no CSV but {kind}.")
        return None
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


def _separator(text: str, dialect: Dialect, issues: Issues) -> tuple[str, bool]:
    """What separates the cells, and whether the first line says so (`sep=;`, as spreadsheets write it).

    Without such a line it is looked for only under a dialect: semicolons usually come with decimal commas.
    """
    lines = [line for line in text.split("\n", 40) if line.strip()]
    declared = _DECLARED.fullmatch(lines[0].strip("\r\n")) if lines else None
    if declared:
        return _declared_or_better(declared[1], lines[1:40], issues), True
    if not dialect.grouped:
        return ",", False
    return max(_SEPARATORS, key=lambda mark: _regularity(lines[:40], mark)), False


def _declared_or_better(declared: str, lines: Sequence[str], issues: Issues) -> str:
    """The separator that the first line names, but where the rows are cut by another: the line then is of another file."""
    best = max(_SEPARATORS, key=lambda mark: _regularity(lines, mark))
    if _regularity(lines, declared)[0] or not _regularity(lines, best)[0]:
        return declared
    issues.warn(
        1, None, "separator_differs",
        f"The first line names {declared!r} as what separates the cells, and the rows are separated by {best!r}, which is taken.",
        declared,
    )  # fmt: skip
    return best


def _regularity(lines: Sequence[str], mark: str) -> tuple[bool, int]:
    """How many cells a mark makes in lines of equal width: sentences hold commas too, each another number of them."""
    widths = Counter(line.count(mark) for line in lines if mark in line)
    return max(((times > 1, width * times) for width, times in widths.items()), default=(False, 0))


def _rows(text: str, dialect: Dialect, issues: Issues) -> Sheet:
    separator, declared = _separator(text, dialect, issues)
    lines = _Lines(text)
    # strict: a stray quote is an error here, not a guess about where the cell ends.
    reader = csv.reader(lines, strict=True, delimiter=separator, skipinitialspace=True)
    rows: list[Row] = []
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
        if declared:
            declared = False
            continue
        if not any(cell.strip() for cell in cells) or not _fits(cells, lines.start, issues):
            continue
        if len(rows) == MAX_LINES:
            return Sheet(rows, separator, cut=True)
        rows.append(Row(lines.start, [_unwrap_cell(cell.strip()) for cell in cells]))
    if not rows and not issues.refused:
        issues.error(None, None, "ERR_CSV_003", "The file holds only comments. It needs a header row and positions.")
    return Sheet(rows, separator)


def _is_comment(line: str) -> bool:
    text = line.lstrip()
    return text.startswith("#") and not _SHEET_ERROR.match(text)


def _unwrap_cell(cell: str) -> str:
    """`="AAPL"` is how spreadsheets keep a text from being read as a number."""
    return cell[2:-1].strip() if cell.startswith('="') and cell.endswith('"') and len(cell) > 2 else cell


def _fits(cells: list[str], line: int, issues: Issues) -> bool:
    if len(cells) > MAX_STATEMENT_COLUMNS:
        issues.error(
            line,
            None,
            "ERR_CSV_006",
            f"Line {line} has {len(cells)} cells; at most {MAX_STATEMENT_COLUMNS} columns are read. Remove some.",
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
