"""Connections of the pool: one that no longer works is replaced before it is used, and one that just worked is not asked about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.db import engine as engines
from shared.db.engine import create_engine
from shared.db.tenancy import WHOLE_INSTALLATION, Sight, confine, use_sight
from tests.support.databases import Server


@pytest.fixture
async def engine(server: Server) -> AsyncIterator[AsyncEngine]:
    made = create_engine(server.admin_url, application="test-pool", pool_size=2)
    yield made
    await made.dispose()


@pytest.fixture
def pings(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was asked about."""
    asked: list[Any] = []
    ping = engine.dialect.do_ping

    def count(connection: Any) -> bool:
        asked.append(connection)
        return ping(connection)

    monkeypatch.setattr(engine.dialect, "do_ping", count)
    return asked


async def backend(engine: AsyncEngine) -> int:
    async with engine.connect() as conn:
        return int(await conn.scalar(text("SELECT pg_backend_pid()")) or 0)


async def test_a_connection_that_just_worked_is_not_asked_about_and_one_that_rested_is(
    engine: AsyncEngine, pings: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await backend(engine)
    assert [await backend(engine) for _ in range(5)] == [first] * 5
    assert pings == []
    monkeypatch.setattr(engines, "RESTED_SECONDS", 0.0)
    assert await backend(engine) == first
    assert len(pings) == 1


@pytest.mark.parametrize("rested", [0.0, 3600.0])
async def test_a_connection_whose_server_ended_it_is_replaced_before_it_is_used(
    engine: AsyncEngine, db: AsyncConnection, monkeypatch: pytest.MonkeyPatch, rested: float
) -> None:
    """However short it rested: that it was closed has arrived."""
    monkeypatch.setattr(engines, "RESTED_SECONDS", rested)
    ended = await backend(engine)
    async with asyncio.timeout(10):
        assert await db.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": ended})
        assert await backend(engine) != ended


async def test_what_a_transaction_is_told_goes_with_its_beginning_and_to_no_other(engine: AsyncEngine) -> None:
    told = text("SELECT current_setting('leadline.tenant', true)")
    confine(engine)
    mine, theirs = UUID(int=1), UUID(int=2)
    for tenant in (mine, theirs):
        with use_sight(Sight(tenant)):
            async with engine.begin() as conn:
                assert await conn.scalar(told) == str(tenant)
    with use_sight(Sight(mine)):
        async with engine.begin():
            pass  # no statement, so nothing has begun
    async with engine.connect() as conn:
        assert not await conn.scalar(told)
    with use_sight(WHOLE_INSTALLATION):
        async with engine.connect() as conn:
            assert await conn.scalar(told) == "*"
