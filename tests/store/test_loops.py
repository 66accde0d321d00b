"""Background loops outlive what is transient: a pool that is used up, a database that is read-only for a while."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import structlog
from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from services.coordinator.control.auditor import Auditor
from services.coordinator.control.reconciler import Reconciler, ReconcilerSettings
from services.coordinator.control.scheduler import Scheduler
from services.ingest.workflow import symbol_lease
from services.risk.app import _take_up
from services.risk.settings import RiskSettings
from services.risk.workflow import load_scenarios
from shared.clock import Clock
from shared.db.engine import acquire_commit_order_lock, create_engine, is_retried_by_loops, is_transient
from shared.messaging import relay
from shared.messaging.relay import Relay
from shared.service import Service
from tests.support.databases import Database
from tests.support.ledger import SESSIONS

CLOCK = Clock(SESSIONS[-1])
PERIOD = 0.1
Loop = Callable[[AsyncEngine], Awaitable[None]]


async def _take_up_of(engine: AsyncEngine) -> None:
    service = Service.build("risk", RiskSettings(database_url=engine.url.render_as_string(hide_password=False)))
    service.engine = engine
    await _take_up(service, load_scenarios(None))()


LOOPS: dict[str, tuple[str, Loop]] = {
    "reconciler": (
        "coordinator",
        lambda engine: Reconciler(engine, CLOCK, wake=lambda: None, pace=ReconcilerSettings(period=PERIOD)).run(),
    ),
    "scheduler": ("coordinator", lambda engine: Scheduler(engine, CLOCK, wake=lambda: None, period=PERIOD).run()),
    "auditor": ("coordinator", lambda engine: Auditor(engine, CLOCK, period=timedelta(seconds=PERIOD)).run()),
    "relay": ("coordinator", lambda engine: Relay(engine, None, service="test").run()),
    "claims": ("ingest", lambda engine: symbol_lease._renew(engine, "owner")),
    "scenarios": ("risk", _take_up_of),
}


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "BACKOFF_SECONDS", (PERIOD,))
    monkeypatch.setattr(symbol_lease, "RENEW_SECONDS", PERIOD)
    monkeypatch.setattr("services.risk.app.AGAIN_SECONDS", PERIOD)


@contextlib.asynccontextmanager
async def small_pool(database: Database, service: str) -> AsyncIterator[AsyncEngine]:
    """One connection for everything."""
    url = make_url(database.url(service)).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.2)
    yield engine
    await engine.dispose()


@contextlib.asynccontextmanager
async def going(loop: Loop, engine: AsyncEngine) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.ensure_future(loop(engine))
    try:
        yield task
    finally:
        # One cancellation is all a stop sends, whatever statement it cuts off.
        task.cancel()
        async with asyncio.timeout(20):
            await asyncio.gather(task, return_exceptions=True)


def errors(lines: list[Any]) -> list[str]:
    return [str(line["error"]) for line in lines if "error" in line]


class Turns:
    """What a loop does on an engine: how many errors it had logged each time it began a transaction."""

    def __init__(self, engine: AsyncEngine, lines: list[Any], name: str) -> None:
        self._lines = lines
        self._begun: list[int] = []
        # Scenarios are taken up once only.
        self._enough = 1 if name == "scenarios" else 3
        event.listen(engine.sync_engine, "begin", lambda _: self._begun.append(len(errors(lines))))

    async def healed(self, task: asyncio.Task[None]) -> None:
        """Wait until the loop has used the database several times in a row without an error."""
        async with asyncio.timeout(30):
            while True:
                assert not task.done(), task.exception()
                await asyncio.sleep(3 * PERIOD)
                if self._begun[-self._enough :] == [len(errors(self._lines))] * self._enough:
                    return


@pytest.mark.parametrize("name", LOOPS)
async def test_a_loop_outlives_a_pool_that_is_used_up(database: Database, name: str) -> None:
    """Every connection of the pool waits for the commit-order lock that a long import holds."""
    service, loop = LOOPS[name]
    admin = create_engine(database.admin_url, application="test", pool_size=2)
    async with small_pool(database, service) as engine, admin.connect() as importer:
        await acquire_commit_order_lock(importer)
        async with engine.connect() as held:
            await held.execute(text("SELECT 1"))
            with structlog.testing.capture_logs() as lines:
                turns = Turns(engine, lines, name)
                async with going(loop, engine) as task:
                    async with asyncio.timeout(30):
                        while not any("QueuePool limit" in error for error in errors(lines)):
                            assert not task.done(), task.exception()
                            await asyncio.sleep(PERIOD)
                    await asyncio.sleep(3 * PERIOD)
                    assert not task.done(), task.exception()
                    assert len(lines) < 20, "a line a turn"
                    await held.rollback()
                    await held.close()
                    await importer.rollback()
                    await turns.healed(task)
    await admin.dispose()


@pytest.mark.parametrize("name", ["reconciler", "relay", "claims", "scenarios"])
async def test_a_loop_outlives_a_database_that_is_read_only(database: Database, name: str) -> None:
    service, loop = LOOPS[name]
    admin = create_engine(database.admin_url, application="test", pool_size=2)
    async with admin.begin() as conn:
        await conn.execute(text(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on"))
    async with small_pool(database, service) as engine:
        with structlog.testing.capture_logs() as lines:
            turns = Turns(engine, lines, name)
            async with going(loop, engine) as task:
                async with asyncio.timeout(20):
                    while not any("read-only transaction" in error for error in errors(lines)):
                        assert not task.done(), task.exception()
                        await asyncio.sleep(0.05)
                await asyncio.sleep(0.5)
                assert not task.done(), task.exception()
                async with admin.begin() as conn:
                    await conn.execute(text("SET TRANSACTION READ WRITE"))
                    await conn.execute(text(f"ALTER DATABASE {database.name} RESET default_transaction_read_only"))
                await engine.dispose()
                await turns.healed(task)
    await admin.dispose()


async def test_a_used_up_pool_is_transient_and_a_missing_table_is_what_loops_wait_for(database: Database) -> None:
    async with small_pool(database, "coordinator") as engine:
        async with engine.connect():
            with pytest.raises(PoolTimeout) as used_up:
                await engine.connect().start()
        async with engine.connect() as conn:
            with pytest.raises(ProgrammingError) as missing:
                await conn.execute(text("SELECT * FROM ledger.of_a_later_migration"))
    assert not isinstance(used_up.value, TimeoutError), "SQLAlchemy's own"
    assert is_transient(used_up.value)
    assert is_retried_by_loops(missing.value)
    assert not is_transient(missing.value)
