"""Reading price files (docs/configuration.md, "Price files"): Parquet or CSV, validated, every error with file, column and row.

Rows are numbered as a person would find them: in a CSV the line number (the header is line 1), in Parquet from 1.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.ingest.model.market import Action, Profile
from services.ingest.providers.actions import DIVIDEND_AT_MOST, SPLIT_AT_MOST
from services.ingest.providers.file.columns import NUMBERS
from services.ingest.providers.file.table import (
    MAX_SYMBOL,
    BadPriceFile,
    Problems,
    Skipped,
    open_table,
    require_closes,
    require_columns,
)
from services.ingest.providers.normalise import PRICE_AT_MOST
from shared.arrays import DateVector, FloatVector
from shared.market.symbols import normalise
from shared.text import unprintable

ACTION_TYPES = ("split", "dividend")
# A row of this type states that the symbol had no split and paid no dividend: its list of actions is whole, and empty.
NO_ACTIONS = "none"
__all__ = ["BadPriceFile", "Prices", "Skipped", "read_actions", "read_prices", "read_profiles"]

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Prices:
    """All rows of a price file, sorted by symbol and date. Symbol i's rows are [starts[i], starts[i + 1])."""

    symbols: tuple[str, ...]
    starts: tuple[int, ...]
    dates: DateVector
    columns: dict[str, FloatVector]
    skipped: Skipped


def _refusing(read: Callable[..., Result]) -> Callable[..., Result]:
    """Whatever a file holds that its reader did not foresee is a file that cannot be read, not a fault of the service."""

    @functools.wraps(read)
    def guarded(path: Path, *, skip: bool = False) -> Result:
        try:
            return read(path, skip=skip)
        except (pa.ArrowException, ValueError, OverflowError, TypeError) as error:
            message = str(error)[:300]
            raise BadPriceFile(
                f"{path.name} cannot be read as {'Parquet' if path.suffix.lower() in {'.parquet', '.pq'} else 'CSV'}: {message}. "
                "Write it again as docs/configuration.md says"
            ) from error

    return guarded


@_refusing
def read_prices(path: Path, *, skip: bool = False) -> Prices:
    """Raises `BadPriceFile`. `skip`: rows with a fault are left out, and a second row of a day too."""
    table, problems = open_table(path, skip=skip)
    require_columns(table, ("symbol", "date"), problems)
    require_closes(table, problems)
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
    good = np.flatnonzero(problems.kept(len(dates)))
    order = good[np.lexsort((dates[good], codes[good]))]
    codes, dates = codes[order], dates[order]
    again = (
        np.concatenate([[False], (codes[1:] == codes[:-1]) & (dates[1:] == dates[:-1])]) if len(order) else order > 0
    )
    for index in np.flatnonzero(again):
        problems.add(
            "date", int(order[index]), f"{names[codes[index]]} has a second row for {dates[index]}; keep one of them"
        )
    problems.raise_if_any()
    order, codes, dates = order[~again], codes[~again], dates[~again]
    starts = np.searchsorted(codes, np.arange(len(names) + 1))
    return Prices(
        symbols=tuple(str(name) for name in names),
        starts=tuple(int(start) for start in starts),
        dates=dates,
        columns={name: values[order] for name, values in columns.items()},
        skipped=problems.skipped(),
    )


@_refusing
def read_actions(path: Path, *, skip: bool = False) -> tuple[dict[str, tuple[Action, ...]], Skipped]:
    """Actions by symbol, by ex-date. Raises `BadPriceFile`."""
    table, problems = open_table(path, skip=skip)
    require_columns(table, ("symbol", "ex_date", "type", "value"), problems)
    problems.raise_if_any()
    symbols = _symbols(table, problems)
    types = [str(value or "").strip().lower() for value in _plain(table["type"]).to_pylist()]
    stated = np.array([type_ == NO_ACTIONS for type_ in types], dtype=np.bool_)
    dates = _dates(table, "ex_date", problems, optional=True)
    values = _numbers(table, "value", problems, positive=True, action=True)
    for row, type_ in enumerate(types):
        if type_ not in (*ACTION_TYPES, NO_ACTIONS):
            problems.add("type", row, f"{type_[:100]!r} is neither split nor dividend, nor none; leave the row out")
    for empty in np.flatnonzero(np.isnat(dates) & ~stated):
        problems.add("ex_date", int(empty), "is empty or no date; write it as YYYY-MM-DD")
    for empty in np.flatnonzero(np.isnan(values) & ~stated):
        problems.add("value", int(empty), "is empty; write new shares per old, or cash per share")
    _check_stated(symbols, stated, ~np.isnat(dates), ~np.isnan(values), problems)
    most = np.array([SPLIT_AT_MOST if type_ == "split" else DIVIDEND_AT_MOST for type_ in types])
    for large in np.flatnonzero((values > most) & ~stated):
        problems.add("value", int(large), f"{values[large]:g} is no {types[large]} that can be; correct it")
    problems.raise_if_any()
    found: dict[str, list[Action]] = {}
    kept = problems.kept(len(symbols)).tolist()
    for good, symbol, day, type_, value in zip(kept, symbols, dates.tolist(), types, values.tolist(), strict=True):
        if not good:
            continue
        actions = found.setdefault(symbol, [])
        if type_ != NO_ACTIONS:
            actions.append(Action(day, "split" if type_ == "split" else "dividend", value))
    ordered = {symbol: tuple(sorted(actions, key=lambda a: (a.ex_date, a.type))) for symbol, actions in found.items()}
    return ordered, problems.skipped()


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


@_refusing
def read_profiles(path: Path, *, skip: bool = False) -> tuple[dict[str, tuple[Profile, date | None]], Skipped]:
    """Profile and, where a column `delisted_on` gives one, the announced end of trading. Raises `BadPriceFile`."""
    table, problems = open_table(path, skip=skip)
    require_columns(table, ("symbol",), problems)
    problems.raise_if_any()
    symbols = _symbols(table, problems)
    texts = {name: _texts(table, name) for name in ("asset_type", "name", "sector", "industry")}
    ends: Sequence[date | None] = [None] * len(symbols)
    if "delisted_on" in table.column_names:
        ends = _dates(table, "delisted_on", problems, optional=True).tolist()
    problems.raise_if_any()
    kept = problems.kept(len(symbols))
    profiles = {
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
        if kept[row]
    }
    return profiles, problems.skipped()


def _symbols(table: pa.Table, problems: Problems) -> list[str]:
    column = table["symbol"]
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column.cast(pa.string()))
    # One dictionary for all chunks, before any of its texts becomes a Python string.
    encoded = column.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], pa.string()).dictionary_encode()
    words = encoded.dictionary
    long = np.asarray(pc.fill_null(pc.binary_length(words), 0).to_numpy(zero_copy_only=False)) > MAX_SYMBOL
    texts = pc.if_else(pa.array(long), "", words).to_pylist()
    known = [normalise(text or "") for text in texts]
    refused = {
        index: "is over 100 characters; write the ticker alone"
        if too_long
        else f"holds the control or invisible character {found}; remove it"
        for index, (name, too_long) in enumerate(zip(known, long, strict=True))
        if (found := unprintable(name, lines=False)) is not None or too_long
    }
    indices = encoded.indices.to_pylist()
    symbols = [known[index] if index is not None and index not in refused else "" for index in indices]
    problems.symbols = symbols
    if "" in symbols:
        for row in (row for row, symbol in enumerate(symbols) if not symbol):
            why = refused.get(indices[row]) if indices[row] is not None else None
            problems.add("symbol", row, why or "is empty; write the ticker")
    return symbols


def _texts(table: pa.Table, name: str) -> list[str | None]:
    if name not in table.column_names:
        return [None] * len(table)
    if pa.types.is_dictionary(table[name].type):
        table = table.set_column(table.column_names.index(name), name, table[name].cast(table[name].type.value_type))
    return [text.strip() or None if text else None for text in table[name].cast(pa.string()).to_pylist()]


def _dates(table: pa.Table, name: str, problems: Problems, *, optional: bool = False) -> DateVector:
    column = _plain(table[name])
    if pa.types.is_timestamp(column.type):
        # A day is asked for: what stands below a microsecond is cut, not refused.
        column = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False).cast(pa.date32(), safe=False)
    elif not pa.types.is_date(column.type):
        column = _parsed(column, pa.date32(), _as_date, name, "a date YYYY-MM-DD", problems)
    column = column.cast(pa.date32())
    if not optional and column.null_count:
        for row in np.flatnonzero(column.is_null().to_numpy()):
            problems.add(name, int(row), "is empty or no date; write it as YYYY-MM-DD")
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype="datetime64[D]")


def _numbers(table: pa.Table, name: str, problems: Problems, *, positive: bool, action: bool = False) -> FloatVector:
    """float64 with NaN for an empty cell. Infinite, and zero or negative prices, are errors: no source means them."""
    column = _plain(table[name])
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = _parsed(column, pa.float64(), float, name, "a number", problems)
    values = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    bad = (np.abs(values) > PRICE_AT_MOST) | (values <= 0 if positive else values < 0)
    what = "split or dividend" if action else "price" if positive else "volume"
    remedy = "leave the row out" if action else "leave the cell empty where there is none"
    for row in np.flatnonzero(bad):
        problems.add(name, int(row), f"{values[row]:g} is not a {what} that can be; {remedy}")
    return values


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A dictionary's values in each row."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _parsed(column: Any, type_: Any, parse: Any, name: str, wanted: str, problems: Problems) -> Any:
    """Text as values. Arrow does it at once; only a file with an error is gone through cell by cell, to name the cells."""
    trimmed = pc.utf8_trim_whitespace(column)
    trimmed = pc.if_else(pc.is_in(trimmed, pa.array(["", "NaN", "nan", "null", "NULL", "N/A", "-"])), None, trimmed)
    try:
        return trimmed.cast(type_)
    except pa.ArrowException:
        values = []
        for row, text in enumerate(trimmed.to_pylist()):
            try:
                values.append(None if text is None else parse(text))
            except ValueError:
                problems.add(name, row, f"{text[:100]!r} is not {wanted}{_remedy(text, wanted)}")
                values.append(None)
        return pa.chunked_array([pa.array(values, type=type_)])


def _remedy(text: str, wanted: str) -> str:
    if wanted != "a number":
        return "; 10/01/2020 is 2020-10-01 or 2020-01-10, so write the year first" if "/" in text else ""
    if ":" in text or "/" in text:
        return "; write new shares per old as one number: 4 for 4:1, 0.25 for 1:4"
    if any(character in text for character in "$€£, "):
        return "; write digits and a point alone, without thousands separators and currency signs"
    return "; leave the cell empty where there is none"


def _as_date(text: str) -> date:
    return datetime.fromisoformat(text).date()
