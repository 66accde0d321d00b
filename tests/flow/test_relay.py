"""The relay: what was committed is sent, whatever the order of ids; what was not never is; one bad row blocks nobody."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.db.engine import create_engine
from shared.events.coordinator import PortfolioDeleted
from shared.events.topics import PORTFOLIO_DELETED
from shared.messaging import outbox, relay
from shared.messaging.broker import create_producer, ensure_topics
from shared.messaging.relay import Relay
from shared.settings import ServiceSettings
from tests.flow import toy
from tests.support.brokers import TestBroker
from tests.support.databases import Database
from tests.support.waiting import WITHIN_SECONDS

pytestmark = pytest.mark.kafka


@pytest.fixture
async def settings(database: Database, broker: TestBroker) -> ServiceSettings:
    made = toy.settings_for(database, broker)
    await ensure_topics(made)
    return made


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[AsyncEngine]:
    """As the coordinator, whose role may announce what these tests announce."""
    created = create_engine(database.url("coordinator"), application="test", pool_size=8)
    yield created
    await created.dispose()


@pytest.fixture
async def producer(settings: ServiceSettings) -> AsyncIterator[AIOKafkaProducer]:
    created = create_producer(settings, service="risk")
    await created.start()
    yield created
    await created.stop()


@pytest.fixture
def sender(engine: AsyncEngine, producer: AIOKafkaProducer, settings: ServiceSettings) -> Relay:
    return Relay(engine, producer, service="risk", namespace=settings.kafka_namespace)


async def announce(conn: AsyncConnection, *portfolios: UUID) -> None:
    await outbox.publish(conn, [PortfolioDeleted(portfolio_id=portfolio) for portfolio in portfolios], source="risk")


async def sent(settings: ServiceSettings, name: str = PORTFOLIO_DELETED) -> list[Any]:
    """All records of the topic, by now."""
    partition = TopicPartition(f"{settings.kafka_namespace}{name}", 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka, fetch_max_wait_ms=100)
    await consumer.start()
    try:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        records: list[Any] = []
        while await consumer.position(partition) < end:
            for batch in (await consumer.getmany(partition, timeout_ms=1_000)).values():
                records += batch
        return records
    finally:
        await consumer.stop()


def about(records: list[Any]) -> list[UUID]:
    return [PortfolioDeleted.model_validate_json(record.value).portfolio_id for record in records]


async def states(engine: AsyncEngine) -> list[str]:
    async with engine.connect() as conn:
        rows = await conn.scalars(
            text("""SELECT CASE WHEN sent_at IS NOT NULL THEN 'sent' WHEN failed_at IS NOT NULL THEN 'failed' ELSE 'unsent' END
                    FROM bus.outbox ORDER BY id""")
        )
        return list(rows)


async def test_what_was_committed_is_sent_once_and_nothing_that_was_rolled_back(
    engine: AsyncEngine, sender: Relay, settings: ServiceSettings
) -> None:
    kept, lost = uuid4(), uuid4()
    async with engine.begin() as conn:
        await announce(conn, kept)
    with contextlib.suppress(ZeroDivisionError):
        async with engine.begin() as conn:
            await announce(conn, lost)
            raise ZeroDivisionError
    assert await sender.send_some() == 1
    assert await sender.send_some() == 0
    [record] = await sent(settings)
    assert about([record]) == [kept]
    assert record.key == str(kept).encode()
    headers = {name: value.decode() for name, value in record.headers}
    async with engine.connect() as conn:
        stored = (await conn.execute(text("SELECT event_id, headers FROM bus.outbox"))).one()
    assert headers == stored.headers
    assert headers["ce_id"] == str(stored.event_id)
    assert await states(engine) == ["sent"]


async def test_ids_that_commit_out_of_order_are_all_sent(
    engine: AsyncEngine, sender: Relay, settings: ServiceSettings
) -> None:
    """A relay that remembers the highest id it has sent skips the slow transaction's lower one for ever."""
    slow, quick = uuid4(), uuid4()
    async with engine.connect() as first, first.begin():
        await announce(first, slow)
        async with engine.begin() as second:
            await announce(second, quick)
        assert await sender.send_some() == 1
    async with engine.connect() as conn:
        ids = list(await conn.scalars(text("SELECT key FROM bus.outbox ORDER BY id")))
    assert ids == [str(slow), str(quick)], "the lower id committed later"
    assert await sender.send_some() == 1
    assert about(await sent(settings)) == [quick, slow]


async def test_rows_that_somebody_else_has_are_skipped_not_waited_for(
    engine: AsyncEngine, sender: Relay, settings: ServiceSettings
) -> None:
    portfolios = [uuid4() for _ in range(3)]
    async with engine.begin() as conn:
        await announce(conn, *portfolios)
    async with engine.connect() as other, other.begin():
        await other.execute(text("SELECT 1 FROM bus.outbox ORDER BY id LIMIT 1 FOR UPDATE"))
        assert await asyncio.wait_for(sender.send_some(), 40) == 2
        assert about(await sent(settings)) == portfolios[1:]
    assert await sender.send_some() == 1
    assert set(about(await sent(settings))) == set(portfolios)


async def test_a_frozen_relay_lets_its_rows_go(
    engine: AsyncEngine, producer: AIOKafkaProducer, settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process keeps its connection open: the server ends its transaction, and another relay sends the rows."""
    # Long enough that a busy machine still finds the rows held.
    monkeypatch.setattr("shared.db.engine.IDLE_SECONDS", 2.0)
    portfolio = uuid4()
    async with engine.begin() as conn:
        await announce(conn, portfolio)
    frozen = Relay(engine, producer, service="frozen", namespace=settings.kafka_namespace)
    holds, released = asyncio.Event(), asyncio.Event()

    async def never_sends(_: Any) -> None:
        holds.set()
        await released.wait()

    monkeypatch.setattr(frozen, "_send", never_sends)
    stuck = asyncio.create_task(frozen.send_some())
    await asyncio.wait_for(holds.wait(), 10)
    monkeypatch.setattr("shared.db.engine.IDLE_SECONDS", 30)
    healthy = Relay(engine, producer, service="healthy", namespace=settings.kafka_namespace)
    assert await healthy.send_some() == 0, "the rows are held"
    async with asyncio.timeout(WITHIN_SECONDS):
        while not (relayed := await healthy.send_some()):  # noqa: ASYNC110 (time tells nobody)
            await asyncio.sleep(0.1)
    assert relayed == 1
    assert about(await sent(settings)) == [portfolio]
    released.set()
    with pytest.raises(DBAPIError):
        await stuck


async def test_many_relays_send_each_row_once(
    engine: AsyncEngine, producer: AIOKafkaProducer, settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "BATCH", 7)
    portfolios = [uuid4() for _ in range(100)]
    async with engine.begin() as conn:
        await announce(conn, *portfolios)

    async def work() -> None:
        mine = Relay(engine, producer, service="risk", namespace=settings.kafka_namespace)
        while await mine.send_some():
            pass

    await asyncio.gather(*(work() for _ in range(4)))
    assert sorted(about(await sent(settings))) == sorted(portfolios)
    assert set(await states(engine)) == {"sent"}


async def test_a_row_that_can_never_be_sent_is_marked_and_blocks_nobody(
    engine: AsyncEngine, sender: Relay, settings: ServiceSettings
) -> None:
    before, after = uuid4(), uuid4()
    async with engine.begin() as conn:
        await announce(conn, before)
        await conn.execute(
            text("""INSERT INTO bus.outbox (event_id, topic, type, payload, headers)
                    VALUES (gen_random_uuid(), :topic, 't', '{}', jsonb_build_object('note', repeat('x', 300000)))"""),
            {"topic": PORTFOLIO_DELETED},
        )
        await announce(conn, after)
    assert await sender.send_some() == 3
    assert await states(engine) == ["sent", "failed", "sent"]
    assert about(await sent(settings)) == [before, after]
    async with engine.connect() as conn:
        error = await conn.scalar(text("SELECT error FROM bus.outbox WHERE failed_at IS NOT NULL"))
    assert "MessageSizeTooLarge" in str(error)
    assert await sender.send_some() == 0, "it is not tried again"


class Interrupted:
    """A producer that sends, and tells of it too late or not at all."""

    def __init__(self, producer: AIOKafkaProducer, error: Exception, times: int, *, after: bool = False) -> None:
        self.producer, self.error, self.times, self.after = producer, error, times, after

    async def send(self, *args: Any, **values: Any) -> Any:
        if self.times > 0:
            self.times -= 1
            if self.after:
                await (await self.producer.send(*args, **values))
            raise self.error
        return await self.producer.send(*args, **values)


async def test_while_the_broker_is_away_rows_wait_and_are_then_sent(
    engine: AsyncEngine, producer: AIOKafkaProducer, settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "BACKOFF_SECONDS", (0.02,))
    portfolios = [uuid4() for _ in range(3)]
    async with engine.begin() as conn:
        await announce(conn, *portfolios)
    away = Interrupted(producer, KafkaConnectionError("no broker"), times=8)
    mine = Relay(engine, away, service="risk", namespace=settings.kafka_namespace)
    with pytest.raises(KafkaConnectionError):
        await mine.send_some()
    assert await states(engine) == ["unsent"] * 3
    task = asyncio.create_task(mine.run())
    try:
        async with asyncio.timeout(40):
            while set(await states(engine)) != {"sent"}:  # noqa: ASYNC110 (the rows are what is waited for)
                await asyncio.sleep(0.05)
        assert not task.done(), "no error ends the relay"
    finally:
        mine.stop()
        await asyncio.wait_for(task, 40)
    assert set(about(await sent(settings))) == set(portfolios)


async def test_sent_but_not_marked_is_sent_again_under_the_same_id(
    engine: AsyncEngine, producer: AIOKafkaProducer, sender: Relay, settings: ServiceSettings
) -> None:
    """At least once: the broker took it and the answer was lost. Consumers tell by the id, and by the ledger."""
    portfolio = uuid4()
    async with engine.begin() as conn:
        await announce(conn, portfolio)
    lost_answer = Interrupted(producer, TimeoutError(), times=1, after=True)
    with pytest.raises(TimeoutError):
        await Relay(engine, lost_answer, service="risk", namespace=settings.kafka_namespace).send_some()
    assert await states(engine) == ["unsent"]
    assert await sender.send_some() == 1
    records = await sent(settings)
    assert about(records) == [portfolio, portfolio]
    assert len({dict(record.headers)["ce_id"] for record in records}) == 1


async def test_one_row_that_waits_does_not_hold_back_its_batch(
    engine: AsyncEngine, producer: AIOKafkaProducer, settings: ServiceSettings
) -> None:
    portfolios = [uuid4() for _ in range(3)]
    async with engine.begin() as conn:
        await announce(conn, *portfolios)
    flaky = Interrupted(producer, KafkaConnectionError("this partition has no leader"), times=1)
    with pytest.raises(KafkaConnectionError):
        await Relay(engine, flaky, service="risk", namespace=settings.kafka_namespace).send_some()
    assert await states(engine) == ["unsent", "sent", "sent"]


async def test_a_woken_relay_does_not_wait_for_its_poll(
    engine: AsyncEngine, sender: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "POLL_SECONDS", 60.0)
    task = asyncio.create_task(sender.run())
    try:
        await asyncio.sleep(0.3)
        async with engine.begin() as conn:
            await announce(conn, uuid4())
        sender.wake()
        async with asyncio.timeout(40):
            while await states(engine) != ["sent"]:  # noqa: ASYNC110 (the row is what is waited for)
                await asyncio.sleep(0.02)
    finally:
        sender.stop()
        await asyncio.wait_for(task, 40)
    assert await states(engine) == ["sent"]


async def test_only_what_was_sent_long_ago_is_cleaned_up(engine: AsyncEngine, sender: Relay) -> None:
    async with engine.begin() as conn:
        await announce(conn, *(uuid4() for _ in range(5)))
        await conn.execute(
            text("""UPDATE bus.outbox SET sent_at = CASE id WHEN 1 THEN now() - interval '3 days' WHEN 2 THEN now() - interval '1 day' END,
                        failed_at = CASE id WHEN 3 THEN now() - interval '9 days' END""")
        )
    assert await sender.clean_up() == 1
    assert await states(engine) == ["sent", "failed", "unsent", "unsent"]
