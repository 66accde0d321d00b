"""SQL of `coordinator.tokens`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.tokens.model import Role, Token
from shared.db.tenancy import only_own, own_tenant, tenant_filter

_COLUMNS = "id, name, role, created_at, expires_at, last_used_at, revoked_at, tenant_id, user_id"
# What a token may do is what its account may do at most; a token whose account is no member any more is none.
_OWNED = """
    SELECT t.id, t.name, CASE WHEN m.role IS NULL OR array_position({ranks}, t.role) <= array_position({ranks}, m.role)
                              THEN t.role ELSE m.role END AS role,
           t.created_at, t.expires_at, t.last_used_at, t.revoked_at, t.tenant_id, t.user_id, t.digest
    FROM coordinator.tokens t JOIN coordinator.tenants o ON o.id = t.tenant_id AND o.closed_at IS NULL
    LEFT JOIN coordinator.memberships m ON m.user_id = t.user_id AND m.tenant_id = t.tenant_id
    WHERE t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp())
      AND (t.user_id IS NULL OR m.role IS NOT NULL)
""".format(ranks="ARRAY['reader', 'editor', 'operator']")
# A token in steady use is written once an hour, not at every call.
USED_EVERY = "1 hour"


async def insert(
    conn: AsyncConnection, name: str, role: Role, digest: bytes, expires_at: datetime | None, user: UUID
) -> Token | None:
    """Add a token of an account, for the tenant; None if one of that name is in force."""
    rows = await conn.execute(
        text(f"""
            INSERT INTO coordinator.tokens (tenant_id, user_id, name, role, digest, expires_at)
            VALUES (:tenant, :user, :name, :role, :digest, :expires_at)
            ON CONFLICT (tenant_id, name) WHERE revoked_at IS NULL DO NOTHING RETURNING {_COLUMNS}
        """),
        {
            "tenant": own_tenant(),
            "user": user,
            "name": name,
            "role": role.value,
            "digest": digest,
            "expires_at": expires_at,
        },
    )
    row = rows.one_or_none()
    return None if row is None else _token(row)


async def all_tokens(conn: AsyncConnection) -> list[Token]:
    """The tenant's, those in force and those that are not, newest first."""
    rows = await conn.execute(
        text(f"SELECT {_COLUMNS} FROM coordinator.tokens WHERE {only_own()} ORDER BY created_at DESC, id"),
        {"tenant": tenant_filter()},
    )
    return [_token(row) for row in rows]


async def in_force(conn: AsyncConnection) -> dict[bytes, Token]:
    """Every token that is neither revoked nor expired, of every tenant that is not closed, by the digest of its secret."""
    rows = await conn.execute(text(_OWNED))
    return {bytes(row.digest): _token(row) for row in rows}


async def was_ever_one(conn: AsyncConnection) -> bool:
    return bool(await conn.scalar(text("SELECT EXISTS (SELECT FROM coordinator.tokens)")))


async def revoke(conn: AsyncConnection, token: UUID) -> bool:
    """False if there is none, or it was revoked before."""
    result = await conn.execute(
        text(f"""
            UPDATE coordinator.tokens SET revoked_at = clock_timestamp()
            WHERE id = :id AND revoked_at IS NULL AND {only_own()}
        """),
        {"id": token, "tenant": tenant_filter()},
    )
    return bool(result.rowcount)


async def mark_used(conn: AsyncConnection, used: Collection[UUID]) -> None:
    await conn.execute(
        text(f"""
            UPDATE coordinator.tokens SET last_used_at = clock_timestamp()
            WHERE id = ANY (CAST(:ids AS uuid[]))
              AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '{USED_EVERY}')
        """),
        {"ids": list(used)},
    )


def _token(row: Row[Any]) -> Token:
    return Token(
        row.id,
        row.name,
        Role(row.role),
        row.created_at,
        row.expires_at,
        row.last_used_at,
        row.revoked_at,
        row.tenant_id,
        row.user_id,
    )
