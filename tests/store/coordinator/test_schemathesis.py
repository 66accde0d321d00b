"""Requests made from the OpenAPI document, good ones and bad ones: never a 5xx, never an answer that the document does not know.

Bounded and derandomised: the same requests each time. Half of them name things that there are.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote
from uuid import UUID

import httpx2
import pytest
import requests
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.engine import create_engine
from tests.store.coordinator.conftest import CSV, PREFIX, make_app
from tests.support import databases
from tests.support.databases import Server

if TYPE_CHECKING:
    from schemathesis.core.transport import Response

EXAMPLES = 4
# Answers for as long as the client stays.
ENDLESS = "/status/stream"
# Any text is a symbol.
NOTHING_TO_GET_WRONG = {f"{PREFIX}/symbols/{{symbol}}"}
# What has made servers fail: a NUL, instants that no clock has in UTC, a cursor of them, numbers that no column holds, digits that
# are none of JSON's, half a character, paths and statements.
HOSTILE = (
    "\0",
    "0001-01-01",
    "9999-12-31",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00+14:00~0001-01-01~risk~1",
    "9" * 5000,
    "1e999999999",
    "-0",
    "NaN",
    "\u0663\uff13",
    b"\xed\xa0\x80",
    "..%2F'; DROP TABLE ledger.units; --",
)
GOOD = {"figures": "snapshots.nav", "from": "2020-12-29", "to": "2020-12-30"}
REQUEST = ("method", "url", "headers", "params", "json", "data", "files", "cookies")
T = TypeVar("T")
# As committed, which is what the code says (tests/contract/test_api_documents.py): to collect these tests builds no application.
DOCUMENT = json.loads((Path(__file__).parents[3] / "docs" / "openapi.json").read_text())
OPERATIONS = sorted(
    (
        (method.upper(), path)
        for path, methods in DOCUMENT["paths"].items()
        if path.startswith(PREFIX)
        for method in methods
    ),
    # What takes things away comes last.
    key=lambda operation: (operation[0] == "DELETE", operation[1], operation[0]),
)


@cache
def checks() -> tuple[Any, ...]:
    from schemathesis.specs.openapi import checks as library

    return library.status_code_conformance, library.content_type_conformance, library.response_schema_conformance


@cache
def operations() -> dict[tuple[str, str], Any]:
    """Method and path to what makes requests of it. Takes some seconds, as the library alone does: whoever collects waits for neither."""
    import schemathesis
    from schemathesis.core.result import Ok

    found = (
        result.ok()
        for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
        if isinstance(result, Ok)
    )
    return {(operation.method.upper(), operation.path): operation for operation in found}


@dataclass
class World:
    """A server in a thread of its own: what makes the requests is no coroutine, and connections belong to one loop."""

    loop: asyncio.AbstractEventLoop
    client: httpx2.AsyncClient
    portfolio: str

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def send(self, prepared: requests.PreparedRequest) -> Response:
        from schemathesis.core.transport import Response

        assert prepared.method is not None
        assert prepared.url is not None
        content = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
        headers = [
            (name, value) for name, value in prepared.headers.items() if name.lower() not in ("content-length", "host")
        ]
        answer = self.call(
            self.client.request(prepared.method, prepared.url, headers=headers, content=content)  # type: ignore[arg-type]
        )
        return Response(
            status_code=answer.status_code,
            headers={name: answer.headers.get_list(name) for name in answer.headers},
            content=answer.content,
            request=prepared,
            elapsed=0.0,
            verify=False,
        )


@pytest.fixture(scope="module")
def world(server: Server) -> Iterator[World]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def call(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(120)

    database = databases.in_thread(lambda: databases.create(server))

    async def begin() -> tuple[AsyncEngine, httpx2.AsyncClient, str]:
        engine = create_engine(database.url("api"), application="test-schemathesis", pool_size=4)
        app = make_app(engine, [])
        client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app, raise_app_exceptions=False), base_url="http://test", timeout=60
        )
        answer = await client.post(
            f"{PREFIX}/portfolios/import",
            data={"name": "There", "equity_balance": "100000"},
            files={"file": ("p.csv", CSV.encode(), "text/csv")},
        )
        assert answer.status_code == 201, answer.text
        admin = create_engine(database.admin_url, application="test-schemathesis-admin", pool_size=1)
        async with admin.begin() as conn:
            await conn.execute(text("INSERT INTO ingest.symbols (symbol) VALUES ('AAPL')"))
        await admin.dispose()
        return engine, client, str(UUID(answer.json()["id"]))

    engine, client, portfolio = call(begin())
    yield World(loop, client, portfolio)
    call(client.aclose())
    call(engine.dispose())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    databases.in_thread(lambda: databases.drop(database))


def known(world: World, parameters: dict[str, Any]) -> dict[str, Any]:
    """The same path, to what there is."""
    there = {"portfolio_id": world.portfolio, "symbol": "AAPL", "session": "2020-12-30", "day": "2020-12-30"}
    return {name: there.get(name, value) for name, value in parameters.items()}


@pytest.mark.parametrize("asked", OPERATIONS, ids=" ".join)
@pytest.mark.parametrize("mode", ["good", "bad"])
def test_no_answer_is_a_failure_or_undocumented(world: World, asked: tuple[str, str], mode: str) -> None:
    from schemathesis.generation import GenerationMode

    operation = operations()[asked]
    if operation.path.endswith(ENDLESS):
        assert operation.definition.raw["responses"]["200"]["content"] == {
            "text/event-stream": {"schema": {"type": "string"}}
        }
        return

    @settings(
        max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(
        case=operation.as_strategy(
            generation_mode=GenerationMode.POSITIVE if mode == "good" else GenerationMode.NEGATIVE
        ),
        there=st.booleans(),
    )
    def requests_fit(case: Any, there: bool) -> None:
        if there:
            case.path_parameters = known(world, dict(case.path_parameters or {}))
        given = case.as_transport_kwargs(base_url="http://test")
        prepared = requests.Request(**{key: value for key, value in given.items() if key in REQUEST}).prepare()
        # Longer than a client can send.
        assume(len(prepared.url or "") < 60_000)
        answer = world.send(prepared)
        assert answer.status_code < 500, (given, answer.content[:500])
        case.validate_response(answer, checks=checks(), excluded_checks=[])

    definition = operation.definition.raw
    takes_nothing = not definition.get("parameters") and "requestBody" not in definition
    if mode == "bad" and (takes_nothing or operation.path in NOTHING_TO_GET_WRONG):
        return
    requests_fit()


READS = [
    path for method, path in OPERATIONS
    if method == "GET" and DOCUMENT["paths"][path]["get"].get("parameters") and not path.endswith(ENDLESS)
]  # fmt: skip


@pytest.mark.parametrize("path", READS)
def test_a_hostile_value_is_refused_or_answered_as_the_document_says(world: World, path: str) -> None:
    """Each parameter of each read, one at a time, beside good ones."""
    operation = operations()["GET", path]
    parameters = operation.definition.raw["parameters"]
    for each in parameters:
        for value in HOSTILE:
            good = {given["name"]: GOOD.get(given["name"], "x") for given in parameters if given["required"]}
            named = known(world, good) | {each["name"]: quote(value, safe="")}
            places = {given["name"]: named[given["name"]] for given in parameters if given["in"] == "path"}
            query = {name: text for name, text in named.items() if name not in places}
            url = f"http://test{path.format(**places)}" + (
                f"?{'&'.join(f'{n}={v}' for n, v in query.items())}" if query else ""
            )
            answer = world.send(requests.Request("GET", url).prepare())
            assert answer.status_code < 500, (each["name"], value, answer.content[:500])
            operation.Case(path_parameters=places, query=query).validate_response(answer, checks=checks())
