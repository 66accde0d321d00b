"""SQL of `coordinator.invitations`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.tokens.model import Role
from shared.db.tenancy import only_own, own_tenant, tenant_filter

_COLUMNS = "id, tenant_id, name, role, created_at, expires_at, accepted_at, accepted_by, revoked_at"
_OPEN = "accepted_at IS NULL AND revoked_at IS NULL AND expires_at > clock_timestamp()"


@dataclass(frozen=True, slots=True)
class Invitation:
    """name : of whoever is invited, as the one who invites calls them"""

    id: UUID
    tenant: UUID
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime
    accepted_at: datetime | None
    accepted_by: UUID | None
    revoked_at: datetime | None


async def insert(conn: AsyncConnection, name: str, role: Role, digest: bytes, expires_at: datetime) -> Invitation:
    rows = await conn.execute(
        text(f"""
            INSERT INTO coordinator.invitations (tenant_id, name, role, digest, expires_at)
            VALUES (:tenant, :name, :role, :digest, :expires_at) RETURNING {_COLUMNS}
        """),
        {"tenant": own_tenant(), "name": name, "role": role.value, "digest": digest, "expires_at": expires_at},
    )
    return _invitation(rows.one())


async def invitations(conn: AsyncConnection) -> list[Invitation]:
    """The tenant's, newest first, also those that are used, withdrawn or too old."""
    rows = await conn.execute(
        text(f"SELECT {_COLUMNS} FROM coordinator.invitations WHERE {only_own()} ORDER BY id DESC LIMIT 1000"),
        {"tenant": tenant_filter()},
    )
    return [_invitation(row) for row in rows]


async def count_open(conn: AsyncConnection) -> int:
    found = await conn.scalar(
        text(f"SELECT count(*) FROM coordinator.invitations WHERE {_OPEN} AND {only_own()}"),
        {"tenant": tenant_filter()},
    )
    return int(found or 0)


async def revoke(conn: AsyncConnection, invitation: UUID) -> bool:
    result = await conn.execute(
        text(f"""
            UPDATE coordinator.invitations SET revoked_at = clock_timestamp()
            WHERE id = :id AND {_OPEN} AND {only_own()}
        """),
        {"id": invitation, "tenant": tenant_filter()},
    )
    return bool(result.rowcount)


async def find_open(conn: AsyncConnection, digest: bytes) -> Invitation | None:
    """Of any tenant that is not closed: whoever has the link is told of what it is to."""
    rows = await conn.execute(
        text(f"""
            SELECT {_COLUMNS} FROM coordinator.invitations
            WHERE digest = :digest AND {_OPEN}
              AND tenant_id IN (SELECT id FROM coordinator.tenants WHERE closed_at IS NULL)
        """),
        {"digest": digest},
    )
    row = rows.one_or_none()
    return None if row is None else _invitation(row)


async def take(conn: AsyncConnection, invitation: UUID, user: UUID) -> bool:
    """Mark it as accepted by the user; False where somebody was faster."""
    result = await conn.execute(
        text(f"""
            UPDATE coordinator.invitations SET accepted_at = clock_timestamp(), accepted_by = :user WHERE id = :id AND {_OPEN}
        """),
        {"id": invitation, "user": user},
    )
    return bool(result.rowcount)


def _invitation(row: Row[Any]) -> Invitation:
    return Invitation(
        row.id,
        row.tenant_id,
        row.name,
        Role(row.role),
        row.created_at,
        row.expires_at,
        row.accepted_at,
        row.accepted_by,
        row.revoked_at,
    )
