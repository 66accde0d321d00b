"""What every application does with its answers: the headers they are sent with, and whom a probe tells what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# For what is no page: nothing of it may run, be shown in a frame, or be read by another site's page.
ALWAYS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
NO_STORE = {"Cache-Control": "no-store"}
_PUBLIC = [(name.lower().encode(), value.encode()) for name, value in ALWAYS.items()]
_PRIVATE = [*_PUBLIC, *((name.lower().encode(), value.encode()) for name, value in NO_STORE.items())]


class SecurityHeaders:
    """Adds what an answer lacks. `private` begins the paths of which no cache keeps anything."""

    def __init__(self, app: ASGIApp, *, private: str = "/api") -> None:
        self._app = app
        self._private = private

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Behind a proxy the path may have something in front; "no-store" too much costs nothing.
        private = f"{self._private}/" in f"{scope['path']}/"

        async def added(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message.get("headers", ())}
                lacking = [one for one in (_PRIVATE if private else _PUBLIC) if one[0] not in there]
                message["headers"] = [*message.get("headers", ()), *lacking]
            await send(message)

        await self._app(scope, receive, added)


async def probe_answer(request: Request, name: str, *, ok: bool, **details: Any) -> JSONResponse:
    """What a probe of health is told: yes or no, and why to whom the application's `tells_details` says so.

    An application without one tells everybody. It is not asked where there is nothing to tell.
    """
    decide = getattr(request.app.state, "tells_details", None)
    told = details if decide is None or not any(details.values()) or await decide(request) else {}
    return JSONResponse({name: ok} | told, status_code=200 if ok else 503)
