"""A topic that cannot be sent to holds up no other, and its rows are sent once it can."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.engine import create_engine
from shared.events import topics
from shared.messaging import relay
from shared.messaging.partitions import Partitions
from shared.messaging.relay import Relay
from tests.support.databases import Database

# A role's rows are of its own topics.
GOOD, OTHER, MISSING, CLOSED = (
    topics.PORTFOLIO_CREATED,
    topics.DATE_DUE,
    topics.PORTFOLIO_DELETED,
    topics.PORTFOLIO_CHANGED,
)


class Producer:
    """Takes what is sent to topics that it knows; the others cost `seconds`, and an error."""

    def __init__(self, error: Exception, *, seconds: float = 0.0) -> None:
        self.error = error
        self.seconds = seconds
        self.known = {GOOD, OTHER}
        self.sent: list[str] = []

    async def partitions_for(self, topic: str) -> set[int]:
        assert topic in self.sent, "it knows those of topics that it sent to"
        return {0, 1, 2}

    async def send(self, topic: str, *_: Any, **__: Any) -> asyncio.Future[None]:
        if topic not in self.known:
            await asyncio.sleep(self.seconds)
            raise self.error
        self.sent.append(topic)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[AsyncEngine]:
    created = create_engine(database.url("coordinator"), application="test", pool_size=4)
    yield created
    await created.dispose()


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "BATCH", 5)
    monkeypatch.setattr(relay, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(relay, "BACKOFF_SECONDS", (0.05,))


async def announce(engine: AsyncEngine, topic: str, rows: int = 1) -> None:
    async with engine.begin() as conn:
        await conn.execute(
            text("""
                INSERT INTO bus.outbox (event_id, topic, type, payload, headers)
                SELECT gen_random_uuid(), :topic, 't', '{}', '{}' FROM generate_series(1, :rows)
            """),
            {"topic": topic, "rows": rows},
        )


async def unsent(engine: AsyncEngine) -> dict[str, int]:
    async with engine.connect() as conn:
        rows = await conn.execute(
            text("SELECT topic, count(*) FROM bus.outbox WHERE sent_at IS NULL AND failed_at IS NULL GROUP BY topic")
        )
        return {topic: int(count) for topic, count in rows}


async def until(engine: AsyncEngine, wanted: dict[str, int]) -> None:
    async with asyncio.timeout(20):
        while await unsent(engine) != wanted:  # noqa: ASYNC110 (the rows are what is waited for)
            await asyncio.sleep(0.02)


@pytest.fixture
async def relaying(engine: AsyncEngine, request: pytest.FixtureRequest) -> AsyncIterator[Producer]:
    producer: Producer = request.param
    mine = Relay(engine, producer, service="coordinator")
    task = asyncio.create_task(mine.run())
    yield producer
    mine.stop()
    await asyncio.wait_for(task, 20)


async def test_what_was_sent_to_says_how_many_partitions_there_are(engine: AsyncEngine) -> None:
    """Those that were added while the service runs: what it announces next is shared among them, too."""
    producer: Any = Producer(KafkaTimeoutError())
    known = Partitions(producer)
    await announce(engine, GOOD, 2)
    assert await Relay(engine, producer, service="coordinator", partitions=known).send_some() == 2
    assert [known.count(topic) for topic in (GOOD, OTHER)] == [3, 1]


@pytest.mark.parametrize("relaying", [Producer(KafkaTimeoutError(), seconds=0.3)], indirect=True)
async def test_many_rows_of_a_topic_that_is_not_there_hold_up_no_other(engine: AsyncEngine, relaying: Producer) -> None:
    """Six batches of them stand before the one row that could go, and each costs its time."""
    await announce(engine, MISSING, 30)
    await announce(engine, GOOD)
    await until(engine, {MISSING: 30})
    # Not even while they are tried again and again.
    for _ in range(5):
        began = time.monotonic()
        await announce(engine, GOOD)
        await until(engine, {MISSING: 30})
        # Beside one try of theirs at most, which costs as long; behind all of them it would be six.
        assert time.monotonic() - began < 2 * 0.3, "it waited for a topic that is not its own"
    relaying.known.add(MISSING)
    await until(engine, {})


@pytest.mark.parametrize("relaying", [Producer(TopicAuthorizationFailedError())], indirect=True)
async def test_what_we_may_not_send_yet_is_sent_once_we_may(engine: AsyncEngine, relaying: Producer) -> None:
    """A mistake in a list of rights is mended without anybody looking for the events of that time."""
    await announce(engine, CLOSED, 3)
    await asyncio.sleep(0.2)
    assert await unsent(engine) == {CLOSED: 3}
    relaying.known.add(CLOSED)
    await until(engine, {})


@pytest.mark.parametrize("relaying", [Producer(KafkaTimeoutError())], indirect=True)
async def test_one_topic_that_can_be_sent_to_again_lets_all_others_try(
    engine: AsyncEngine, relaying: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker was away: nobody waits for a backoff of his own."""
    relaying.known.clear()
    for topic in (GOOD, OTHER):
        await announce(engine, topic)
    await asyncio.sleep(0.15)
    assert await unsent(engine) == {GOOD: 1, OTHER: 1}
    relaying.known |= {GOOD, OTHER}
    await until(engine, {})
