"""Groups of the embedded broker that were opened early: who joins one of them waits less than who opens its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from deploy.embedded import broker, groups
from shared.events.topics import DATE_DUE
from shared.messaging.broker import ensure_topics
from shared.messaging.consumer import SESSION_TIMEOUT_MS, group_id
from shared.settings import ServiceSettings

OPENED, NEW = "opened", "new"


@pytest.fixture
def settings(scratch_directory: Path) -> Iterator[ServiceSettings]:
    server = broker.serve(scratch_directory / "groups")
    try:
        yield ServiceSettings(database_url="postgresql://nobody@127.0.0.1/none", kafka=server.bootstrap)
    finally:
        server.stop()


async def test_who_joins_an_opened_group_is_there_before_who_joins_a_new_one(settings: ServiceSettings) -> None:
    await ensure_topics(settings)
    await groups.open_groups(settings, [OPENED])
    came: list[str] = []

    async def join(service: str) -> None:
        consumer = AIOKafkaConsumer(
            DATE_DUE,
            bootstrap_servers=settings.kafka,
            group_id=group_id(service),
            session_timeout_ms=SESSION_TIMEOUT_MS,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        came.append(service)
        # All of it: whoever opened the group has left it.
        assert len(consumer.assignment()) == settings.kafka_partitions
        await consumer.stop()

    await asyncio.gather(join(NEW), join(OPENED))
    assert came == [OPENED, NEW]


async def test_a_broker_that_does_not_answer_is_logged_and_nothing_more(
    settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(groups, "OPENING_SECONDS", 0.2)
    with caplog.at_level(logging.WARNING, logger=groups.__name__):
        await groups.open_groups(settings.model_copy(update={"kafka": "127.0.0.1:1"}), ["risk"])
    assert "the group of risk was not opened early" in caplog.text
