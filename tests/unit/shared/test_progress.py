"""Progress is life: a handler that gets on is not stuck, however long it takes as a whole."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared import progress
from shared.messaging.monitor import MAX_IDLE_SECONDS, ConsumerMonitor
from shared.messaging.retry_middleware import RetryDeadLetterMiddleware


class Clock:
    """`time.monotonic` of the guard and of what it tracks."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("shared.progress.time", made)
    monkeypatch.setattr("shared.messaging.retry_middleware.time", made)
    return made


def watched() -> tuple[RetryDeadLetterMiddleware, ConsumerMonitor]:
    stopping = asyncio.Event()
    guard = RetryDeadLetterMiddleware(service="test", engine=cast(Any, None), stopping=stopping)
    broker = SimpleNamespace(subscribers=[])
    return guard, ConsumerMonitor("test", cast(Any, None), cast(Any, broker), guard, stopping=stopping)


async def test_a_handler_that_reports_may_take_as_long_as_it_takes(clock: Clock) -> None:
    guard, watch = watched()
    with guard.track_message():
        for _ in range(20):
            clock.now += MAX_IDLE_SECONDS / 2
            await asyncio.to_thread(progress.report)
            assert watch.problems() == []
        assert guard.poll_age() == 10 * MAX_IDLE_SECONDS, "the metric still says how long nothing was polled"
    assert guard.idle_age() == guard.poll_age() == 0


async def test_a_handler_that_gets_no_further_is_stuck(clock: Clock) -> None:
    guard, watch = watched()
    with guard.track_message():
        clock.now += 10
        progress.report()
        clock.now += MAX_IDLE_SECONDS + 1
        [problem] = watch.problems()
    assert problem == (
        "a handler has run for 311 s and got no further in the last 301 s, and nothing is polled meanwhile"
    )
    assert watch.problems() == []


async def test_one_handler_s_progress_is_not_another_s_life(clock: Clock) -> None:
    guard, watch = watched()

    async def handler(*, gets_on: bool, until: asyncio.Event) -> None:
        with guard.track_message():
            while not until.is_set():
                if gets_on:
                    progress.report()
                await asyncio.sleep(0)

    ends = asyncio.Event()
    tasks = [asyncio.create_task(handler(gets_on=gets_on, until=ends)) for gets_on in (True, False)]
    await asyncio.sleep(0)
    clock.now += MAX_IDLE_SECONDS + 1
    await asyncio.sleep(0)
    assert watch.problems()
    ends.set()
    await asyncio.gather(*tasks)
    assert watch.problems() == []
