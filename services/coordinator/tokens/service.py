"""Making and revoking tokens."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import Conflict, Invalid, NotFound
from services.coordinator.tokens import people, people_store, store, tenant_store
from services.coordinator.tokens.model import SERVICE, Role, Token, digest, draw_secret
from shared.db.tenancy import HOUSE, own_tenant

MOST = 1_000
MOST_DAYS = 36_525


async def create(
    conn: AsyncConnection,
    name: str,
    role: Role,
    expires: date | None,
    *,
    server_has_token: bool,
    user: UUID | None = None,
) -> tuple[Token, str]:
    """A new token and its secret, which is told here and never again.

    expires          : the last day on which it works, in UTC; None for one that works until it is revoked
    user             : the account it is of; None for a service account of its own, by the token's name
    server_has_token : LEADLINE_TOKEN is set. Without it the first token ends open access, so it must be able to make others.

    Raises `Invalid` for a day that cannot be, `Conflict` for a name in use, a first token that is no operator's, or too many
    of them or of accounts.
    """
    expires_at = None if expires is None else _end_of(expires)
    await tenant_store.lock(conn)
    current = [token for token in (await store.in_force(conn)).values() if token.tenant == own_tenant()]
    first = own_tenant() == HOUSE and all(each.role is not Role.OPERATOR for each in current)
    if not server_has_token and role is not Role.OPERATOR and first:
        raise Conflict(
            f"This would be the first token, and from then on every call needs one: a {role.value}'s could make no other. "
            "Create one with the role operator first, or set LEADLINE_TOKEN and start the server again.",
            code="operator_first",
        )
    if len(current) >= MOST:
        raise Conflict(
            f"There are {MOST:,} tokens in force, the most there can be. Revoke some.", code="too_many_tokens"
        )
    secret = draw_secret()
    if user is None:
        # One that is there already keeps its role: the name is refused below.
        found = await people_store.find_named(conn, name, kind=SERVICE)
        if found is None:
            # The account stays when its token is revoked: without the limit, making and revoking would have no end.
            await people.refuse_too_many(conn)
        user = await people_store.add(conn, SERVICE, name, role) if found is None else found.user_id
        if found is not None and not found.role.includes(role):
            await people_store.set_role(conn, user, role)
    elif (member := await people_store.find(conn, user)) is None:
        raise NotFound(f"There is no user {user} of this tenant.")
    elif not member.role.includes(role):
        raise Conflict(
            f"{member.name!r} is a {member.role.value}, and a token of the role {role.value} would do more than its user may.",
            code="role_above_users",
        )
    made = await store.insert(conn, name, role, digest(secret.encode()), expires_at, user)
    if made is None:
        raise Conflict(
            f"A token named {name!r} is there already. Choose another name, or revoke that one first.",
            code="name_taken",
        )
    return made, secret


async def revoke(conn: AsyncConnection, token: UUID) -> None:
    """Always possible, also for the last operator's: a token that leaked must not stay. LEADLINE_TOKEN lets one in again."""
    if not await store.revoke(conn, token):
        raise NotFound(f"There is no token {token} in force: it does not exist, or was revoked before.")


def _end_of(day: date) -> datetime:
    today = datetime.now(UTC).date()
    if not today <= day <= today + timedelta(days=MOST_DAYS):
        raise Invalid(
            f"A token cannot expire on {day}: give a day from today ({today}, UTC) on, within {MOST_DAYS // 365} years, "
            "or none.",
            errors=[
                {
                    "row": None,
                    "column": "expires",
                    "code": "out_of_range",
                    "message": "Is in the past or too far away.",
                    "value": day.isoformat(),
                }
            ],
        )
    return datetime.combine(day + timedelta(days=1), time(0), UTC)
