"""Requests that nobody traces cost no span."""

from __future__ import annotations

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_http_instrumentation
from starlette.types import ASGIApp, Receive, Scope, Send

_CONTINUED = frozenset({b"traceparent", b"tracestate", b"baggage"})


class TracedRequests:
    """Around the instrumentation: lets it see requests that are exported, or that bring a trace which goes on in what they cause."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_exported() or any(name in _CONTINUED for name, _ in scope.get("headers", ())):
            await self._app(scope, receive, send)
            return
        with suppress_http_instrumentation():
            await self._app(scope, receive, send)


def _is_exported() -> bool:
    """Asked at each request: a provider may be set once the application is there."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def trace_where_wanted(app: FastAPI) -> None:
    """For an application that is instrumented and has not begun to answer."""
    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: TracedRequests(build())  # type: ignore[method-assign]
