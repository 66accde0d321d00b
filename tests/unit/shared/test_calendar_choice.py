"""Nobody computes under a calendar that nobody chose, and a service does not inherit the one of who started it."""

from __future__ import annotations

import asyncio
from datetime import date

import pytest

from services.risk.settings import RiskSettings
from shared.clock import Clock
from shared.market.calendar import (
    NO_CLOSURES,
    CalendarNotChosen,
    calendar,
    closures,
    exchange_calendar,
    using_calendar,
)
from shared.phase.runner import PhaseRunner
from shared.service import Service
from shared.work import Phase, Work
from tests.flow.toy import Worker

DAY = date(2020, 12, 30)


def chosen() -> bool:
    try:
        calendar()
    except CalendarNotChosen:
        return False
    return True


@pytest.fixture
def service() -> Service:
    """Built, and never started: nobody listens at its addresses."""
    return Service.build("risk", RiskSettings(database_url="postgresql://nobody@127.0.0.1:1/nothing"))


def test_who_has_not_said_which_calendar_is_told_what_to_do() -> None:
    with using_calendar(None):
        for ask in (calendar, closures, Clock(DAY).calendar, Clock(DAY).last_due):
            with pytest.raises(CalendarNotChosen, match=r"load_closures.*exchange_calendar"):
                ask()
        assert exchange_calendar().is_session(DAY)
        assert Clock(DAY).now() == exchange_calendar().due_at(DAY), "what time it is does not wait for the closures"


async def test_a_task_of_a_service_has_no_calendar_of_who_started_it(service: Service) -> None:
    seen = []

    async def look() -> None:
        seen.append(chosen())

    service.stopping.set()
    with using_calendar(NO_CLOSURES):
        service._start(look(), "loop")
        await asyncio.gather(*service.tasks)
        assert chosen()
    assert seen == [False]


async def test_a_run_has_no_calendar_of_its_caller(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = PhaseRunner(service.engine, Worker(Phase.RISK), Clock(DAY))
    seen = []

    async def look(_: Work) -> int:
        seen.append(chosen())
        return 0

    monkeypatch.setattr(runner, "_run", look)
    with using_calendar(NO_CLOSURES):
        await runner.run(Work((), DAY, DAY))
    assert seen == [False]
