"""Waiting for what is meant to happen, not for as long as it takes on a quick machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

# What nobody is expected to wait for: only a test that fails does.
WITHIN_SECONDS = 40.0
_WAITING = text("""
    SELECT count(DISTINCT l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE NOT l.granted AND a.datname = current_database()
""")


async def until_blocked(engine: AsyncEngine, *tasks: asyncio.Future[Any]) -> None:
    """Return once each task waits for a lock of the database or has ended: which of the two is the test's to say."""
    # A connection without a transaction: within one the view of who is connected does not change.
    async with (
        engine.execution_options(isolation_level="AUTOCOMMIT").connect() as conn,
        asyncio.timeout(WITHIN_SECONDS),
    ):
        while sum(not task.done() for task in tasks) > int(await conn.scalar(_WAITING) or 0):  # noqa: ASYNC110 (a lock tells nobody)
            await asyncio.sleep(0.02)


async def until(condition: Callable[[], bool]) -> None:
    """Return once it holds."""
    async with asyncio.timeout(WITHIN_SECONDS):
        while not condition():  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0.02)
