"""Tokens as settings list them: what each is for, what it may do, whether it still works."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.coordinator.tokens.model import Role, Token
from services.coordinator.web import formats
from services.coordinator.web.texts import gettext as _


def view(tokens: Sequence[Token], now: datetime) -> list[dict[str, Any]]:
    """Those in force first, each group newest first."""
    rows = [_row(token, now) for token in tokens]
    return sorted(rows, key=lambda row: not row["active"])


def roles() -> list[tuple[str, str]]:
    return [(role.value, role_words(role)) for role in Role]


def role_words(role: Role) -> str:
    return {
        Role.READER: _("reader: may read"),
        Role.EDITOR: _("editor: may also change portfolios"),
        Role.OPERATOR: _("operator: may do everything"),
    }[role]


def _row(token: Token, now: datetime) -> dict[str, Any]:
    expired = token.expires_at is not None and token.expires_at <= now
    if token.revoked_at is not None:
        state = _("revoked {when}").format(when=formats.instant(token.revoked_at))
    else:
        state = _("expired") if expired else _("in force")
    return {
        "id": str(token.id),
        "name": token.name,
        "role": token.role.value,
        "state": state,
        "active": token.revoked_at is None and not expired,
        "revocable": token.revoked_at is None,
        "created": formats.instant(token.created_at),
        "used": _("never") if token.last_used_at is None else formats.instant(token.last_used_at),
        "expires": _("never") if token.expires_at is None else formats.instant(token.expires_at),
    }
