"""SQL of `coordinator.flows`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer.model import Flow


async def insert(conn: AsyncConnection, portfolio: UUID, new: Sequence[Flow]) -> list[UUID]:
    ids = await conn.scalars(
        text("""
            INSERT INTO coordinator.flows (portfolio_id, date, session, amount, note)
            SELECT :portfolio, f.date, f.session, f.amount, f.note
            FROM unnest(CAST(:dates AS date[]), CAST(:sessions AS date[]), CAST(:amounts AS numeric[]), CAST(:notes AS text[]))
                AS f (date, session, amount, note)
            RETURNING id
        """),
        {
            "portfolio": portfolio,
            "dates": [flow.day for flow in new],
            "sessions": [flow.session for flow in new],
            "amounts": [flow.amount for flow in new],
            "notes": [flow.note for flow in new],
        },
    )
    return list(ids)


async def find_flows(conn: AsyncConnection, portfolio: UUID) -> Sequence[RowMapping]:
    rows = await conn.execute(
        text("""
            SELECT id, date, session, amount, note, created_at FROM coordinator.flows
            WHERE portfolio_id = :id AND deleted_at IS NULL ORDER BY session, id
        """),
        {"id": portfolio},
    )
    return rows.mappings().all()


async def delete(conn: AsyncConnection, portfolio: UUID, flow: UUID) -> date | None:
    """Returns the session the flow counted on; None if there is no such flow."""
    session = await conn.scalar(
        text("""
            UPDATE coordinator.flows SET deleted_at = now()
            WHERE portfolio_id = :portfolio AND id = :id AND deleted_at IS NULL RETURNING session
        """),
        {"portfolio": portfolio, "id": flow},
    )
    return session if isinstance(session, date) else None


async def first_session(conn: AsyncConnection, portfolio: UUID) -> date | None:
    first = await conn.scalar(
        text("SELECT min(session) FROM coordinator.flows WHERE portfolio_id = :id AND deleted_at IS NULL"),
        {"id": portfolio},
    )
    return first if isinstance(first, date) else None
