"""What the head of a request says of its sender."""

from __future__ import annotations

from uuid import uuid4

from starlette.types import Scope

from services.coordinator.tokens.model import Identity, is_read
from shared.db.tenancy import Deed, Quotas, Sight


def bearer_of(scope: Scope) -> str | None:
    """The bearer token, where exactly one is sent; what else stands in its place is a wrong one."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    scheme, _, secret = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
    return bytes(secret).strip().decode("utf-8", "surrogateescape") if scheme.lower() == b"bearer" else None


def sight_of(identity: Identity, method: str, path: str, *, everything: bool, quotas: Quotas) -> Sight:
    """Whose rows a request is about, and what the audit log says of it where it changes anything."""
    deed = None if is_read(method, path) else Deed(uuid4(), identity.user_id, identity.token_id, method, path[:500])
    return Sight(identity.tenant, everything=everything, quotas=quotas, deed=deed)


def client_of(scope: Scope) -> str:
    return str((scope.get("client") or ("unknown",))[0])
