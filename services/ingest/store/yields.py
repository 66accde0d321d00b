"""Yield curves as published, and which calendar year of them is asked for next."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.market.curve import Curve
from shared.market.registry import CURVE_PROXY, FACTOR_NAMES, RATES


async def first_session(conn: AsyncConnection) -> date | None:
    """Of all portfolios."""
    found: date | None = await conn.scalar(
        text("SELECT min(first_session) FROM coordinator.portfolios WHERE deleted_at IS NULL")
    )
    return found


async def claim_year(conn: AsyncConnection, first: int, last: int, now: datetime, lease_until: datetime) -> int | None:
    """The newest year of [first, last] that is due, ours until the lease ends; None if none is."""
    await conn.execute(
        text("""
            INSERT INTO ingest.yield_years (year, next_at)
            SELECT y, :now FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS y
            ON CONFLICT DO NOTHING
        """),
        {"first": first, "last": last, "now": now},
    )
    year: int | None = await conn.scalar(
        text("""
            UPDATE ingest.yield_years SET next_at = :until
            WHERE year = (
                SELECT year FROM ingest.yield_years WHERE year BETWEEN :first AND :last AND next_at <= :now
                ORDER BY year DESC LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING year
        """),
        {"first": first, "last": last, "now": now, "until": lease_until},
    )
    return year


async def schedule_year(
    conn: AsyncConnection, year: int, *, asked_at: datetime, next_at: datetime | None, fault: str | None
) -> None:
    """When the year is asked for again; None: never."""
    await conn.execute(
        text("UPDATE ingest.yield_years SET asked_at = :asked, next_at = :next, fault = :fault WHERE year = :year"),
        {"year": year, "asked": asked_at, "next": next_at, "fault": fault},
    )


async def find_curves(conn: AsyncConnection, first: date, last: date) -> list[tuple[Curve, str]]:
    """Curves dated within [first, last], ascending, with their providers."""
    rows = await conn.execute(
        text(
            "SELECT date, tenors, yields, provider FROM ingest.yields WHERE date BETWEEN :first AND :last ORDER BY date"
        ),
        {"first": first, "last": last},
    )
    return [(Curve(day, tuple(tenors), tuple(yields)), provider) for day, tenors, yields, provider in rows]


async def write(conn: AsyncConnection, curves: Sequence[Curve], provider: str, change: int) -> None:
    """Insert curves, or correct those of their dates; what they replace goes to the history. Needs the commit-order lock."""
    dates = [curve.date for curve in curves]
    await conn.execute(
        text("""
            INSERT INTO ingest.yields_history (date, tenors, yields, provider, fetched_at, change)
            SELECT date, tenors, yields, provider, fetched_at, change FROM ingest.yields
            WHERE date = ANY (CAST(:dates AS date[]))
        """),
        {"dates": dates},
    )
    await conn.execute(
        text("""
            INSERT INTO ingest.yields (date, tenors, yields, provider, change)
            VALUES (:date, CAST(:tenors AS float8[]), CAST(:yields AS float8[]), :provider, :change)
            ON CONFLICT (date) DO UPDATE SET tenors = excluded.tenors, yields = excluded.yields, provider = excluded.provider,
                fetched_at = excluded.fetched_at, change = excluded.change
        """),
        [
            {
                "date": curve.date, "tenors": list(curve.tenors), "yields": list(curve.yields), "provider": provider,
                "change": change,
            }
            for curve in curves
        ],
    )  # fmt: skip


async def portfolios(conn: AsyncConnection, last: date) -> list[UUID]:
    """Those with a session up to a day."""
    rows = await conn.execute(
        text("SELECT id FROM coordinator.portfolios WHERE deleted_at IS NULL AND first_session <= :last ORDER BY id"),
        {"last": last},
    )
    return list(rows.scalars())


async def sessions_with_fund(conn: AsyncConnection, first: date, last: date) -> set[date]:
    """Sessions of [first, last] whose factors are computed with a fund for rates: no curve is looked at there.

    A session without a row may be under way with what was known before, so it is none of them.
    """
    rows = await conn.execute(
        text("""
            SELECT session FROM factors.proxies
            WHERE session BETWEEN :first AND :last AND proxies[CAST(:rates AS integer)] <> :curve
        """),
        {"first": first, "last": last, "rates": FACTOR_NAMES.index(RATES) + 1, "curve": CURVE_PROXY},
    )
    return set(rows.scalars())
