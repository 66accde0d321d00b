"""SQL of `coordinator.benchmarks`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.reference.benchmarks.rules import Weights

CHOSEN = "sector_benchmark"


async def current(
    conn: AsyncConnection, code: str | None = None, day: date | None = None
) -> list[tuple[Weights, datetime]]:
    """The tables that stand, with when each was loaded: of a code, of a date of it, or all; by code, newest date first."""
    rows = await conn.execute(
        text("""
            SELECT code, date, sectors, weights, stated_sum, loaded_at FROM coordinator.benchmarks
            WHERE replaced_at IS NULL AND (CAST(:code AS text) IS NULL OR code = :code)
              AND (CAST(:day AS date) IS NULL OR date = :day)
            ORDER BY code, date DESC
        """),
        {"code": code, "day": day},
    )
    return [(Weights(row[0], row[1], tuple(row[2]), tuple(row[3]), row[4]), row[5]) for row in rows]


async def insert(conn: AsyncConnection, of: Weights, change_seq: int) -> datetime:
    """Add a table; the one that stood there must be retired before. Returns when it was loaded."""
    loaded = await conn.scalar(
        text("""
            INSERT INTO coordinator.benchmarks (code, date, change, sectors, weights, stated_sum)
            VALUES (:code, :date, :change, :sectors, :weights, :stated_sum) RETURNING loaded_at
        """),
        {
            "code": of.code,
            "date": of.date,
            "change": change_seq,
            "sectors": list(of.sectors),
            "weights": list(of.weights),
            "stated_sum": of.stated_sum,
        },
    )
    assert isinstance(loaded, datetime)
    return loaded


async def retire(conn: AsyncConnection, code: str, day: date) -> bool:
    """The table that stands no longer does; its row stays. False where there is none."""
    result = await conn.execute(
        text("""
            UPDATE coordinator.benchmarks SET replaced_at = clock_timestamp()
            WHERE code = :code AND date = :date AND replaced_at IS NULL
        """),
        {"code": code, "date": day},
    )
    return bool(result.rowcount)


async def next_date(conn: AsyncConnection, code: str, day: date) -> date | None:
    """The date of the next table of the code."""
    found = await conn.scalar(
        text(
            "SELECT min(date) FROM coordinator.benchmarks WHERE code = :code AND date > :date AND replaced_at IS NULL"
        ),
        {"code": code, "date": day},
    )
    return found if isinstance(found, date) else None


async def first_date(conn: AsyncConnection, codes: Collection[str]) -> date | None:
    """The first date that any of the codes has."""
    found = await conn.scalar(
        text(
            "SELECT min(date) FROM coordinator.benchmarks WHERE code = ANY (CAST(:codes AS text[])) AND replaced_at IS NULL"
        ),
        {"codes": list(codes)},
    )
    return found if isinstance(found, date) else None


async def find_comparison_code(conn: AsyncConnection) -> str | None:
    """The code that portfolios are compared with; None before a coordinator said so."""
    found = await conn.scalar(text("SELECT version FROM coordinator.versions WHERE name = :name"), {"name": CHOSEN})
    return found if isinstance(found, str) else None
