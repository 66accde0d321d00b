"""Reading price files (docs/configuration.md, "Price files"): Parquet or CSV, validated, every error with file, column and row.

Rows are numbered as a person would find them: in a CSV the line number (the header is line 1), in Parquet from 1.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from services.ingest.model.market import Action, Profile
from services.ingest.providers.actions import DIVIDEND_AT_MOST, SPLIT_AT_MOST
from services.ingest.providers.normalise import PRICE_AT_MOST
from shared.arrays import DateVector, FloatVector
from shared.errors import ConfigurationError
from shared.market.symbols import normalise

NUMBERS = ("open", "high", "low", "close", "adj_close", "volume")
ACTION_TYPES = ("split", "dividend")
# A row of this type states that the symbol had no split and paid no dividend: its list of actions is whole, and empty.
NO_ACTIONS = "none"
# A file wrong in one row is often wrong in all; the first twenty say how.
MAX_ERRORS = 20


class BadPriceFile(ConfigurationError):
    """A data file that cannot be read as the contract says; the message lists what to mend."""

    code = "bad_price_file"


@dataclass(slots=True)
class Problems:
    """Collects what is wrong with one file, to be told all at once."""

    path: Path
    first_row: int
    found: list[str] = field(default_factory=list)
    count: int = 0
    cells: set[tuple[str, int]] = field(default_factory=set)

    def add(self, column: str, row: int | None, message: str) -> None:
        if row is not None:
            # A cell that is no date is empty from then on: told once, as what was written there.
            if (column, row) in self.cells:
                return
            self.cells.add((column, row))
        self.count += 1
        if len(self.found) < MAX_ERRORS:
            place = f"{self.path.name}, column {column}" + ("" if row is None else f", row {row + self.first_row}")
            self.found.append(f"{place}: {message}")

    def raise_if_any(self) -> None:
        if self.found:
            more = f"\n… and {self.count - len(self.found)} more" if self.count > len(self.found) else ""
            raise BadPriceFile("\n".join(self.found) + more)


@dataclass(frozen=True, slots=True)
class Prices:
    """All rows of a price file, sorted by symbol and date. Symbol i's rows are [starts[i], starts[i + 1])."""

    symbols: tuple[str, ...]
    starts: tuple[int, ...]
    dates: DateVector
    columns: dict[str, FloatVector]


def read_prices(path: Path) -> Prices:
    """Raises `BadPriceFile`."""
    table, problems = _table(path)
    _require_columns(table, ("symbol", "date"), problems)
    if not {"close", "adj_close"} & set(table.column_names):
        problems.add("close", None, "neither close nor adj_close is there; one of them must be")
    problems.raise_if_any()
    symbols = _symbols(table, problems)
    dates = _dates(table, "date", problems)
    columns = {
        name: _numbers(table, name, problems, positive=name != "volume")
        if name in table.column_names
        else np.full(len(table), np.nan)
        for name in NUMBERS
    }
    problems.raise_if_any()
    names, codes = np.unique(np.array(symbols, dtype=str), return_inverse=True)
    order = np.lexsort((dates, codes))
    codes, dates = codes[order], dates[order]
    repeated = np.flatnonzero((codes[1:] == codes[:-1]) & (dates[1:] == dates[:-1]))
    for index in repeated:
        problems.add("date", int(order[index + 1]), f"{names[codes[index]]} has a second row for {dates[index]}")
    problems.raise_if_any()
    starts = np.searchsorted(codes, np.arange(len(names) + 1))
    return Prices(
        symbols=tuple(str(name) for name in names),
        starts=tuple(int(start) for start in starts),
        dates=dates,
        columns={name: values[order] for name, values in columns.items()},
    )


def read_actions(path: Path) -> dict[str, tuple[Action, ...]]:
    """Actions by symbol, by ex-date. Raises `BadPriceFile`."""
    table, problems = _table(path)
    _require_columns(table, ("symbol", "ex_date", "type", "value"), problems)
    problems.raise_if_any()
    symbols = _symbols(table, problems)
    types = [str(value or "").strip().lower() for value in table["type"].to_pylist()]
    stated = np.array([type_ == NO_ACTIONS for type_ in types], dtype=np.bool_)
    dates = _dates(table, "ex_date", problems, optional=True)
    values = _numbers(table, "value", problems, positive=True)
    for row, type_ in enumerate(types):
        if type_ not in (*ACTION_TYPES, NO_ACTIONS):
            problems.add("type", row, f"{type_!r} is neither split nor dividend, nor none")
    for empty in np.flatnonzero(np.isnat(dates) & ~stated):
        problems.add("ex_date", int(empty), "is empty or no date")
    for empty in np.flatnonzero(np.isnan(values) & ~stated):
        problems.add("value", int(empty), "is empty")
    _check_stated(symbols, stated, ~np.isnat(dates), ~np.isnan(values), problems)
    most = np.array([SPLIT_AT_MOST if type_ == "split" else DIVIDEND_AT_MOST for type_ in types])
    for large in np.flatnonzero((values > most) & ~stated):
        problems.add("value", int(large), f"{values[large]:g} is no {types[large]} that can be")
    problems.raise_if_any()
    found: dict[str, list[Action]] = {symbol: [] for symbol in symbols}
    for symbol, day, type_, value in zip(symbols, dates.tolist(), types, values.tolist(), strict=True):
        if type_ != NO_ACTIONS:
            found[symbol].append(Action(day, "split" if type_ == "split" else "dividend", value))
    return {symbol: tuple(sorted(actions, key=lambda a: (a.ex_date, a.type))) for symbol, actions in found.items()}


def _check_stated(
    symbols: Sequence[str],
    stated: NDArray[np.bool_],
    dated: NDArray[np.bool_],
    valued: NDArray[np.bool_],
    problems: Problems,
) -> None:
    """A row `none` says nothing else, and no other row of its symbol says otherwise."""
    for filled in np.flatnonzero(stated & dated):
        problems.add(
            "ex_date", int(filled), "is not empty, in a row that states that there are no actions; leave it empty"
        )
    for filled in np.flatnonzero(stated & valued):
        problems.add(
            "value", int(filled), "is not empty, in a row that states that there are no actions; leave it empty"
        )
    listed = {symbol: row for row, symbol in reversed(list(enumerate(symbols))) if not stated[row]}
    for row, symbol in enumerate(symbols):
        if stated[row] and symbol in listed:
            other = listed[symbol] + problems.first_row
            said = f"{symbol} is stated to have no splits and pay no dividends, and row {other} lists one"
            problems.add("type", row, f"{said}; remove one of the two")


def read_profiles(path: Path) -> dict[str, tuple[Profile, date | None]]:
    """Profile and, where a column `delisted_on` gives one, the announced end of trading. Raises `BadPriceFile`."""
    table, problems = _table(path)
    _require_columns(table, ("symbol",), problems)
    problems.raise_if_any()
    symbols = _symbols(table, problems)
    texts = {name: _texts(table, name) for name in ("asset_type", "name", "sector", "industry")}
    ends: Sequence[date | None] = [None] * len(symbols)
    if "delisted_on" in table.column_names:
        ends = _dates(table, "delisted_on", problems, optional=True).tolist()
    problems.raise_if_any()
    return {
        symbol: (
            Profile(
                asset_type=texts["asset_type"][row] or "unknown",
                name=texts["name"][row],
                sector=texts["sector"][row],
                industry=texts["industry"][row],
            ),
            ends[row],
        )
        for row, symbol in enumerate(symbols)
    }


def _table(path: Path) -> tuple[pa.Table, Problems]:
    """Columns under their lower-case names. CSV cells stay text, so that an error can quote what is written there."""
    parquet = path.suffix.lower() in {".parquet", ".pq"}
    try:
        if parquet:
            table = pq.read_table(path)
        else:
            with path.open(encoding="utf-8-sig") as lines:
                header = next(lines, "")
            names = [name.strip().strip('"') for name in header.rstrip("\r\n").split(",")]
            table = pa.csv.read_csv(
                path,
                read_options=pa.csv.ReadOptions(column_names=names, skip_rows=1),
                convert_options=pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True
                ),
            )
    except FileNotFoundError:
        raise BadPriceFile(f"{path} does not exist; LEADLINE_DATA (--data) must name a Parquet or CSV file") from None
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        raise BadPriceFile(f"{path.name} cannot be read as {'Parquet' if parquet else 'CSV'}: {error}") from error
    names = ["_".join(name.strip().lower().split()) for name in table.column_names]
    problems = Problems(path, 1 if parquet else 2)
    for name in {name for name in names if names.count(name) > 1}:
        problems.add(name, None, "is there twice")
    problems.raise_if_any()
    return table.rename_columns(names), problems


def _require_columns(table: pa.Table, names: Iterable[str], problems: Problems) -> None:
    for name in names:
        if name not in table.column_names:
            problems.add(name, None, f"is missing; the file has {', '.join(table.column_names)}")


def _symbols(table: pa.Table, problems: Problems) -> list[str]:
    encoded = pc.dictionary_encode(table["symbol"].cast(pa.string()).combine_chunks())
    known = [normalise(text or "") for text in encoded.dictionary.to_pylist()]
    symbols = [known[index] if index is not None else "" for index in encoded.indices.to_pylist()]
    if "" in symbols:
        for row in (row for row, symbol in enumerate(symbols) if not symbol):
            problems.add("symbol", row, "is empty")
    return symbols


def _texts(table: pa.Table, name: str) -> list[str | None]:
    if name not in table.column_names:
        return [None] * len(table)
    return [text.strip() or None if text else None for text in table[name].cast(pa.string()).to_pylist()]


def _dates(table: pa.Table, name: str, problems: Problems, *, optional: bool = False) -> DateVector:
    column = table[name]
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", tz=column.type.tz)).cast(pa.date32(), safe=False)
    elif not pa.types.is_date(column.type):
        column = _parsed(column, pa.date32(), _as_date, name, "a date YYYY-MM-DD", problems)
    column = column.cast(pa.date32())
    if not optional and column.null_count:
        for row in np.flatnonzero(column.is_null().to_numpy()):
            problems.add(name, int(row), "is empty or no date")
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype="datetime64[D]")


def _numbers(table: pa.Table, name: str, problems: Problems, *, positive: bool) -> FloatVector:
    """float64 with NaN for an empty cell. Infinite, and zero or negative prices, are errors: no source means them."""
    column = table[name]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = _parsed(column, pa.float64(), float, name, "a number", problems)
    values = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    bad = (np.abs(values) > PRICE_AT_MOST) | (values <= 0 if positive else values < 0)
    for row in np.flatnonzero(bad):
        problems.add(name, int(row), f"{values[row]:g} is not a {'price' if positive else 'volume'} that can be")
    return values


def _parsed(column: Any, type_: Any, parse: Any, name: str, wanted: str, problems: Problems) -> Any:
    """Text as values. Arrow does it at once; only a file with an error is gone through cell by cell, to name the cells."""
    trimmed = pc.utf8_trim_whitespace(column)
    trimmed = pc.if_else(pc.is_in(trimmed, pa.array(["", "NaN", "nan", "null", "NULL", "N/A", "-"])), None, trimmed)
    try:
        return trimmed.cast(type_)
    except pa.ArrowInvalid:
        values = []
        for row, text in enumerate(trimmed.to_pylist()):
            try:
                values.append(None if text is None else parse(text))
            except ValueError:
                problems.add(name, row, f"{text!r} is not {wanted}")
                values.append(None)
        return pa.chunked_array([pa.array(values, type=type_)])


def _as_date(text: str) -> date:
    return datetime.fromisoformat(text).date()
