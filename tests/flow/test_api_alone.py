"""The coordinator's HTTP side in a process without loops: what it commits is sent, and a turn that is asked for is made."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.app import create_api
from services.coordinator.settings import CoordinatorSettings
from shared.messaging.broker import ensure_topics
from shared.settings import ServiceSettings
from tests.flow.conftest import AS_OF
from tests.support.databases import Database
from tests.support.waiting import WITHIN_SECONDS

PORTFOLIO = {
    "name": "Alone", "account_type": "taxable", "currency": "USD", "equity_balance": 1000, "flows": [],
    "positions": [{"symbol": "KO", "quantity": 1, "entry_date": "2020-12-28", "entry_price": 53}],
}  # fmt: skip


async def sent(admin: AsyncEngine, kind: str) -> Any:
    """Whether an event of the kind was written and sent."""
    async with admin.connect() as conn:
        return await conn.scalar(
            text("SELECT bool_and(sent_at IS NOT NULL) FROM bus.outbox WHERE type LIKE :kind"), {"kind": f"%{kind}%"}
        )


async def until_sent(admin: AsyncEngine, kind: str) -> None:
    async with asyncio.timeout(WITHIN_SECONDS):
        while not await sent(admin, kind):  # noqa: ASYNC110 (the relay tells nobody)
            await asyncio.sleep(0.05)


@pytest.mark.kafka
async def test_what_it_commits_is_sent_and_a_turn_that_is_asked_for_is_made(
    database: Database, settings: ServiceSettings, admin: AsyncEngine
) -> None:
    await ensure_topics(settings)
    common = settings.model_dump(exclude={"database_url", "as_of", "drain_seconds"})
    app = create_api(
        CoordinatorSettings(
            **common,
            database_url=database.url("coordinator"),
            as_of=AS_OF,
            hosts=("test",),
            grace_seconds=0,
            drain_seconds=0,
        )
    )
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://test/api/v1") as client,
    ):
        created = await client.post("/portfolios", json=PORTFOLIO)
        assert created.status_code == 201, created.text
        await until_sent(admin, "PortfolioCreated")
        assert await sent(admin, "PhaseRequested") is None, "no loop looks for what is missing"
        async with admin.begin() as conn:
            await conn.execute(text("UPDATE ledger.schedule SET next_at = now()"))
        assert (await client.post("/admin/reconcile")).status_code == 202
        await until_sent(admin, "PhaseRequested")
        assert (await client.get("http://test/readyz")).status_code == 200
