"""Rows of holdings are encoded: what a batch holds in memory is bounded by its lots times sessions, in bytes and not in objects."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import fields
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import numpy as np

from services.snapshots.compute import NEVER, Inputs, Lots, LotTable
from services.snapshots.workflow.rows import _holdings
from shared.market.calendar import calendar

# Per lot and session: 11 columns of 8 to 20 bytes, and their copies side by side while a row is joined.
BYTES = 400


def book(lots: int, sessions: int) -> tuple[Inputs, LotTable]:
    days = np.array(calendar().between(date(2019, 1, 2), date(2020, 12, 31))[:sessions], dtype="datetime64[D]").astype(
        np.int64
    )
    zeros = np.zeros(lots, dtype=np.int64)
    held = Lots(
        zeros, tuple(UUID(int=n) for n in range(lots)), ("AAA",) * lots, zeros, zeros.astype(np.bool_), zeros + 1,
        (Decimal(1),) * lots, (Decimal(1),) * lots, (None,) * lots, zeros + days[0], zeros + NEVER, zeros + days[0], zeros + NEVER,
    )  # fmt: skip
    shape = (sessions, lots)
    made: dict[str, Any] = {
        field.name: np.zeros(shape, dtype=np.float64 if field.name in {"quantity", "price"} else np.int64)
        for field in fields(LotTable)
    }
    return cast(Inputs, SimpleNamespace(lots=held)), LotTable(**made | {"price_day": np.tile(days[:, None], (1, lots))})


def test_a_batch_of_holdings_takes_bytes_and_no_objects() -> None:
    lots, sessions = 2_000, 25
    inputs, table = book(lots, sessions)
    _holdings(inputs, table, 0, [lots])
    gc.collect()
    tracemalloc.start()
    try:
        rows = _holdings(inputs, table, 0, [lots] * sessions)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(rows) == sessions
    assert peak < BYTES * lots * sessions
    assert 100 * lots < len(rows[0]) < 220 * lots
