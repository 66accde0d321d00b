"""Short words for the ledger, with the rights of whoever says them in production."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import ledger
from shared.db.engine import acquire_commit_order_lock, next_change_seq
from shared.ledger import Completed, Outcome
from shared.market.calendar import calendar
from shared.messaging import outbox
from shared.work import MissingUnit, Phase, UnitKey, Work
from tests.support.databases import act_as

SESSIONS: list[date] = calendar().between(date(2024, 12, 20), date(2025, 1, 10))
"""Thirteen sessions over two holidays and the closing of 2025-01-09."""


class Unit(NamedTuple):
    """The key of a row of the ledger."""

    portfolio_id: UUID
    session: date
    phase: Phase


async def add(conn: AsyncConnection, portfolios: Sequence[UUID], sessions: Sequence[date]) -> int:
    """Add units as the coordinator does; returns their revision."""
    await act_as(conn, "coordinator")
    await acquire_commit_order_lock(conn)
    revision = await next_change_seq(conn)
    await ledger.add_units(conn, portfolios, sessions, revision)
    return revision


async def require(
    conn: AsyncConnection, *demands: tuple[UUID, date, date, Phase], service: str = "coordinator"
) -> tuple[int, set[Unit]]:
    """Raise; returns the revision and what was raised."""
    await act_as(conn, service)
    await acquire_commit_order_lock(conn)
    revision = await next_change_seq(conn)
    return revision, {Unit(*row) for row in await ledger.require(conn, demands, revision)}


async def complete(
    conn: AsyncConnection,
    phase: Phase,
    keys: Iterable[tuple[UUID, date]],
    revision: int,
    outcome: Outcome | None = None,
) -> Completed:
    """Complete units as the phase's service does."""
    await act_as(conn, phase.value)
    outcomes = {MissingUnit(portfolio, session, revision): outcome or Outcome() for portfolio, session in keys}
    return await ledger.complete(conn, phase, outcomes)


async def complete_and_tell(conn: AsyncConnection, phase: Phase, outcomes: Mapping[MissingUnit, Outcome]) -> Completed:
    """Complete units and announce them in the same transaction, with whatever rights the caller has."""
    raised = await ledger.complete(conn, phase, outcomes)
    if raised:
        sessions = [key.session for key in raised.keys]
        await outbox.publish_completions(conn, phase, raised.keys, calendar().between(min(sessions), max(sessions)))
    return raised


async def ready(
    conn: AsyncConnection, phase: Phase, portfolios: Sequence[UUID], first: date | None = None, last: date | None = None
) -> set[UnitKey]:
    await act_as(conn, phase.value)
    return {UnitKey(due.portfolio_id, due.session) for due in await ledger.ready(conn, phase, portfolios, first, last)}


async def missing_within(conn: AsyncConnection, work: Work, phase: Phase) -> list[MissingUnit]:
    """All missing units of the phase within the work, ready or not, by portfolio and session."""
    rows = await conn.execute(
        text("""
            SELECT portfolio_id, session, required_revision FROM ledger.units
            WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND phase = CAST(:phase AS ledger.phase)
              AND session BETWEEN :first AND :last AND completed_revision < required_revision
            ORDER BY portfolio_id, session
        """),
        {"portfolios": list(work.portfolios), "phase": phase.value, "first": work.first, "last": work.last},
    )
    return [MissingUnit(*row) for row in rows]


async def missing(conn: AsyncConnection) -> set[Unit]:
    rows = await conn.execute(
        text("""SELECT portfolio_id, session, CAST(phase AS text) FROM ledger.units
                WHERE completed_revision < required_revision AND blocked_reason IS NULL""")
    )
    return {Unit(portfolio, session, Phase(phase)) for portfolio, session, phase in rows}


async def revisions(conn: AsyncConnection) -> dict[Unit, tuple[int, int]]:
    """Required and completed revision of every unit."""
    rows = await conn.execute(
        text(
            "SELECT portfolio_id, session, CAST(phase AS text), required_revision, completed_revision FROM ledger.units"
        )
    )
    return {Unit(p, s, Phase(phase)): (required, completed) for p, s, phase, required, completed in rows}
