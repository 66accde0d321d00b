"""Services as processes of their own, several of each, on copies of one database: what the parts about replicas share."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.engine import create_engine
from shared.messaging.consumer import group_id
from tests.support import compose, databases, pipeline
from tests.support.brokers import TestBroker
from tests.support.compose import Process
from tests.support.databases import PASSWORDS, Database

COMPUTING = ("ingest", "factors", "snapshots", "risk")
TOKEN = "a token of the benchmark's own"
# A multiple of 1, 2 and 4, so that each replica has as many partitions of a topic as the others.
PARTITIONS = 12
NEEDS_KAFKA = "needs Apache Kafka (Java and Maven, or Docker): the embedded broker is for one process of each service"
_JOINED_SECONDS = 60.0


class Administrator:
    """A database as its superuser sees it."""

    def __init__(self, url: str) -> None:
        self.engine: AsyncEngine = create_engine(url, application="bench", pool_size=2)

    async def query(self, statement: str, **parameters: Any) -> list[Any]:
        async with self.engine.connect() as conn:
            return list(await conn.execute(text(statement), parameters))

    async def execute(self, statement: str, **parameters: Any) -> None:
        async with self.engine.begin() as conn:
            await conn.execute(text(statement), parameters)


@dataclass(frozen=True)
class Site:
    """Where processes are started: one database, one namespace of the broker, one folder of logs.

    variables : of the compose file
    beside    : those that it does not know
    """

    database: Database
    broker: TestBroker
    folder: Path
    variables: Mapping[str, str]
    beside: Mapping[str, str]

    @classmethod
    def of(
        cls, database: Database, broker: TestBroker, folder: Path, as_of: date, beside: Mapping[str, str], **more: str
    ) -> Site:
        given = {f"LEADLINE_{name.upper()}_PASSWORD": password for name, password in PASSWORDS.items()}
        given |= {"LEADLINE_MIGRATOR_PASSWORD": "unused", "POSTGRES_PASSWORD": "unused", "LEADLINE_TOKEN": TOKEN}
        given |= {"LEADLINE_AS_OF": as_of.isoformat(), "LEADLINE_KAFKA_NAMESPACE": f"{database.name}."}
        # Seventeen processes are connected to a server that lets two hundred in.
        given |= {"LEADLINE_KAFKA_PARTITIONS": str(PARTITIONS), "LEADLINE_POOL_SIZE": "4", "LEADLINE_RATE_LIMIT": "0"}
        return cls(database, broker, folder, given | more, beside)

    @contextmanager
    def computing(self, replicas: Mapping[str, int]) -> Iterator[dict[str, Process]]:
        """So many processes of each computing service, once all of them share the partitions of their group."""
        with ExitStack() as stack:
            running: dict[str, Process] = {}
            jobs: tuple[str, ...] = ("topics",)
            for count in sorted(set(replicas.values())):
                services = [service for service in COMPUTING if replicas[service] == count]
                running |= stack.enter_context(self._up(services, count, jobs))
                jobs = ()
            asyncio.run(self._joined(replicas))
            try:
                yield running
            finally:
                # Each takes a moment to end: all at once, then one after the other is waited for.
                for process in running.values():
                    process.child.process.terminate()

    @contextmanager
    def coordinator(self) -> Iterator[Process]:
        """It looks what is due as it starts."""
        with self._up(["coordinator"], 1, ()) as running:
            yield running["coordinator"]

    @contextmanager
    def _up(self, services: list[str], replicas: int, jobs: Sequence[str]) -> Iterator[dict[str, Process]]:
        with compose.up(
            self.folder, variables=self.variables, database=self.database, broker=self.broker, services=services,
            replicas=replicas, jobs=jobs, beside=self.beside,
        ) as running:  # fmt: skip
            yield running

    async def _joined(self, replicas: Mapping[str, int]) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        await admin.start()
        try:
            until = time.monotonic() + _JOINED_SECONDS
            for service, count in replicas.items():
                group = group_id(service, str(self.variables["LEADLINE_KAFKA_NAMESPACE"]))
                while (found := await _members(admin, group)) != ("Stable", count):
                    if time.monotonic() > until:
                        raise RuntimeError(f"of {count} replicas of {service} the broker says {found}")
                    await asyncio.sleep(0.2)
        finally:
            await admin.close()


async def _members(admin: AIOKafkaAdminClient, group: str) -> tuple[str, int]:
    """State of a group, and how many are in it."""
    [answer] = await admin.describe_consumer_groups([group])
    [(_, _, state, _, _, members, *_)] = answer.groups
    return str(state), len(members)


def completed(folder: Path) -> dict[str, dict[str, int]]:
    """By service, the units that each of its replicas completed, from their logs: what a killed one did stands there too."""
    found: dict[str, dict[str, int]] = {}
    for log in sorted(folder.glob("*.log"), key=lambda log: int(log.stem.partition("-")[2] or 1)):
        service = log.stem.partition("-")[0]
        if service in COMPUTING:
            units = sum(line.get("raised", 0) for line in _lines(log) if line.get("event") == "batch_done")
            found.setdefault(service, {})[log.stem] = units
    return found


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    for line in log.read_text(errors="replace").splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def told(shares: Mapping[str, Mapping[str, int]]) -> str:
    """What each replica did, in the order of their numbers."""
    return "; ".join(f"{service} {' + '.join(str(units) for units in of.values())}" for service, of in shares.items())


def busiest(shares: Mapping[str, int]) -> float:
    """Share of the replica that did most."""
    return max(shares.values()) / (sum(shares.values()) or 1)


async def copy(prepared: Database) -> Database:
    """A database with all that is in a prepared one, to which nobody may be connected."""
    name = databases.fresh_name()
    await databases.execute(
        prepared.server.admin_url, f"CREATE DATABASE {name} TEMPLATE {prepared.name} STRATEGY file_copy"
    )
    return Database(name, prepared.server)


async def digests(admin: Administrator) -> dict[str, str]:
    """A hash of every stored digit of results and facts, by table."""
    statements = {
        table: f"SELECT {columns} FROM {table} ORDER BY portfolio_id, session"
        for table, columns in pipeline.RESULTS.items()
    } | {
        table: f"SELECT s.symbol, {columns} FROM {table} JOIN ingest.symbols s ON s.id = symbol_id ORDER BY s.symbol, session"
        for table, columns in pipeline.FACTS.items()
    }
    found = {}
    for table, statement in statements.items():
        [(rows, digest)] = await admin.query(
            f"SELECT count(*), md5(string_agg(md5(CAST(row AS text)), '')) FROM ({statement}) AS row"
        )
        if not rows:
            raise RuntimeError(f"{table} is empty: there is nothing to compare")
        found[table] = f"{rows} rows, {digest}"
    return found


def assert_equal(one: Mapping[str, str], other: Mapping[str, str], what: str) -> None:
    """Raises `AssertionError` with the tables that differ."""
    differ = [f"{table}: {one[table]} / {other[table]}" for table in one if one[table] != other[table]]
    assert not differ, f"{what} differ: {'; '.join(differ)}"
