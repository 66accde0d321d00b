"""Who does not say what it wants is not waited for; who is being answered, or sends a body, is."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from shared import head_deadline
from shared.head_deadline import DeadlineProtocol, bound_heads
from shared.messaging.drain import drain_on_signal

SECONDS = 0.15
HEAD = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n"


async def reads_all(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(head_deadline, "HEAD_SECONDS", SECONDS)
    config = uvicorn.Config(reads_all, log_config=None, access_log=False, lifespan="off")
    bound_heads(config)
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.005)
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


async def until_closed(reader: asyncio.StreamReader) -> None:
    # A byte that comes after the end is answered by a reset.
    with contextlib.suppress(ConnectionResetError):
        await reader.read()


async def seconds_until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, drip: bytes) -> float:
    """A byte every twentieth of a second, until the other side closes."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    closed = asyncio.create_task(until_closed(reader))
    for byte in drip:
        if closed.done():
            break
        with contextlib.suppress(ConnectionError):
            writer.write(bytes([byte]))
        await asyncio.wait([closed], timeout=0.05)
    await asyncio.wait_for(closed, 5)
    writer.close()
    return loop.time() - began


@pytest.mark.parametrize("drip", [b"", HEAD], ids=["silence", "a byte now and then"])
async def test_a_head_that_does_not_come_is_not_waited_for(port: int, drip: bytes) -> None:
    taken = await seconds_until_closed(*await asyncio.open_connection("127.0.0.1", port), drip)
    assert SECONDS * 0.9 < taken < 5


async def test_neither_a_slow_body_nor_the_next_request_is_cut_off_and_a_next_head_that_drips_is(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(HEAD)
        await asyncio.sleep(2 * SECONDS)
        writer.write(b"{}")
        async with asyncio.timeout(5):
            answer = await reader.readuntil(b"ok")
        assert answer.startswith(b"HTTP/1.1 200 ")
        # A pause between requests is the server's other time-out.
        await asyncio.sleep(2 * SECONDS)
    assert await seconds_until_closed(reader, writer, HEAD) < 5


async def test_every_service_behind_uvicorns_command_line_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    server = uvicorn.Server(uvicorn.Config(reads_all, log_config=None))
    monkeypatch.setattr(signal, "getsignal", lambda _: server.handle_exit)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with drain_on_signal(asyncio.Event(), 0.0):
        assert server.config.http_protocol_class is DeadlineProtocol
