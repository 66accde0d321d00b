"""Room for batches: one whole one at a time, small ones beside it, in the order in which they asked."""

from __future__ import annotations

import asyncio

import pytest

from shared.phase import room
from shared.phase.room import Room


class Batches:
    """Batches that hold their share until they are told to end."""

    def __init__(self, capacity: float = 1.5) -> None:
        self.room = Room(capacity)
        self.running: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def begin(self, name: str, share: float) -> None:
        self._ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._hold(name, share))
        await self.turns()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self.turns()

    async def turns(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def _hold(self, name: str, share: float) -> None:
        async with self.room.take(share, 30.0) as given:
            assert given
            self.running.append(name)
            try:
                await self._ends[name].wait()
            finally:
                self.running.remove(name)


async def test_two_large_batches_follow_one_another_and_a_small_one_runs_beside() -> None:
    batches = Batches()
    await batches.begin("factors", 1.0)
    await batches.begin("small", 0.1)
    await batches.begin("snapshots", 0.9)
    assert batches.running == ["factors", "small"]
    await batches.end("factors")
    assert batches.running == ["small", "snapshots"]


async def test_a_large_one_is_not_passed_by() -> None:
    batches = Batches()
    await batches.begin("first", 0.8)
    await batches.begin("large", 1.0)
    await batches.begin("later", 0.1)
    assert batches.running == ["first"]
    await batches.end("first")
    assert batches.running == ["large", "later"]


async def test_what_is_larger_than_all_there_is_runs_alone() -> None:
    batches = Batches()
    await batches.begin("small", 0.1)
    await batches.begin("huge", 40.0)
    assert batches.running == ["small"]
    await batches.end("small")
    await batches.begin("next", 0.1)
    assert batches.running == ["huge"]
    await batches.end("huge")
    assert batches.running == ["next"]


async def test_who_is_cancelled_while_it_waits_holds_up_nobody() -> None:
    batches = Batches()
    await batches.begin("first", 0.6)
    await batches.begin("large", 1.5)
    await batches.begin("small", 0.1)
    batches.tasks["large"].cancel()
    await batches.turns()
    assert batches.running == ["first", "small"]
    await batches.end("first")
    await batches.end("small")
    await batches.begin("whole", 1.5)
    assert batches.running == ["whole"], "all that was given came back"


async def test_who_is_cancelled_as_its_turn_comes_gives_it_back() -> None:
    batches = Batches()
    async with batches.room.take(1.0, 30.0):
        await batches.begin("second", 1.0)
    batches.tasks["second"].cancel()
    await batches.turns()
    await batches.begin("third", 1.5)
    assert batches.running == ["third"]


@pytest.mark.timeout(10)
async def test_who_waits_too_long_is_told_and_holds_up_nobody() -> None:
    batches = Batches()
    await batches.begin("first", 1.0)
    waiting = asyncio.create_task(batches.room.take(1.0, 0.01).__aenter__())
    await batches.turns()
    await batches.begin("small", 0.1)
    assert batches.running == ["first"], "nobody passes who waits"
    assert await waiting is False
    await batches.turns()
    assert batches.running == ["first", "small"]
    await batches.end("first")
    await batches.begin("whole", 1.4)
    assert batches.running == ["small", "whole"], "nothing was held"


async def test_all_phases_of_a_process_share_one() -> None:
    assert room.of_this_process() is room.of_this_process()
