"""SQL of many lots at once, as imports need it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tenancy import only_own, tenant_filter


async def whole_positions(conn: AsyncConnection, portfolio: UUID) -> Sequence[RowMapping]:
    """Every column of every lot."""
    rows = await conn.execute(
        text("SELECT * FROM coordinator.positions WHERE portfolio_id = :id AND deleted_at IS NULL ORDER BY id"),
        {"id": portfolio},
    )
    return rows.mappings().all()


async def version(conn: AsyncConnection, portfolio: UUID) -> str:
    """Another one whenever a lot of the portfolio is added, changed or taken away, or a file."""
    found = await conn.scalar(
        text("""
            SELECT concat_ws(' ', count(*), sum(hashtextextended(id::text, xmin::text::bigint)),
                             (SELECT concat_ws(' ', count(*), count(undone_at), max(id::text))
                              FROM coordinator.imports WHERE portfolio_id = :id))
            FROM coordinator.positions WHERE portfolio_id = :id AND deleted_at IS NULL
        """),
        {"id": portfolio},
    )
    return str(found)


async def id_of_name(conn: AsyncConnection, name: str, *, other_than: UUID | None = None) -> UUID | None:
    """The tenant's oldest portfolio of that name."""
    found = await conn.scalar(
        text(
            "SELECT id FROM coordinator.portfolios WHERE name = :name AND deleted_at IS NULL "
            f"AND id IS DISTINCT FROM CAST(:other AS uuid) AND {only_own()} ORDER BY id LIMIT 1"
        ),
        {"name": name, "other": other_than, "tenant": tenant_filter()},
    )
    return found if isinstance(found, UUID) else None


async def delete_positions(conn: AsyncConnection, ids: Sequence[UUID]) -> None:
    await conn.execute(
        text("UPDATE coordinator.positions SET deleted_at = now() WHERE id = ANY (CAST(:ids AS uuid[]))"),
        {"ids": list(ids)},
    )
