"""SQL of many lots at once, as imports need it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer.basis import Decision
from services.coordinator.importer.model import Position
from services.coordinator.portfolios.store import POSITION_COLUMNS, position_records
from shared.db.bulk import stage


async def whole_positions(conn: AsyncConnection, portfolio: UUID) -> Sequence[RowMapping]:
    """Every column of every lot."""
    rows = await conn.execute(
        text("SELECT * FROM coordinator.positions WHERE portfolio_id = :id AND deleted_at IS NULL ORDER BY id"),
        {"id": portfolio},
    )
    return rows.mappings().all()


async def ids_of_keys(conn: AsyncConnection, portfolio: UUID) -> dict[str, UUID]:
    rows = await whole_positions(conn, portfolio)
    return {row["content_key"]: row["id"] for row in rows if row["content_key"] is not None}


async def id_of_name(conn: AsyncConnection, name: str) -> UUID | None:
    """The oldest portfolio of that name."""
    found = await conn.scalar(
        text("SELECT id FROM coordinator.portfolios WHERE name = :name AND deleted_at IS NULL ORDER BY id LIMIT 1"),
        {"name": name},
    )
    return found if isinstance(found, UUID) else None


async def delete_positions(conn: AsyncConnection, ids: Sequence[UUID]) -> None:
    await conn.execute(
        text("UPDATE coordinator.positions SET deleted_at = now() WHERE id = ANY (CAST(:ids AS uuid[]))"),
        {"ids": list(ids)},
    )


async def stage_positions(
    conn: AsyncConnection, rows: Iterable[tuple[Position, Decision, str]], *, from_trades: bool = False
) -> None:
    """Bring the lots of a new portfolio to the database; `insert_staged` adds them, in the same transaction."""
    records = position_records(rows, from_trades=from_trades)
    await stage(conn, "staged_positions", "coordinator.positions", POSITION_COLUMNS[1:], records)


async def insert_staged(conn: AsyncConnection, portfolio: UUID) -> None:
    """Add the staged lots, in the order they were staged in: ids ascend with it."""
    listed = ", ".join(POSITION_COLUMNS[1:])
    await conn.execute(
        text(f"""
            INSERT INTO coordinator.positions (portfolio_id, {listed}) SELECT CAST(:portfolio AS uuid), {listed}
            FROM staged_positions ORDER BY ctid
        """),
        {"portfolio": portfolio},
    )
