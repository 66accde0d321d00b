"""What was read before the commit-order lock is read again behind it.

Each race is forced: somebody holds the lock, the other side has read and waits for it, and what it has read changes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

import httpx2
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.coordinator import context, serializers
from services.coordinator.control import releases
from services.coordinator.control.auditor import audit
from services.coordinator.control.scheduler import add_due
from services.coordinator.portfolios import service, store, trade_lots
from shared.clock import Clock
from shared.db.engine import IDLE_SECONDS, acquire_commit_order_lock, create_engine
from tests.store.coordinator.conftest import AS_OF, CSV, PREFIX, Api
from tests.support.waiting import until_blocked

NEXT = date(2020, 12, 31)


def many_lots(csv: str, count: int, *, sector: str = "") -> str:
    """A file of as many lots of one symbol, each of a quantity of its own."""
    rows = (f"AAPL,{number},2020-12-21,128.23,,,{sector}" for number in range(1, count + 1))
    return "\n".join([f"{csv.splitlines()[0]},Sector", *rows, ""])


@asynccontextmanager
async def while_it_waits(api: Api, work: Coroutine[Any, Any, Any]) -> AsyncIterator[tuple[AsyncConnection, Any]]:
    """A connection that holds the lock for which `work` waits, and the task; at the end both have committed."""
    async with api.context.engine.begin() as conn:
        await acquire_commit_order_lock(conn)
        task = asyncio.create_task(work)
        async with asyncio.timeout(40):
            while not await conn.scalar(
                text("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
            ):
                assert not task.done(), "it did not wait for the lock"
                await asyncio.sleep(0.02)
        yield conn, task
    await task


async def test_the_answer_to_an_import_is_put_together_beside_the_event_loop(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    answer = serializers.import_answer

    def note(*given: Any, **named: Any) -> dict[str, Any]:
        threads.append(threading.current_thread())
        return answer(*given, **named)

    monkeypatch.setattr(serializers, "import_answer", note)
    await api.create(CSV)
    assert len(threads) == 1
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("gone", ["the portfolio", "its last lot"])
async def test_a_date_falls_due_for_nobody_who_is_gone_meanwhile(api: Api, gone: str) -> None:
    """Units of a portfolio that is gone would be asked for again for ever: no phase finds anything to compute them from."""
    going, staying = [UUID((await api.create(CSV.splitlines()[0] + f"\n{lot}\n"))["id"]) for lot in (
        "AAPL,1,2020-12-21,128.23,,", "MSFT,1,2020-12-21,220,,",
    )]  # fmt: skip
    clock = Clock(NEXT)
    adding = add_due(api.context.engine, clock, source="cron", wake=lambda: None)
    async with while_it_waits(api, adding) as (conn, task):
        if gone == "the portfolio":
            await service.delete(conn, going)
        else:
            lot = await conn.scalar(
                text("SELECT id FROM coordinator.positions WHERE portfolio_id = :id"), {"id": going}
            )
            assert isinstance(lot, UUID)
            await service.remove_position(conn, Clock(AS_OF), going, lot)
    assert task.result() == 4, "one session of the other portfolio"
    new = await api.rows("SELECT DISTINCT portfolio_id FROM ledger.units WHERE session = :d", d=NEXT)
    assert new == [(staying,)]
    assert [drift.kind for drift in (await audit(api.context.engine, clock)).drift] == []
    events = await api.rows("SELECT payload FROM bus.outbox WHERE type = 'leadline.DateDue.v1'")
    assert len(events) == 1
    assert str(going) not in events[0][0]


async def test_two_schedulers_announce_a_date_once(api: Api) -> None:
    await api.create()
    clock = Clock(NEXT)
    adding = add_due(api.context.engine, clock, source="cron", wake=lambda: None)
    async with while_it_waits(api, adding) as (_, task):
        other = asyncio.create_task(add_due(api.context.engine, clock, source="reconciler", wake=lambda: None))
        await until_blocked(api.admin, task, other)
        assert not other.done(), "it waits too"
    assert sorted([task.result(), await other]) == [0, 4]
    assert await api.rows("SELECT count(*) FROM bus.outbox WHERE type = 'leadline.DateDue.v1'") == [(1,)]
    assert await api.rows("SELECT count(*) FROM coordinator.runs WHERE source IN ('cron', 'reconciler')") == [(1,)]


@pytest.mark.parametrize("known", [None, "1"])
async def test_the_older_of_two_releases_that_start_at_once_is_not_recorded_last(api: Api, known: str | None) -> None:
    """It would be taken for the running model, and its auditor would restate what the newer one says."""
    await api.create()
    if known:
        await releases.apply(api.context.engine, Clock(AS_OF), code="a", model=known)
    else:
        await api.run("INSERT INTO coordinator.versions (name, version) VALUES ('code', 'a')")
    async with while_it_waits(api, releases._model(api.context.engine, Clock(AS_OF), "2")) as (conn, _):
        await releases._record(conn, releases.MODEL, "3")
    assert await releases.recorded_model(api.context.engine) == "3"


async def test_a_file_is_checked_and_sent_before_the_lock_and_its_name_is_looked_at_behind_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged: list[str] = []
    insert = store.insert_positions

    async def watched(conn: AsyncConnection, portfolio: UUID, rows: Any, **values: Any) -> list[UUID]:
        ids = await insert(conn, portfolio, rows, **values)
        staged.append("lots")
        return ids

    monkeypatch.setattr(store, "insert_positions", watched)
    body = {"name": "Twice", "equity_balance": "1000"}
    sending = api.client.post(f"{PREFIX}/portfolios/import", data=body, files={"file": ("p.csv", CSV.encode())})
    async with while_it_waits(api, sending) as (conn, task):
        assert staged == ["lots"], "what takes long is done while somebody else holds the lock"
        await conn.execute(
            text(
                "INSERT INTO coordinator.portfolios (name, account_type, equity_balance) VALUES ('Twice', 'taxable', 1)"
            )
        )
    assert task.result().status_code == 409
    assert task.result().json()["code"] == "duplicate_name"
    assert await api.rows("SELECT count(*) FROM coordinator.positions") == [(0,)]
    assert (await api.create())["positions"] == 2


async def test_what_a_file_adds_is_worked_out_and_sent_before_the_lock(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = str((await api.create())["id"])
    sent: list[int] = []
    stage = store.stage_positions

    async def watched(conn: AsyncConnection, portfolio: UUID, rows: Any, **values: Any) -> list[UUID]:
        sent.append(len(rows))
        return await stage(conn, portfolio, rows, **values)

    monkeypatch.setattr(store, "stage_positions", watched)
    more = CSV + "MSFT,7,2020-10-02,200\n"
    adding = api.client.post(f"{PREFIX}/portfolios/{made}/import", files={"file": ("p.csv", more.encode())})
    async with while_it_waits(api, adding) as (_, task):
        assert sent == [1], "of the rows that are there nothing is sent"
    assert (task.result().json()["positions"], task.result().json()["unchanged"]) == (1, 2)
    assert sent == [1], "nothing changed meanwhile, so nothing is done twice"
    stated = "SELECT count(*), count(DISTINCT position_id) FROM coordinator.import_lots"
    assert await api.rows(stated) == [(5, 3)], "each file, of every lot that it has"


async def test_what_a_file_corrects_is_sent_before_the_lock_and_written_in_one_statement(
    api: Api, engines: tuple[AsyncEngine, AsyncEngine]
) -> None:
    """A corrected file of fifty thousand lots would otherwise hold the lock for four statements a lot."""
    made = str((await api.create(many_lots(CSV, 30)))["id"])
    corrected = {"file": ("p.csv", many_lots(CSV, 30, sector="Energy").encode())}
    statements: list[str] = []

    def note(*given: Any) -> None:
        statements.append(given[2])

    adding = api.client.post(f"{PREFIX}/portfolios/{made}/import", data={"on_match": "update"}, files=corrected)
    event.listen(engines[0].sync_engine, "before_cursor_execute", note)
    async with while_it_waits(api, adding) as (_, task):
        assert any("edited_positions" in statement and "CREATE" in statement for statement in statements)
        statements.clear()
    event.remove(engines[0].sync_engine, "before_cursor_execute", note)
    assert (task.result().status_code, task.result().json()["changed"]) == (200, 30), task.result().text
    assert await api.rows("SELECT sector, count(*) FROM coordinator.positions GROUP BY sector") == [("Energy", 30)]
    assert sum("UPDATE coordinator.positions" in statement for statement in statements) == 1
    assert not [statement for statement in statements if "CREATE" in statement]
    assert len(statements) < 40, "however many lots there are"


async def test_a_lot_that_was_edited_meanwhile_is_corrected_as_it_is_then(api: Api) -> None:
    made = str((await api.create(many_lots(CSV, 2)))["id"])
    corrected = {"file": ("p.csv", many_lots(CSV, 2, sector="Energy").encode())}
    adding = api.client.post(f"{PREFIX}/portfolios/{made}/import", data={"on_match": "update"}, files=corrected)
    async with while_it_waits(api, adding) as (conn, task):
        await conn.execute(text("UPDATE coordinator.positions SET name = 'Named meanwhile'"))
    assert task.result().json()["changed"] == 2
    kept = await api.rows("SELECT DISTINCT sector, name FROM coordinator.positions")
    assert kept == [("Energy", "Named meanwhile")], "what the file does not speak of stays"


TRADES = "date,action,symbol,quantity,price,id\n"
SPRING = TRADES + "2020-12-02,buy,AAPL,10,120,1\n2020-12-03,buy,AAPL,5,122,2\n"
AUTUMN = TRADES + "2020-12-14,sell,AAPL,12,121,3\n"
LOTS = "SELECT quantity, exit_date FROM coordinator.positions WHERE deleted_at IS NULL ORDER BY quantity, entry_date"


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many trades were matched, each time."""
    matched: list[int] = []
    derive = trade_lots.derive

    async def watched(conn: AsyncConnection, trades: Any, *given: Any) -> Any:
        matched.append(len(trades))
        return await derive(conn, trades, *given)

    monkeypatch.setattr(trade_lots, "derive", watched)
    yield matched


async def test_trades_are_matched_and_sent_before_the_lock(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty thousand beside as many took twenty seconds behind it."""
    made = str((await api.create(SPRING))["id"])
    path = f"{PREFIX}/portfolios/{made}/import"
    with counting(monkeypatch) as matched:
        async with while_it_waits(api, api.client.post(path, files={"file": ("t.csv", AUTUMN.encode())})) as (_, task):
            assert matched == [3]
        assert task.result().status_code == 200, task.result().text
        assert matched == [3], "nothing changed meanwhile, so nothing is done twice"
        after = [(2, date(2020, 12, 14)), (3, None), (10, date(2020, 12, 14))]
        assert await api.rows(LOTS) == after
        undone = f"{PREFIX}/portfolios/{made}/imports/{task.result().json()['import_id']}"
        async with while_it_waits(api, api.client.delete(undone)) as (_, task):
            assert matched == [3, 2]
        assert task.result().status_code == 200, task.result().text
        assert matched == [3, 2]
        assert await api.rows(LOTS) == [(5, None), (10, None)]


async def test_trades_that_came_meanwhile_are_matched_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    made = str((await api.create(SPRING))["id"])
    path = f"{PREFIX}/portfolios/{made}/import"
    further = TRADES + "2020-12-15,sell,AAPL,3,121,4\n"
    with counting(monkeypatch) as matched:
        async with while_it_waits(api, api.client.post(path, files={"file": ("t.csv", AUTUMN.encode())})) as (_, task):
            other = asyncio.create_task(api.client.post(path, files={"file": ("t.csv", further.encode())}))
            await until_blocked(api.admin, task, other)
        assert {task.result().status_code, (await other).status_code} == {200}
        assert matched == [3, 3, 4]
    exits = [(2, date(2020, 12, 14)), (3, date(2020, 12, 15)), (10, date(2020, 12, 14))]
    assert await api.rows(LOTS) == exits


async def test_trades_that_came_meanwhile_and_made_no_lot_are_matched_too(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shares that were sold are in the other file."""
    made = str((await api.create(SPRING))["id"])
    path = f"{PREFIX}/portfolios/{made}/import"
    sold, bought = TRADES + "2020-12-15,sell,PEP,3,150,4\n", TRADES + "2020-12-14,buy,PEP,3,145,5\n"
    with counting(monkeypatch) as matched:
        async with while_it_waits(api, api.client.post(path, files={"file": ("t.csv", sold.encode())})) as (_, task):
            other = asyncio.create_task(api.client.post(path, files={"file": ("t.csv", bought.encode())}))
            await until_blocked(api.admin, task, other)
        assert {task.result().status_code, (await other).status_code} == {200}
        assert matched == [3, 3, 4]
    assert (3, date(2020, 12, 15)) in await api.rows(LOTS)


async def test_an_import_that_was_taken_back_meanwhile_is_not_taken_back_twice(api: Api) -> None:
    made = await api.create(SPRING)
    [file] = (await api.client.get(f"{PREFIX}/portfolios/{made['id']}/imports")).json()["items"]
    path = f"{PREFIX}/portfolios/{made['id']}/imports/{file['id']}"
    async with while_it_waits(api, api.client.delete(path)) as (_, task):
        other = asyncio.create_task(api.client.delete(path))
        await until_blocked(api.admin, task, other)
    assert sorted([task.result().status_code, (await other).status_code]) == [200, 404]
    assert await api.rows(LOTS) == []


async def test_a_lot_that_came_meanwhile_is_not_added_again(api: Api) -> None:
    """What was worked out before the lock is of the lots as they were then, and so is what was to be said of them."""
    made = str((await api.create())["id"])
    files = {"file": ("p.csv", (CSV + "AAPL,77,2020-12-21,128.23,,\n").encode())}
    path = f"{PREFIX}/portfolios/{made}/import"
    async with while_it_waits(api, api.client.post(path, files=files)) as (_, task):
        other = asyncio.create_task(api.client.post(path, files=files))
        await until_blocked(api.admin, task, other)
    answers = sorted([task.result().json(), (await other).json()], key=lambda answer: answer["positions"])
    assert [(answer["positions"], answer["unchanged"]) for answer in answers] == [(0, 3), (1, 2)]
    assert await api.rows("SELECT count(*) FROM coordinator.positions WHERE deleted_at IS NULL") == [(3,)]
    said = [[warning["code"] for warning in answer["warnings"]].count("similar_lot") for answer in answers]
    assert said == [0, 1], "of a lot that is there already there is nothing to say"


async def test_two_requests_with_one_key_that_were_both_prepared_leave_one_portfolio(api: Api) -> None:
    """Whoever comes second to the lock finds the answer; what it had written by then goes."""
    body = {"name": "Once", "equity_balance": "1000", "allow_duplicate_name": "true"}

    async def send() -> httpx2.Response:
        return await api.client.post(
            f"{PREFIX}/portfolios/import",
            data=body,
            files={"file": ("p.csv", CSV.encode())},
            headers={"Idempotency-Key": "one"},
        )

    async with while_it_waits(api, send()) as (_, task):
        other = asyncio.create_task(send())
        await until_blocked(api.admin, task, other)
    answers = [task.result(), await other]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sorted(answer.headers.get("idempotency-replayed", "") for answer in answers) == ["", "true"]
    assert await api.rows("SELECT count(*) FROM coordinator.portfolios") == [(1,)]


async def test_who_waits_too_long_for_the_lock_is_told_to_come_again_and_readers_do_not_wait(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the connections are for changes: those that wait leave the others to whoever only reads."""
    monkeypatch.setattr(context, "LOCK_SECONDS", 0.3)
    api.context.__dict__["changes"] = asyncio.Semaphore(2)
    made = str((await api.create())["id"])

    async def rename(number: int) -> httpx2.Response:
        return await api.client.patch(f"{PREFIX}/portfolios/{made}", json={"name": f"n{number}"})

    async with api.admin.begin() as conn:
        await acquire_commit_order_lock(conn)
        waiting = [asyncio.create_task(rename(number)) for number in range(5)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(10):
            assert (await api.client.get(f"{PREFIX}/portfolios/{made}/status")).status_code == 200
        answered = await asyncio.gather(*waiting)
    assert [answer.status_code for answer in answered] == [503] * 5
    assert {(answer.json()["code"], answer.headers["retry-after"]) for answer in answered} == {("busy", "5")}
    assert (await rename(9)).status_code == 200


async def test_what_is_prepared_may_take_longer_than_what_others_wait_for(api: Api) -> None:
    """A machine that is busy checks a large file for more than half a minute without a word to the database."""
    limits: list[str] = []

    async def note(conn: AsyncConnection) -> None:
        limits.append(str(await conn.scalar(text("SHOW idle_in_transaction_session_timeout"))))

    url = api.context.engine.url.render_as_string(hide_password=False)
    engine = create_engine(url, application="test", pool_size=1, idle_seconds=IDLE_SECONDS)
    async with context.ordered_change(replace(api.context, engine=engine), note) as conn:
        await note(conn)
    await engine.dispose()
    assert limits == ["5min", "30s"]
