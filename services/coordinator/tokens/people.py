"""Users, service accounts and invitations of a tenant, and the tenants themselves: checked, then kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import Conflict, NotFound
from services.coordinator.tokens import invitation_store, people_store, tenant_store
from services.coordinator.tokens.invitation_store import Invitation
from services.coordinator.tokens.model import PERSON, Member, Role, digest, draw_secret
from services.coordinator.tokens.operators import OperatorStays
from services.coordinator.tokens.tenant_store import Tenant
from shared.db.tenancy import HOUSE, Sight, use_sight

MOST_USERS = 1_000
MOST_INVITATIONS = 200
MOST_TENANTS = 10_000
INVITED_FOR = timedelta(days=7)


async def add_user(conn: AsyncConnection, kind: str, name: str, role: Role) -> Member:
    """Raises `Conflict` for a name that the tenant has, or too many users."""
    await tenant_store.lock(conn)
    if await people_store.find_named(conn, name) is not None:
        raise Conflict(f"There is a user named {name!r} already. Choose another name.", code="user_name_taken")
    await refuse_too_many(conn)
    return await get_user(conn, await people_store.add(conn, kind, name, role))


async def get_user(conn: AsyncConnection, user: UUID) -> Member:
    found = await people_store.find(conn, user)
    if found is None:
        raise NotFound(f"There is no user {user}. They may have been removed.")
    return found


async def refuse_too_many(conn: AsyncConnection) -> None:
    """Raises `Conflict` where the tenant has as many accounts as it can have. Needs the tenant's lock."""
    if await people_store.count(conn) >= MOST_USERS:
        raise Conflict(
            f"There are {MOST_USERS:,} users, the most a tenant can have. Remove some.", code="too_many_users"
        )


async def set_role(conn: AsyncConnection, user: UUID, role: Role, stays: OperatorStays) -> Member:
    """Raises `NotFound`, `Conflict` where the tenant would be left without an operator."""
    await tenant_store.lock(conn)
    member = await get_user(conn, user)
    if role is not Role.OPERATOR:
        await stays.refuse_last(conn, member)
    await people_store.set_role(conn, user, role)
    return await get_user(conn, user)


async def remove_user(conn: AsyncConnection, user: UUID, stays: OperatorStays) -> None:
    """Within five seconds none of the user's tokens and sessions works here any more. Raises what `set_role` does."""
    await tenant_store.lock(conn)
    await stays.refuse_last(conn, await get_user(conn, user))
    await people_store.remove(conn, user)


async def sign_out(conn: AsyncConnection, user: UUID) -> None:
    """End every session in which the user acts for the tenant, or for any, in every browser. Tokens are revoked one by one."""
    await get_user(conn, user)
    await people_store.sign_out(conn, user)


async def invite(conn: AsyncConnection, name: str, role: Role) -> tuple[Invitation, str]:
    """An invitation and the secret of its link, which is told here and never again."""
    await tenant_store.lock(conn)
    if await invitation_store.count_open(conn) >= MOST_INVITATIONS:
        raise Conflict(
            f"{MOST_INVITATIONS} invitations are open, the most there can be. Withdraw some.",
            code="too_many_invitations",
        )
    secret = draw_secret()
    until = datetime.now(UTC) + INVITED_FOR
    return await invitation_store.insert(conn, name, role, digest(secret.encode()), until), secret


async def withdraw(conn: AsyncConnection, invitation: UUID) -> None:
    if not await invitation_store.revoke(conn, invitation):
        raise NotFound(f"There is no open invitation {invitation}: it was accepted, withdrawn, or is too old.")


async def find_invitation(conn: AsyncConnection, secret: str) -> Invitation:
    """The invitation of a link. Raises `NotFound`."""
    found = await invitation_store.find_open(conn, digest(secret.encode("utf-8", "surrogateescape")))
    if found is None:
        raise NotFound(
            "The invitation was accepted or withdrawn, or is older than seven days. Ask whoever sent it for another one."
        )
    return found


async def accept(conn: AsyncConnection, invitation: Invitation, *, vouched: tuple[str, str] | None = None) -> UUID:
    """Make whoever has the link a member, once; returns the user. Raises `NotFound`, `Conflict` for too many users.

    vouched : issuer and subject, where an OpenID provider said who it is
    """
    with use_sight(Sight(invitation.tenant, everything=True)):
        await tenant_store.lock(conn)
        user = None if vouched is None else await people_store.find_vouched(conn, *vouched)
        if user is None or await people_store.find(conn, user) is None:
            await refuse_too_many(conn)
        if user is None:
            user = await people_store.add(conn, PERSON, invitation.name, invitation.role, vouched=vouched)
        else:
            await people_store.join(conn, user, invitation.name, invitation.role)
        if not await invitation_store.take(conn, invitation.id, user):
            raise NotFound("The invitation was accepted a moment ago.")
    return user


async def add_tenant(conn: AsyncConnection, name: str, quotas: Mapping[str, object]) -> Tenant:
    """Raises `Conflict` for a name in use, or too many tenants."""
    await tenant_store.lock(conn, HOUSE)
    if len(await tenant_store.all_tenants(conn)) >= MOST_TENANTS:
        raise Conflict(f"There are {MOST_TENANTS:,} tenants, the most there can be.", code="too_many_tenants")
    made = await tenant_store.insert(conn, name)
    if made is None:
        raise Conflict(f"A tenant named {name!r} is there already. Choose another name.", code="tenant_name_taken")
    await tenant_store.update(conn, made, quotas)
    return await get_tenant(conn, made)


async def get_tenant(conn: AsyncConnection, tenant: UUID) -> Tenant:
    found = await tenant_store.find(conn, tenant)
    if found is None:
        raise NotFound(f"There is no tenant {tenant}.")
    return found


async def change_tenant(
    conn: AsyncConnection, tenant: UUID, quotas: Mapping[str, object], *, closed: bool | None
) -> Tenant:
    """Set quotas; close, or open again. Raises `Conflict` where the first tenant would be closed."""
    await get_tenant(conn, tenant)
    if closed and tenant == HOUSE:
        raise Conflict(
            "The first tenant cannot be closed: its operators operate the installation.", code="first_tenant_stays"
        )
    await tenant_store.update(conn, tenant, quotas)
    if closed is not None:
        await tenant_store.set_closed(conn, tenant, closed=closed)
    return await get_tenant(conn, tenant)
