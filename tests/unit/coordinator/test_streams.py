"""Streams of one thing share its looks, and there are only so many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import UUID

import pytest

from services.coordinator.control.streams import Streams
from services.coordinator.errors import Busy
from shared.db.tenancy import Sight, tenant_filter, use_sight


class Ledger:
    """What is looked at; counts the looks."""

    def __init__(self) -> None:
        self.value = 0
        self.looks = 0
        self.error: Exception | None = None

    async def read(self) -> int:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return self.value


def streams(most: int = 10, stopping: asyncio.Event | None = None) -> Streams:
    return Streams(most, 0.01, stopping or asyncio.Event())


async def soon(generator: AsyncGenerator[Any, None]) -> Any:
    return await asyncio.wait_for(anext(generator), 10)


async def test_a_hundred_readers_cost_as_many_looks_as_one() -> None:
    of, ledger = streams(), Ledger()
    readers = [of.follow("p", ledger.read) for _ in range(100)]
    assert await asyncio.gather(*map(soon, readers)) == [0] * 100
    first = ledger.looks
    ledger.value = 1
    assert await asyncio.gather(*map(soon, readers)) == [1] * 100
    assert first <= 2
    assert ledger.looks < 20
    for reader in readers:
        await reader.aclose()
    looks = ledger.looks
    await asyncio.sleep(0.05)
    assert ledger.looks == looks, "nobody looks for nobody"


async def test_who_comes_later_is_told_what_is_known_and_every_key_has_its_own() -> None:
    of, ledger, other = streams(), Ledger(), Ledger()
    other.value = 7
    async with aclosing(of.follow("p", ledger.read)) as first:
        await soon(first)
        async with aclosing(of.follow("p", ledger.read)) as second, aclosing(of.follow("q", other.read)) as third:
            assert [await soon(second), await soon(third)] == [0, 7]


async def test_tenants_share_no_looks_under_the_same_key() -> None:
    """A look sees what its first reader may."""
    of = streams()
    tenants = [UUID(int=1), UUID(int=2)]

    async def read() -> UUID | None:
        return tenant_filter()

    async def follow(tenant: UUID) -> UUID | None:
        with use_sight(Sight(tenant)):
            async with aclosing(of.follow("p", read)) as reader:
                found: UUID | None = await soon(reader)
                await both.wait()
        return found

    both = asyncio.Barrier(2)
    assert await asyncio.gather(*map(follow, tenants)) == tenants


async def test_what_ends_the_looks_ends_their_readers_and_the_next_begins_anew() -> None:
    of, ledger = streams(), Ledger()
    readers = [of.follow("p", ledger.read) for _ in range(2)]
    await asyncio.gather(*map(soon, readers))
    ledger.error = ConnectionResetError("the database went away")
    for reader in readers:
        with pytest.raises(ConnectionResetError):
            await soon(reader)
    ledger.error = None
    async with aclosing(of.follow("p", ledger.read)) as anew:
        assert await soon(anew) == 0


async def test_a_stop_ends_streams_that_wait() -> None:
    stopping = asyncio.Event()
    of, ledger = streams(stopping=stopping), Ledger()
    reader = of.follow("p", ledger.read)
    await soon(reader)
    stopping.set()
    with pytest.raises(StopAsyncIteration):
        await soon(reader)


async def events() -> AsyncGenerator[dict[str, str], None]:
    yield {"data": "x"}
    await asyncio.Event().wait()


async def test_beyond_as_many_as_there_may_be_the_answer_is_503_and_a_place_is_free_again_after_each() -> None:
    of = streams(most=1)
    leaves = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await leaves.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        await asyncio.sleep(0)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    task = asyncio.create_task(of.respond(events())(scope, receive, send))
    while of.open == 0:  # noqa: ASYNC110 (a moment)
        await asyncio.sleep(0)
    with pytest.raises(Busy, match="LEADLINE_MAX_STREAMS") as refused:
        of.respond(events())
    assert (refused.value.status, refused.value.retry_after) == (503, 5)
    leaves.set()
    await asyncio.wait_for(task, 10)
    assert of.open == 0
    of.assert_room()
