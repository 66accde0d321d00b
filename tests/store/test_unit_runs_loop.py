"""When the loop that keeps the runs of units brings them up to date: once changes have ceased, or have gone on for long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.control.unit_runs import UnitRunsLoop
from shared.db.engine import create_engine
from tests.support.databases import Database
from tests.support.ledger import SESSIONS, add


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database.admin_url, application="test", pool_size=2)
    yield engine
    await engine.dispose()


@pytest.fixture
async def coordinator(database: Database) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database.url("coordinator"), application="test", pool_size=2)
    yield engine
    await engine.dispose()


async def fall_due(admin: AsyncEngine) -> None:
    """Of one more portfolio a session: four units, and as many marks."""
    async with admin.begin() as conn:
        await add(conn, [uuid4()], SESSIONS[:1])


async def kept(admin: AsyncEngine) -> int:
    async with admin.connect() as conn:
        return int(await conn.scalar(text("SELECT count(*) FROM ledger.unit_runs")) or 0)


async def test_what_still_changes_is_left_until_it_has_ceased(admin: AsyncEngine, coordinator: AsyncEngine) -> None:
    loop = UnitRunsLoop(coordinator)
    assert await loop.look() == 0
    for portfolios in (1, 2):
        await fall_due(admin)
        assert await loop.look() == 0, portfolios
    assert await kept(admin) == 0
    assert await loop.look() == 8
    assert await kept(admin) == 8
    assert await loop.look() == 0


async def test_what_changes_for_long_is_not_left_for_ever(admin: AsyncEngine, coordinator: AsyncEngine) -> None:
    loop = UnitRunsLoop(coordinator, most_wait=0.0)
    await fall_due(admin)
    assert await loop.look() == 4
    await fall_due(admin)
    assert await loop.look() == 4
