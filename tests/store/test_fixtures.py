"""What the other store tests stand on: a migrated database, undone after each test, with the services' own rights."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import create_engine
from shared.db.roles import SERVICES, role_of
from tests.support.databases import Database, act_as

INSERT = "INSERT INTO coordinator.portfolios (name, account_type, equity_balance) VALUES ('a', 'taxable', 1)"


@pytest.mark.parametrize("time", ["first", "second"])
async def test_what_a_test_writes_is_rolled_back(db: AsyncConnection, time: str) -> None:
    assert await db.scalar(text("SELECT count(*) FROM coordinator.portfolios")) == 0, time
    await db.execute(text(INSERT))
    assert await db.scalar(text("SELECT count(*) FROM coordinator.portfolios")) == 1


async def test_a_service_may_not_write_what_it_does_not_own(db: AsyncConnection) -> None:
    await act_as(db, "risk")
    assert await db.scalar(text("SELECT count(*) FROM coordinator.portfolios")) == 0
    with pytest.raises(ProgrammingError, match="permission denied"):
        await db.execute(text(INSERT))


@pytest.mark.parametrize("service", SERVICES)
async def test_each_service_connects_as_its_own_role(database: Database, service: str) -> None:
    engine = create_engine(database.url(service), application="test", pool_size=4)
    async with engine.connect() as conn:
        assert await conn.scalar(text("SELECT current_user")) == role_of(service)
    await engine.dispose()
