"""A request costs a span where it is exported, or goes on in what it causes."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled
from opentelemetry.sdk.trace import TracerProvider
from starlette.types import Receive, Scope, Send

from shared.traced_requests import TracedRequests


async def _is_traced(*headers: bytes) -> bool:
    seen: list[bool] = []

    async def app(_: Scope, __: Receive, ___: Send) -> None:
        seen.append(is_http_instrumentation_enabled())

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    await TracedRequests(app)({"type": "http", "headers": [(name, b"x") for name in headers]}, nothing, nothing)
    return seen[0]


async def test_a_request_is_traced_where_that_is_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    assert not await _is_traced(b"accept")
    assert await _is_traced(b"accept", b"traceparent")
    monkeypatch.setattr(trace, "get_tracer_provider", TracerProvider)
    assert await _is_traced(b"accept")
