"""Access tokens."""

from __future__ import annotations

from typing import Literal

from services.coordinator.api.models.common import Answer


class Token(Answer):
    """last_used_at : true to the hour"""

    id: str
    name: str
    role: Literal["reader", "editor", "operator"]
    state: Literal["active", "expired", "revoked"]
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None
    user_id: str | None
    tenant_id: str


class TokenMade(Token):
    """token : the secret, told this once"""

    token: str


class Tokens(Answer):
    items: list[Token]
