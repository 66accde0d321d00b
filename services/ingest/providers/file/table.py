"""Opening a price file: what it is, how large, which columns."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from services.ingest.providers.file.columns import (
    DATES,
    KNOWN,
    NUMBERS,
    find_missing,
    is_header,
    lacking_close,
    normalise_header,
)
from services.ingest.providers.file.problems import BadPriceFile, Problems
from shared.file_kinds import other_kind

MAX_COLUMNS = 64
# Once unpacked: 30 years of 8,000 symbols take about 5 GB, more than a process should hold.
MAX_BYTES = 8 * 1024**3
MAX_HEADER = 64 * 1024
_MAGIC = b"PAR1"
# What stands for bytes that are no text.
REPLACED = "\N{REPLACEMENT CHARACTER}"
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def give_memory_back() -> None:
    """To the system, what reading a file took: some times as much as is kept of it."""
    pa.default_memory_pool().release_unused()


def open_table(path: Path, *, skip: bool = False) -> tuple[pa.Table, Problems]:
    """Columns under their lower-case names. CSV cells stay text, so that an error can quote what is written there."""
    parquet = path.suffix.lower() in {".parquet", ".pq"}
    problems = Problems(path, 1 if parquet else 2, skip=skip)
    try:
        table = _parquet(path) if parquet else _csv(path, problems)
    except FileNotFoundError:
        raise BadPriceFile(f"{path} does not exist; LEADLINE_DATA (--data) must name a Parquet or CSV file") from None
    except UnicodeEncodeError as error:
        raise BadPriceFile(f"{path.name}, row 1: is not UTF-8; save it as CSV UTF-8") from error
    except OSError as error:
        raise BadPriceFile(
            f"{path.name} cannot be read: {error}. Give the user that runs ingest the right to read it, or name another file by "
            "LEADLINE_DATA (--data)"
        ) from error
    names = [normalise_header(name) for name in table.column_names]
    for name in {name for name in names if names.count(name) > 1}:
        problems.add(name, None, "is there twice; keep one of them")
    problems.raise_if_any()
    table = table.rename_columns(names)
    for name in table.column_names:
        _check_type(table[name].type, name, problems)
    problems.raise_if_any()
    if problems.unreadable:
        _name_unreadable(table, problems)
    return table, problems


def _name_unreadable(table: pa.Table, problems: Problems) -> None:
    if "symbol" in table.column_names:
        problems.symbols = [text or "" for text in table["symbol"].to_pylist()]
    for name in table.column_names:
        marked = pc.fill_null(pc.match_substring(table[name], problems.unreadable), False)  # noqa: FBT003 (the value)
        for row in np.flatnonzero(marked.to_numpy()):
            problems.add(
                name, int(row), f"{str(table[name][int(row)])[:100]!r} is not UTF-8; save the file as CSV UTF-8"
            )


def _csv(path: Path, problems: Problems) -> pa.Table:
    with path.open("rb") as start:
        kind = other_kind(start.read(512))
    if kind is not None:
        raise BadPriceFile(f"{path.name} is no CSV but {kind}")
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
        header, beneath = lines.readline(MAX_HEADER), lines.read(1024)
    # Below the header, the rows that are not are named.
    header.encode()
    names = [name.strip().strip('"') for name in header.rstrip("\r\n").split(",")]
    if not header:
        raise BadPriceFile(f"{path.name} is empty; it needs a header row and a row for each symbol and session")
    if not header.strip():
        raise BadPriceFile(
            f"{path.name}, row 1: is empty; the header row must be the first, remove what stands above it"
        )
    if len(names) == 1 and any(mark in header for mark in ";\t|"):
        mark = next(mark for mark in (";", "\t", "|") if mark in header)
        raise BadPriceFile(
            f"{path.name}, row 1: the cells are separated by {SEPARATORS[mark]}, not commas; save it as comma-separated CSV with "
            "a point in decimals"
        )
    _check_width(path, len(names))
    if not is_header(names):
        raise BadPriceFile(
            f"{path.name}, row 1: {header.strip()[:100]!r} is no header; the first row must name the columns, such as symbol,date,close"
        )
    if not beneath.strip():
        # Arrow cannot leave out the only line.
        return pa.Table.from_arrays([pa.array([], pa.string()) for _ in names], names=names)
    try:
        return _read(path, names, pa.csv.ParseOptions())
    except pa.ArrowInvalid:
        # Read again, a row at a time, to name the rows that are to blame.
        try:
            return _read(path, names, _without_ragged(names, problems), threads=False, problems=problems)
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise
        return _read_other_encoding(path, names, problems)


def _read_other_encoding(path: Path, names: list[str], problems: Problems) -> pa.Table:
    """A file in which some bytes are no UTF-8: each cell that holds them is a fault of its row."""
    problems.forget()
    text = pa.py_buffer(path.read_bytes().decode("utf-8", errors="replace").encode())
    table = _read(pa.BufferReader(text), names, _without_ragged(names, problems), threads=False, problems=problems)
    problems.unreadable = REPLACED
    return table


def _read(
    source: Path | pa.BufferReader,
    names: list[str],
    parse: pa.csv.ParseOptions,
    *,
    threads: bool = True,
    problems: Problems | None = None,
) -> pa.Table:
    table = pa.csv.read_csv(
        source,
        read_options=pa.csv.ReadOptions(column_names=names, skip_rows=1, use_threads=threads),
        parse_options=parse,
        convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True),
    )
    if problems is None:
        return table
    problems.raise_if_any()
    return _without_empty(table, problems)


def _without_empty(table: pa.Table, problems: Problems) -> pa.Table:
    """The table without empty lines, which were read as rows so that those below them are counted right."""
    empty = np.ones(len(table), dtype=np.bool_)
    for column in table.columns:
        empty &= column.is_null().to_numpy()
    problems.gaps = sorted([*problems.gaps, *(problems.record(int(row)) for row in np.flatnonzero(empty))])
    return table.filter(pa.array(~empty))


def _without_ragged(names: list[str], problems: Problems) -> pa.csv.ParseOptions:
    problems.counts_empty = len(names) > 1

    def left_out(row: pa.csv.InvalidRow) -> str:
        problems.add_ragged(int(row.number), row.actual_columns, row.expected_columns, row.text)
        return "skip"

    return pa.csv.ParseOptions(invalid_row_handler=left_out, ignore_empty_lines=not problems.counts_empty)


def _parquet(path: Path) -> pa.Table:
    _check_magic(path)
    try:
        return _parquet_columns(path)
    except (OSError, pa.ArrowException) as error:
        raise BadPriceFile(
            f"{path.name} cannot be read as Parquet{_bad_column(path)}: {' '.join(str(error).split())[:200].rstrip('.')}. "
            "It is damaged: copy it again from where it came from, or write it again"
        ) from error


def _check_magic(path: Path) -> None:
    """Refuses what is no Parquet file or is cut off: both ends of one are marked."""
    with path.open("rb") as file:
        head = file.read(512)
        file.seek(max(0, path.stat().st_size - len(_MAGIC)))
        tail = file.read()
    if not head:
        raise BadPriceFile(f"{path.name} is empty; copy it again from where it came from, or write it again")
    if not head.startswith(_MAGIC):
        kind = other_kind(head)
        raise BadPriceFile(
            f"{path.name} is no Parquet file"
            + (f" but {kind}" if kind else "; if it is CSV, give its name the ending .csv")
        )
    if tail != _MAGIC:
        raise BadPriceFile(
            f"{path.name} ends in the middle of the Parquet file; copy it again from where it came from, or write it again"
        )


def _bad_column(path: Path) -> str:
    """The first column that cannot be read, where the list of columns can."""
    try:
        names = pq.read_schema(path).names
    except (OSError, pa.ArrowException):
        return ""
    for name in names:
        try:
            pq.read_table(path, columns=[name])
        except (OSError, pa.ArrowException):
            return f", column {name}"
    return ""


def _parquet_columns(path: Path) -> pa.Table:
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
    # Kept as a dictionary: a long text that stands in every row is held once. By the file: what reads data sets loads much more.
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        return file.read()


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


def require_columns(table: pa.Table, names: Sequence[str], problems: Problems) -> None:
    for name, said in find_missing(table.column_names, names):
        problems.add(name, None, said)


def require_closes(table: pa.Table, problems: Problems) -> None:
    """A price file has rows, with a close in each."""
    said = lacking_close(table.column_names)
    if said is not None:
        problems.add("close", None, said)
    elif not len(table) and not problems.ragged:
        problems.add("close", None, "has no row; the file needs a row for each symbol and session")
