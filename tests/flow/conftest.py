"""One running Leadline for the flow tests that share it; portfolios keep them apart.

With `LEADLINE_TEST_SECURED=1`, as `make secured` sets it, that is two replicas of each service as processes on secured servers, and
what does not run on it is left out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import date
from pathlib import Path
from typing import cast

import httpx2
import pytest
from aiokafka import AIOKafkaProducer
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.embedded.composition import Composition
from shared.db.engine import create_engine
from shared.messaging.broker import create_producer
from shared.settings import ServiceSettings
from tests.flow import toy
from tests.flow.holdings import book
from tests.flow.toy import Wire
from tests.support import audit, databases, pipeline, secured_run
from tests.support.brokers import TestBroker
from tests.support.databases import Database, Server
from tests.support.pipeline import Pipeline, Processes
from tests.support.secured import SecuredKafka
from tests.support.secured_fixtures import authority, restricted_kafka, secured_postgres

__all__ = ["authority", "restricted_kafka", "secured_postgres"]

AS_OF = date(2020, 12, 31)
# Looks into the process in which the services run.
OF_ONE_PROCESS = ("test_tracing.py", "test_benchmarks.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not secured_run.asked():
        return
    here = Path(__file__).parent
    left_out = [item for item in items if item.path.parent == here and not _runs_on_processes(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _runs_on_processes(item: pytest.Item) -> bool:
    return "leadline" in getattr(item, "fixturenames", ()) and item.path.name not in OF_ONE_PROCESS


@pytest.fixture(scope="package")
async def leadline(request: pytest.FixtureRequest, server: Server, broker: TestBroker) -> AsyncIterator[Pipeline]:
    """Five services on the bundled real prices, as of the last session of 2020."""
    if secured_run.asked():
        yield request.getfixturevalue("secured_leadline")
        return
    database = await databases.create(server)
    async with pipeline.running(database, broker, as_of=AS_OF) as running:
        yield running
    await databases.drop(database)


@pytest.fixture(scope="package")
async def portfolio(leadline: Pipeline) -> str:
    """A complete portfolio for those who only read."""
    created = await leadline.create(book())
    await leadline.complete(created)
    return created


@pytest.fixture(scope="package")
def secured_leadline(
    secured_postgres: Server, restricted_kafka: SecuredKafka, scratch_directory: Path
) -> Iterator[Pipeline]:
    """The same over HTTP: the second coordinator is asked, as an operator."""
    database = databases.in_thread(lambda: databases.create(secured_postgres))
    quick = {"LEADLINE_RECONCILE_SECONDS": "1", "LEADLINE_GRACE_SECONDS": "1", "LEADLINE_RATE_LIMIT": "0"}
    with (
        pytest.MonkeyPatch.context() as patched,
        secured_run.processes(database, restricted_kafka, scratch_directory, **quick) as running,
    ):
        # For what a test calls as a person does, on the command line.
        patched.setenv("LEADLINE_TOKEN", secured_run.TOKEN)
        url = running["coordinator-2"].url
        api = httpx2.AsyncClient(base_url=f"{url}/api/v1", timeout=60, headers=secured_run.BEARER)
        # Who looks further than the address is left out.
        services = cast("Composition", Processes(url))
        yield Pipeline(database, services, api, create_engine(database.admin_url, application="test", pool_size=4))
    databases.in_thread(lambda: databases.drop(database))


@pytest.fixture
async def producer(leadline: Pipeline, request: pytest.FixtureRequest) -> AsyncIterator[AIOKafkaProducer]:
    """Sends to the broker that the shared Leadline listens to, as somebody who may."""
    if secured_run.asked():
        settings = secured_run.administrator(request.getfixturevalue("restricted_kafka"), "")
    else:
        broker: TestBroker = request.getfixturevalue("broker")
        settings = ServiceSettings(kafka=broker.bootstrap, kafka_idempotence=broker.idempotence)
    async with create_producer(settings, service="test") as sends:
        yield sends


@pytest.fixture(autouse=True)
async def audited(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """After each test on the shared Leadline the ledger is what calendar and portfolios call for, whatever is still under way."""
    yield
    if "leadline" in request.fixturenames:
        running: Pipeline = request.getfixturevalue("leadline")
        audit.judge(await audit.drift(running.admin, AS_OF), request.node)


# --- of the tests on a toy service


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database.admin_url, application="test", pool_size=4)
    yield engine
    await engine.dispose()


@pytest.fixture
def settings(database: Database, broker: TestBroker) -> ServiceSettings:
    return toy.settings_for(database, broker)


@pytest.fixture
async def wire(settings: ServiceSettings) -> AsyncIterator[Wire]:
    async with toy.wire(settings) as connected:
        yield connected
