"""Positions on the bundled real prices, for tests: entry prices are that day's closes, as the data has them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from tests.support.pipeline import BUNDLED_PRICES


@lru_cache(maxsize=1)
def _closes() -> dict[tuple[str, str], float]:
    table = pq.read_table(BUNDLED_PRICES, columns=["symbol", "date", "close", "adj_close"])
    price = pc.coalesce(pc.if_else(pc.is_nan(table["close"]), None, table["close"]), table["adj_close"])
    days = pc.cast(pc.cast(table["date"], "date32"), "string")
    keys = zip(table["symbol"].to_pylist(), days.to_pylist(), strict=True)
    return dict(zip(keys, price.to_pylist(), strict=True))


def close(symbol: str, day: str) -> float:
    return round(_closes()[symbol, day], 6)


def lot(symbol: str, quantity: float, entry: str, exit_date: str | None = None, **fields: Any) -> dict[str, Any]:
    """A position entered, and perhaps left, at the close."""
    position = {"symbol": symbol, "quantity": quantity, "entry_date": entry, "entry_price": close(symbol, entry)}
    if exit_date is not None:
        position |= {"exit_date": exit_date, "exit_price": close(symbol, exit_date)}
    return position | fields


def book(entry: str = "2020-09-01") -> list[dict[str, Any]]:
    """Longs, a short and a lot that was closed."""
    return [
        lot("AAPL", 100, entry),
        lot("MSFT", 50, entry),
        lot("JPM", 120, entry),
        lot("PG", 80, entry),
        lot("XOM", -200, entry),
        lot("KO", 150, entry, "2020-11-16"),
    ]
