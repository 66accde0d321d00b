"""Reading price files (docs/configuration.md, "Price files"): Parquet or CSV, validated, every error with file, column and row.

Rows are numbered as a person would find them: in a CSV the line number (the header is line 1), in Parquet from 1.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import prod
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from services.ingest.model.market import Action, Profile
from services.ingest.providers.actions import DIVIDEND_AT_MOST, SPLIT_AT_MOST, SPLITS_AT_MOST
from services.ingest.providers.file import cells
from services.ingest.providers.file.columns import NUMBERS
from services.ingest.providers.file.problems import BadPriceFile, Problems, Skipped
from services.ingest.providers.file.table import open_table, require_closes, require_columns
from shared.arrays import DateVector, FloatVector
from shared.market.symbols import normalise

ACTION_TYPES = ("split", "dividend")
# A row of this type states that the symbol had no split and paid no dividend: its list of actions is whole, and empty.
NO_ACTIONS = "none"
# Symbols that a message names.
_NAMED = 10
__all__ = ["BadPriceFile", "Prices", "Skipped", "read_actions", "read_prices", "read_profiles"]

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Prices:
    """All rows of a price file, sorted by symbol and date. Symbol i's rows are [starts[i], starts[i + 1]).

    columns : those that the file has
    """

    symbols: tuple[str, ...]
    starts: tuple[int, ...]
    dates: DateVector
    columns: dict[str, FloatVector]
    skipped: Skipped


def _refuse_unreadable(read: Callable[..., Result]) -> Callable[..., Result]:
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


@_refuse_unreadable
def read_prices(path: Path, *, skip: bool = False) -> Prices:
    """Raises `BadPriceFile`. `skip`: rows with a fault are left out, and a second row of a day too."""
    table, problems = open_table(path, skip=skip)
    require_columns(table, ("symbol", "date"), problems)
    require_closes(table, problems)
    problems.raise_if_any()
    symbols = cells.symbols(table, problems)
    dates = cells.dates(table, "date", problems)
    columns = {
        name: cells.numbers(table, name, problems, positive=name != "volume")
        for name in NUMBERS
        if name in table.column_names
    }
    problems.raise_if_any()
    names, codes = np.unique(np.array(symbols, dtype=str), return_inverse=True)
    good = np.flatnonzero(problems.rows_without_fault(len(dates)))
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
    if not len(order):
        # A file of nothing but faults is no file of which some rows are left out.
        problems.refuse_all()
    order, codes, dates = order[~again], codes[~again], dates[~again]
    starts = np.searchsorted(codes, np.arange(len(names) + 1))
    return Prices(
        symbols=tuple(str(name) for name in names),
        starts=tuple(int(start) for start in starts),
        dates=dates,
        columns={name: values[order] for name, values in columns.items()},
        skipped=problems.skipped_rows(),
    )


@_refuse_unreadable
def read_actions(path: Path, *, skip: bool = False) -> tuple[dict[str, tuple[Action, ...]], Skipped]:
    """Actions by symbol, by ex-date. Raises `BadPriceFile`. `skip`: a symbol of which a row is left out has no list of actions, for
    one that lacks a split would be taken for whole."""
    table, problems = open_table(path, skip=skip)
    require_columns(table, ("symbol", "ex_date", "type", "value"), problems)
    problems.raise_if_any()
    symbols = cells.symbols(table, problems)
    types = [str(value or "").strip().lower() for value in cells.plain(table["type"]).to_pylist()]
    stated = np.array([type_ == NO_ACTIONS for type_ in types], dtype=np.bool_)
    dates = cells.dates(table, "ex_date", problems, optional=True)
    values = cells.numbers(table, "value", problems, positive=True, action=True)
    for row, type_ in enumerate(types):
        if type_ not in (*ACTION_TYPES, NO_ACTIONS):
            problems.add("type", row, f"{type_[:100]!r} is neither split nor dividend, nor none; leave the row out")
    for empty in np.flatnonzero(np.isnat(dates) & ~stated):
        problems.add("ex_date", int(empty), "is empty or no date; write it as YYYY-MM-DD")
    for empty in np.flatnonzero(np.isnan(values) & ~stated):
        problems.add("value", int(empty), "is empty; write new shares per old, or cash per share")
    _check_stated(symbols, stated, ~np.isnat(dates), ~np.isnan(values), problems)
    split = np.array([type_ == "split" for type_ in types], dtype=np.bool_)
    beyond = (values > np.where(split, SPLIT_AT_MOST, DIVIDEND_AT_MOST)) | (split & (values < 1 / SPLIT_AT_MOST))
    for large in np.flatnonzero(beyond & ~stated):
        problems.add("value", int(large), f"{values[large]:g} is no {types[large]} that can be; correct it")
    repeated = _check_repeated(symbols, dates.tolist(), types, values.tolist(), problems)
    problems.raise_if_any()
    found: dict[str, list[Action]] = {}
    kept = problems.rows_without_fault(len(symbols)).tolist()
    for good, symbol, day, type_, value in zip(kept, symbols, dates.tolist(), types, values.tolist(), strict=True):
        if not good:
            continue
        actions = found.setdefault(symbol, [])
        if type_ != NO_ACTIONS:
            actions.append(Action(day, "split" if type_ == "split" else "dividend", value))
    in_part = {symbols[row] for row in problems.rows - repeated} | {normalise(cell) for cell in problems.ragged_cells}
    ordered = {
        symbol: tuple(sorted(actions, key=lambda a: (a.ex_date, a.type)))
        for symbol, actions in found.items()
        if symbol not in in_part
    }
    left_out = problems.skipped_rows()
    if lacking := sorted(found.keys() & in_part):
        named = ", ".join(lacking[:_NAMED]) + (f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else "")
        said = f"the other actions of {named} are not used either: without those rows the lists are not whole; correct them"
        left_out = replace(left_out, why=(said, *left_out.why))
    return ordered, left_out


def _check_repeated(
    symbols: Sequence[str],
    dates: Sequence[date | None],
    types: Sequence[str],
    values: Sequence[float],
    problems: Problems,
) -> set[int]:
    """Equal rows are one action, pasted twice: taken as two, a split of 4 would make 16 shares of one. So would splits of a size that
    together no share has had. Returns the rows that repeat another one, without which nothing is lacking."""
    repeated: set[int] = set()
    seen: dict[tuple[object, ...], int] = {}
    for row, action in enumerate(zip(symbols, dates, types, values, strict=True)):
        if row in problems.rows or action[2] == NO_ACTIONS:
            continue
        first = seen.setdefault(action, row)
        if first != row:
            repeated.add(row)
            said = f"{action[0]} has the same {action[2]} in row {problems.line(first)}; keep one of them"
            remedy = ", or add up the amounts in one row" if action[2] == "dividend" else ""
            problems.add("type", row, said + remedy)
    ratios: dict[str, list[float]] = {}
    for symbol, _, type_, value in seen:
        if type_ == "split":
            ratios.setdefault(str(symbol), []).append(float(str(value)))
    for symbol, each in ratios.items():
        if not 1 / SPLITS_AT_MOST <= prod(each) <= SPLITS_AT_MOST:
            last = max(row for (name, _, type_, _), row in seen.items() if name == symbol and type_ == "split")
            problems.add(
                "value", last, f"the splits of {symbol} make {prod(each):g} shares of one together; correct them"
            )
    return repeated


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
            other = problems.line(listed[symbol])
            said = f"{symbol} is stated to have no splits and pay no dividends, and row {other} lists one"
            problems.add("type", row, f"{said}; remove one of the two")


@_refuse_unreadable
def read_profiles(path: Path, *, skip: bool = False) -> tuple[dict[str, tuple[Profile, date | None]], Skipped]:
    """Profile and, where a column `delisted_on` gives one, the announced end of trading. Raises `BadPriceFile`."""
    table, problems = open_table(path, skip=skip)
    require_columns(table, ("symbol",), problems)
    problems.raise_if_any()
    symbols = cells.symbols(table, problems)
    texts = {name: cells.texts(table, name) for name in ("asset_type", "name", "sector", "industry")}
    ends: Sequence[date | None] = [None] * len(symbols)
    if "delisted_on" in table.column_names:
        ends = cells.dates(table, "delisted_on", problems, optional=True).tolist()
    seen: dict[str, int] = {}
    for row, symbol in enumerate(symbols):
        first = seen.setdefault(symbol, row)
        if symbol and first != row:
            problems.add(
                "symbol", row, f"{symbol} is described in row {problems.line(first)} already; keep one of them"
            )
    problems.raise_if_any()
    kept = problems.rows_without_fault(len(symbols))
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
    return profiles, problems.skipped_rows()
