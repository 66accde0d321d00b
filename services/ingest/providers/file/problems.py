"""Everything that is wrong with a price file, by column, row and symbol, told at once."""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigurationError

# A file wrong in one row is often wrong in all; the first twenty say how.
MAX_ERRORS = 20


class BadPriceFile(ConfigurationError):
    """A data file that cannot be read as the contract says; the message lists what to mend."""

    code = "bad_price_file"


@dataclass(frozen=True, slots=True)
class Skipped:
    """Rows of a file that were left out, with the first faults."""

    file: str
    rows: int
    why: tuple[str, ...]


@dataclass(slots=True)
class Problems:
    """Collects what is wrong with one file, to be told all at once."""

    path: Path
    first_row: int
    found: list[str] = field(default_factory=list)
    count: int = 0
    cells: set[tuple[str, int]] = field(default_factory=set)
    symbols: Sequence[str] = ()
    """By row, once they are read: a person looks for the symbol first."""
    skip: bool = False
    """Whether a row with a fault is left out instead of refusing the file."""
    rows: set[int] = field(default_factory=set)
    whole: int = 0
    """Faults of the file as a whole, which no row can be left out for."""
    gaps: list[int] = field(default_factory=list)
    """Records that are no row of the table: empty, or with too many or too few cells; ascending."""
    counts_empty: bool = False
    """Whether an empty line counts as a record, as it does where a CSV is read a row at a time."""
    starts: Sequence[int] = ()
    ragged: int = 0
    """How many of them have too many or too few cells."""
    ragged_cells: set[str] = field(default_factory=set)
    """What stands in those: whose rows they may be."""

    unreadable: str = ""
    """The character that marks cells which are not UTF-8; empty where all are."""

    def forget(self) -> None:
        """Before a file is read once more."""
        self.found, self.gaps, self.count, self.ragged, self.ragged_cells = [], [], 0, 0, set()

    def add(self, column: str, row: int | None, message: str) -> None:
        if row is not None:
            # A cell that is no date is empty from then on: told once, as what was written there.
            if (column, row) in self.cells:
                return
            self.cells.add((column, row))
        self.count += 1
        if row is None:
            self.whole += 1
        else:
            self.rows.add(row)
        if len(self.found) < MAX_ERRORS:
            place = f"{self.path.name}, column {column}" + ("" if row is None else f", row {self.line(row)}")
            symbol = self.symbols[row] if row is not None and row < len(self.symbols) else ""
            self.found.append(f"{place}: {message}" + (f" (symbol {symbol})" if symbol else ""))

    def add_ragged(self, record: int, cells: int, columns: int, text: str) -> None:
        """A line that cannot be a row. Only under the rule that rows are left out is anything read after it."""
        self.gaps.append(record)
        self.ragged += 1
        self.ragged_cells.update(cell.strip().strip('"') for cell in text.split(","))
        self.count += 1
        if len(self.found) < MAX_ERRORS:
            remedy = "check its quotes" if text.count('"') % 2 else "give each row a cell for each column"
            said = f"has {cells} cell{'s' if cells != 1 else ''}, the header {columns} ({text[:100]!r})"
            self.found.append(f"{self.path.name}, row {self._starts()[record - 1]}: {said}; {remedy}")

    def line(self, row: int) -> int:
        """Where a person finds a row of the table."""
        record = self.record(row)
        return record if self.first_row == 1 else self._starts()[record - 1]

    def record(self, row: int) -> int:
        """Which record of the file a row of the table is, the header being the first."""
        record = row + self.first_row
        while (passed := bisect_right(self.gaps, record)) != record - row - self.first_row:
            record = row + self.first_row + passed
        return record

    def _starts(self) -> Sequence[int]:
        """The lines on which records begin; only a file with a fault is gone through for them."""
        if not self.starts:
            with self.path.open(encoding="latin-1") as lines:
                self.starts = record_starts(lines, empty=self.counts_empty)
        return self.starts

    def rows_without_fault(self, rows: int) -> NDArray[np.bool_]:
        """The rows without a fault."""
        mask = np.ones(rows, dtype=np.bool_)
        mask[list(self.rows)] = False
        return mask

    def skipped_rows(self) -> Skipped:
        return Skipped(self.path.name, len(self.rows) + self.ragged, tuple(self.found))

    def refuse_all(self) -> None:
        """Raises `BadPriceFile`, whatever may be left out."""
        self.whole += 1
        self.raise_if_any()

    def raise_if_any(self) -> None:
        """Raises `BadPriceFile`, but for rows that may be left out."""
        if self.whole or (self.found and not self.skip):
            more = f"\n… and {self.count - len(self.found)} more" if self.count > len(self.found) else ""
            raise BadPriceFile("\n".join(self.found) + more)


def record_starts(lines: Iterable[str], *, empty: bool) -> Sequence[int]:
    """The line on which each record of a CSV begins, from 1: a quoted cell may go over several. empty : an empty line is one"""
    starts, inside = array("q"), False
    for number, line in enumerate(lines, start=1):
        if not inside and (empty or line.strip("\r\n")):
            starts.append(number)
        inside ^= line.count('"') % 2 == 1
    return starts
