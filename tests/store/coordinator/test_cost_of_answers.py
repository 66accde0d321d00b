"""What an answer costs in messages to the database and in threads, which no machine changes. Whoever needs more raises a number here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio.to_thread
import asyncpg
import pytest
from asyncpg.prepared_stmt import PreparedStatement
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from tests.store.coordinator.conftest import PREFIX, Api
from tests.store.coordinator.test_reads import complete_with_results

# Each waits for its answer: the beginning, with whose rows it is about, what lets the request in, what is read, the end.
MESSAGES = {
    "/portfolios/{}/risk": 5,
    "/portfolios/{}/factor-exposures": 4,
    "/portfolios/{}/snapshots?from=2020-01-01&to=2020-12-30": 4,
    "/portfolios/{}/positions": 5,
    "/portfolios/{}/status": 12,
    "/portfolios?limit=50": 6,
}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Messages to the server, and threads."""
    found: list[str] = []

    def count(owner: Any, name: str, what: str) -> None:
        function = getattr(owner, name)

        async def counted(*given: Any, **named: Any) -> Any:
            found.append(what)
            return await function(*given, **named)

        monkeypatch.setattr(owner, name, counted)

    count(asyncpg.Connection, "execute", "message")
    count(PreparedStatement, "fetch", "message")
    count(asyncio, "to_thread", "thread")
    count(anyio.to_thread, "run_sync", "thread")
    return found


@pytest.mark.parametrize("path", MESSAGES)
async def test_an_answer_takes_so_many_messages_and_no_thread(api: Api, sent: list[str], path: str) -> None:
    asked = PREFIX + path.format(await complete_with_results(api))
    # At first the list is read, and statements are prepared.
    assert (await api.client.get(asked)).status_code == 200
    sent.clear()
    assert (await api.client.get(asked)).status_code == 200
    assert sent == ["message"] * MESSAGES[path]


@pytest.fixture
def pool(engines: tuple[AsyncEngine, AsyncEngine]) -> QueuePool:
    """Connections of the requests."""
    found = engines[0].pool
    assert isinstance(found, QueuePool)
    return found


@pytest.mark.parametrize("query", ["?nonsense=1", "?session=nonsense", "?session=2020-12-25", ""])
async def test_the_snapshot_that_lets_a_request_in_ends_whether_its_handler_is_reached_or_not(
    api: Api, pool: QueuePool, query: str
) -> None:
    identity = (await api.create())["id"]
    for name in ("risk", "positions"):
        assert (await api.client.get(f"{PREFIX}/portfolios/{identity}/{name}{query}")).status_code in (404, 422)
    assert pool.checkedout() == 0
    # Nor does the next request go on in it.
    assert (await api.client.get(f"{PREFIX}/portfolios/{identity}")).status_code == 200


async def test_whoever_sends_a_body_that_nobody_reads_keeps_no_connection_meanwhile(api: Api, pool: QueuePool) -> None:
    identity = await complete_with_results(api)
    seen = []

    async def body() -> AsyncIterator[bytes]:
        seen.append(pool.checkedout())
        yield b""

    path = f"{PREFIX}/portfolios/{identity}/risk"
    assert (await api.client.request("GET", path, content=body())).status_code == 200
    assert seen == [0]
