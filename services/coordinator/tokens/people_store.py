"""SQL of `coordinator.users` and `coordinator.memberships`."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.tokens.model import Member, Role
from shared.db.tenancy import only_own, own_tenant, tenant_filter

_MEMBERS = """
    SELECT u.id, m.tenant_id, m.name, u.kind, m.role, m.created_at, m.signed_out_at
    FROM coordinator.memberships m JOIN coordinator.users u ON u.id = m.user_id
"""


async def active(conn: AsyncConnection) -> list[Member]:
    """Of every tenant that is not closed."""
    rows = await conn.execute(
        text(f"""
            {_MEMBERS} JOIN coordinator.tenants o ON o.id = m.tenant_id
            WHERE o.closed_at IS NULL ORDER BY o.created_at, o.id, u.id
        """)
    )
    return [_member(row) for row in rows]


async def members(conn: AsyncConnection) -> list[Member]:
    """The tenant's, by name."""
    rows = await conn.execute(
        text(f"{_MEMBERS} WHERE {only_own('m')} ORDER BY m.name, u.id, m.tenant_id"), {"tenant": tenant_filter()}
    )
    return [_member(row) for row in rows]


async def count(conn: AsyncConnection) -> int:
    """Members of the own tenant."""
    found = await conn.scalar(
        text("SELECT count(*) FROM coordinator.memberships WHERE tenant_id = :tenant"), {"tenant": own_tenant()}
    )
    return int(found or 0)


async def has_other_operator(conn: AsyncConnection, user: UUID, issuer: str | None) -> bool:
    """Whether the own tenant has another operator than the user who can get in: recognised by the provider, or with a token in
    force that does as much."""
    found = await conn.scalar(
        text("""
            SELECT EXISTS (
                SELECT FROM coordinator.memberships m JOIN coordinator.users u ON u.id = m.user_id
                WHERE m.tenant_id = :tenant AND m.user_id <> :user AND m.role = 'operator' AND u.issuer = :issuer
            ) OR EXISTS (
                SELECT FROM coordinator.tokens t LEFT JOIN coordinator.memberships m
                    ON m.user_id = t.user_id AND m.tenant_id = t.tenant_id
                WHERE t.tenant_id = :tenant AND t.user_id IS DISTINCT FROM :user AND t.role = 'operator'
                  AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp())
                  AND (t.user_id IS NULL OR m.role = 'operator')
            )
        """),
        {"tenant": own_tenant(), "user": user, "issuer": issuer},
    )
    return bool(found)


async def find(conn: AsyncConnection, user: UUID) -> Member | None:
    rows = await conn.execute(
        text(f"{_MEMBERS} WHERE u.id = :user AND m.tenant_id = :tenant"), {"user": user, "tenant": own_tenant()}
    )
    row = rows.one_or_none()
    return None if row is None else _member(row)


async def find_named(conn: AsyncConnection, name: str, *, kind: str | None = None) -> Member | None:
    rows = await conn.execute(
        text(f"""
            {_MEMBERS} WHERE m.name = :name AND m.tenant_id = :tenant
                         AND (CAST(:kind AS text) IS NULL OR u.kind = CAST(:kind AS text)) ORDER BY u.id LIMIT 1
        """),
        {"name": name, "tenant": own_tenant(), "kind": kind},
    )
    row = rows.one_or_none()
    return None if row is None else _member(row)


async def find_vouched(conn: AsyncConnection, issuer: str, subject: str) -> UUID | None:
    """Whom an OpenID provider calls so."""
    found: UUID | None = await conn.scalar(
        text("SELECT id FROM coordinator.users WHERE issuer = :issuer AND subject = :subject"),
        {"issuer": issuer, "subject": subject},
    )
    return found


async def add(
    conn: AsyncConnection, kind: str, name: str, role: Role, *, vouched: tuple[str, str] | None = None
) -> UUID:
    """A new account, as a member of the tenant.

    vouched : issuer and subject, of a person who signs in by OpenID Connect
    """
    user = uuid4()
    issuer, subject = vouched or (None, None)
    await conn.execute(
        text("""
            INSERT INTO coordinator.users (id, kind, issuer, subject) VALUES (:id, :kind, :issuer, :subject)
        """),
        {"id": user, "kind": kind, "issuer": issuer, "subject": subject},
    )
    await join(conn, user, name, role)
    return user


async def join(conn: AsyncConnection, user: UUID, name: str, role: Role) -> None:
    """Make an account a member of the tenant, by that name; who is one already keeps the name, and the higher role."""
    await conn.execute(
        text("""
            INSERT INTO coordinator.memberships AS m (user_id, tenant_id, name, role) VALUES (:user, :tenant, :name, :role)
            ON CONFLICT (user_id, tenant_id) DO UPDATE SET role = excluded.role
            WHERE array_position(CAST(:ranks AS text[]), m.role) < array_position(CAST(:ranks AS text[]), excluded.role)
        """),
        {
            "user": user,
            "tenant": own_tenant(),
            "name": name,
            "role": role.value,
            "ranks": [each.value for each in Role],
        },
    )


async def set_role(conn: AsyncConnection, user: UUID, role: Role) -> None:
    await conn.execute(
        text("UPDATE coordinator.memberships SET role = :role WHERE user_id = :user AND tenant_id = :tenant"),
        {"user": user, "tenant": own_tenant(), "role": role.value},
    )


async def remove(conn: AsyncConnection, user: UUID) -> None:
    """End the membership, and revoke what tokens the account has of the tenant. The account stays: others may have it."""
    for statement in (
        "DELETE FROM coordinator.memberships WHERE user_id = :user AND tenant_id = :tenant",
        """UPDATE coordinator.tokens SET revoked_at = clock_timestamp()
           WHERE user_id = :user AND tenant_id = :tenant AND revoked_at IS NULL""",
    ):
        await conn.execute(text(statement), {"user": user, "tenant": own_tenant()})


async def sign_out(conn: AsyncConnection, user: UUID) -> None:
    """Every session in which the account acts for the tenant, or for any, is over, whichever process keeps it."""
    await conn.execute(
        text(f"""
            UPDATE coordinator.memberships SET signed_out_at = clock_timestamp() WHERE user_id = :user AND {only_own()}
        """),
        {"user": user, "tenant": tenant_filter()},
    )


def _member(row: Row[Any]) -> Member:
    return Member(
        row.id,
        row.tenant_id,
        row.name,
        row.kind,
        Role(row.role),
        row.created_at,
        row.signed_out_at,
    )
