"""One running Leadline for the flow tests that share it; portfolios keep them apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date

import pytest

from tests.support import audit, databases, pipeline
from tests.support.brokers import TestBroker
from tests.support.databases import Server
from tests.support.pipeline import Pipeline

AS_OF = date(2020, 12, 31)


@pytest.fixture(scope="session")
async def leadline(server: Server, broker: TestBroker) -> AsyncIterator[Pipeline]:
    """Five services on the bundled real prices, as of the last session of 2020."""
    database = await databases.create(server)
    async with pipeline.running(database, broker, as_of=AS_OF) as running:
        yield running
    await databases.drop(database)


@pytest.fixture(autouse=True)
async def audited(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """After each test on the shared Leadline the ledger is what calendar and portfolios call for, whatever is still under way."""
    yield
    if "leadline" in request.fixturenames:
        running: Pipeline = request.getfixturevalue("leadline")
        audit.judge(await audit.drift(running.admin, AS_OF), request.node)
