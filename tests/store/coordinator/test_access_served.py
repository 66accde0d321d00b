"""The rules of access on a real server: what is refused is answered before its body is read, and changes nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Self

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from structlog.testing import capture_logs

from leadline.http import Client, Failed
from services.coordinator.api import problems
from services.coordinator.api.access import AccessControl
from shared.answers import SecurityHeaders
from shared.measured_answers import MeasuredAnswers
from tests.store.coordinator.conftest import CSV, PREFIX, Api, make_app


class Recorded(list[logging.LogRecord]):
    """Lines of a logger of the standard library, while a block runs."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._logger = logging.getLogger(name)
        self._handler = logging.Handler()
        self._handler.emit = self.append  # type: ignore[assignment]

    def __enter__(self) -> Self:
        self._logger.addHandler(self._handler)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self._handler)


FORM = {"name": "Test", "equity_balance": "100000"}
FILES = {"file": ("p.csv", CSV.encode(), "text/csv")}
BIG = 20_000_000


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[int]:
    """The port of a server that serves the application until the block ends."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        async with asyncio.timeout(10):
            while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
                await asyncio.sleep(0.01)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


async def answered(port: int, head: Mapping[str, str], target: str = "POST /api/v1/portfolios/import") -> bytes:
    """What comes back for a head alone, no byte of the body sent, until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"{target} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    await writer.drain()
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


async def portfolios(api: Api) -> int:
    return int((await api.rows("SELECT count(*) FROM coordinator.portfolios"))[0][0])


async def test_a_large_body_without_the_token_is_refused_unread_and_the_connection_closed(api: Api) -> None:
    async with served(make_app(api.context.engine, [], token="s3cret-of-the-server", hosts=())) as port:
        head = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json", "Content-Length": str(BIG)}
        answer = await answered(port, head, "POST /api/v1/portfolios")
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"www-authenticate: bearer" in answer.lower()
        assert b"application/problem+json" in answer
        # A client that sends it all the same is told too, and soon; broken JSON is no reason to say anything else.
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            for content in (b"[" + b"{}," * (BIG // 3), b"{not json"):
                started = time.monotonic()
                answer_ = await client.post(
                    f"{PREFIX}/portfolios", content=content, headers={"Content-Type": "application/json"}
                )
                assert (answer_.status_code, answer_.json()["code"]) == (401, "unauthorised")
                assert time.monotonic() - started < 2
            twice = [("Authorization", "Bearer s3cret-of-the-server"), ("Authorization", "Bearer s3cret-of-the-server")]
            assert (await client.get(f"{PREFIX}/portfolios", headers=twice)).status_code == 401
            assert (await client.get(f"{PREFIX}/portfolios", headers=twice[:1])).status_code == 200
        # The command line says why, not that nobody answers.
        with pytest.raises(Failed, match="bearer token") as failed, Client(f"http://127.0.0.1:{port}", "wrong") as cli:
            await asyncio.to_thread(
                cli.post, "/portfolios/import", data=FORM, files={"file": ("p.csv", b"x" * 10_000_000, "text/csv")}
            )
        assert failed.value.status == 401
    assert await portfolios(api) == 0


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Host": "evil.example"}, 421, "unknown_host"),
        ({"Origin": "https://evil.example"}, 403, "foreign_origin"),
        ({"Origin": "null"}, 403, "foreign_origin"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "foreign_origin"),
        ({"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"}, 403, "foreign_origin"),
    ],
)
async def test_another_sites_page_changes_nothing(api: Api, headers: dict[str, str], status: int, code: str) -> None:
    await api.create()
    runs = await api.rows("SELECT id FROM coordinator.runs")
    async with served(make_app(api.context.engine, [], hosts=())) as port:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            imported = await client.post(f"{PREFIX}/portfolios/import", data=FORM, files=FILES, headers=headers)
            assert (imported.status_code, imported.json()["code"]) == (status, code)
            assert imported.headers["content-type"] == "application/problem+json"
            for path in ("/admin/batch/run?what=all", "/admin/dead-letters/purge?dry_run=false", "/admin/reconcile"):
                assert (await client.post(PREFIX + path, headers=headers)).status_code == status
            read = await client.get(f"{PREFIX}/portfolios", headers=headers)
            assert read.status_code == (421 if status == 421 else 200)
            for path in ("/docs", "/openapi.json"):
                assert (await client.get(path, headers=headers)).status_code == (421 if status == 421 else 200)
        head = {"Host": f"127.0.0.1:{port}", "Content-Length": str(BIG)} | headers
        answer = await answered(port, head)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == status
    assert await portfolios(api) == 1
    assert await api.rows("SELECT id FROM coordinator.runs") == runs


async def test_own_pages_and_programs_work(api: Api) -> None:
    async with served(make_app(api.context.engine, [], token="s3cret-of-the-server", hosts=("leadline.test",))) as port:
        own = f"http://127.0.0.1:{port}"
        with Client(own, "s3cret-of-the-server") as cli:
            made = await asyncio.to_thread(cli.post, "/portfolios/import", data=FORM, files=FILES)
        async with httpx2.AsyncClient(base_url=own, headers={"Authorization": "Bearer s3cret-of-the-server"}) as client:
            for number, headers in enumerate(
                (
                    {},
                    {"Origin": own, "Sec-Fetch-Site": "same-origin"},
                    {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"},
                    {"Host": "leadline.test", "Origin": "https://leadline.test", "Sec-Fetch-Site": "same-origin"},
                )
            ):
                form = FORM | {"name": f"Test {number}"}
                answer = await client.post(f"{PREFIX}/portfolios/import", data=form, files=FILES, headers=headers)
                assert answer.status_code == 201, answer.text
                assert await portfolios(api) == number + 2
            assert (
                await client.delete(f"{PREFIX}/portfolios/{made['id']}", headers={"Origin": own})
            ).status_code == 204


def test_nothing_that_reads_a_body_stands_before_it(api: Api) -> None:
    outermost: list[object] = [each.cls for each in make_app(api.context.engine, []).user_middleware]
    assert outermost[:3] == [MeasuredAnswers, SecurityHeaders, AccessControl]


async def test_whoever_leaves_in_the_middle_of_a_body_is_no_error_of_ours(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a route takes none, the body is read to see that it says nothing."""
    said: list[tuple[str, str]] = []
    levels = {
        level: lambda event, level=level, **_: said.append((level, event)) for level in ("debug", "warning", "error")
    }
    # In the place of a logger whose level may be above debugging.
    monkeypatch.setattr(problems, "log", SimpleNamespace(**levels))
    targets = ("POST /api/v1/admin/reconcile", "GET /api/v1/portfolios", "POST /api/v1/portfolios")
    with Recorded("uvicorn.error") as errors:
        async with served(make_app(api.context.engine, [], hosts=())) as port:
            for target in targets:
                _reader, writer = await asyncio.open_connection("127.0.0.1", port)
                head = f"Host: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: 1000"
                writer.write(f"{target} HTTP/1.1\r\n{head}\r\n\r\n{{".encode())
                await writer.drain()
                await asyncio.sleep(0.3)
                writer.close()
                await writer.wait_closed()
            async with asyncio.timeout(5):
                while len(said) < 2:  # noqa: ASYNC110 (log lines)
                    await asyncio.sleep(0.05)
    assert set(said) == {("debug", "client_left")}
    assert [record.getMessage() for record in errors if record.levelno >= logging.ERROR] == []


async def test_what_is_refused_is_logged_without_the_names_in_its_path(api: Api) -> None:
    token, of = "s3cret-of-the-server", "0f8fad5b-d9cb-469f-a165-70867728950e"
    paths = {
        "/api/v1/imports/mappings/secret-client-jones": "/api/v1/imports/mappings/{name}",
        f"/api/v1/portfolios/{of}/positions": f"/api/v1/portfolios/{of}/positions",
        "/api/v1/portfolios/jones/positions": "/api/v1/portfolios/{portfolio_id}/positions",
        "/api/v1/portfolios/import": "/api/v1/portfolios/import",
        "/api/v1/jones": "unknown",
        f"/p/{of}": f"/p/{of}",
    }
    logged = []
    for path in paths:
        app = make_app(api.context.engine, [], token=token, hosts=())
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1") as client:
            with capture_logs() as lines:
                await client.put(path, json={}, headers={"Origin": "https://evil.example"})
        logged += [line["path"] for line in lines if line["event"] == "request_refused"]
    assert logged == list(paths.values())
