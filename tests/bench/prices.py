"""A synthetic market for the benchmarks: a common factor and noise, seeded; the shape of real prices without their licence."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shared.market.calendar import calendar
from shared.market.registry import PROXY_SYMBOLS

SEED = 20201231


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
