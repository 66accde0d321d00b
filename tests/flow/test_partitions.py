"""Partitions are added while a service runs: it finds them by itself, misses nothing, and does nothing twice."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy import topics as topics_job
from shared.messaging import broker as broker_module
from shared.settings import ServiceSettings
from tests.flow import toy
from tests.flow.test_guard import results
from tests.flow.toy import Worker
from tests.support.brokers import TestBroker

pytestmark = pytest.mark.kafka
PARTITIONS = 3


async def counts(settings: ServiceSettings) -> set[int]:
    """How many partitions our topics have."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        names = [name for name in await admin.list_topics() if name.startswith(settings.kafka_namespace)]
        return {len(one["partitions"]) for one in await admin.describe_topics(names)}
    finally:
        await admin.close()


async def test_partitions_are_added_without_a_stop_and_none_is_missed(
    admin: AsyncEngine, settings: ServiceSettings, apache_kafka: TestBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As often as a consumer looks which partitions there are; every fifteen seconds otherwise.
    monkeypatch.setattr(broker_module, "METADATA_MAX_AGE_MS", 500)
    created = await toy.prepare(admin, portfolios=1 + PARTITIONS)
    async with toy.wire(settings) as before, toy.running(settings, Worker()):
        await before.announce(created[0])
        await before.drained()
        assert await counts(settings) == {1}
        more = settings.model_copy(update={"kafka_partitions": PARTITIONS})
        assert f"raised to {PARTITIONS} partitions: " in await topics_job.ensure(more)
        # A client that is new knows all partitions.
        async with toy.wire(more) as after:
            for number, portfolio in enumerate(created[1:]):
                await after.announce(portfolio, partition=number)
        until = asyncio.get_running_loop().time() + 40
        while len(found := await results(admin)) < len(created):
            assert asyncio.get_running_loop().time() < until, found
            await asyncio.sleep(0.05)
    assert found == {portfolio: [1, 1] for portfolio in created}
    assert await topics_job.ensure(more) == "all topics were there"
    # Never taken away: Kafka cannot.
    assert await topics_job.ensure(settings) == "all topics were there"
    assert await counts(settings) == {PARTITIONS}
