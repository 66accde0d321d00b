"""A night over several partitions: every partition has its share, and so has every process; one that is alone does it in one go."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.application import create_phase_app
from shared.buckets import bucket_of
from shared.db.engine import create_engine
from shared.events.coordinator import DateDue
from shared.events.envelope import WorkEvent
from shared.events.services import PricesIngested
from shared.events.topics import DATE_DUE, PRICES_INGESTED
from shared.messaging import outbox
from shared.messaging.broker import create_producer
from shared.messaging.partitions import Partitions, attach
from shared.messaging.relay import Relay
from shared.service import Service
from shared.settings import ServiceSettings
from shared.work import UnitKey
from tests.flow import toy
from tests.flow.test_guard import results
from tests.flow.toy import Worker
from tests.support.brokers import TestBroker
from tests.support.databases import Database
from tests.support.ledger import SESSIONS

pytestmark = pytest.mark.kafka
PARTITIONS, PORTFOLIOS = 4, 200
WITHIN_SECONDS = 60.0


@pytest.fixture
async def settings(database: Database, apache_kafka: TestBroker) -> AsyncIterator[ServiceSettings]:
    """The embedded broker is for one process of each service."""
    made = toy.settings_for(database, apache_kafka).model_copy(update={"kafka_partitions": PARTITIONS})
    async with toy.wire(made):
        yield made


@contextlib.asynccontextmanager
async def replicas(settings: ServiceSettings, workers: Sequence[Worker]) -> AsyncIterator[list[set[int]]]:
    """A process of the ingest service for each worker, as `create_phase_app` makes it; the partitions of what fell due that each reads,
    once all are."""
    async with contextlib.AsyncExitStack() as stack:
        apps = [create_phase_app("ingest", settings, lambda _, worker=worker: worker, [DATE_DUE]) for worker in workers]  # type: ignore[misc]
        for app in apps:
            await stack.enter_async_context(app.router.lifespan_context(app))
        found: list[set[int]] = []
        async with asyncio.timeout(WITHIN_SECONDS):
            while not found or {len(of_one) for of_one in found} != {PARTITIONS // len(apps)}:
                await asyncio.sleep(0.05)
                found = [_read(app) for app in apps]
        yield found


def _read(app: FastAPI) -> set[int]:
    service: Service = app.state.service
    subscribers: list[Any] = service.broker.subscribers
    [subscriber] = subscribers
    return {assigned.partition for assigned in subscriber.consumer.assignment()}


async def announce(database: Database, settings: ServiceSettings, portfolios: Sequence[UUID]) -> None:
    """As the coordinator does: through the outbox and its relay."""
    engine = create_engine(database.url("coordinator"), application="test", pool_size=4)
    async with create_producer(settings, service="coordinator") as producer:
        known = Partitions(producer, settings.kafka_namespace)
        await known.learn([DATE_DUE])
        attach(engine, known)
        keys = [UnitKey(portfolio, SESSIONS[0]) for portfolio in portfolios]
        async with engine.begin() as conn:
            await outbox.publish_work(conn, DateDue, keys, SESSIONS, source="coordinator")
        sender = Relay(engine, producer, service="coordinator", namespace=settings.kafka_namespace, partitions=known)
        assert await sender.send_some() == PARTITIONS
    await engine.dispose()


async def sent(settings: ServiceSettings, name: str, kind: type[WorkEvent]) -> Mapping[int, list[WorkEvent]]:
    """What lies in each partition of a topic by now."""
    topic = f"{settings.kafka_namespace}{name}"
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    found: dict[int, list[WorkEvent]] = defaultdict(list)
    async with AIOKafkaConsumer(bootstrap_servers=settings.kafka, fetch_max_wait_ms=100) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for partition, records in (await consumer.getmany(timeout_ms=500)).items():
                found[partition.partition] += [kind.model_validate_json(record.value) for record in records]
    return found


async def told_of_all(settings: ServiceSettings) -> Mapping[int, list[WorkEvent]]:
    """What was completed, once it is announced in every partition."""
    async with asyncio.timeout(WITHIN_SECONDS):
        while len(told := await sent(settings, PRICES_INGESTED, PricesIngested)) < PARTITIONS:  # noqa: ASYNC110 (the broker says it)
            await asyncio.sleep(0.1)
    return told


async def complete(admin: AsyncEngine, portfolios: Sequence[UUID]) -> None:
    async with asyncio.timeout(WITHIN_SECONDS):
        while len(found := await results(admin)) < len(portfolios):  # noqa: ASYNC110 (the rows are what is waited for)
            await asyncio.sleep(0.05)
    assert found == {portfolio: [1] for portfolio in portfolios}, "somebody wrote a result again"


def of_partitions(portfolios: Sequence[UUID], partitions: set[int]) -> set[UUID]:
    return {portfolio for portfolio in portfolios if bucket_of(portfolio, PARTITIONS) in partitions}


async def test_a_night_goes_to_all_partitions_and_two_replicas_do_a_share_each(
    admin: AsyncEngine, database: Database, settings: ServiceSettings
) -> None:
    created = await toy.prepare(admin, PORTFOLIOS, sessions=1)
    workers = [Worker(), Worker()]
    async with replicas(settings, workers) as read:
        await announce(database, settings, created)
        await complete(admin, created)
        told = await told_of_all(settings)

    done = [[portfolio for batch in worker.batches for portfolio in batch.portfolios] for worker in workers]
    assert [set(of_one) for of_one in done] == [of_partitions(created, partitions) for partitions in read]
    assert sorted(done[0] + done[1]) == created, "somebody did what another had done"
    # Four messages, and no batch for each: those of one process are done together.
    assert [len(worker.batches) for worker in workers] == [1, 1]
    # What fell due, and what was completed of it, in the same partition by portfolio.
    for events in (await sent(settings, DATE_DUE, DateDue), told):
        assert sorted(events) == list(range(PARTITIONS))
        for number, of_one in events.items():
            assert {p for event in of_one for p in event.work.portfolios} == of_partitions(created, {number})


async def test_one_that_is_alone_does_the_night_in_one_batch(
    admin: AsyncEngine, database: Database, settings: ServiceSettings
) -> None:
    created = await toy.prepare(admin, PORTFOLIOS, sessions=1)
    worker = Worker()
    async with replicas(settings, [worker]):
        await announce(database, settings, created)
        await complete(admin, created)
    assert [len(batch) for batch in worker.batches] == [PORTFOLIOS]


async def test_messages_that_were_sent_by_key_and_lie_in_any_partition_are_done_all_the_same(
    admin: AsyncEngine, database: Database, settings: ServiceSettings
) -> None:
    """What an earlier release sent: all portfolios in one message, wherever its key led. Then the same night, announced again."""
    created = await toy.prepare(admin, PORTFOLIOS, sessions=1)
    workers = [Worker(), Worker()]
    async with replicas(settings, workers):
        async with toy.wire(settings) as wire:
            for number in range(PARTITIONS):
                await wire.announce(*created, sessions=1, partition=number)
        await announce(database, settings, created)
        await complete(admin, created)
        await told_of_all(settings)
        await complete(admin, created)
    assert Counter(p for w in workers for batch in w.batches for p in batch.portfolios) == Counter(created)
