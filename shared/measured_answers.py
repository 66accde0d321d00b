"""Counts an application's answers and measures the time until each begins."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.telemetry import ANSWER_SECONDS, ANSWERS

# What asks all the time and says nothing about who uses the service.
UNCOUNTED = frozenset({"/livez", "/readyz", "/metrics"})
_MARK = "leadline.measured"


class MeasuredAnswers:
    """Outermost wins: an application that is wrapped twice, around what refuses and inside, counts once."""

    def __init__(self, app: ASGIApp, *, service: str) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in UNCOUNTED or _MARK in scope:
            await self._app(scope, receive, send)
            return
        scope[_MARK] = True
        began = time.monotonic()

        async def measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                ANSWERS.labels(self._service, str(message["status"])).inc()
                ANSWER_SECONDS.labels(self._service, scope["method"]).observe(time.monotonic() - began)
            await send(message)

        await self._app(scope, receive, measured)
