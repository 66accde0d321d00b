"""A closure and what hangs on it, in one transaction: units, results, lots, flows; entered, repeated, taken back, and raced."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.control import scheduler
from services.coordinator.control.auditor import audit
from services.coordinator.control.reconciler import Reconciler
from services.coordinator.reference.closures import service
from shared.clock import Clock
from shared.db import closures
from shared.db.engine import acquire_commit_order_lock
from shared.ledger.schedule import Candidate
from shared.market.calendar import NO_CLOSURES, Closure, Closures, calendar, set_calendar, using_calendar
from shared.market.calendar import closures as standing
from shared.phase.runner import PhaseRunner
from shared.work import Batch, Phase, Work
from tests.store.coordinator.conftest import AS_OF, PREFIX, Api
from tests.store.coordinator.test_auditor import finish, kinds
from tests.store.test_ledger_runner import Worker

DAY = date(2020, 12, 28)
REASON = "Day of mourning"
SESSIONS = calendar(closures=NO_CLOSURES).between(date(2020, 12, 21), AS_OF)
LATER = {(phase.value, day) for phase in Phase for day in SESSIONS if day > DAY}
CSV = """symbol,quantity,entry_date,entry_price,exit_date,exit_price
AAPL,100,2020-12-21,128.23,,
MSFT,-50,2020-12-28,221.02,,
KO,70,2020-12-26,53.1,,
PG,40,2020-12-22,137.0,2020-12-28,138.2
XOM,10,2020-12-29,41.5,2020-12-30,41.6
"""


@pytest.fixture(autouse=True)
async def _none_left_behind() -> AsyncIterator[None]:
    """A request of this client runs in the test's own task, which would go on under its closures."""
    assert standing() == NO_CLOSURES
    yield
    set_calendar(NO_CLOSURES)


async def close(api: Api, day: date = DAY, *, at: str | None = None, reason: str = REASON) -> dict[str, Any]:
    body = {"reason": reason} | ({} if at is None else {"close_at": at})
    answer = await api.client.put(f"{PREFIX}/calendar/closures/{day}", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def reopen(api: Api, day: date = DAY) -> dict[str, Any]:
    answer = await api.client.delete(f"{PREFIX}/calendar/closures/{day}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def units(api: Api) -> list[Any]:
    return await api.rows("SELECT * FROM ledger.units ORDER BY portfolio_id, session, phase")


async def lots(api: Api) -> list[Any]:
    return await api.rows(
        """
        SELECT symbol, entry_session, exit_session, basis_awaits FROM coordinator.positions
        UNION ALL SELECT 'flow', session, NULL, NULL FROM coordinator.flows
        UNION ALL SELECT 'first', first_session, NULL, NULL FROM coordinator.portfolios ORDER BY 1, 2
        """
    )


# --- what changes ----------------------------------------------------------------------------------------------------


async def test_a_day_to_come_is_closed_before_anything_hangs_on_it(api: Api) -> None:
    portfolio = (await api.create())["id"]
    before = await units(api)
    day = date(2020, 12, 31)
    answer = await close(api, day)
    assert (answer["changed"], answer["withdrawn_units"], answer["required_units"]) == (True, 0, 0)
    assert (answer["closed"], answer["close_at"], answer["reason"]) == (True, None, REASON)
    assert await units(api) == before
    shown = (await api.client.get(f"{PREFIX}/calendar", params={"sessions": 2})).json()
    assert [item["session"] for item in shown["sessions"]] == ["2021-01-04", "2021-01-05"]
    assert [item["day"] for item in shown["closures"]] == ["2020-12-31"]
    tomorrow = Clock(date(2021, 1, 4))
    await scheduler.add_due(api.context.engine, tomorrow, source="cron", wake=lambda: None)
    sessions = await api.rows("SELECT DISTINCT session FROM ledger.units WHERE session > :d", d=AS_OF)
    assert sessions == [(date(2021, 1, 4),)]
    assert (await audit(api.context.engine, tomorrow)).drift == []
    assert portfolio


async def test_a_past_day_is_withdrawn_and_all_that_follows_required_anew(api: Api) -> None:
    portfolio = (await api.create(price_basis="as_traded"))["id"]
    await finish(api, portfolio)
    before = [row for row in await units(api) if row.session < DAY]

    answer = await close(api)

    assert (answer["withdrawn_units"], answer["required_units"]) == (4, len(LATER))
    assert await api.missing(portfolio) == LATER
    assert [row for row in await units(api) if row.session < DAY] == before
    for table in ("snapshots.snapshots", "snapshots.holdings", "risk.results"):
        assert await api.rows(f"SELECT 1 FROM {table} WHERE session = :d", d=DAY) == [], table
        kept = await api.rows(f"SELECT session FROM {table}_history WHERE portfolio_id = :id", id=UUID(portfolio))
        assert kept == [(DAY,)], table
    assert await kinds(api) == {}
    [run] = (await api.client.get(f"{PREFIX}/admin/runs", params={"source": "settings"})).json()["items"]
    assert (run["id"], run["units"], run["state"]) == (answer["run_id"], len(LATER), "running")
    asked = await api.rows("SELECT payload FROM bus.outbox WHERE type LIKE '%PhaseRequested%'")
    assert len(asked) == 1
    status = (await api.client.get(f"{PREFIX}/portfolios/{portfolio}/status")).json()
    assert status["expected"] == 4 * (len(SESSIONS) - 1)
    await finish(api, portfolio)
    assert await kinds(api) == {}
    assert (await api.client.get(f"{PREFIX}/admin/runs/{run['id']}")).json()["state"] == "complete"


async def test_the_newest_day_closed_the_one_before_it_is_the_last(api: Api) -> None:
    portfolio = (await api.create(price_basis="as_traded"))["id"]
    await finish(api, portfolio)
    await close(api, AS_OF)
    assert await api.missing(portfolio) == set()
    assert await scheduler.add_due(api.context.engine, api.context.clock, source="cron", wake=lambda: None) == 0
    status = (await api.client.get(f"{PREFIX}/portfolios/{portfolio}/status")).json()
    assert (status["state"], status["last_session"], status["as_of"]) == ("complete", "2020-12-29", "2020-12-29")
    assert await kinds(api) == {}


async def test_lots_and_flows_roll_to_the_next_session_and_back(api: Api) -> None:
    body = [
        {"symbol": "MSFT", "quantity": 5, "entry_date": "2020-12-28", "entry_price": 225},
        {"symbol": "KO", "quantity": 5, "entry_date": "2020-12-29", "entry_price": 54},
    ]
    flow = [{"date": "2020-12-27", "amount": 10.0, "note": None}, {"date": "2020-12-29", "amount": 10.0, "note": None}]
    later = {"name": "Later", "account_type": "taxable", "currency": "USD", "equity_balance": 1000, "positions": body}
    assert (await api.client.post(f"{PREFIX}/portfolios", json={**later, "flows": flow})).status_code == 201
    await api.create(CSV)
    before, ledger_before = await lots(api), await units(api)

    await close(api)

    moved = await lots(api)
    rolled = {
        (symbol, date(2020, 12, 29) if entry == DAY else entry, date(2020, 12, 29) if exit_ == DAY else exit_)
        for symbol, entry, exit_, _ in before
    }
    assert {row[:3] for row in moved} == rolled
    assert ("first", date(2020, 12, 29), None) in rolled
    assert ("flow", date(2020, 12, 29), None) in rolled
    # What decides a lot's basis is the close on or before its entry.
    assert {row.basis_awaits for row in moved if row.symbol == "MSFT"} == {date(2020, 12, 24)}
    assert await kinds(api) == {}

    await reopen(api)

    assert await lots(api) == before
    assert [row[:3] for row in await units(api)] == [row[:3] for row in ledger_before]
    assert await kinds(api) == {}


async def test_a_closure_taken_back_requires_the_day_and_all_that_follows(api: Api) -> None:
    portfolio = (await api.create(price_basis="as_traded"))["id"]
    await close(api)
    await finish(api, portfolio)
    before = [row for row in await units(api) if row.session < DAY]

    answer = await reopen(api)

    assert (answer["changed"], answer["withdrawn_units"], answer["required_units"]) == (True, 0, len(LATER) + 4)
    assert await api.missing(portfolio) == LATER | {(phase.value, DAY) for phase in Phase}
    assert [row for row in await units(api) if row.session < DAY] == before
    assert await kinds(api) == {}
    assert (await api.client.get(f"{PREFIX}/calendar/closures")).json() == {"items": []}
    again = await close(api)
    assert again["withdrawn_units"] == 4, "entered anew, it is as new"


async def test_a_day_opened_before_its_predecessors_fell_due_waits_for_them(api: Api) -> None:
    """The coordinator was down since Christmas: whoever adds what fell due looks at the newest unit there is."""
    await api.create(price_basis="as_traded")
    await api.run("DELETE FROM ledger.units WHERE session > '2020-12-23'")
    await close(api)
    await reopen(api)
    await scheduler.add_due(api.context.engine, api.context.clock, source="cron", wake=lambda: None)
    assert [row[0] for row in await api.rows("SELECT DISTINCT session FROM ledger.units ORDER BY 1")] == SESSIONS
    assert await kinds(api) == {}


async def test_neighbours_closed_one_after_the_other(api: Api) -> None:
    """Two days of a storm; opened in the other order than they were closed."""
    await api.create(CSV)
    before, ledger_before = await lots(api), [row[:3] for row in await units(api)]
    second = date(2020, 12, 29)
    await close(api)
    await close(api, second)
    assert {row.entry_session for row in await lots(api) if row.symbol in {"MSFT", "KO", "XOM"}} == {AS_OF}
    assert await kinds(api) == {}
    await reopen(api)
    assert {row.entry_session for row in await lots(api) if row.symbol in {"MSFT", "KO"}} == {DAY}
    await reopen(api, second)
    assert await lots(api) == before
    assert [row[:3] for row in await units(api)] == ledger_before
    assert await kinds(api) == {}


async def test_the_same_again_and_another_reason_require_nothing(api: Api) -> None:
    portfolio = (await api.create(price_basis="as_traded"))["id"]
    await close(api)
    await finish(api, portfolio)
    before = await units(api)
    assert (await close(api))["changed"] is False
    told = await close(api, reason="National day of mourning")
    assert (told["changed"], told["required_units"], told["reason"]) == (True, 0, "National day of mourning")
    assert await units(api) == before


# --- early closes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class At(Clock):
    """A clock that stands at an instant."""

    instant: datetime = datetime(2020, 12, 30, 18, 45, tzinfo=UTC)

    def now(self) -> datetime:
        return self.instant


async def test_an_early_close_only_moves_when_the_session_is_due(api: Api) -> None:
    portfolio = (await api.create(price_basis="as_traded"))["id"]
    await finish(api, portfolio)
    before = await units(api)
    answer = await close(api, at="13:00")
    assert (answer["closed"], answer["close_at"], answer["required_units"]) == (False, "2020-12-28T18:00:00Z", 0)
    assert answer["close_at_new_york"] == "2020-12-28T13:00:00-05:00"
    assert await units(api) == before
    async with api.context.engine.connect() as conn:
        known = await closures.find_closures(conn)
    assert calendar(closures=known).due_at(DAY) == datetime.combine(DAY, time(13, 30), ZoneInfo("America/New_York"))
    assert known.changes == (), "facts are as old as they were"
    shown = await api.client.get(
        f"{PREFIX}/portfolios/{portfolio}/snapshots", params={"from": str(DAY), "to": str(DAY)}
    )
    assert len(shown.json()["items"]) == 1


async def test_a_session_that_was_due_too_early_waits_for_its_close(api: Api) -> None:
    """At 13:45 in New York: closed at 13:00, so it says, and the session is due; then it turns out that it was not."""
    portfolio = (await api.create(price_basis="as_traded"))["id"]
    await api.run("DELETE FROM ledger.units WHERE session = :d", d=AS_OF)
    clock = At()
    await close(api, AS_OF, at="13:00")
    assert await scheduler.add_due(api.context.engine, clock, source="cron", wake=lambda: None) == 4
    async with api.context.engine.begin() as conn:
        await acquire_commit_order_lock(conn)
        outcome = await service.remove(conn, clock, AS_OF)
    assert (outcome.withdrawn, outcome.required) == (4, 0)
    assert (await audit(api.context.engine, clock)).drift == []
    assert await scheduler.add_due(api.context.engine, clock, source="cron", wake=lambda: None) == 0
    assert portfolio


async def test_an_early_close_becomes_a_closed_day_and_a_closed_day_an_early_close(api: Api) -> None:
    await api.create(price_basis="as_traded")
    before = [row[:3] for row in await units(api)]
    await close(api, at="13:00")
    assert (await close(api))["withdrawn_units"] == 4
    assert (await close(api, at="14:00"))["required_units"] == len(LATER) + 4
    assert [row[:3] for row in await units(api)] == before
    assert await kinds(api) == {}


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "body", "code"),
    [
        ("2020-12-26", {"reason": REASON}, "not_a_session"),
        ("2020-12-25", {"reason": REASON}, "not_a_session"),
        ("1990-01-02", {"reason": REASON}, "outside_the_calendar"),
        ("1985-03-01", {"reason": REASON}, "outside_the_calendar"),
        ("2199-03-01", {"reason": REASON}, "outside_the_calendar"),
        ("2020-12-28", {"reason": "  "}, "invalid"),
        ("2020-12-28", {"reason": REASON, "close_at": "16:00"}, "outside_the_session"),
        ("2020-12-28", {"reason": REASON, "close_at": "09:30"}, "outside_the_session"),
        # A half-day: the library closes it at 13:00.
        ("2020-12-24", {"reason": REASON, "close_at": "14:00"}, "outside_the_session"),
        ("2020-12-28", {"reason": REASON, "close_at": "1 pm"}, None),
        ("2020-12-28", {"reason": ""}, None),
        ("2020-12-28", {}, None),
        ("20201228", {"reason": REASON}, None),
    ],
)
async def test_what_cannot_be_meant_is_refused_with_its_remedy(
    api: Api, day: str, body: dict[str, str], code: str | None
) -> None:
    answer = await api.client.put(f"{PREFIX}/calendar/closures/{day}", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert code is None or answer.json()["code"] == code, answer.text
    assert answer.json()["detail"]
    assert await api.rows("SELECT * FROM coordinator.closures") == []


async def test_what_was_not_entered_is_not_found(api: Api) -> None:
    for answer in (
        await api.client.get(f"{PREFIX}/calendar/closures/{DAY}"),
        await api.client.delete(f"{PREFIX}/calendar/closures/{DAY}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    await close(api)
    await reopen(api)
    assert (await api.client.delete(f"{PREFIX}/calendar/closures/{DAY}")).status_code == 404


async def test_a_reader_of_the_day_is_told_why_there_is_nothing(api: Api) -> None:
    portfolio = (await api.create())["id"]
    await close(api)
    for path in (f"portfolios/{portfolio}/risk", "symbols/AAPL/factors"):
        answer = await api.client.get(f"{PREFIX}/{path}", params={"session": str(DAY)})
        assert (answer.status_code, answer.json()["code"]) == (404, "closed")
        assert REASON in answer.json()["detail"]
        assert "2020-12-24" in answer.json()["detail"]
        assert "2020-12-29" in answer.json()["detail"]


async def test_the_calendar_shows_due_times_and_the_horizon(api: Api) -> None:
    answer = (await api.client.get(f"{PREFIX}/calendar", params={"sessions": 230})).json()
    sessions = {item["session"]: item for item in answer["sessions"]}
    assert answer["last_due"] == "2020-12-30"
    assert next(iter(sessions)) == "2020-12-31"
    assert sessions["2020-12-31"]["due_at"] == "2020-12-31T21:30:00Z"
    assert sessions["2020-12-31"]["due_at_new_york"] == "2020-12-31T16:30:00-05:00"
    assert sessions["2021-07-01"]["due_at"] == "2021-07-01T20:30:00Z"
    half = sessions["2021-11-26"]
    assert (half["early"], half["due_at"], half["due_at_new_york"]) == (
        True,
        "2021-11-26T18:30:00Z",
        "2021-11-26T13:30:00-05:00",
    )
    horizon = answer["horizon"]
    assert horizon["last_session"] == calendar().horizon.isoformat()
    assert horizon["days_left"] == (date.fromisoformat(horizon["announced_until"]) - datetime.now(UTC).date()).days
    assert horizon["alarm"] is (horizon["days_left"] < 365)


# --- who computes meanwhile ------------------------------------------------------------------------------------------


async def test_a_worker_paused_in_its_computation_completes_nothing_that_counts(api: Api) -> None:
    """The day is closed while a batch over it is being computed. The batch goes on under the calendar its inputs are of, and
    what it says of the day and of later sessions counts for nothing; what it says of earlier ones stands."""
    portfolio = UUID((await api.create(price_basis="as_traded"))["id"])
    await api.complete(str(portfolio), phase="ingest")
    started, go_on = threading.Event(), threading.Event()
    traded: list[bool] = []

    def pause(_: Batch) -> None:
        started.set()
        assert go_on.wait(30)
        traded.append(calendar().is_session(DAY))

    runner = PhaseRunner(api.admin, Worker(Phase.SNAPSHOTS, on_compute=pause), Clock(AS_OF))
    running = asyncio.create_task(runner.run(Work((portfolio,), SESSIONS[0], AS_OF)))
    assert await asyncio.to_thread(started.wait, 30)
    await close(api)
    go_on.set()
    await running

    assert traded[0] is True, "one calendar from the snapshot of the inputs to the last row"
    missing = {day for phase, day in await api.missing(str(portfolio)) if phase == "snapshots"}
    assert missing == {day for day in SESSIONS if day > DAY}
    assert await api.rows("SELECT 1 FROM ledger.units WHERE session = :d", d=DAY) == []
    await api.complete(str(portfolio), phase="ingest")
    assert await runner.run(Work((portfolio,), SESSIONS[0], AS_OF)) == len(missing)
    assert traded[1:] == [False]


@pytest.mark.parametrize("phase", [Phase.FACTORS, Phase.SNAPSHOTS])
@pytest.mark.parametrize("move", [close, reopen])
async def test_a_batch_is_of_the_calendar_of_its_snapshot_not_of_when_it_was_cut(
    api: Api, phase: Phase, move: Callable[[Api], Coroutine[Any, Any, Any]]
) -> None:
    """Its revisions are the new ones, so what it says counts: it must be said of the new neighbours."""
    portfolio = UUID((await api.create(price_basis="as_traded"))["id"])
    if move is reopen:
        await close(api)
    await api.complete(str(portfolio), phase="ingest")
    moved: list[Any] = []
    seen: list[tuple[list[date], list[date], bool]] = []

    async def meanwhile(_: Batch) -> None:
        if not moved:
            moved.append(await asyncio.create_task(move(api)))
            await api.complete(str(portfolio), phase="ingest")

    def compute(batch: Batch) -> None:
        seen.append((list(batch.sessions), calendar().between(batch.first, batch.last), calendar().is_session(DAY)))

    runner = PhaseRunner(api.admin, Worker(phase, on_claim=meanwhile, on_compute=compute), Clock(AS_OF))
    await runner.run(Work((portfolio,), SESSIONS[0], AS_OF))
    assert {day for name, day in await api.missing(str(portfolio)) if name == phase.value} == set()
    assert [sessions for sessions, neighbours, _ in seen if sessions != neighbours] == []
    assert {trades for *_, trades in seen} == {move is reopen}


async def test_an_event_about_a_day_that_was_closed_finds_nothing_to_do(api: Api) -> None:
    portfolio = UUID((await api.create(price_basis="as_traded"))["id"])
    await close(api)
    await api.complete(str(portfolio), phase="ingest")
    for phase in (Phase.FACTORS, Phase.RISK):
        assert await PhaseRunner(api.admin, Worker(phase), Clock(AS_OF)).run(Work((portfolio,), DAY, DAY)) == 0
    assert await api.rows("SELECT max(runs) FROM ledger.schedule") == [(0,)]
    assert await api.rows("SELECT count(*) FROM bus.dead_letters") == [(0,)]


async def test_a_request_checked_under_the_old_calendar_changes_nothing(api: Api) -> None:
    """Its entry session was worked out before the lock; the day was closed while it waited for it."""
    async with api.admin.begin() as conn:
        await acquire_commit_order_lock(conn)
        files = {"file": ("p.csv", CSV.encode(), "text/csv")}
        data = {"name": "Test", "equity_balance": "100000"}
        waiting = asyncio.create_task(api.client.post(f"{PREFIX}/portfolios/import", data=data, files=files))
        await _somebody_waits(api)
        await _storm(conn, DAY)
    answer = await waiting
    assert (answer.status_code, answer.json()["code"]) == (409, "calendar_moved")
    assert await api.rows("SELECT 1 FROM coordinator.portfolios") == []
    await api.create(CSV)
    assert DAY not in {row.entry_session for row in await lots(api)}


async def test_sessions_that_fell_due_are_added_by_the_calendar_there_is_behind_the_lock(api: Api) -> None:
    await api.create(price_basis="as_traded")
    await api.run("DELETE FROM ledger.units WHERE session = :d", d=AS_OF)
    async with api.admin.begin() as conn:
        await acquire_commit_order_lock(conn)
        tick = scheduler.add_due(api.context.engine, api.context.clock, source="cron", wake=lambda: None)
        waiting = asyncio.create_task(tick)
        await _somebody_waits(api)
        await _storm(conn, AS_OF)
    assert await waiting == 0
    assert await api.rows("SELECT 1 FROM ledger.units WHERE session = :d", d=AS_OF) == []


async def test_the_reconciler_asks_for_no_day_that_is_none(api: Api) -> None:
    """Read before the calendar was, a candidate may lie on a day that the calendar does not have: another turn finds it."""
    reconciler = Reconciler(api.context.engine, api.context.clock, wake=lambda: None)
    now = datetime.now(UTC)
    candidates = [Candidate(UUID(int=1), DAY, DAY, now), Candidate(UUID(int=2), DAY, AS_OF, now)]
    with using_calendar(Closures((Closure(DAY, None, REASON),))):
        works = reconciler.rectangles(Phase.RISK, candidates, 8)
    assert works == [Work((UUID(int=2),), date(2020, 12, 29), AS_OF)]


async def _somebody_waits(api: Api) -> None:
    """For an advisory lock, on this database."""
    until = asyncio.get_running_loop().time() + 30
    while not await api.rows("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
        assert asyncio.get_running_loop().time() < until
        await asyncio.sleep(0.02)


async def _storm(conn: AsyncConnection, day: date) -> None:
    await conn.execute(
        text("INSERT INTO coordinator.closures (day, reason, change) VALUES (:d, 'storm', nextval('ledger.change'))"),
        {"d": day},
    )
