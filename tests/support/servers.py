"""The servers all tests share. Nothing starts until a test asks for it, so unit suites stay fast.

A plugin that tests/conftest.py loads where tests run: the process that only hands them out has no use for a database's driver.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from deploy.embedded import broker as embedded_broker
from deploy.embedded import postgres as embedded_postgres
from deploy.kafka import kafka as apache
from shared.db.engine import create_engine
from tests.support import audit, brokers, databases, groups, report, scratch
from tests.support.brokers import TestBroker
from tests.support.databases import Database, Server

# Name of the test that runs, if it was given the marker of those that start no server.
_starts_none: list[str] = []


def pytest_configure() -> None:
    for module in (embedded_postgres, embedded_broker, apache):
        module.serve = _unless_it_is_to_start_none(module.serve)  # type: ignore[attr-defined]


def _unless_it_is_to_start_none(serve: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(serve)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        assert not _starts_none, (
            f"{_starts_none[0]} starts a server, and `make unit` runs what starts none: ask for `scratch_directory`"
        )
        return serve(*args, **kwargs)

    return guarded


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    _starts_none[:] = [item.nodeid] if item.get_closest_marker(groups.UNIT) else []


@pytest.fixture(scope="session")
def scratch_directory() -> Iterator[Path]:
    scratch.sweep()
    directory = scratch.create()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def server(scratch_directory: Path, pytestconfig: pytest.Config) -> Iterator[Server]:
    """PostgreSQL with a migrated template."""
    running = databases.start(scratch_directory)
    report.note(pytestconfig, "database", running.described)
    try:
        databases.make_template(running)
        yield running
    finally:
        running.stop()


@pytest.fixture
async def database(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """A migrated database of the test's own: for services in other processes and for transactions that must commit.

    What a test leaves in it is audited.
    """
    created = await databases.create(server)
    yield created
    try:
        await audit.check(created, request.node)
    finally:
        await databases.drop(created)


@pytest.fixture(scope="session")
async def shared_engine(server: Server) -> AsyncIterator[AsyncEngine]:
    """Administrator's engine on the one database of all rolled-back tests."""
    created = await databases.create(server)
    engine = create_engine(created.admin_url, application="leadline-tests", pool_size=4)
    yield engine
    await engine.dispose()
    await databases.drop(created)


@pytest.fixture
async def db(shared_engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection in a transaction that is rolled back. Administrator; `databases.act_as` takes a service's rights."""
    async with shared_engine.connect() as conn:
        transaction = await conn.begin()
        yield conn
        await transaction.rollback()


@pytest.fixture(scope="session")
def broker(scratch_directory: Path, pytestconfig: pytest.Config) -> Iterator[TestBroker]:
    """The Kafka-protocol broker of this session."""
    choice = pytestconfig.stash[brokers.chosen]
    running = brokers.start(choice, scratch_directory)
    report.note(pytestconfig, "broker", running.described)
    if choice.notes:
        report.note(pytestconfig, "broker, why", "; ".join(choice.notes))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def kafka(broker: TestBroker) -> str:
    """Bootstrap address of the broker."""
    return broker.bootstrap


@pytest.fixture(scope="session")
def apache_kafka(broker: TestBroker) -> TestBroker:
    """Apache Kafka itself; a test of what the embedded broker does not do is skipped on it."""
    if broker.kind == "embedded":
        pytest.skip(
            "the embedded broker has no idempotent producer and forgets everything on restart: needs Apache Kafka"
        )
    return broker
