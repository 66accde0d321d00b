"""What is required: units come, go, and are raised. All of it needs the commit-order lock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.work import Phase


async def add_units(conn: AsyncConnection, portfolios: Sequence[UUID], sessions: Sequence[date], revision: int) -> int:
    """Add the four units of every portfolio and session that are not there yet. Needs the commit-order lock.

    Returns how many were added. The schedule gives the normal path half a minute before the reconciler looks.
    """
    if not portfolios or not sessions:
        return 0
    await conn.execute(
        text("""
            INSERT INTO ledger.schedule (portfolio_id, phase)
            SELECT p, phase FROM unnest(CAST(:portfolios AS uuid[])) AS p
            CROSS JOIN unnest(enum_range(NULL::ledger.phase)) AS phase
            ON CONFLICT DO NOTHING
        """),
        {"portfolios": list(portfolios)},
    )
    result = await conn.execute(
        text("""
            INSERT INTO ledger.units (portfolio_id, session, phase, required_revision)
            SELECT p, s, phase, :revision
            FROM unnest(CAST(:portfolios AS uuid[])) AS p
            CROSS JOIN unnest(CAST(:sessions AS date[])) AS s
            CROSS JOIN unnest(enum_range(NULL::ledger.phase)) AS phase
            ON CONFLICT DO NOTHING
        """),
        {"portfolios": list(portfolios), "sessions": list(sessions), "revision": revision},
    )
    return int(result.rowcount)


async def remove_units(conn: AsyncConnection, portfolio: UUID) -> int:
    """Remove all units of a portfolio that is deleted. In-flight work on them lands nowhere; its results stay where they are."""
    result = await conn.execute(
        text("""
            WITH k AS (
                SELECT portfolio_id, session, phase FROM ledger.units WHERE portfolio_id = :portfolio
                ORDER BY session, phase
                FOR UPDATE
            )
            DELETE FROM ledger.units u USING k
            WHERE u.portfolio_id = k.portfolio_id AND u.session = k.session AND u.phase = k.phase
        """),
        {"portfolio": portfolio},
    )
    await _unschedule(conn, portfolio)
    return int(result.rowcount)


async def withdraw_units(conn: AsyncConnection, portfolio: UUID, *, before: date | None = None) -> int:
    """Remove the units of sessions that an edit took out of a portfolio, all or those before one, with their results.

    In-flight work on them lands nowhere; what was completed goes to the history tables. Returns how many units went.
    """
    gone = await conn.scalar(
        text("SELECT ledger.withdraw(:portfolio, :before)"), {"portfolio": portfolio, "before": before}
    )
    if before is None:
        await _unschedule(conn, portfolio)
    return int(gone)


async def _unschedule(conn: AsyncConnection, portfolio: UUID) -> None:
    await conn.execute(text("DELETE FROM ledger.schedule WHERE portfolio_id = :portfolio"), {"portfolio": portfolio})


Demand = tuple[UUID, date, date, Phase]
"""Sessions of a portfolio, both ends included, from a phase on."""


async def require(conn: AsyncConnection, demands: Iterable[Demand], revision: int) -> list[tuple[UUID, date, Phase]]:
    """Raise what is required to `revision`, closed downstream. Needs the commit-order lock; returns what was raised."""
    rows = sorted(set(demands))
    if not rows:
        return []
    result = await conn.execute(
        text(f"SELECT portfolio_id, session, CAST(phase AS text) FROM {_REQUIRE}"), _arguments(rows, revision)
    )
    return [(portfolio, session, Phase(phase)) for portfolio, session, phase in result]


async def require_many(conn: AsyncConnection, demands: Iterable[Demand], revision: int) -> int:
    """Raise like `require`, without bringing the keys here: a rerun of everything is millions. Returns how many."""
    rows = sorted(set(demands))
    if not rows:
        return 0
    return int(await conn.scalar(text(f"SELECT count(*) FROM {_REQUIRE}"), _arguments(rows, revision)) or 0)


async def require_all(
    conn: AsyncConnection, portfolios: Sequence[UUID], first: date, last: date, phase: Phase, revision: int
) -> int:
    """Raise the same sessions of all portfolios; returns how many units."""
    return await require_many(conn, [(portfolio, first, last, phase) for portfolio in portfolios], revision)


_REQUIRE = """
    ledger.require(CAST(:portfolios AS uuid[]), CAST(:firsts AS date[]), CAST(:lasts AS date[]),
                   CAST(:phases AS ledger.phase[]), :revision)
"""


def _arguments(rows: Sequence[Demand], revision: int) -> dict[str, object]:
    return {
        "portfolios": [row[0] for row in rows],
        "firsts": [row[1] for row in rows],
        "lasts": [row[2] for row in rows],
        "phases": [row[3].value for row in rows],
        "revision": revision,
    }
