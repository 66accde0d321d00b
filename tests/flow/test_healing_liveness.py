"""Liveness that tells the truth: a consumer that died, stands still or fails at everything is seen, and the process ends itself.

`broker.ping()` answers as before in all of these cases.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

import shared.service
from deploy.embedded.process import free_port
from shared.application import create_service_app
from shared.errors import ConfigurationError
from shared.events.envelope import WorkEvent
from shared.events.topics import DATE_DUE
from shared.messaging import breaker, dead_letters, monitor
from shared.messaging.breaker import WINDOW
from shared.phase.runner import PhaseRunner
from shared.service import EXIT_STUCK, Service
from shared.settings import ServiceSettings
from tests.flow import toy
from tests.flow.toy import Wire, Worker
from tests.support import databases, pipeline
from tests.support.brokers import TestBroker
from tests.support.databases import Database, Server

pytestmark = pytest.mark.kafka
ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(database: Database, broker: TestBroker) -> ServiceSettings:
    return toy.settings_for(database, broker).model_copy(update={"exit_when_stuck": False})


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.service, "SUPERVISION_SECONDS", 0.1)
    monkeypatch.setattr(monitor, "PERIOD_SECONDS", 0.3)
    monkeypatch.setattr(monitor, "STALL_SECONDS", 2.0)


async def health(service: Service) -> tuple[int, int, dict[str, Any]]:
    """Status of livez and of readyz, and what the latter says."""
    transport = httpx2.ASGITransport(app=create_service_app(service, title="Toy"))
    async with httpx2.AsyncClient(transport=transport, base_url="http://toy") as client:
        live, ready = await client.get("/livez"), await client.get("/readyz")
    return live.status_code, ready.status_code, dict(ready.json()["checks"])


async def count(admin: AsyncEngine, statement: str) -> int:
    async with admin.connect() as conn:
        return int(await conn.scalar(text(statement)) or 0)


async def test_a_consumer_whose_task_ended_is_seen_and_the_service_fails(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire
) -> None:
    await toy.prepare(admin, 1)
    async with toy.running(settings, Worker()) as service:
        assert (await health(service))[:2] == (200, 200)
        for subscriber in service.broker.subscribers:
            for task in subscriber.tasks:  # type: ignore[attr-defined]
                task.cancel()
        await asyncio.wait_for(service.failed.wait(), 40)
        live, ready, checks = await health(service)
        assert (live, ready) == (503, 503)
        assert "no task reads" in checks["consumers"]
        assert "no task reads" in service.failure


async def test_a_consumer_that_stands_still_while_messages_wait_is_seen(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire
) -> None:
    [portfolio] = await toy.prepare(admin, 1)
    async with toy.running(settings, Worker()) as service:
        await wire.announce(portfolio)
        await wire.drained()
        [subscriber] = service.broker.subscribers
        consumer = subscriber.consumer  # type: ignore[attr-defined]
        consumer.pause(*consumer.assignment())
        await asyncio.sleep(0.5)
        for _ in range(3):
            await wire.announce(portfolio)
        await asyncio.wait_for(service.failed.wait(), 40)
        assert "messages wait" in service.failure
        consumer.resume(*consumer.assignment())
        await wire.drained()
        # It reads again.
        await until(lambda: _now(service.problems() == []))


async def test_a_consumer_that_fails_at_everything_stops_and_says_so(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire
) -> None:
    """Garbage before it stops nothing; nor is anything lost: what was not read is read after the restart, the rest replayed."""
    portfolios = await toy.prepare(admin, WINDOW + 10)
    for _ in range(WINDOW + 10):
        await wire.send(b"garbage", [("ce_type", b"leadline.DateDue.v1")])
    for portfolio in portfolios:
        await wire.announce(portfolio)

    async def broken(*_: Any) -> None:
        raise ValueError("a release that cannot work")

    async with toy.running(settings, Worker(), broken) as service:
        await until(lambda: _now(service.guard.limit.tripped is not None))
        live, ready, checks = await health(service)
        assert (live, ready) == (200, 503), "restarting it would only go on emptying the topic"
        assert "went to the dead letters" in checks["consumers"]
        committed, end = await wire.position()
        await asyncio.sleep(1.0)
        assert (await wire.position())[0] == committed < end
    failed = "SELECT count(*) FROM bus.dead_letters WHERE reason = 'handler_failed'"
    assert await count(admin, failed) <= WINDOW

    async with toy.running(settings, Worker()):
        await wire.drained()
        async with admin.begin() as conn:
            for letter in await dead_letters.page(conn, limit=500, reason="handler_failed"):
                await toy.replay(conn, letter.id)
        missing = "SELECT count(*) FROM ledger.units WHERE phase = 'ingest' AND completed_revision < required_revision"
        await until(lambda: _none(admin, missing))


@pytest.mark.parametrize("reason", ["invalid_body", "unknown_type", "unknown_version"])
async def test_a_consumer_that_cannot_read_what_our_own_outbox_sends_stops(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire, reason: str
) -> None:
    """A deploy that broke what is said or what is understood. The same from a stranger, with our headers, stops nothing."""
    await toy.prepare(admin, 1)
    declared = {
        "invalid_body": "leadline.DateDue.v1",
        "unknown_type": "leadline.DateDone.v1",
        "unknown_version": "leadline.DateDue.v2",
    }[reason]

    def headers() -> dict[str, str]:
        return {"ce_type": declared, "ce_id": str(uuid4()), "ce_source": "/leadline/coordinator"}

    for _ in range(WINDOW + 10):
        await wire.send(b'{"other": 1}', [(name, value.encode()) for name, value in headers().items()])
    async with toy.running(settings, Worker()) as service:
        await wire.drained()
        assert service.guard.limit.tripped is None
        async with admin.begin() as conn:
            for _ in range(WINDOW + 10):
                own = headers()
                await conn.execute(
                    text("""INSERT INTO bus.outbox (event_id, topic, type, payload, headers, written_by)
                            VALUES (:id, :topic, :type, '{"other": 1}', CAST(:headers AS jsonb), 'leadline_ingest')"""),
                    {"id": UUID(own["ce_id"]), "topic": DATE_DUE, "type": declared, "headers": json.dumps(own)},
                )
        service.wake_relay()
        await until(lambda: _now(service.guard.limit.tripped is not None))
        assert f"last: {reason}" in str(service.guard.limit.tripped)


async def test_a_consumer_that_stopped_goes_on_once_a_message_succeeds(
    admin: AsyncEngine, settings: ServiceSettings, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was broken is mended outside the process, or a newer release has gone: nobody has to restart anything."""
    monkeypatch.setattr(breaker, "FIRST_PAUSE_SECONDS", 0.5)
    monkeypatch.setattr(breaker, "LONGEST_PAUSE_SECONDS", 1.0)
    portfolios = await toy.prepare(admin, WINDOW + 10)
    for portfolio in portfolios:
        await wire.announce(portfolio)
    broken = True

    async def handler(event: WorkEvent, runner: PhaseRunner) -> None:
        if broken:
            raise ValueError("a grant is missing")
        await toy.run_event(event, runner)

    async with toy.running(settings, Worker(), handler) as service:
        await until(lambda: _now(service.guard.limit.tripped is not None))
        committed, _ = await wire.position()
        await until(lambda: _moved(wire, committed))
        live, ready, _ = await health(service)
        assert (live, ready) == (200, 503), "one that fails again changes nothing"
        broken = False
        await wire.drained()
        assert service.guard.limit.tripped is None
        live, ready, _ = await health(service)
        assert (live, ready) == (200, 200)
    failed = await count(admin, "SELECT count(*) FROM bus.dead_letters WHERE reason = 'handler_failed'")
    written = await count(admin, "SELECT count(DISTINCT portfolio_id) FROM ingest.toy")
    assert failed + written == len(portfolios), "each message was handled or put aside"
    assert written >= 1


async def _moved(wire: Wire, position: int) -> bool:
    return (await wire.position())[0] > position


async def test_a_service_that_cannot_go_on_ends_the_composition(server: Server, broker: TestBroker) -> None:
    """Embedded, nobody starts one of five services anew."""
    database = await databases.create(server)
    with pytest.raises(ConfigurationError, match="risk service cannot go on: stuck"):
        await _fail_one(database, broker)
    await databases.drop(database)


async def _fail_one(database: Database, broker: TestBroker) -> None:
    async with pipeline.running(database, broker, as_of=date(2020, 12, 31)) as leadline:
        service = leadline.services.apps["risk"].state.service
        assert service.settings.exit_when_stuck is False
        service.failure = "stuck"
        service.failed.set()
        await asyncio.wait_for(leadline.services.stopped.wait(), 40)


async def test_a_background_task_that_ends_with_an_error_is_logged_and_named(
    settings: ServiceSettings, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[dict[str, Any]] = []
    monkeypatch.setattr(shared.service.log, "error", lambda event, **fields: logged.append({"event": event, **fields}))

    async def loses() -> None:
        raise ConfigurationError("prices.csv, column date, row 3: 'soon' is not a date")

    service = toy.build(settings, Worker())
    service.background.append(loses)
    async with service.lifespan():
        await until(lambda: _now(bool(service.ended_tasks())))
        named = "task ingest-loop ended: prices.csv, column date, row 3: 'soon' is not a date"
        assert service.problems() == [named]
        transport = httpx2.ASGITransport(app=create_service_app(service, title="Toy"))
        async with httpx2.AsyncClient(transport=transport, base_url="http://toy") as client:
            live = await client.get("/livez")
        assert (live.status_code, live.json()["problems"]) == (503, [named])
    assert [(line["event"], type(line["exc_info"])) for line in logged] == [("task_ended", ConfigurationError)]


async def test_a_composition_with_a_service_that_cannot_go_on_is_not_waited_for(
    server: Server, broker: TestBroker, tmp_path: Path
) -> None:
    (tmp_path / "bad.csv").write_text("symbol,date,close\nAAPL,soon,1\n")
    database = await databases.create(server)
    began = asyncio.get_running_loop().time()
    with pytest.raises(ConfigurationError, match=r"ingest service cannot go on.*'soon' is not a date"):
        async with pipeline.running(database, broker, as_of=date(2020, 12, 31), data=tmp_path / "bad.csv"):
            pytest.fail("it started")
    assert asyncio.get_running_loop().time() - began < 45
    await databases.drop(database)


@pytest.fixture
async def process(
    database: Database, broker: TestBroker, admin: AsyncEngine, wire: Wire, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The toy service as a process behind uvicorn, ready; and its address."""
    await toy.prepare(admin, 1)
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "LEADLINE_DATABASE_URL": database.url("ingest"),
        "LEADLINE_KAFKA": broker.bootstrap,
        "LEADLINE_KAFKA_NAMESPACE": f"{database.name}.",
        "LEADLINE_KAFKA_IDEMPOTENCE": str(broker.idempotence).lower(),
        "LEADLINE_DRAIN_SECONDS": "1.5",
        "LEADLINE_LOG_LEVEL": "WARNING",
        **request.param,
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "uvicorn", "--factory", "tests.flow.healing_service:create_app", "--port", str(port),
        cwd=ROOT, env=environment,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        await until(lambda: _ready(url))
        yield child, url
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def until(condition: Callable[[], Awaitable[bool]], within: float = 40.0) -> None:
    deadline = asyncio.get_running_loop().time() + within
    while not await condition():
        assert asyncio.get_running_loop().time() < deadline, "too late"
        await asyncio.sleep(0.05)


async def _now(value: bool) -> bool:
    return value


async def _none(admin: AsyncEngine, statement: str) -> bool:
    return await count(admin, statement) == 0


async def _ready(url: str) -> bool:
    return await _status(url) == 200


async def _changes(url: str) -> bool:
    return await _status(url) != 200


async def _status(url: str) -> int:
    try:
        async with httpx2.AsyncClient() as client:
            return int((await client.get(f"{url}/readyz", timeout=5)).status_code)
    except httpx2.TransportError:
        return 0


@pytest.mark.parametrize("process", [{"LEADLINE_TOY_SLOW": "4"}], indirect=True)
async def test_sigterm_in_the_middle_of_a_handler_finishes_it_and_commits(
    admin: AsyncEngine, wire: Wire, process: tuple[asyncio.subprocess.Process, str]
) -> None:
    """Bug 16: a deploy kills nothing half-way, and repeats nothing. `/readyz` fails while the port still answers."""
    child, url = process
    [portfolio] = [row[0] for row in await _rows(admin, "SELECT DISTINCT portfolio_id FROM ledger.units")]
    await wire.announce(portfolio)
    await until(
        lambda: _none(admin, "SELECT count(*) FROM ledger.schedule WHERE phase = 'ingest' AND lease_owner IS NULL")
    )
    child.send_signal(signal.SIGTERM)
    # The signal is noticed in its own time; the handler, who sleeps for seconds, is still at it then.
    await until(lambda: _changes(url))
    assert await _status(url) == 503, "traffic goes elsewhere before the port closes"
    assert await count(admin, "SELECT count(*) FROM ingest.toy") == 0, "the handler is still at it"
    assert await asyncio.wait_for(child.wait(), 60) is not None
    rows = await _rows(admin, "SELECT times FROM ingest.toy")
    assert [row[0] for row in rows] == [1, 1], "finished, once"
    committed, end = await wire.position()
    assert committed == end == 1, "and acknowledged: nobody does it again"
    assert await count(admin, "SELECT count(*) FROM ledger.schedule WHERE lease_owner IS NOT NULL") == 0
    assert await count(admin, "SELECT count(*) FROM bus.outbox WHERE sent_at IS NULL") == 0, "and announced"


@pytest.mark.parametrize("process", [{"LEADLINE_TOY_LOSES": "consumer"}], indirect=True)
async def test_a_process_that_cannot_recover_ends_for_its_supervisor(
    process: tuple[asyncio.subprocess.Process, str],
) -> None:
    child, _ = process
    assert await asyncio.wait_for(child.wait(), 60) == EXIT_STUCK


async def _rows(admin: AsyncEngine, statement: str) -> list[Any]:
    async with admin.connect() as conn:
        return list(await conn.execute(text(statement)))
