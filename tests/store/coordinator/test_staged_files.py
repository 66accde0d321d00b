"""What is read for a file before the commit-order lock is not one view, and others write meanwhile: what follows is as if they had
come one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.context import Context
from services.coordinator.portfolios import extents, import_store, undoing
from services.coordinator.portfolios.limits import Limits
from shared.db.engine import acquire_commit_order_lock
from tests.store.coordinator.conftest import CSV, PREFIX, Api
from tests.support.waiting import until_blocked

TRADES = "date,action,symbol,quantity,price,id\n"
OTHER = TRADES + "2020-12-01,buy,MSFT,1,200,9\n"
HALVED = TRADES + "2020-12-02,buy,AAPL,10,120,1\n2020-12-14,sell,AAPL,10,60,3\n"
"""Of ten shares that became twenty on the 8th, ten are sold."""
FURTHER = TRADES + "2020-12-15,sell,AAPL,2,60,4\n"
SPLIT = """
    INSERT INTO ingest.actions (symbol_id, ex_session, type, value, ex_date, provider, fetched_at, change)
    SELECT id, DATE '2020-12-08', 'split', 2, DATE '2020-12-08', 'file', now(), nextval('ledger.change')
    FROM ingest.symbols WHERE symbol = 'AAPL'
"""
OPEN = """
    SELECT sum(stated_quantity) FROM coordinator.positions WHERE deleted_at IS NULL AND symbol = 'AAPL' AND exit_date IS NULL
"""


async def while_a_split_is_written(api: Api, request: Callable[[], Awaitable[httpx2.Response]]) -> httpx2.Response:
    """The answer to a request that is prepared after the split was given its instant, and before it was committed."""
    async with api.admin.begin() as conn:
        await acquire_commit_order_lock(conn)
        await conn.execute(text(SPLIT))
        task = asyncio.ensure_future(request())
        await until_blocked(api.admin, task)
        assert not task.done(), "it waits for the lock"
    return await task


async def send(api: Api, path: str, file: str, **fields: str) -> httpx2.Response:
    return await api.client.post(f"{PREFIX}{path}", data=fields, files={"file": ("t.csv", file.encode())})


async def known_symbol(api: Api) -> None:
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES ('AAPL') ON CONFLICT DO NOTHING")


async def test_trades_are_matched_with_a_split_that_was_being_written(api: Api) -> None:
    """It has an earlier instant than the lots, so no settlement would find it afterwards."""
    await known_symbol(api)
    made = str((await api.create(OTHER))["id"])
    answer = await while_a_split_is_written(api, lambda: send(api, f"/portfolios/{made}/import", HALVED))
    assert answer.status_code == 200, answer.text
    assert await api.rows(OPEN) == [(5,)], "of the shares as they were bought"


async def test_a_new_portfolio_is_matched_with_a_split_that_was_being_written(api: Api) -> None:
    await known_symbol(api)
    form = {"name": "New", "equity_balance": "1000"}
    answer = await while_a_split_is_written(api, lambda: send(api, "/portfolios/import", HALVED, **form))
    assert answer.status_code == 201, answer.text
    assert await api.rows(OPEN) == [(5,)]


async def test_what_an_undo_leaves_is_matched_with_a_split_that_was_being_written(api: Api) -> None:
    await known_symbol(api)
    made = str((await api.create(HALVED))["id"])
    added = (await send(api, f"/portfolios/{made}/import", FURTHER)).json()["import_id"]
    path = f"{PREFIX}/portfolios/{made}/imports/{added}"
    answer = await while_a_split_is_written(api, lambda: api.client.delete(path))
    assert answer.status_code == 200, answer.text
    assert await api.rows(OPEN) == [(5,)]


async def import_of(api: Api, portfolio: str) -> str:
    [file] = (await api.client.get(f"{PREFIX}/portfolios/{portfolio}/imports")).json()["items"]
    return f"{PREFIX}/portfolios/{portfolio}/imports/{file['id']}"


async def test_an_undo_beside_the_deletion_of_a_lot(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    made = str((await api.create())["id"])
    path = await import_of(api, made)
    [lot, _] = [row[0] for row in await api.rows("SELECT id FROM coordinator.positions ORDER BY id")]
    read, deleted = import_store.statements_beside, asyncio.Event()

    async def read_and_delete(conn: AsyncConnection, import_id: Any) -> Any:
        found = await read(conn, import_id)
        if not deleted.is_set():
            deleted.set()
            assert (await api.client.delete(f"{PREFIX}/portfolios/{made}/positions/{lot}")).status_code < 300
        return found

    monkeypatch.setattr(import_store, "statements_beside", read_and_delete)
    answer = await api.client.delete(path)
    assert (answer.status_code, answer.json()["removed"]) == (200, 1)


async def test_an_undo_that_is_sent_twice_with_one_key_is_answered_twice(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await import_of(api, str((await api.create())["id"]))
    stage, first, done = undoing.Undoing.stage, asyncio.Event(), asyncio.Event()

    async def wait_and_stage(self: undoing.Undoing, conn: AsyncConnection) -> None:
        if not first.is_set():
            first.set()
            await done.wait()
        await stage(self, conn)

    monkeypatch.setattr(undoing.Undoing, "stage", wait_and_stage)
    headers = {"Idempotency-Key": "one"}
    waiting = asyncio.create_task(api.client.delete(path, headers=headers))
    await first.wait()
    answer = await api.client.delete(path, headers=headers)
    done.set()
    again = await waiting
    assert (answer.status_code, again.status_code) == (200, 200), again.text
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_file_that_was_added_meanwhile_does_not_count_twice_against_the_limit(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = str((await api.create())["id"])
    monkeypatch.setattr(Context, "limits", Limits(lots=3))
    file = CSV + "AAPL,77,2020-12-21,128.23,,\n"
    read, added = extents.read, asyncio.Event()

    async def add_and_read(conn: AsyncConnection, portfolio: Any, **named: Any) -> Any:
        if not added.is_set():
            added.set()
            assert (await send(api, f"/portfolios/{made}/import", file)).json()["positions"] == 1
        return await read(conn, portfolio, **named)

    monkeypatch.setattr(extents, "read", add_and_read)
    answer = await send(api, f"/portfolios/{made}/import", file)
    assert (answer.status_code, answer.json()["unchanged"]) == (200, 3), answer.text
