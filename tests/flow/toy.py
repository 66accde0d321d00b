"""A small phase service for tests of the machinery: it counts, and fails when it is told to.

`killed` runs it as a process that dies at a named point (`LEADLINE_CRASH_AT`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.db.roles import role_of
from shared.events import topics
from shared.events.envelope import WorkEvent
from shared.ledger import Completed, Outcome
from shared.messaging import consumer, dead_letters
from shared.messaging.broker import ensure_topics
from shared.messaging.consumer import subscribe
from shared.phase.runner import PhaseRunner
from shared.service import Service
from shared.settings import ServiceSettings
from shared.work import Batch, Phase, UnitKey
from tests.flow import forks
from tests.support.brokers import TestBroker
from tests.support.databases import Database
from tests.support.ledger import SESSIONS, add

# Of a process that will be killed: its successor waits so long for it, and no test is about that.
SESSION_TIMEOUT_MS = 2_000
# `times` counts how often a result was written: once a revision, however often its message comes.
TABLE = """
    CREATE TABLE IF NOT EXISTS ingest.toy (
        portfolio_id uuid, session date, revision bigint, times integer DEFAULT 1, PRIMARY KEY (portfolio_id, session));
"""
GRANT = "GRANT SELECT, INSERT, UPDATE, DELETE ON ingest.toy TO leadline_ingest"
SAVE = """
    INSERT INTO ingest.toy (portfolio_id, session, revision)
    SELECT * FROM unnest(CAST(:p AS uuid[]), CAST(:s AS date[]), CAST(:r AS bigint[]))
    ON CONFLICT (portfolio_id, session) DO UPDATE SET revision = excluded.revision, times = ingest.toy.times + 1
"""


@dataclass(frozen=True)
class Counted:
    outcomes: Mapping[UnitKey, Outcome]


@dataclass
class Worker:
    """Completes what it is given. `on_load` may raise, wait, or do something in between."""

    phase: Phase = Phase.INGEST
    on_load: Callable[[Batch], Any] = lambda _: None
    batches: list[Batch] = field(default_factory=list)

    async def load(self, conn: AsyncConnection, batch: Batch) -> Batch:
        waits = self.on_load(batch)
        if asyncio.iscoroutine(waits):
            await waits
        self.batches.append(batch)
        return batch

    def compute(self, inputs: Batch) -> Counted:
        return Counted({UnitKey(unit.portfolio_id, unit.session): Outcome() for unit in inputs.units})

    async def save(self, conn: AsyncConnection, results: Counted, raised: Completed) -> None:
        keys = list(raised.keys)
        await conn.execute(
            text(SAVE),
            {
                "p": [key.portfolio_id for key in keys],
                "s": [key.session for key in keys],
                "r": [raised.revision[key] for key in keys],
            },
        )


async def prepare(admin: AsyncEngine, portfolios: int, sessions: int | Sequence[date] = 2) -> list[UUID]:
    """The table, and units for portfolios that nobody has announced yet; returns the portfolios, in order."""
    days = SESSIONS[:sessions] if isinstance(sessions, int) else sessions
    created = sorted(uuid4() for _ in range(portfolios))
    async with admin.begin() as conn:
        await conn.execute(text(TABLE))
        await conn.execute(text(GRANT))
        await add(conn, created, days)
    return created


def settings_for(database: Database, broker: TestBroker) -> ServiceSettings:
    """Topics and groups of the test's own."""
    return ServiceSettings(
        database_url=database.url("ingest"),
        kafka=broker.bootstrap,
        kafka_namespace=f"{database.name}.",
        kafka_idempotence=broker.idempotence,
        kafka_partitions=1,
        as_of=SESSIONS[-1],
    )


Handler = Callable[[WorkEvent, PhaseRunner], Any]


async def run_event(event: WorkEvent, runner: PhaseRunner) -> None:
    """What every service's handler does."""
    await runner.run(event.work.rectangle())


def build(settings: ServiceSettings, worker: Worker, handler: Handler = run_event) -> Service:
    service = Service.build("ingest", settings)
    runner = PhaseRunner(service.engine, worker, service.clock, wake=service.wake_relay)

    @subscribe(service.broker, topics.DATE_DUE, group="toy", namespace=settings.kafka_namespace)  # type: ignore[untyped-decorator]
    async def on_event(event: WorkEvent) -> None:
        await handler(event, runner)

    return service


@contextlib.asynccontextmanager
async def running(settings: ServiceSettings, worker: Worker, handler: Handler = run_event) -> AsyncIterator[Service]:
    service = build(settings, worker, handler)
    async with service.lifespan():
        yield service


@dataclass
class Wire:
    """The topic as an outsider sees it: any bytes, any headers, and how far the group has come."""

    settings: ServiceSettings
    producer: AIOKafkaProducer
    admin: AIOKafkaAdminClient
    reader: AIOKafkaConsumer

    @property
    def topic(self) -> str:
        return f"{self.settings.kafka_namespace}{topics.DATE_DUE}"

    async def send(
        self,
        body: bytes | None,
        headers: Sequence[tuple[str, bytes | None]],
        key: bytes | None = None,
        partition: int = 0,
    ) -> int:
        """Send as is; returns the offset."""
        sent = await self.producer.send_and_wait(self.topic, body, key=key, headers=headers, partition=partition)
        return int(sent.offset)

    async def announce(
        self,
        *portfolios: UUID,
        sessions: int | Sequence[date] = 2,
        headers: Mapping[str, bytes | None] = {},
        partition: int = 0,
    ) -> int:
        """A good DateDue of these portfolios."""
        days = SESSIONS[:sessions] if isinstance(sessions, int) else sessions
        listed = ", ".join(f'"{portfolio}"' for portfolio in portfolios)
        body = f'{{"work": {{"portfolios": [{listed}], "from": "{days[0]}", "to": "{days[-1]}"}}}}'
        merged = {"ce_type": b"leadline.DateDue.v1", "ce_id": str(uuid4()).encode(), **headers}
        return await self.send(body.encode(), list(merged.items()), partition=partition)

    async def position(self) -> tuple[int, int]:
        """Committed offset of the group, and end of the topic."""
        partition = TopicPartition(self.topic, 0)
        group = f"{self.settings.kafka_namespace}leadline-toy"
        committed = await self.admin.list_consumer_group_offsets(group, partitions=[partition])
        ends = await self.reader.end_offsets([partition])
        return max(0, committed[partition].offset if partition in committed else 0), int(ends[partition])

    async def drained(self, within: float = 40.0) -> int:
        """Wait until the group has committed everything; returns the end."""
        until = asyncio.get_running_loop().time() + within
        while True:
            committed, end = await self.position()
            if committed == end:
                return end
            assert asyncio.get_running_loop().time() < until, f"committed {committed} of {end}"
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def wire(settings: ServiceSettings) -> AsyncIterator[Wire]:
    """Topics made, a producer that lets anything through."""
    await ensure_topics(settings)
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka, max_request_size=4 * 1024 * 1024, compression_type="gzip"
    )
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    reader = AIOKafkaConsumer(bootstrap_servers=settings.kafka)
    async with contextlib.AsyncExitStack() as stack:
        for client, close in ((producer, producer.stop), (admin, admin.close), (reader, reader.stop)):
            await client.start()
            stack.push_async_callback(close)
        yield Wire(settings, producer, admin, reader)


async def killed(settings: ServiceSettings, point: str) -> None:
    """Run the service as a process until it has died by SIGKILL at its crash point; what it held stays held."""
    environment = {
        **os.environ,
        "LEADLINE_DATABASE_URL": settings.database_url,
        "LEADLINE_KAFKA": settings.kafka,
        "LEADLINE_KAFKA_NAMESPACE": settings.kafka_namespace,
        "LEADLINE_KAFKA_IDEMPOTENCE": str(settings.kafka_idempotence),
        "LEADLINE_AS_OF": str(SESSIONS[-1]),
        "LEADLINE_CRASH_AT": point,
    }
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        try:
            code = await asyncio.wait_for(asyncio.to_thread(forks.run, environment, log), 60)
        except TimeoutError:
            forks.stop()
            raise
        assert code == -signal.SIGKILL, log.read_text()[-2000:]


async def replay(conn: AsyncConnection, letter: int) -> None:
    """As a person does, through the coordinator, whose relay sends it. There is none here: the row becomes the service's own."""
    assert await dead_letters.replay(conn, letter)
    await conn.execute(
        text("UPDATE bus.outbox SET written_by = :role WHERE sent_at IS NULL"), {"role": role_of("ingest")}
    )


async def forget_leases(admin: AsyncEngine) -> None:
    """As if half a minute had passed: what a dead holder held is free."""
    async with admin.begin() as conn:
        await conn.execute(text("UPDATE ledger.schedule SET lease_until = lease_until - interval '1 minute'"))


async def main() -> None:
    """Run until killed, settings from the environment. That it is dead is noticed sooner than in production."""
    consumer.SESSION_TIMEOUT_MS = SESSION_TIMEOUT_MS
    async with running(ServiceSettings(), Worker()):
        await asyncio.Event().wait()
