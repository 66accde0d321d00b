"""Yield curves of a test's own: a level that walks, flat but for a slope."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.market.curve import Curve, is_bank_holiday

TENORS = (1 / 12, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)


def walk(days: Iterable[date], seed: int = 3, level: float = 0.03) -> list[Curve]:
    """One for each day but the bank holidays."""
    rng = np.random.default_rng(seed)
    found = []
    for day in days:
        level += 0.0005 * rng.standard_normal()
        if not is_bank_holiday(day):
            found.append(Curve(day, TENORS, tuple(level + 0.0002 * tenor for tenor in TENORS)))
    return found


async def store(conn: AsyncConnection, curves: Sequence[Curve], change: int = 10) -> None:
    await conn.execute(
        text("""INSERT INTO ingest.yields (date, tenors, yields, provider, change)
                VALUES (:date, CAST(:tenors AS float8[]), CAST(:yields AS float8[]), 'treasury', :change)
                ON CONFLICT (date) DO UPDATE SET yields = excluded.yields, change = excluded.change"""),
        [
            {"date": of.date, "tenors": list(of.tenors), "yields": list(of.yields), "change": change} for of in curves
        ],
    )  # fmt: skip
