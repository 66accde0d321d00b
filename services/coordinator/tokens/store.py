"""SQL of `coordinator.tokens`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.tokens.model import Role, Token

_COLUMNS = "id, name, role, created_at, expires_at, last_used_at, revoked_at"
# A token in steady use is written once an hour, not at every call.
USED_EVERY = "1 hour"


async def insert(
    conn: AsyncConnection, name: str, role: Role, digest: bytes, expires_at: datetime | None
) -> Token | None:
    """Add a token; None if one of that name is in force."""
    rows = await conn.execute(
        text(f"""
            INSERT INTO coordinator.tokens (name, role, digest, expires_at) VALUES (:name, :role, :digest, :expires_at)
            ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING RETURNING {_COLUMNS}
        """),
        {"name": name, "role": role.value, "digest": digest, "expires_at": expires_at},
    )
    row = rows.one_or_none()
    return None if row is None else _token(row)


async def all_tokens(conn: AsyncConnection) -> list[Token]:
    """Those in force and those that are not, newest first."""
    rows = await conn.execute(text(f"SELECT {_COLUMNS} FROM coordinator.tokens ORDER BY created_at DESC, id"))
    return [_token(row) for row in rows]


async def in_force(conn: AsyncConnection) -> dict[bytes, Token]:
    """Every token that is neither revoked nor expired, by the digest of its secret."""
    rows = await conn.execute(
        text(f"""
            SELECT {_COLUMNS}, digest FROM coordinator.tokens
            WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())
        """)
    )
    return {bytes(row.digest): _token(row) for row in rows}


async def was_ever_one(conn: AsyncConnection) -> bool:
    return bool(await conn.scalar(text("SELECT EXISTS (SELECT FROM coordinator.tokens)")))


async def revoke(conn: AsyncConnection, token: UUID) -> bool:
    """False if there is none, or it was revoked before."""
    result = await conn.execute(
        text("UPDATE coordinator.tokens SET revoked_at = clock_timestamp() WHERE id = :id AND revoked_at IS NULL"),
        {"id": token},
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
    return Token(row.id, row.name, Role(row.role), row.created_at, row.expires_at, row.last_used_at, row.revoked_at)
