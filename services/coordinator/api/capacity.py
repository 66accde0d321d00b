"""As many requests at a time as the server can serve well; those beyond are told so at once.

A queue without an end serves nobody: everything waits in it, also what would have been quick, and clients that have given up are
answered all the same.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.coordinator.api.problems import busy
from shared.telemetry import SHED

# Probes are answered whatever happens: who does not answer them is restarted.
ALWAYS = frozenset({"/livez", "/readyz", "/metrics"})


class Capacity:
    """Refuses the request that comes when `limit` are being answered. Streams count until they have begun."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit
        self.running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in ALWAYS:
            await self._app(scope, receive, send)
            return
        if self.running >= self._limit:
            SHED.inc()
            answer = busy(
                f"{self.running} requests are being answered, as many as this server takes on at a time. Nothing was done; send it "
                "again."
            )
            await answer(scope, receive, send)
            return
        self.running += 1
        counted = True

        async def release_streams(message: Message) -> None:
            nonlocal counted
            if counted and message["type"] == "http.response.start" and _is_stream(message):
                counted = False
                self.running -= 1
            await send(message)

        try:
            await self._app(scope, receive, release_streams)
        finally:
            if counted:
                self.running -= 1


def _is_stream(message: Message) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in message.get("headers", ())
    )
