"""To which partition a message goes, how many there are, and what of the others' a process takes along."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import date
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError
from faststream.kafka.message import KafkaMessage

from shared.buckets import bucket_of
from shared.messaging.partitions import Partitions, choose_partition, take_own
from shared.work import Work

TOPIC = "n.leadline.date-due"
PORTFOLIOS = tuple(UUID(int=number) for number in range(1, 101))
DAY = date(2024, 1, 2)


@pytest.mark.parametrize("count", [1, 6, 12])
def test_a_portfolios_messages_go_to_its_bucket(count: int) -> None:
    for portfolio in PORTFOLIOS:
        chosen = choose_partition(str(portfolio).encode(), list(range(count)), [])
        assert chosen == bucket_of(portfolio, count)
        # Brokers list partitions in any order, and a partition may be without a leader for a moment.
        assert choose_partition(str(portfolio).encode(), list(range(count))[::-1], [0]) == chosen


@pytest.mark.parametrize("key", [None, b"", b"AAPL", b"\xff\x00"])
def test_any_other_key_goes_where_clients_send_it(key: bytes | None) -> None:
    chosen = {choose_partition(key, [0, 1, 2], [0, 1, 2]) for _ in range(50)}
    assert chosen <= {0, 1, 2}
    assert len(chosen) == (3 if key is None else 1)


class Producer:
    """Knows topics by their whole names; asked about another it waits, or says that there is none."""

    def __init__(self, **counts: int) -> None:
        self.counts = counts
        self.waits = False

    async def partitions_for(self, topic: str) -> set[int]:
        if self.waits:
            await asyncio.sleep(60)
        if topic not in self.counts:
            raise UnknownTopicOrPartitionError
        return set(range(self.counts[topic]))


async def test_partitions_are_learnt_and_what_is_unknown_counts_as_one() -> None:
    producer = Producer(**{"n.a": 6, "n.b": 1})
    known = Partitions(cast("AIOKafkaProducer", producer), "n.")
    assert known.count("a") == 1
    await known.learn(["a", "b", "c"])
    assert [known.count(topic) for topic in "abc"] == [6, 1, 1]
    producer.counts["n.a"] = 12
    await known.learn(["a"])
    assert known.count("a") == 12
    producer.waits = True
    await known.learn(["a", "b"], within=0.01)
    assert known.count("a") == 12, "what was known is no longer"


def message(count: int, held: Iterable[int], consumer: Any = None) -> KafkaMessage:
    reads = Mock(spec=AIOKafkaConsumer)
    reads.partitions_for_topic.return_value = set(range(count))
    others = {TopicPartition("n.leadline.other", number) for number in range(count)}
    reads.assignment.return_value = {TopicPartition(TOPIC, number) for number in held} | others
    return cast("KafkaMessage", SimpleNamespace(consumer=consumer or reads, raw_message=SimpleNamespace(topic=TOPIC)))


def test_who_reads_all_partitions_does_all_at_once_and_who_reads_some_its_own() -> None:
    work = Work(PORTFOLIOS[:20], DAY, DAY, PORTFOLIOS[20:])
    assert take_own(work, message(4, range(4))) == Work(PORTFOLIOS, DAY, DAY)
    first, second = take_own(work, message(4, [0, 2])), take_own(work, message(4, [1, 3]))
    assert {bucket_of(portfolio, 4) for portfolio in first.portfolios[20:]} == {0, 2}
    assert sorted(first.portfolios[20:] + second.portfolios[20:]) == list(PORTFOLIOS[20:])
    # Its partitions were taken from it while it waited: what it has in hand is its own still.
    assert take_own(work, message(4, [])) == Work(PORTFOLIOS[:20], DAY, DAY)


def test_where_nothing_is_said_of_others_or_nobody_reads_partitions_the_work_stays_what_it_is() -> None:
    alone = Work(PORTFOLIOS[:20], DAY, DAY)
    assert take_own(alone, message(4, range(4))) is alone
    beside = Work(PORTFOLIOS[:20], DAY, DAY, PORTFOLIOS[20:])
    assert take_own(beside, message(4, range(4), consumer=object())) is beside
