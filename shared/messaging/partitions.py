"""How many partitions our topics have, learnt from the broker, and to which of them a message goes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID
from weakref import WeakKeyDictionary

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner
from faststream.kafka.message import KafkaMessage
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.buckets import bucket_of
from shared.telemetry import logger
from shared.work import Work

log = logger(__name__)

# A topic that is not there holds up a start no longer than this; what is announced in it is not shared until something was sent to it.
LEARN_SECONDS = 2.0

# Of the engines of services that send: whoever announces has a connection and nothing else.
_of_engine: WeakKeyDictionary[Engine, Partitions] = WeakKeyDictionary()
_by_key = DefaultPartitioner()


def choose_partition(key: bytes | None, partitions: Sequence[int], available: Sequence[int]) -> int:
    """The bucket of the portfolio that is the key, by the partitions that the topic has now. Any other key is hashed as clients do."""
    try:
        portfolio = UUID((key or b"").decode())
    except ValueError:
        chosen: int = _by_key(key, list(partitions), list(available))
        return chosen
    return sorted(partitions)[bucket_of(portfolio, len(partitions))]


class Partitions:
    """Partitions by topic, as far as they are known. Wrong or unknown ones cost balance, never work: nothing rests on a partition."""

    def __init__(self, producer: AIOKafkaProducer, namespace: str = "") -> None:
        self._producer = producer
        self._namespace = namespace
        self._counts: dict[str, int] = {}

    def count(self, topic: str) -> int:
        """One until more are known: then its work is not shared."""
        return self._counts.get(topic, 1)

    async def learn(self, topics: Iterable[str], within: float = LEARN_SECONDS) -> None:
        """Ask how many they have, together; at once where the producer has sent to them. No error is the caller's."""
        await asyncio.gather(*(self._learn(topic, within) for topic in topics))

    async def _learn(self, topic: str, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                found = await self._producer.partitions_for(f"{self._namespace}{topic}")
        except (TimeoutError, KafkaError) as error:
            log.warning("partitions_unknown", topic=topic, error=f"{type(error).__name__}: {error}"[:200])
            return
        self._counts[topic] = len(found)


def attach(engine: AsyncEngine, partitions: Partitions) -> None:
    """Let what is announced through the engine's connections be shared among these partitions."""
    _of_engine[engine.sync_engine] = partitions


def count_partitions(conn: AsyncConnection, topic: str) -> int:
    """Of a topic, as this process knows it; one where nothing is sent from (a script, a test)."""
    known = _of_engine.get(conn.sync_engine)
    return 1 if known is None else known.count(topic)


def take_own(work: Work, message: KafkaMessage) -> Work:
    """The work of a message, and of what was announced beside it the portfolios whose messages come to this process as well.

    One batch instead of one a message, however many partitions are read here; the messages that follow find nothing left to do.
    """
    consumer, topic = message.consumer, getattr(message.raw_message, "topic", None)
    if not work.beside or not isinstance(consumer, AIOKafkaConsumer) or topic is None:
        return work
    count = len(consumer.partitions_for_topic(topic) or ())
    held = {assigned.partition for assigned in consumer.assignment() if assigned.topic == topic}
    own = tuple(portfolio for portfolio in work.beside if count and bucket_of(portfolio, count) in held)
    return replace(work, portfolios=(*work.portfolios, *own), beside=())
