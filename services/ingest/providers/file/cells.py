"""Columns of a price file as values: what a cell may hold, and what is said of one that does not, by column and row."""

import re
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.ingest.providers.file.arrow import NULL, are_null, as_dates, as_floats, as_integers, of_booleans, of_texts
from services.ingest.providers.file.columns import normalise_header
from services.ingest.providers.file.problems import Problems
from services.ingest.providers.normalise import PRICE_AT_MOST
from shared.arrays import DateVector, FloatVector
from shared.market.symbols import normalise
from shared.text import unprintable

MAX_SYMBOL = 100
# How a cell without a value is written.
EMPTY = ("", "NaN", "nan", "null", "NULL", "N/A", "-")


def symbols(table: pa.Table, problems: Problems) -> list[str]:
    column = table["symbol"]
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column.cast(pa.string()))
    # One dictionary for all chunks, before any of its texts becomes a Python string.
    encoded = column.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.nulls(0, pa.string()).dictionary_encode()
    words = encoded.dictionary
    long = as_integers(pc.binary_length(words)) > MAX_SYMBOL
    texts = pc.if_else(of_booleans(long), of_texts([""])[0], words).to_pylist()
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


def texts(table: pa.Table, name: str) -> list[str | None]:
    if name not in table.column_names:
        return [None] * len(table)
    if pa.types.is_dictionary(table[name].type):
        table = table.set_column(table.column_names.index(name), name, table[name].cast(table[name].type.value_type))
    return [text.strip() or None if text else None for text in table[name].cast(pa.string()).to_pylist()]


def dates(table: pa.Table, name: str, problems: Problems, *, optional: bool = False) -> DateVector:
    column = plain(table[name])
    if pa.types.is_timestamp(column.type):
        # A day is asked for: what stands below a microsecond is cut, not refused.
        column = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False).cast(pa.date32(), safe=False)
    elif not pa.types.is_date(column.type):
        column = _parse_column(column, pa.date32(), _as_date, name, "a date YYYY-MM-DD", problems)
    column = column.cast(pa.date32())
    if not optional and column.null_count:
        for row in np.flatnonzero(are_null(column)):
            problems.add(name, int(row), "is empty or no date; write it as YYYY-MM-DD")
    return as_dates(column)


def numbers(table: pa.Table, name: str, problems: Problems, *, positive: bool, action: bool = False) -> FloatVector:
    """float64 with NaN for an empty cell. Infinite, and zero or negative prices, are errors: no source means them."""
    column = plain(table[name])
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = _parse_column(column, pa.float64(), _as_number, name, "a number", problems)
    values = as_floats(column)
    bad = (np.abs(values) > PRICE_AT_MOST) | (values <= 0 if positive else values < 0)
    what = "split or dividend" if action else "price" if positive else "volume"
    remedy = "leave the row out" if action else "leave the cell empty where there is none"
    for row in np.flatnonzero(bad):
        problems.add(name, int(row), f"{values[row]:g} is not a {what} that can be; {remedy}")
    return values


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A dictionary's values in each row."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _parse_column(column: Any, type_: Any, parse: Any, name: str, wanted: str, problems: Problems) -> Any:
    """Text as values. Arrow does it at once; only a file with an error is gone through cell by cell, to name the cells."""
    trimmed = pc.utf8_trim_whitespace(column)
    trimmed = pc.if_else(pc.is_in(trimmed, of_texts(EMPTY)), NULL, trimmed)
    try:
        return trimmed.cast(type_)
    except pa.ArrowException:
        values = []
        for row, text in enumerate(trimmed.to_pylist()):
            try:
                values.append(None if text is None else parse(text))
            except ValueError:
                problems.add(name, row, f"{text[:100]!r} is not {wanted}{_remedy(text, wanted, name)}")
                values.append(None)
        return pa.chunked_array([pa.array(values, type=type_)])


def _remedy(text: str, wanted: str, name: str) -> str:
    if normalise_header(text) == name:
        return "; it is the header again, delete the row"
    if wanted != "a number":
        return _date_remedy(text)
    if ":" in text or "/" in text:
        return "; write new shares per old as one number: 4 for 4:1, 0.25 for 1:4"
    if any(character in text for character in "$€£, "):
        return "; write digits and a point alone, without thousands separators and currency signs"
    return "; leave the cell empty where there is none"


def _date_remedy(text: str) -> str:
    if year_first := re.fullmatch(r"([0-9]{4})/([0-9]{1,2})/([0-9]{1,2})", text):
        year, month, day = year_first.groups()
        return f"; write {year}-{int(month):02d}-{int(day):02d}"
    if "/" in text:
        return "; 10/01/2020 is 2020-10-01 or 2020-01-10, so write the year first"
    if re.fullmatch(r"[0-9]{5}", text):
        day_counted = date(1899, 12, 30) + timedelta(days=int(text))
        return f"; a spreadsheet counts {day_counted} so, give the column a date format before saving"
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return "; there is no such day, correct it"
    return "; a row that is no price, delete"


def _as_number(text: str) -> float:
    """Only what people write as a number: Python takes `1_000` and digits of other scripts too, which Arrow does not."""
    if "_" in text or not text.isascii():
        raise ValueError(text)
    return float(text)


def _as_date(text: str) -> date:
    if not text.isascii() or "W" in text:
        # A day of a week, which nobody writes by intent.
        raise ValueError(text)
    return datetime.fromisoformat(text).date()
