"""What the head of a request says of its sender."""

from __future__ import annotations

from starlette.types import Scope


def bearer_of(scope: Scope) -> str | None:
    """The bearer token, where exactly one is sent; what else stands in its place is a wrong one."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    scheme, _, secret = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
    return bytes(secret).strip().decode("utf-8", "surrogateescape") if scheme.lower() == b"bearer" else None


def client_of(scope: Scope) -> str:
    return str((scope.get("client") or ("unknown",))[0])
