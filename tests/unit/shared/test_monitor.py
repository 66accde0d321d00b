"""A consumer without partitions is only idle if nothing waits for it, or if somebody else has them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from shared.messaging.broker import METADATA_MAX_AGE_MS
from shared.messaging.monitor import UNASSIGNED_SECONDS, ConsumerMonitor
from shared.messaging.retry_middleware import RetryDeadLetterMiddleware

GROUP = "leadline-risk"


def monitor() -> ConsumerMonitor:
    stopping = asyncio.Event()
    guard = RetryDeadLetterMiddleware(service="test", engine=cast(Any, None), stopping=stopping)
    broker = SimpleNamespace(subscribers=[])
    return ConsumerMonitor("test", cast(Any, None), cast(Any, broker), guard, stopping=stopping)


def test_the_sole_member_of_a_group_without_partitions_is_stuck_while_messages_wait() -> None:
    watch = monitor()
    assert watch.judge_unassigned(GROUP, 7, 1, now=100.0) == 7
    assert watch.problems() == [], "it may learn of the topics by itself"
    watch.judge_unassigned(GROUP, 7, 1, now=100.0 + UNASSIGNED_SECONDS)
    [problem] = watch.problems()
    assert problem == f"{GROUP} has had no partition for 30 s although it is alone in its group, and 7 messages wait"
    watch.judge_unassigned(GROUP, 0, 0, now=200.0)
    assert watch.problems() == []
    watch.judge_unassigned(GROUP, 7, 1, now=201.0)
    assert watch.problems() == [], "and counts from the beginning"


def test_a_replica_more_than_there_are_partitions_is_well() -> None:
    watch = monitor()
    for now in (100.0, 100.0 + 10 * UNASSIGNED_SECONDS):
        assert watch.judge_unassigned(GROUP, 7, 2, now=now) == 0, "they are the other member's"
    assert watch.problems() == []


def test_topics_that_come_back_are_learnt_of_before_anybody_restarts() -> None:
    assert METADATA_MAX_AGE_MS <= 30_000
    assert 2 * METADATA_MAX_AGE_MS / 1000 <= UNASSIGNED_SECONDS
