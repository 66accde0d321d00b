"""SQL of `coordinator.tenants`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import locks
from shared.db.tenancy import Quotas, own_tenant

_COLUMNS = "o.id, o.name, o.created_at, o.closed_at, o.max_portfolios, o.max_lots, o.max_streams, o.calls_per_second"
_COUNTS = """
    (SELECT count(*) FROM coordinator.portfolios p WHERE p.tenant_id = o.id AND p.deleted_at IS NULL) AS portfolios,
    (SELECT count(*) FROM coordinator.memberships m WHERE m.tenant_id = o.id) AS users
"""
QUOTAS: Mapping[str, str] = {
    "max_portfolios": "portfolios",
    "max_lots": "lots",
    "max_streams": "streams",
    "calls_per_second": "calls_per_second",
}


@dataclass(frozen=True, slots=True)
class Tenant:
    """portfolios, users : how many it has"""

    id: UUID
    name: str
    created_at: datetime
    closed_at: datetime | None
    quotas: Quotas
    portfolios: int
    users: int


async def lock(conn: AsyncConnection, tenant: UUID | None = None) -> None:
    """Wait until nobody else counts or changes what the tenant has of people, tokens and the like; without one, the own tenant.

    To be taken before anything is looked at: what others have committed by then is seen, and nothing comes in between.
    """
    await conn.execute(
        text("SELECT pg_advisory_xact_lock(CAST(:class AS int), hashtext(:tenant))"),
        {"class": locks.PEOPLE, "tenant": str(tenant or own_tenant())},
    )


async def quotas(conn: AsyncConnection) -> dict[UUID, Quotas]:
    """Of the tenants that have any."""
    rows = await conn.execute(
        text(f"""
            SELECT {_COLUMNS} FROM coordinator.tenants o
            WHERE coalesce(max_portfolios, max_lots, max_streams, calls_per_second) IS NOT NULL
        """)
    )
    return {row.id: _quotas(row) for row in rows}


async def all_tenants(conn: AsyncConnection) -> list[Tenant]:
    """Oldest first."""
    rows = await conn.execute(
        text(f"SELECT {_COLUMNS}, {_COUNTS} FROM coordinator.tenants o ORDER BY o.created_at, o.id")
    )
    return [_tenant(row) for row in rows]


async def names(conn: AsyncConnection, tenants: Collection[UUID]) -> list[tuple[str, str]]:
    """Ids and names of some tenants, by name."""
    rows = await conn.execute(
        text(
            "SELECT CAST(id AS text), name FROM coordinator.tenants WHERE id = ANY (CAST(:ids AS uuid[])) ORDER BY name"
        ),
        {"ids": list(tenants)},
    )
    return [(of, name) for of, name in rows]


async def find(conn: AsyncConnection, tenant: UUID) -> Tenant | None:
    rows = await conn.execute(
        text(f"SELECT {_COLUMNS}, {_COUNTS} FROM coordinator.tenants o WHERE o.id = :id"), {"id": tenant}
    )
    row = rows.one_or_none()
    return None if row is None else _tenant(row)


async def insert(conn: AsyncConnection, name: str) -> UUID | None:
    """None if there is one of that name."""
    made: UUID | None = await conn.scalar(
        text("INSERT INTO coordinator.tenants (name) VALUES (:name) ON CONFLICT (name) DO NOTHING RETURNING id"),
        {"name": name},
    )
    return made


async def update(conn: AsyncConnection, tenant: UUID, values: Mapping[str, object]) -> None:
    """Set quotas, by column; the names are ours, never a user's."""
    columns = [name for name in QUOTAS if name in values]
    if columns:
        await conn.execute(
            text(f"UPDATE coordinator.tenants SET {', '.join(f'{name} = :{name}' for name in columns)} WHERE id = :id"),
            {"id": tenant, **{name: values[name] for name in columns}},
        )


async def set_closed(conn: AsyncConnection, tenant: UUID, *, closed: bool) -> None:
    await conn.execute(
        text("""
            UPDATE coordinator.tenants SET closed_at = CASE WHEN :closed THEN coalesce(closed_at, clock_timestamp()) END
            WHERE id = :id
        """),
        {"id": tenant, "closed": closed},
    )


def _quotas(row: Row[Any]) -> Quotas:
    return Quotas(row.max_portfolios, row.max_lots, row.max_streams, row.calls_per_second)


def _tenant(row: Row[Any]) -> Tenant:
    return Tenant(row.id, row.name, row.created_at, row.closed_at, _quotas(row), row.portfolios, row.users)
