"""Answers as CSV: a row an item, a column a field, for a spreadsheet or a data frame. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

# What a spreadsheet takes for a formula, in full width too. Names come from files of others, and a formula can call programs and addresses.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
Row = Mapping[str, Any]


def is_table(document: Any) -> bool:
    """Whether there is a table in it: `items`, or figures by session."""
    return isinstance(document, Mapping) and ("items" in document or _is_series(document))


def _is_series(document: Mapping[str, Any]) -> bool:
    return isinstance(document.get("figures"), Mapping) and "sessions" in document


def to_csv(document: Mapping[str, Any]) -> bytes:
    """UTF-8, comma, header row. Fields of objects stand as `object.field`; lists as JSON; unknown is empty."""
    if _is_series(document):
        columns = document["figures"]
        rows: list[Row] = [
            {"session": session, **{name: values[at] for name, values in columns.items()}}
            for at, session in enumerate(document["sessions"])
        ]
        header = ["session", *columns]
    else:
        rows = [dict(_flat(item)) for item in document["items"]]
        header = list(dict.fromkeys(name for row in rows for name in row))
    sheet = io.StringIO()
    writer = csv.writer(sheet, lineterminator="\r\n")
    writer.writerow([_cell(name) for name in header])
    writer.writerows([_cell(row.get(name)) for name in header] for row in rows)
    return sheet.getvalue().encode()


def _flat(item: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    if not isinstance(item, Mapping):
        yield prefix or "value", item
        return
    for key, value in item.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            yield from _flat(value, name)
        else:
            yield name, value


def _cell(value: Any) -> Any:
    """One cell. Numbers are numbers, a negative one too; a text that begins like a formula gets an apostrophe in front."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple | Mapping):
        value = json.dumps(value, ensure_ascii=False)
    return f"'{value}" if str(value).startswith(_FORMULA) else value
