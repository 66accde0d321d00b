"""Groups of the embedded broker that were opened early: who joins one of them does not wait, as who opens its own does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.embedded import broker, groups
from shared.events.topics import DATE_DUE
from shared.messaging.broker import ensure_topics
from shared.messaging.consumer import SESSION_TIMEOUT_MS, group_id
from shared.settings import ServiceSettings

OPENED, NEW = "opened", "new"
WAIT_SECONDS = 1.0


@pytest.fixture
def settings(scratch_directory: Path) -> Iterator[ServiceSettings]:
    server = broker.serve(scratch_directory / "groups")
    try:
        yield ServiceSettings(database_url="postgresql://nobody@127.0.0.1/none", kafka=server.bootstrap)
    finally:
        server.stop()


async def test_who_joins_an_opened_group_waits_for_nobody_and_who_joins_a_new_one_does(
    settings: ServiceSettings,
) -> None:
    """The broker waits by the second: whoever is there before one is over was not let wait."""
    await ensure_topics(settings)
    began = time.monotonic()
    await groups.open_groups(settings, [OPENED])
    came: dict[str, float] = {}

    async def join(service: str) -> None:
        consumer = AIOKafkaConsumer(
            DATE_DUE,
            bootstrap_servers=settings.kafka,
            group_id=group_id(service),
            session_timeout_ms=SESSION_TIMEOUT_MS,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        came[service] = time.monotonic() - began
        # All of it: whoever opened the group has left it.
        assert len(consumer.assignment()) == settings.kafka_partitions
        await consumer.stop()

    await asyncio.gather(join(NEW), join(OPENED))
    assert came[OPENED] < WAIT_SECONDS < came[NEW]


async def test_a_member_of_an_opened_group_stays_however_late_its_heartbeats_are(settings: ServiceSettings) -> None:
    await ensure_topics(settings)
    await groups.open_groups(settings, [OPENED])
    consumer = AIOKafkaConsumer(
        DATE_DUE,
        bootstrap_servers=settings.kafka,
        group_id=group_id(OPENED),
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=200,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka, enable_idempotence=False)
    await producer.start()
    await consumer.start()
    try:
        generation = consumer._coordinator.generation
        for number in range(4):
            await asyncio.sleep(0.5)  # two heartbeats
            await producer.send_and_wait(DATE_DUE, str(number).encode())
            assert (await asyncio.wait_for(consumer.getone(), 10)).value == str(number).encode()
            await consumer.commit()
        assert consumer._coordinator.generation == generation, "it was thought dead, and joined again"
    finally:
        await consumer.stop()
        await producer.stop()


async def test_a_broker_that_does_not_answer_is_logged_and_nothing_more(
    settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(groups, "OPENING_SECONDS", 0.2)
    with caplog.at_level(logging.WARNING, logger=groups.__name__):
        await groups.open_groups(settings.model_copy(update={"kafka": "127.0.0.1:1"}), ["risk"])
    assert "the group of risk was not opened early" in caplog.text
