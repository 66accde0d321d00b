"""Tenants, users, invitations, and the audit log."""

from __future__ import annotations

from typing import Literal, TypeAlias

from services.coordinator.api.models.common import Answer

RoleName: TypeAlias = Literal["reader", "editor", "operator"]


class User(Answer):
    """signed_out_at : sessions that began before it are over"""

    id: str
    name: str
    kind: Literal["person", "service"]
    role: RoleName
    tenant_id: str
    created_at: str
    signed_out_at: str | None


class Users(Answer):
    items: list[User]


class Invitation(Answer):
    id: str
    name: str
    role: RoleName
    tenant_id: str
    state: Literal["open", "accepted", "withdrawn", "expired"]
    created_at: str
    expires_at: str
    accepted_by: str | None


class InvitationMade(Invitation):
    """code : the secret of the link, told this once; page : the link's path on this server"""

    code: str
    page: str


class Invitations(Answer):
    items: list[Invitation]


class Tenant(Answer):
    """Quotas are null where the server's own limits are all there is. closed_at : since when nobody of it is let in"""

    id: str
    name: str
    created_at: str
    closed_at: str | None
    portfolios: int
    users: int
    max_portfolios: int | None
    max_lots: int | None
    max_streams: int | None
    calls_per_second: float | None


class Tenants(Answer):
    items: list[Tenant]


class Deed(Answer):
    """user_id and token_id are null for the server's own token, and where none is needed."""

    id: int
    at: str
    tenant_id: str
    user_id: str | None
    token_id: str | None
    method: str
    path: str


class AuditLog(Answer):
    items: list[Deed]
    next: int | None
