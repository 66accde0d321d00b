"""A portfolio as files: what was entered, in the form in which it can be entered again."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

COLUMNS = (
    "symbol", "quantity", "entry_date", "entry_price", "investment_class", "investment_subtype", "underlying_symbol",
    "strike_price", "expiration_date", "option_type", "exit_date", "exit_price", "name", "sector", "price_basis",
)  # fmt: skip
PORTFOLIO = ("name", "equity_balance", "account_type", "currency")
# Stored numbers of a lot may be converted for splits; what was entered converts to the same again.
_STATED = ("quantity", "entry_price", "exit_price")


def lot(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A lot as it was entered."""
    given = {column: stored.get(column) for column in COLUMNS if stored.get(column) is not None}
    return given | {
        column: stored[f"stated_{column}"] for column in _STATED if stored.get(f"stated_{column}") is not None
    }


def _cell(value: object) -> str:
    """Digits and a point: an import takes no exponents."""
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")
    return str(value)


def files(document: Mapping[str, Any]) -> dict[str, str]:
    """positions.csv and portfolio.json of what GET /portfolios/{id} answers."""
    lots = [lot(stored) for stored in document["positions"]]
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: _cell(value) for column, value in each.items()} for each in lots)
    flows = [{key: flow.get(key) for key in ("date", "amount", "note")} for flow in document["flows"]]
    body = {key: document[key] for key in PORTFOLIO} | {"positions": lots, "flows": flows}
    return {
        "positions.csv": table.getvalue(),
        "portfolio.json": json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
    }


def write(output: Path, contents: Mapping[str, str]) -> None:
    """Into a directory, which is made where it is missing, or into one .zip file."""
    if output.suffix == ".zip":
        with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, words in contents.items():
                archive.writestr(name, words)
        return
    output.mkdir(parents=True, exist_ok=True)
    for name, words in contents.items():
        (output / name).write_text(words, encoding="utf-8")
