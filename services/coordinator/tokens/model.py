"""Roles, identities, and what each role may ask for. Nothing here reads or writes anything."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

API = "/api/v1"
TOKENS = "/admin/tokens"
WEBHOOKS = "/admin/webhooks"
"""Their addresses often hold what lets one write there."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# Asked by POST for its body's sake alone.
_QUESTION = re.compile(r"/portfolios/[^/]+/what-if")
# Found by scanners of source code and logs, which look for a fixed beginning.
SECRET_PREFIX = "leadline_"  # noqa: S105 (the beginning of every token, not one)
SECRET_BYTES = 32


class Role(StrEnum):
    """Each may do what those before it may."""

    READER = "reader"
    EDITOR = "editor"
    OPERATOR = "operator"

    @property
    def rank(self) -> int:
        return list(Role).index(self)

    def includes(self, other: Role) -> bool:
        return self.rank >= other.rank


@dataclass(frozen=True)
class Identity:
    """Whom a request is from. `token_id` is None for the server's own token, and where no token is needed."""

    role: Role
    name: str
    token_id: UUID | None = None


@dataclass(frozen=True)
class Token:
    """A row of the table. The secret is not in it: only its digest is stored."""

    id: UUID
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


def draw_secret() -> str:
    """256 random bits, so that a plain digest of it can be stored: nobody guesses what leads to it."""
    return SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def role_for_call(method: str, path: str) -> Role:
    """The smallest role that may call a path of the API.

    Reading needs a reader, except the lists of tokens and webhooks; changes of portfolios need an editor, all other changes an
    operator. What is asked with a body and changes nothing is reading.
    """
    rest = path.removeprefix(API)
    if _under(rest, TOKENS) or _under(rest, WEBHOOKS):
        return Role.OPERATOR
    if is_read(method, path):
        return Role.READER
    return Role.EDITOR if _under(rest, "/portfolios") else Role.OPERATOR


def is_read(method: str, path: str) -> bool:
    """Whether a call of the API changes nothing."""
    return method in SAFE_METHODS or (method == "POST" and _QUESTION.fullmatch(path.removeprefix(API)) is not None)


def role_for_page(method: str, path: str) -> Role:
    """The smallest role that may ask for a page, or send its form."""
    if method in SAFE_METHODS:
        return Role.READER
    return Role.EDITOR if _under(path, "/p") or _under(path, "/import") else Role.OPERATOR


def _under(path: str, parent: str) -> bool:
    return path == parent or path.startswith(parent + "/")
