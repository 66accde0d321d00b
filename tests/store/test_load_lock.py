"""The load run says how long the commit-order lock was held, and by whom."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from sqlalchemy import text

from shared.db.engine import acquire_commit_order_lock, create_engine
from tests.bench.processes import Administrator
from tests.load.lock import LockWatch, Look
from tests.support.databases import Database


async def test_who_held_the_lock_longest_is_named_with_what_it_was_at(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.load.lock.administrator", lambda _: Administrator(database.admin_url))
    watch = LockWatch(tmp_path)
    watching = asyncio.create_task(watch.run())
    for application, seconds in (("short", 0.1), ("long", 0.5), ("brief", 0.1)):
        engine = create_engine(database.admin_url, application=application, pool_size=1)
        async with engine.begin() as conn:
            await acquire_commit_order_lock(conn)
            await conn.execute(text("SELECT\n    pg_sleep(:seconds)"), {"seconds": seconds})
        await engine.dispose()
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert watch.holder == "long (`SELECT pg_sleep($1)`)"
    assert watch.longest > 0.3
    assert watch.times == 3


def test_a_pause_of_the_watch_is_not_held_against_who_came_in_it(tmp_path: Path) -> None:
    watch = LockWatch(tmp_path)
    watch.note([Look(10.0)])
    watch.note([Look(12.0, "3/7", "leadline-ingest", "UPDATE ledger.units", 11.9)])
    watch.note([Look(12.2, "3/7", "leadline-ingest", "COMMIT", 11.9)])
    watch.note([Look(12.3)])
    assert watch.longest == pytest.approx(0.3)
    watch.note([Look(12.4, "3/8", "leadline-api", "INSERT", 1.0)])
    watch.note([Look(12.8, "3/8", "leadline-api", "INSERT", 1.0)])
    assert watch.longest == pytest.approx(0.5), "and what it did before it had the lock is not counted either"
    assert watch.holder == "leadline-api (`INSERT`)"
    assert watch.times == 2
