"""A synthetic market for the benchmarks: a common factor and noise, seeded; the shape of real prices without their licence."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shared.market.calendar import calendar
from shared.market.registry import PROXY_SYMBOLS

SEED = 20201231
SECTORS = ("Technology", "Healthcare", "Industrials", "Utilities", "Energy")


def write(path: Path, symbols: list[str], first: date, last: date) -> None:
    """Closes and adjusted closes of the symbols and of every factor proxy, on every session."""
    sessions = calendar().between(first, last)
    names = [*symbols, *PROXY_SYMBOLS]
    generator = np.random.default_rng(SEED)
    market = generator.normal(0.0004, 0.01, len(sessions))
    columns: dict[str, list[object]] = {"symbol": [], "date": [], "close": [], "adj_close": []}
    for name in names:
        returns = generator.uniform(0.5, 1.5) * market + generator.normal(0, 0.012, len(sessions))
        close = np.round(50 * np.cumprod(1 + returns), 4)
        columns["symbol"] += [name] * len(sessions)
        columns["date"] += sessions
        columns["close"] += close.tolist()
        columns["adj_close"] += close.tolist()
    pq.write_table(pa.table(columns), path)


def write_facts(folder: Path, symbols: list[str]) -> None:
    """Beside the prices: that none of the symbols paid or split, and what they are. Without it each lot would have a reason beside
    each of its sessions, as no healthy portfolio has."""
    with (folder / "corporate_actions.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("symbol", "ex_date", "type", "value"))
        rows.writerows((name, "", "none", "") for name in (*symbols, *PROXY_SYMBOLS))
    with (folder / "symbols.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("symbol", "asset_type", "sector"))
        rows.writerows((name, "stock", SECTORS[number % len(SECTORS)]) for number, name in enumerate(symbols))


def closes(path: Path, day: date) -> Mapping[str, float]:
    """Of one session, by symbol."""
    rows = pq.read_table(path, columns=["symbol", "close"], filters=[("date", "=", day)]).to_pydict()
    return dict(zip(rows["symbol"], rows["close"], strict=True))
