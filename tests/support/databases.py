"""A real PostgreSQL for the tests: one server a session, one migrated template, a fresh copy for each test that wants its own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import asyncpg
from alembic import command
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

from deploy.embedded import postgres as embedded
from shared.db import migrate
from shared.db.migrate import upgrade
from shared.db.roles import LOGINS, SERVICES, role_of
from shared.errors import ConfigurationError
from tests.support import scratch
from tests.support.brokers import docker_works

# Processes that share one given server make one each.
TEMPLATE = f"leadline_template_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
DOCKER_IMAGE = "postgres:18"
PASSWORDS: Mapping[str, str] = {name: f"test-{name}" for name in LOGINS}
GIVEN = "given"
T = TypeVar("T")
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Server:
    """A running PostgreSQL, as its administrator sees it."""

    admin_url: str
    described: str
    stop: Callable[[], None]
    # What stands behind a role's address: how it proves who it is beside its password.
    query: Callable[[str], Mapping[str, str]] = lambda _: {}

    def url(self, database: str, *, service: str | None = None) -> str:
        """Address of a database, for the administrator or as a service's own role."""
        url = make_url(self.admin_url).set(database=database)
        if service is not None:
            role = role_of(service)
            url = url.set(username=role, password=PASSWORDS[service], query=self.query(role))
        return url.render_as_string(hide_password=False)


@dataclass(frozen=True)
class Database:
    """A migrated database of its own."""

    name: str
    server: Server

    @property
    def admin_url(self) -> str:
        return self.server.url(self.name)

    def url(self, service: str) -> str:
        """Address as `service` connects: with its own role, so that grants are part of what is tested."""
        return self.server.url(self.name, service=service)

    @property
    def urls(self) -> dict[str, str]:
        return {service: self.url(service) for service in SERVICES}


def start(state: Path) -> Server:
    """`LEADLINE_TEST_DATABASE_URL` (an administrator's) if set, Docker if the broker is asked from there, else the wheel."""
    given = os.environ.get("LEADLINE_TEST_DATABASE_URL", "")
    if given:
        return Server(given, GIVEN, lambda: None)
    asked = os.environ.get("LEADLINE_TEST_BROKER", "")
    if asked == "docker" or (not asked and not os.environ.get("LEADLINE_TEST_KAFKA") and docker_works()):
        return _docker()
    running = embedded.serve(state / "postgres", throw_away=True)
    return Server(running.url("postgres"), f"PostgreSQL from the wheel, port {running.port}", running.stop)


def _docker() -> Server:
    from testcontainers.community.postgres import PostgresContainer

    try:
        # As the wheel's server of the tests: many connections, and a disk that nobody waits for.
        shared = ("max_connections", "jit", "max_parallel_workers_per_gather")
        given = {name: embedded.SETTINGS[name] for name in shared} | embedded.THROW_AWAY_SETTINGS
        options = " ".join(f"-c {name}={value}" for name, value in given.items())
        container = PostgresContainer(DOCKER_IMAGE, driver=None).with_command(f"postgres {options}")
        container.start()
    except Exception as error:  # Docker fails in as many ways as it has parts
        raise ConfigurationError(f"Docker could not run {DOCKER_IMAGE}: {error}") from error
    return Server(container.get_connection_url(), f"PostgreSQL in Docker ({DOCKER_IMAGE})", container.stop)


def make_template(server: Server) -> None:
    """Migrate the database that all others are copied from.

    Roles belong to the whole server: two processes that migrate on one at once would meet in `ALTER ROLE`.
    """

    async def make() -> None:
        await execute(
            server.admin_url, f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)", f"CREATE DATABASE {TEMPLATE}"
        )
        await upgrade(server.url(TEMPLATE), PASSWORDS)

    with scratch.one_at_a_time("template") if server.described == GIVEN else contextlib.nullcontext():
        in_thread(make)


def fresh_name() -> str:
    """A name of a database that no other process of the suite uses."""
    return f"leadline_test_{os.getpid()}_{next(_numbers)}"


async def create(server: Server) -> Database:
    """A fresh copy of the template. `drop` it afterwards."""
    name = fresh_name()
    # The other strategy writes 15 MB to the journal each time: twice as slow where nothing is ever flushed.
    await execute(server.admin_url, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    return Database(name, server)


async def create_empty(server: Server) -> Database:
    """A database that nobody migrated. `drop` it afterwards."""
    name = fresh_name()
    await execute(server.admin_url, f"CREATE DATABASE {name}")
    return Database(name, server)


async def drop(database: Database) -> None:
    await execute(database.server.admin_url, f"DROP DATABASE IF EXISTS {database.name} WITH (FORCE)")


async def execute(url: str, *statements: str) -> None:
    """Run statements outside a transaction, as CREATE DATABASE wants it."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def act_as(conn: AsyncConnection, service: str | None) -> None:
    """Continue the transaction with a service's rights; None for the administrator's again."""
    await conn.execute(text("RESET ROLE" if service is None else f"SET LOCAL ROLE {role_of(service)}"))


def in_thread(make: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine from a fixture that is not one, without touching the session's loop."""
    results: list[T] = []
    errors: list[BaseException] = []

    async def call() -> T:
        return await make()

    def run() -> None:
        try:
            results.append(asyncio.run(call()))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


async def upgrade_to(conn: AsyncConnection, revision: str) -> None:
    """The schema as it was at a revision."""

    def go(connection: Connection) -> None:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    await conn.run_sync(go)
