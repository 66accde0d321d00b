"""The brokers we start: they deliver, and Apache Kafka keeps what it was given over a crash."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.support.brokers import TestBroker


async def _create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 2, 1)])
    await admin.close()


async def _send(broker: TestBroker, topic: str, *messages: bytes) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap, acks="all", enable_idempotence=broker.idempotence
    ) as producer:
        for message in messages:
            await producer.send_and_wait(topic, message)


async def _receive(bootstrap: str, topic: str, count: int) -> list[bytes]:
    async with AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        got = [await asyncio.wait_for(consumer.getone(), 30) for _ in range(count)]
    return sorted(record.value for record in got)


async def test_what_is_sent_is_received(broker: TestBroker) -> None:
    topic = f"test-{uuid.uuid4()}"
    await _create(broker.bootstrap, topic)
    await _send(broker, topic, b"one", b"two")
    assert await _receive(broker.bootstrap, topic, 2) == [b"one", b"two"]


async def test_a_killed_broker_comes_back_with_its_messages(apache_kafka: TestBroker) -> None:
    if apache_kafka.restart is None:
        pytest.skip(f"cannot restart a broker that is {apache_kafka.kind}: it is not ours to kill")
    topic = f"test-{uuid.uuid4()}"
    await _create(apache_kafka.bootstrap, topic)
    await _send(apache_kafka, topic, b"one", b"two")
    await asyncio.to_thread(apache_kafka.restart)
    assert await _receive(apache_kafka.bootstrap, topic, 2) == [b"one", b"two"]
