"""The limit on dead letters, and what counts as a consumer that stands still."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition

from shared.messaging import monitor
from shared.messaging.breaker import WINDOW, DeadLetterBreaker
from shared.messaging.monitor import ConsumerMonitor
from shared.messaging.retry_middleware import RetryDeadLetterMiddleware

A, B = TopicPartition("a", 0), TopicPartition("a", 1)


def test_a_consumer_that_fails_nearly_everything_is_stopped_once() -> None:
    limit = DeadLetterBreaker()
    noted = [limit.record("handler_failed" if n % 20 else None) for n in range(WINDOW)]
    assert noted == [False] * (WINDOW - 1) + [True]
    assert "47 of the last 50" in str(limit.tripped)
    assert limit.record("handler_failed") is False, "once is enough"


def test_a_fifth_that_succeeds_keeps_it_going() -> None:
    limit = DeadLetterBreaker()
    assert not any(limit.record("handler_failed" if n % 5 else None) for n in range(10 * WINDOW))
    assert limit.tripped is None


@pytest.mark.parametrize(
    "reason",
    ["not_json", "no_type", "unknown_type", "unknown_version", "invalid_body", "oversized", "undecodable_batch"],
)
def test_garbage_says_nothing_about_the_consumer(reason: str) -> None:
    limit = DeadLetterBreaker()
    assert not any(limit.record(reason) for _ in range(10_000))


@pytest.mark.parametrize("reason", ["unknown_type", "invalid_body"])
def test_what_our_own_outbox_sent_is_no_garbage(reason: str) -> None:
    limit = DeadLetterBreaker()
    assert sum(limit.record(reason, sent_by_us=True) for _ in range(2 * WINDOW)) == 1
    handled = DeadLetterBreaker()
    assert not any(handled.record(None, sent_by_us=True) for _ in range(2 * WINDOW))


def test_a_release_too_old_for_what_is_sent_stops() -> None:
    limit = DeadLetterBreaker()
    assert sum(limit.record("unknown_version", sent_by_us=True) for _ in range(2 * WINDOW)) == 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as its only element."""
    now = [1_000.0]
    monkeypatch.setattr("shared.messaging.breaker.time.monotonic", lambda: now[0])
    return now


def test_stopped_it_lets_one_message_pass_after_each_pause_and_goes_on_with_the_first_that_succeeds(
    clock: list[float],
) -> None:
    limit = DeadLetterBreaker()
    assert limit.seconds_to_next_try() == 0.0
    for _ in range(WINDOW):
        limit.record("handler_failed")
    pauses = []
    for _ in range(6):
        pauses.append(limit.seconds_to_next_try())
        clock[0] += pauses[-1]
        assert limit.seconds_to_next_try() == 0.0
        limit.record("handler_failed")
    assert pauses == [15.0, 30.0, 60.0, 120.0, 120.0, 120.0]
    assert pauses[-1] < monitor.STALL_SECONDS, "slow, and no stall"
    clock[0] += 120.0
    limit.record("not_json")
    assert (limit.tripped is None, limit.seconds_to_next_try()) == (False, 0.0), (
        "garbage shows nothing, and costs no pause"
    )
    limit.record(None)
    assert (limit.tripped, limit.seconds_to_next_try()) == (None, 0.0)
    assert not any(limit.record("handler_failed") for _ in range(WINDOW - 1)), "it counts from the beginning"
    assert limit.record("handler_failed")
    assert limit.seconds_to_next_try() == 15.0


@pytest.fixture
def watching() -> ConsumerMonitor:
    stopping = asyncio.Event()
    guard = RetryDeadLetterMiddleware(service="toy", engine=None, stopping=stopping)  # type: ignore[arg-type]
    return ConsumerMonitor("toy", None, _NoBroker(), guard, stopping=stopping)  # type: ignore[arg-type]


class _NoBroker:
    subscribers: tuple[object, ...] = ()


def test_standing_still_behind_is_a_stall_and_moving_is_none(watching: ConsumerMonitor) -> None:
    assert watching.judge("g", {A: 3, B: 5}, {A: 10, B: 5}, now=0.0) == 7
    assert watching.judge("g", {A: 4, B: 5}, {A: 99, B: 5}, now=100.0) == 95, "slow, and moving"
    watching.judge("g", {A: 4, B: 5}, {A: 99, B: 5}, now=100.0 + monitor.STALL_SECONDS - 1)
    assert watching.problems() == []
    watching.judge("g", {A: 4, B: 5}, {A: 99, B: 5}, now=100.0 + monitor.STALL_SECONDS)
    assert watching.problems() == ["g reads nothing for 180 s, and 95 messages wait"]
    watching.judge("g", {A: 5, B: 5}, {A: 99, B: 5}, now=400.0)
    assert watching.problems() == [], "it came back"


def test_an_empty_topic_and_a_running_handler_are_no_stall(watching: ConsumerMonitor) -> None:
    for now in (0.0, 1_000.0, 2_000.0):
        assert watching.judge("g", {A: 3}, {A: 3}, now=now) == 0
    with watching._guard.track_message():
        for now in (3_000.0, 4_000.0):
            watching.judge("g", {A: 3}, {A: 9}, now=now)
    assert watching.problems() == []
