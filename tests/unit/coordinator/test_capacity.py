"""A server that is full says so at once, goes on answering probes, and holds nothing that does not arrive."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from services.coordinator.api import problems
from services.coordinator.api.capacity import Capacity
from services.coordinator.api.problems import BodyLimit


class Slow:
    """An application that answers once it is let; streams begin at once."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.began = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.began += 1
        if scope["path"] == "/stream":
            headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        await self.go.wait()
        if scope["path"] != "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def call(app: Any, path: str = "/api/v1/portfolios") -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    await app({"type": "http", "method": "GET", "path": path, "headers": []}, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(m.get("body", b"") for m in sent[1:])


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (a moment)
            await asyncio.sleep(0)


async def test_the_request_beyond_the_limit_is_refused_at_once_and_the_next_after_one_is_answered() -> None:
    slow = Slow()
    app = Capacity(slow, limit=2)
    running = [asyncio.create_task(call(app)) for _ in range(2)]
    await until(lambda: slow.began == 2)
    status, headers, body = await asyncio.wait_for(call(app), 1)
    assert (status, headers[b"retry-after"]) == (503, b"5")
    assert json.loads(body)["code"] == "busy"
    assert slow.began == 2
    probe = asyncio.create_task(call(app, "/readyz"))
    await until(lambda: slow.began == 3)
    slow.go.set()
    assert [status for status, *_ in await asyncio.gather(*running, probe)] == [200] * 3
    assert (await call(app))[0] == 200
    assert app.running == 0


async def test_a_stream_that_has_begun_keeps_no_place() -> None:
    slow = Slow()
    app = Capacity(slow, limit=1)
    stream = asyncio.create_task(call(app, "/stream"))
    await until(lambda: slow.began == 1)
    answered = asyncio.create_task(call(app))
    await until(lambda: slow.began == 2)
    slow.go.set()
    assert [status for status, *_ in await asyncio.gather(stream, answered)] == [200, 200]
    assert app.running == 0


async def test_what_fails_keeps_no_place() -> None:
    async def broken(*_: Any) -> None:
        raise ZeroDivisionError

    app = Capacity(broken, limit=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await call(app)
    assert app.running == 0


@pytest.mark.parametrize("drip", [False, True])
async def test_a_body_that_does_not_arrive_is_refused(monkeypatch: pytest.MonkeyPatch, *, drip: bool) -> None:
    """Neither after a pause that is too long, nor by a byte now and then for ever."""
    # The other of the two bounds is far away: on a busy machine any pause may be a long one.
    monkeypatch.setattr(problems, "SILENT_SECONDS", 60.0 if drip else 0.05)
    monkeypatch.setattr(problems, "BODY_SECONDS", 0.15 if drip else 60.0)

    async def receive() -> Any:
        await asyncio.sleep(0.02 if drip else 60)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def reads_all(_: Any, receive: Any, __: Any) -> None:
        while (await receive())["more_body"]:
            pass

    with pytest.raises(HTTPException, match="did not arrive") as refused:
        await asyncio.wait_for(BodyLimit(reads_all, limit=1_000)(_scope(), receive, _nowhere), 10)
    assert refused.value.status_code == 408


async def test_who_has_sent_all_may_wait_for_the_answer_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems, "SILENT_SECONDS", 0.02)
    messages = [{"type": "http.request", "body": b"x", "more_body": False}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await asyncio.sleep(0.06)
        return {"type": "http.disconnect"}

    async def waits(_: Any, receive: Any, __: Any) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"

    await BodyLimit(waits, limit=10)(_scope(), receive, _nowhere)


def _scope() -> dict[str, Any]:
    return {"type": "http", "method": "POST", "path": "/", "headers": []}


async def _nowhere(_: Any) -> None:
    return None
