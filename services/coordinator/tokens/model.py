"""Roles, identities, and what each role may ask for. Nothing here reads or writes anything."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from shared.db.tenancy import HOUSE

API = "/api/v1"
TOKENS = "/admin/tokens"
WEBHOOKS = "/admin/webhooks"
"""Their addresses often hold what lets one write there."""
PEOPLE = ("/admin/users", "/admin/invitations", "/admin/audit-log")
# What concerns the whole installation: its operator's alone, reading included.
_INSTALLATION = (
    "/admin/dead-letters", "/admin/reconcile", "/admin/tenants", "/calendar/closures", "/benchmarks", "/symbols/quarantined", "/metrics",
)  # fmt: skip
# Facts of the market: read by everybody, changed for everybody at once.
_SHARED = ("/symbols", "/funds", "/calendar", "/providers")
# A tenant's own, and to the installation's operator everybody's.
_WIDER = ("/admin/runs", "/admin/audit-log")
# Forms about nobody but who sends them.
_OWN_FORMS = frozenset({"/settings/sign-out-everywhere", "/settings/tenant"})
# Of the portfolios that are named, a tenant's own; of none, the whole installation's.
_BY_SCOPE = frozenset({"/admin/batch/run", "/admin/audit"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# Asked by POST for its body's sake alone.
_QUESTION = re.compile(r"/portfolios/[^/]+/what-if")
# Found by scanners of source code and logs, which look for a fixed beginning.
SECRET_PREFIX = "leadline_"  # noqa: S105 (the beginning of every token, not one)
SECRET_BYTES = 32
PERSON, SERVICE = "person", "service"


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
    tenant: UUID = HOUSE
    user_id: UUID | None = None
    since: datetime | None = None
    """When the session began, where it is one."""

    @property
    def operates_installation(self) -> bool:
        """Whether this is the operator of the whole installation: an operator of its first tenant."""
        return self.role is Role.OPERATOR and self.tenant == HOUSE

    def is_signed_out_of(self, member: Member) -> bool:
        """Whether the session began before the member was signed out of every browser."""
        return self.since is not None and member.signed_out_at is not None and self.since <= member.signed_out_at


@dataclass(frozen=True)
class Member:
    """An account as it acts for a tenant."""

    user_id: UUID
    tenant: UUID
    name: str
    kind: str
    role: Role
    created_at: datetime
    signed_out_at: datetime | None = None


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
    tenant: UUID = HOUSE
    user_id: UUID | None = None


def draw_secret() -> str:
    """256 random bits, so that a plain digest of it can be stored: nobody guesses what leads to it."""
    return SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def role_for_call(method: str, path: str) -> Role:
    """The smallest role that may call a path of the API.

    Reading needs a reader, except the lists of tokens, webhooks and people; changes of portfolios need an editor, all other changes an
    operator. What is asked with a body and changes nothing is reading.
    """
    rest = path.removeprefix(API)
    if any(_under(rest, parent) for parent in (TOKENS, WEBHOOKS, *PEOPLE)):
        return Role.OPERATOR
    if is_read(method, path):
        return Role.READER
    return Role.EDITOR if _under(rest, "/portfolios") else Role.OPERATOR


def is_read(method: str, path: str) -> bool:
    """Whether a call of the API changes nothing."""
    return method in SAFE_METHODS or (method == "POST" and _QUESTION.fullmatch(path.removeprefix(API)) is not None)


def role_for_page(method: str, path: str) -> Role:
    """The smallest role that may ask for a page, or send its form."""
    if method in SAFE_METHODS or path in _OWN_FORMS:
        return Role.READER
    return Role.EDITOR if _under(path, "/p") or _under(path, "/import") else Role.OPERATOR


def concerns_installation(method: str, path: str, *, scoped: bool) -> bool:
    """Whether a call of the API is about more than one tenant's own.

    scoped : portfolios are named in the query
    """
    rest = path.removeprefix(API)
    if any(_under(rest, parent) for parent in _INSTALLATION) or (rest in _BY_SCOPE and not scoped):
        return True
    return method not in SAFE_METHODS and any(_under(rest, parent) for parent in _SHARED)


def is_wider_for_operator(path: str) -> bool:
    """Whether the installation's operator gets everybody's where others get their own."""
    return any(_under(path.removeprefix(API), parent) for parent in _WIDER)


def page_concerns_installation(method: str, path: str) -> bool:
    """The same of a page, or of sending its form."""
    return _under(path, "/ops") or (method not in SAFE_METHODS and _under(path, "/symbols"))


def _under(path: str, parent: str) -> bool:
    return path == parent or path.startswith(parent + "/")
