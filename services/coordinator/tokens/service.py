"""Making and revoking tokens."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import Conflict, Invalid, NotFound
from services.coordinator.tokens import store
from services.coordinator.tokens.model import Role, Token, digest, draw_secret

MOST = 1_000
MOST_DAYS = 36_525


async def create(
    conn: AsyncConnection, name: str, role: Role, expires: date | None, *, server_has_token: bool
) -> tuple[Token, str]:
    """A new token and its secret, which is told here and never again.

    expires          : the last day on which it works, in UTC; None for one that works until it is revoked
    server_has_token : LEADLINE_TOKEN is set. Without it the first token ends open access, so it must be able to make others.

    Raises `Invalid` for a day that cannot be, `Conflict` for a name in use, a first token that is no operator's, or too many.
    """
    expires_at = None if expires is None else _end_of(expires)
    current = (await store.in_force(conn)).values()
    if not server_has_token and role is not Role.OPERATOR and all(each.role is not Role.OPERATOR for each in current):
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
    made = await store.insert(conn, name, role, digest(secret.encode()), expires_at)
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
