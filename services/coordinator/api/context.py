"""Who may call the API, and where it is."""

from __future__ import annotations

import secrets

from fastapi import Request

from services.coordinator.context import Context, Ctx, context_of, on_trading_days
from services.coordinator.errors import Unauthorised

__all__ = ["PREFIX", "Context", "Ctx", "authorise", "context_of", "on_trading_days"]

PREFIX = "/api/v1"


def authorise(request: Request) -> None:
    """Where a token is set, every call needs it as a bearer token. Compared in constant time."""
    token = context_of(request).settings.token
    if token is None or not token.get_secret_value():
        return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secrets.compare_digest(
        given.strip().encode(), token.get_secret_value().encode()
    ):
        raise Unauthorised(
            "This server wants a bearer token: send 'Authorization: Bearer …' (LEADLINE_TOKEN for the CLI)."
        )
