"""A tenant keeps an operator who can get in: else nobody of it could ever give somebody that role again."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import Conflict
from services.coordinator.tokens import people_store
from services.coordinator.tokens.authenticator import authenticator_of, identity_of
from services.coordinator.tokens.model import Member, Role
from shared.db.tenancy import HOUSE


@dataclass(frozen=True, slots=True)
class OperatorStays:
    """Who asks, and who else can let people in.

    by_installation : an operator of the installation asks, who can make another operator of any other tenant than the first
    without_members : the first tenant has an operator who is no member: LEADLINE_TOKEN, or everybody where no token is needed
    issuer          : of the provider that people sign in with; None for none
    """

    by_installation: bool
    without_members: bool
    issuer: str | None

    async def refuse_last(self, conn: AsyncConnection, leaving: Member) -> None:
        """Raises `Conflict` where the member is the last operator. Behind the tenant's lock: two that go at once are both counted."""
        first = leaving.tenant == HOUSE
        if leaving.role is not Role.OPERATOR or (self.without_members if first else self.by_installation):
            return
        if await people_store.has_other_operator(conn, leaving.user_id, self.issuer):
            return
        rescue = "" if first else ", or ask an operator of the installation to do it"
        raise Conflict(
            f"{leaving.name!r} is the last operator {'of the installation' if first else 'of this tenant'} with a way to sign in, and "
            f"nobody could make another. Nothing was done. Make somebody else an operator first, with a token or an account at the "
            f"sign-in provider{rescue}.",
            code="last_operator",
        )


async def operator_stays(request: Request) -> OperatorStays:
    authenticator = authenticator_of(request)
    issuer = getattr(getattr(request.app.state, "openid", None), "issuer", None)
    return OperatorStays(
        identity_of(request).operates_installation,
        authenticator.server_has_token or not await authenticator.requires_token(),
        issuer,
    )
