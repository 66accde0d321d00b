"""A database that is read-only for a while, as during a failover: waited out, nothing given up for good, a log that stays short."""

from __future__ import annotations

import asyncio

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.messaging import dead_letters
from shared.settings import ServiceSettings
from tests.flow import toy
from tests.flow.toy import Wire, Worker
from tests.support.databases import Database

pytestmark = pytest.mark.kafka


async def read_only(admin: AsyncEngine, database: Database, switch: str) -> None:
    """Switch it, and end the sessions of services, as a failover does."""
    async with admin.begin() as conn:
        await conn.execute(text("SET TRANSACTION READ WRITE"))
        await conn.execute(text(f"ALTER DATABASE {database.name} {switch}"))
        await conn.execute(
            text("""
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND usename LIKE 'leadline%'
            """)
        )


async def test_messages_wait_for_a_database_that_is_read_only(
    database: Database, admin: AsyncEngine, settings: ServiceSettings, wire: Wire
) -> None:
    first, second = await toy.prepare(admin, 2)
    with structlog.testing.capture_logs() as lines:
        async with toy.running(settings, Worker()) as service:
            await read_only(admin, database, "SET default_transaction_read_only = on")
            lines.clear()
            await wire.announce(first)
            await wire.send(b"garbage", [("ce_type", b"leadline.DateDue.v1")])
            await wire.announce(second)
            async with asyncio.timeout(30):
                while not any("read-only transaction" in str(line.get("error")) for line in lines):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            await asyncio.sleep(4.0)
            assert len(lines) < 60, "pauses, not a loop"
            await read_only(admin, database, "RESET default_transaction_read_only")
            await wire.drained(60)
            assert service.ended_tasks() == []
    async with admin.connect() as conn:
        assert {letter.reason for letter in await dead_letters.page(conn)} == {"not_json"}
        written = set((await conn.execute(text("SELECT portfolio_id FROM ingest.toy"))).scalars())
    assert written == {first, second}
