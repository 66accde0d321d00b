"""One running Leadline for the flow tests that share it; portfolios keep them apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.engine import create_engine
from shared.settings import ServiceSettings
from tests.flow import toy
from tests.flow.holdings import book
from tests.flow.toy import Wire
from tests.support import audit, databases, pipeline
from tests.support.brokers import TestBroker
from tests.support.databases import Database, Server
from tests.support.pipeline import Pipeline

AS_OF = date(2020, 12, 31)


@pytest.fixture(scope="package")
async def leadline(server: Server, broker: TestBroker) -> AsyncIterator[Pipeline]:
    """Five services on the bundled real prices, as of the last session of 2020."""
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
