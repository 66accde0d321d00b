"""The servers all tests share. Nothing starts until a test asks for it, so unit suites stay fast."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.db.engine import create_engine
from shared.errors import ConfigurationError
from tests.support import audit, brokers, databases, groups, report, scratch
from tests.support.brokers import TestBroker
from tests.support.databases import Database, Server

_choice = pytest.StashKey[brokers.Choice]()


def pytest_configure(config: pytest.Config) -> None:
    _keep_asyncio_from_the_interrupt()
    try:
        config.stash[_choice] = brokers.choose()
    except ConfigurationError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[report.used] = {}


def _keep_asyncio_from_the_interrupt() -> None:
    """Where nobody else handles SIGINT, `asyncio.Runner` does, with the running task in its handler; `signal` then makes an error text
    of that task twice a run, result and all. An async fixture is a run whose result is what it yields: of a market of forty symbols
    that is three megabytes of text, a quarter of a second each test."""
    if threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):
        signal.signal(signal.SIGINT, _interrupted)


def _interrupted(number: int, frame: FrameType | None) -> None:
    signal.default_int_handler(number, frame)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Before markers are chosen by (`-m unit`), and before the modules are dealt out."""
    placed = [(groups.place(item), item) for item in items]
    if hasattr(config, "workerinput"):
        rank = {name: number for number, name in enumerate(groups.in_order(name for name, _ in placed))}
        items[:] = [item for _, item in sorted(placed, key=lambda entry: rank[entry[0]])]


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [f"broker to use: {config.stash[_choice]}"]


def pytest_sessionfinish(session: pytest.Session) -> None:
    report.send(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A process of xdist has ended."""
    report.receive(node.config, getattr(node, "workeroutput", None), node.gateway.id)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in report.skipped_lines(terminalreporter.stats.get("skipped", [])) + report.closing_lines(config):
        terminalreporter.write_line(line)


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
    choice = pytestconfig.stash[_choice]
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
