"""A calendar with closures is the library's without the closed days, whatever was entered and whoever else computes."""

from __future__ import annotations

import asyncio
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.clock import Clock
from shared.market.calendar import (
    DUE_BUFFER,
    NO_CLOSURES,
    Calendar,
    Closure,
    Closures,
    NotASession,
    calendar,
    closures,
    using_calendar,
)
from tests.support.examples import examples

NEW_YORK = ZoneInfo("America/New_York")
REGULAR = calendar(closures=NO_CLOSURES)
SESSIONS = REGULAR.between(date(2019, 1, 1), date(2021, 12, 31))
MOURNING = date(2020, 11, 16)


def closed(*days: date) -> Closures:
    return Closures(tuple(Closure(day, None, "storm") for day in sorted(days)))


def early(day: date, hour: int) -> Closures:
    return Closures((Closure(day, datetime.combine(day, time(hour), NEW_YORK), "storm"),))


@given(st.sets(st.sampled_from(SESSIONS), max_size=8))
@settings(max_examples=examples(40), deadline=None)
def test_sessions_are_those_of_the_library_without_the_closed_ones(days: set[date]) -> None:
    seen = calendar(closures=closed(*days))
    wanted = [day for day in SESSIONS if day not in days]
    assert seen.between(SESSIONS[0], SESSIONS[-1]) == wanted
    assert len(seen.sessions) == len(REGULAR.sessions) - len(days)
    assert (seen.first, seen.horizon) == (REGULAR.first, REGULAR.horizon)
    assert seen.sessions.tolist() == seen.between(seen.first, seen.horizon)
    numbers = [seen.ordinal(day) for day in wanted]
    assert np.all(np.diff(numbers) == 1)
    assert [seen.session(number) for number in numbers] == wanted
    assert all(seen.due_at(day) == REGULAR.due_at(day) for day in wanted)
    for day in days:
        assert not seen.is_session(day)
        with pytest.raises(NotASession):
            seen.ordinal(day)
        assert seen.on_or_before(day) < day < seen.on_or_after(day)
        assert seen.next(seen.on_or_before(day)) == seen.on_or_after(day)


@given(st.sampled_from(SESSIONS), st.sampled_from(SESSIONS))
@settings(max_examples=examples(60), deadline=None)
def test_a_closed_day_is_never_due(day: date, other: date) -> None:
    seen = calendar(closures=closed(day))
    after = REGULAR.due_at(other)
    due = seen.last_due(after)
    assert due == (REGULAR.previous(day) if other == day else other)


def test_an_early_close_moves_the_due_time_and_nothing_else() -> None:
    seen = calendar(closures=early(MOURNING, 13))
    at = datetime.combine(MOURNING, time(13), NEW_YORK)
    assert seen.due_at(MOURNING) == at + DUE_BUFFER
    assert seen.last_due(at + DUE_BUFFER) == MOURNING
    assert seen.last_due(at + DUE_BUFFER - timedelta(seconds=1)) == REGULAR.previous(MOURNING)
    assert seen.sessions.tolist() == REGULAR.sessions.tolist()
    beside = [REGULAR.previous(MOURNING), REGULAR.next(MOURNING)]
    assert [seen.due_at(day) for day in beside] == [REGULAR.due_at(day) for day in beside]


def test_the_reason_is_known_of_both_kinds() -> None:
    assert calendar(closures=closed(MOURNING)).closure(MOURNING) == Closure(MOURNING, None, "storm")
    found = calendar(closures=early(MOURNING, 13)).closure(MOURNING)
    assert found is not None
    assert found.close_at is not None
    assert REGULAR.closure(MOURNING) is None


def test_who_runs_under_closures_has_them_everywhere_and_nobody_else_has() -> None:
    """Two computations of one process, one of them in another thread, each with its own calendar."""

    def seen() -> bool:
        return Clock().calendar().is_session(MOURNING) and calendar().is_session(MOURNING)

    async def under(known: Closures, started: asyncio.Event, other: asyncio.Event) -> bool:
        with using_calendar(known):
            started.set()
            await other.wait()
            assert closures() == known
            return await asyncio.to_thread(seen) and await asyncio.create_task(asyncio.to_thread(seen))

    async def both() -> tuple[bool, bool]:
        one, other = asyncio.Event(), asyncio.Event()
        first, second = await asyncio.gather(under(closed(MOURNING), one, other), under(NO_CLOSURES, other, one))
        return first, second

    assert asyncio.run(both()) == (False, True)
    assert seen()


def test_the_clock_stands_after_the_last_session_that_traded() -> None:
    clock = Clock(MOURNING)
    with using_calendar(closed(MOURNING)):
        assert clock.last_due() == REGULAR.previous(MOURNING)
        assert clock.now() == REGULAR.due_at(REGULAR.previous(MOURNING))
    assert clock.last_due() == MOURNING


def test_equal_closures_share_one_calendar() -> None:
    made: list[Calendar] = [calendar(closures=closed(MOURNING)) for _ in range(2)]
    assert made[0] is made[1]
