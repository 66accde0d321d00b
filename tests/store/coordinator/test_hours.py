"""Whoever asks, at whatever hour: the last closed session of the exchange, and no day that was none (bugs 29, 30 and 31)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.control.scheduler import add_due
from shared.clock import Clock
from tests.store.coordinator.conftest import PREFIX, Api, make_app

CSV = "symbol,quantity,entry_date,entry_price\nAAPL,100,2025-01-02,243.85\n"
# All sessions of that fortnight: no weekend, and not 2025-01-09, a day of mourning.
SESSIONS = [date(2025, 1, day) for day in (2, 3, 6, 7, 8, 10, 13)]


@dataclass(frozen=True)
class At(Clock):
    """The wall clock of a moment in New York."""

    moment: str = ""

    def now(self) -> datetime:
        return datetime.fromisoformat(self.moment).replace(tzinfo=ZoneInfo("America/New_York")).astimezone(UTC)


class Hours:
    """The API, with a clock that the test sets."""

    def __init__(self, api: Api, served: AsyncEngine, loops: AsyncEngine) -> None:
        self.api, self.engine = api, loops
        self.app = make_app(served, [])

    def at(self, moment: str) -> httpx2.AsyncClient:
        self.app.state.context = replace(self.app.state.context, clock=At(moment=moment))
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.app), base_url="http://test")

    async def units(self, portfolio: str) -> list[date]:
        rows = await self.api.rows(
            "SELECT DISTINCT session FROM ledger.units WHERE portfolio_id = :id ORDER BY 1", id=UUID(portfolio)
        )
        return [session for (session,) in rows]

    async def create(self, moment: str) -> str:
        async with self.at(moment) as client:
            form = {"name": "Test", "equity_balance": "100000", "allow_duplicate_name": "true"}
            answer = await client.post(
                f"{PREFIX}/portfolios/import", data=form, files={"file": ("p.csv", CSV.encode(), "text/csv")}
            )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


@pytest.fixture
async def hours(api: Api, engines: tuple[AsyncEngine, AsyncEngine], loops: AsyncEngine) -> Hours:
    return Hours(api, engines[0], loops)


@pytest.mark.parametrize(
    ("moment", "last"),
    [
        ("2025-01-08 10:00", date(2025, 1, 7)),  # before the close: not today
        ("2025-01-08 16:29", date(2025, 1, 7)),
        ("2025-01-08 20:30", date(2025, 1, 8)),  # tomorrow in UTC: not tomorrow
        ("2025-01-09 20:30", date(2025, 1, 8)),  # closed
        ("2025-01-11 12:00", date(2025, 1, 10)),  # a Saturday
        ("2025-01-12 23:30", date(2025, 1, 10)),  # a Sunday, and Monday in UTC
    ],
)
async def test_bugs_29_and_30_every_path_ends_with_the_last_closed_session(
    hours: Hours, moment: str, last: date
) -> None:
    expected = [session for session in SESSIONS if session <= last]
    portfolio = await hours.create(moment)
    assert await hours.units(portfolio) == expected, "onboarding"
    async with hours.at(moment) as client:
        for path in (f"portfolios/{portfolio}/calculate", f"admin/batch/run?portfolio_id={portfolio}"):
            run = (await client.post(f"{PREFIX}/{path}")).json()["run_id"]
            scope = (await client.get(f"{PREFIX}/admin/runs/{run}")).json()["scope"]
            assert scope["to"] in {None, last.isoformat()}, path
            [(newest,)] = await hours.api.rows(
                "SELECT max(last) FROM coordinator.run_units WHERE run_id = :run", run=UUID(run)
            )
            assert newest == last, path
        status = (await client.get(f"{PREFIX}/portfolios/{portfolio}/status")).json()
        assert (status["as_of"], status["last_session"]) == (last.isoformat(), last.isoformat())
    assert await add_due(hours.engine, At(moment=moment), source="cron", wake=lambda: None) == 0
    assert await hours.units(portfolio) == expected, "and the schedule"


async def test_bug_31_what_was_finished_at_nine_in_the_evening_is_that_days_and_the_next_one_is_still_due(
    hours: Hours,
) -> None:
    portfolio = await hours.create("2025-01-08 20:59")
    await hours.api.complete(portfolio)
    # 21:00 on the 8th in New York is the 9th in UTC.
    await hours.api.run("UPDATE ledger.units SET completed_at = '2025-01-09 02:00+00'")
    async with hours.at("2025-01-08 21:00") as client:
        status = (await client.get(f"{PREFIX}/portfolios/{portfolio}/status")).json()
    assert (status["state"], status["as_of"], status["last_session"]) == ("complete", "2025-01-08", "2025-01-08")
    for moment, added in (
        ("2025-01-09 21:00", 0),
        ("2025-01-10 16:29", 0),
        ("2025-01-10 16:30", 4),
        ("2025-01-10 23:59", 0),
    ):
        assert await add_due(hours.engine, At(moment=moment), source="cron", wake=lambda: None) == added, moment
    assert await hours.units(portfolio) == [session for session in SESSIONS if session <= date(2025, 1, 10)]


async def test_bug_30_a_half_day_is_due_after_its_own_close(hours: Hours) -> None:
    clock = At(moment="2024-11-29 13:31")
    assert clock.last_due() == date(2024, 11, 29)
    assert At(moment="2024-11-29 13:29").last_due() == date(2024, 11, 27), "and Thanksgiving is no session"


async def test_bug_36_schedulers_that_tick_at_once_add_one_set_of_units_and_tell_it_once(hours: Hours) -> None:
    """Several coordinators, the reconciler among them, see that a session is due before any of them has added it."""
    portfolios = [await hours.create("2025-01-06 20:00") for _ in range(3)]
    late = await hours.create("2025-01-07 20:00")
    await hours.api.run("DELETE FROM bus.outbox")
    runs = "SELECT count(*) FROM coordinator.runs WHERE source IN ('cron', 'reconciler')"
    clock = At(moment="2025-01-08 16:30")
    ticks = (("cron", "reconciler") * 3)[:5]
    added = await asyncio.gather(*(add_due(hours.engine, clock, source=source, wake=lambda: None) for source in ticks))
    # Four phases: two sessions of three portfolios, one of the late one.
    assert sum(added) == 4 * (2 * 3 + 1)
    twice = "SELECT count(*) - count(DISTINCT (portfolio_id, session, phase)) FROM ledger.units"
    assert await hours.api.rows(twice) == [(0,)]
    expected = [session for session in SESSIONS if session <= date(2025, 1, 8)]
    for portfolio in (*portfolios, late):
        assert await hours.units(portfolio) == expected
    events = await hours.api.rows("SELECT type, payload FROM bus.outbox ORDER BY id")
    assert {row.type for row in events} == {"leadline.DateDue.v1"}
    works = [json.loads(row.payload)["work"] for row in events]
    told = [(portfolio, work["from"], work["to"]) for work in works for portfolio in work["portfolios"]]
    assert sorted(told) == sorted(
        [*((portfolio, "2025-01-07", "2025-01-08") for portfolio in portfolios), (late, "2025-01-08", "2025-01-08")]
    ), "each once"
    assert await hours.api.rows(runs) == [(2,)], "and one run waits for each set"
    assert await add_due(hours.engine, clock, source="cron", wake=lambda: None) == 0
