"""Opening a price file: what it is, how large, which columns; and the collection of everything that is wrong with it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shared.errors import ConfigurationError

NUMBERS = ("open", "high", "low", "close", "adj_close", "volume")
# A file wrong in one row is often wrong in all; the first twenty say how.
MAX_ERRORS = 20


MAX_COLUMNS = 64
MAX_SYMBOL = 100
# Once unpacked: 30 years of 8,000 symbols take about 5 GB, more than a process should hold.
MAX_BYTES = 8 * 1024**3
MAX_HEADER = 64 * 1024
DATES = ("date", "ex_date", "delisted_on")
KNOWN = frozenset({"symbol", *DATES, *NUMBERS, "type", "value", "asset_type", "name", "sector", "industry"})
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_LIKE = {
    "symbol": ("ticker", "sym", "instrument", "code"),
    "date": ("session", "day", "datetime", "timestamp", "time"),
    "ex_date": ("date", "exdate", "ex-date"),
    "type": ("action", "kind"),
    "value": ("ratio", "amount", "dividend", "split"),
}
_ADD = {"symbol": "a file of one symbol has it in each row", "date": "one row for each symbol and session"}


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
            place = f"{self.path.name}, column {column}" + ("" if row is None else f", row {row + self.first_row}")
            symbol = self.symbols[row] if row is not None and row < len(self.symbols) else ""
            self.found.append(f"{place}: {message}" + (f" (symbol {symbol})" if symbol else ""))

    def kept(self, rows: int) -> NDArray[np.bool_]:
        """The rows without a fault."""
        mask = np.ones(rows, dtype=np.bool_)
        mask[list(self.rows)] = False
        return mask

    def skipped(self) -> Skipped:
        return Skipped(self.path.name, len(self.rows), tuple(self.found))

    def raise_if_any(self) -> None:
        """Raises `BadPriceFile`, but for rows that may be left out."""
        if self.whole or (self.found and not self.skip):
            more = f"\n… and {self.count - len(self.found)} more" if self.count > len(self.found) else ""
            raise BadPriceFile("\n".join(self.found) + more)


def open_table(path: Path, *, skip: bool = False) -> tuple[pa.Table, Problems]:
    """Columns under their lower-case names. CSV cells stay text, so that an error can quote what is written there."""
    parquet = path.suffix.lower() in {".parquet", ".pq"}
    try:
        table = _parquet(path) if parquet else _csv(path)
    except FileNotFoundError:
        raise BadPriceFile(f"{path} does not exist; LEADLINE_DATA (--data) must name a Parquet or CSV file") from None
    except UnicodeDecodeError as error:
        raise BadPriceFile(f"{path.name} is not UTF-8 (byte {error.start}); save it as CSV UTF-8") from error
    except OSError as error:
        raise BadPriceFile(f"{path.name} cannot be read as {'Parquet' if parquet else 'CSV'}: {error}") from error
    names = ["_".join(name.strip().lower().split()) for name in table.column_names]
    problems = Problems(path, 1 if parquet else 2, skip=skip)
    for name in {name for name in names if names.count(name) > 1}:
        problems.add(name, None, "is there twice; keep one of them")
    problems.raise_if_any()
    table = table.rename_columns(names)
    for name in table.column_names:
        _check_type(table[name].type, name, problems)
    problems.raise_if_any()
    return table, problems


def _csv(path: Path) -> pa.Table:
    with path.open(encoding="utf-8-sig") as lines:
        header = lines.readline(MAX_HEADER)
    names = [name.strip().strip('"') for name in header.rstrip("\r\n").split(",")]
    if not header.strip():
        raise BadPriceFile(f"{path.name} is empty; it needs a header row and a row for each symbol and session")
    if len(names) == 1 and any(mark in header for mark in ";\t|"):
        mark = next(mark for mark in (";", "\t", "|") if mark in header)
        raise BadPriceFile(
            f"{path.name}, row 1: the cells are separated by {SEPARATORS[mark]}, not commas; save it as comma-separated CSV with "
            "a point in decimals"
        )
    _check_width(path, len(names))
    return pa.csv.read_csv(
        path,
        read_options=pa.csv.ReadOptions(column_names=names, skip_rows=1),
        convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True),
    )


def _parquet(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        _check_width(path, len(schema.names))
        size = sum(file.metadata.row_group(n).total_byte_size for n in range(file.metadata.num_row_groups))
        if size > MAX_BYTES:
            raise BadPriceFile(
                f"{path.name} has {size:,} bytes once unpacked; at most {MAX_BYTES:,} are read. Leave out symbols or columns that "
                "are not needed"
            )
        texts = [name for name in schema.names if pa.types.is_string(schema.field(name).type)]
    # Kept as a dictionary: a long text that stands in every row is held once.
    return pq.read_table(path, read_dictionary=texts)


def _check_width(path: Path, columns: int) -> None:
    if columns > MAX_COLUMNS:
        raise BadPriceFile(
            f"{path.name} has {columns:,} columns; at most {MAX_COLUMNS} are read. It is in long form: one row for each symbol and "
            "date, the symbol in a column of its own"
        )


def _check_type(type_: pa.DataType, name: str, problems: Problems) -> None:
    """Refuses what is neither text, number nor date, before anything tries to convert it."""
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    if pa.types.is_nested(type_) or pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
        if name in KNOWN:
            problems.add(name, None, f"is of type {type_}; write text, numbers or dates")
    elif name in DATES and (pa.types.is_integer(type_) or pa.types.is_floating(type_)):
        problems.add(name, None, f"is of type {type_}; write dates as YYYY-MM-DD, not as numbers such as 20200102")
    elif name in (*NUMBERS, "value") and not _numeric_or_text(type_):
        problems.add(name, None, f"is of type {type_}; write numbers")


def _numeric_or_text(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(type_)
        or pa.types.is_floating(type_)
        or pa.types.is_decimal(type_)
        or pa.types.is_null(type_)
        or pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
    )


def require_columns(table: pa.Table, names: Iterable[str], problems: Problems) -> None:
    for name in names:
        if name not in table.column_names:
            like = next((other for other in _LIKE.get(name, ()) if other in table.column_names), None)
            remedy = f". Rename {like} to {name}" if like else f". Add it: {_ADD[name]}" if name in _ADD else ""
            shown = ", ".join(table.column_names[:20])
            problems.add(name, None, f"is missing; the file has {shown}{remedy}")
