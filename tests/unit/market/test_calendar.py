"""Sessions and when they are due, against rules written down a second time."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.market.calendar import (
    ANNOUNCED_UNTIL,
    DUE_BUFFER,
    FIRST_SESSION,
    HORIZON_ALARM_DAYS,
    NO_CLOSURES,
    Closure,
    Closures,
    NotASession,
    calendar,
    exchange_calendar,
    using_calendar,
)

NEW_YORK = ZoneInfo("America/New_York")
DAYS = calendar()
# Closures outside the yearly rules, from the exchange's own list of special closings.
SPECIAL = {
    date(1994, 4, 27),
    *(date(2001, 9, day) for day in (11, 12, 13, 14)),
    date(2004, 6, 11),
    date(2007, 1, 2),
    date(2012, 10, 29),
    date(2012, 10, 30),
    date(2018, 12, 5),
    date(2025, 1, 9),
}


def nth(year: int, month: int, weekday: int, number: int) -> date:
    """The `number`th weekday (Monday 0) of a month; -1 is the last one."""
    if number > 0:
        first = date(year, month, 1)
        return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (number - 1))
    last = date(year, month + 1, 1) - timedelta(days=1)
    return last - timedelta(days=(last.weekday() - weekday) % 7)


def easter(year: int) -> date:
    """Meeus, Jones and Butcher."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    lunar = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * lunar) // 451
    month, day = divmod(h + lunar - 7 * m + 114, 31)
    return date(year, month, day + 1)


def observed(day: date) -> date:
    return day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))


def holidays(year: int) -> set[date]:
    days = {
        nth(year, 2, 0, 3),
        easter(year) - timedelta(days=2),
        nth(year, 5, 0, -1),
        observed(date(year, 7, 4)),
        nth(year, 9, 0, 1),
        nth(year, 11, 3, 4),
        observed(date(year, 12, 25)),
    }
    if date(year, 1, 1).weekday() != 5:  # a New Year's Day on a Saturday is not made up for
        days.add(observed(date(year, 1, 1)))
    if year >= 1998:
        days.add(nth(year, 1, 0, 3))
    if year >= 2022:
        days.add(observed(date(year, 6, 19)))
    return days


def test_sessions_are_those_of_the_exchanges_rules() -> None:
    closed = SPECIAL.union(*(holidays(year) for year in range(1990, DAYS.horizon.year + 1)))
    day, expected = FIRST_SESSION, []
    while day <= date(DAYS.horizon.year, 12, 31):
        if day.weekday() < 5 and day not in closed:
            expected.append(day)
        day += timedelta(days=1)
    assert DAYS.between(date.min, date.max) == expected
    assert DAYS.first == FIRST_SESSION
    assert DAYS.sessions.tolist() == expected
    assert not DAYS.sessions.flags.writeable


@pytest.mark.parametrize("day", [date(2025, 1, 9), date(2026, 11, 26), date(2024, 12, 28), date(1989, 12, 29)])
def test_closed_days_are_not_sessions(day: date) -> None:
    assert not DAYS.is_session(day)
    with pytest.raises(NotASession, match=str(day)):
        DAYS.ordinal(day)
    with pytest.raises(NotASession):
        DAYS.due_at(day)


@pytest.mark.parametrize(
    ("session", "due"),
    [
        (date(2026, 11, 27), datetime(2026, 11, 27, 18, 30, tzinfo=UTC)),  # 13:00 in New York and half an hour
        (date(2024, 7, 3), datetime(2024, 7, 3, 17, 30, tzinfo=UTC)),  # the same in summer
        (date(2026, 3, 6), datetime(2026, 3, 6, 21, 30, tzinfo=UTC)),  # the Friday before the clocks change
        (date(2026, 3, 9), datetime(2026, 3, 9, 20, 30, tzinfo=UTC)),  # the Monday after
        (date(2025, 10, 31), datetime(2025, 10, 31, 20, 30, tzinfo=UTC)),
        (date(2025, 11, 3), datetime(2025, 11, 3, 21, 30, tzinfo=UTC)),
    ],
)
def test_a_session_is_due_half_an_hour_after_its_own_close(session: date, due: datetime) -> None:
    assert DAYS.due_at(session) == due
    assert DAYS.last_due(due) == session
    assert DAYS.last_due(due - timedelta(microseconds=1)) == DAYS.previous(session)


def test_every_recent_session_closes_at_four_or_one_in_new_york() -> None:
    """Over all changes of the clocks since 2010; a due time in UTC arithmetic would be off by an hour for half the year."""
    closes: dict[time, int] = {}
    for session in DAYS.between(date(2010, 1, 1), DAYS.horizon):
        local = (DAYS.due_at(session) - DUE_BUFFER).astimezone(NEW_YORK)
        assert local.date() == session
        closes[local.time()] = closes.get(local.time(), 0) + 1
    assert set(closes) == {time(16), time(13)}
    assert closes[time(13)] < 0.015 * closes[time(16)]


@given(
    ordinal=st.integers(1, len(DAYS.sessions) - 1),
    seconds=st.integers(-40 * 3600, 40 * 3600),
    offset=st.integers(-14 * 60, 14 * 60),
)
def test_the_label_is_the_exchanges_session_wherever_one_asks(ordinal: int, seconds: int, offset: int) -> None:
    now = DAYS.due_at(DAYS.session(ordinal)) + timedelta(seconds=seconds)
    try:
        expected = max(s for s in DAYS.between(now.date() - timedelta(days=12), now.date()) if DAYS.due_at(s) <= now)
    except ValueError:
        return  # before the first session was due
    there = now.astimezone(timezone(timedelta(minutes=offset)))
    assert DAYS.last_due(there) == expected
    assert expected <= now.astimezone(NEW_YORK).date()


@given(day=st.dates(FIRST_SESSION, DAYS.horizon))
def test_neighbours_agree_with_a_search(day: date) -> None:
    after, before = DAYS.on_or_after(day), DAYS.on_or_before(day)
    assert before <= day <= after
    assert (before == after) == DAYS.is_session(day)
    if before != after:
        assert DAYS.next(before) == after
        assert DAYS.previous(after) == before
    assert DAYS.session(DAYS.ordinal(after)) == after
    assert DAYS.between(before, after) == ([after] if before == after else [before, after])


@given(ordinal=st.integers(0, len(DAYS.sessions) - 1), count=st.integers(0, 12_000))
def test_going_back_and_forward_is_clipped_at_the_ends(ordinal: int, count: int) -> None:
    session = DAYS.session(ordinal)
    assert DAYS.back(session, count) == DAYS.session(max(0, ordinal - count))
    assert DAYS.forward(session, count) == DAYS.session(min(len(DAYS.sessions) - 1, ordinal + count))


def test_what_lies_outside_says_where_the_ends_are_and_what_to_do() -> None:
    beyond = DAYS.horizon + timedelta(days=1)
    with pytest.raises(NotASession, match=rf"{beyond}.*horizon {DAYS.horizon}"):
        DAYS.on_or_after(beyond)
    with pytest.raises(NotASession, match=r"upgrade exchange_calendars"):
        DAYS.ordinal(beyond)
    with pytest.raises(NotASession, match=str(DAYS.horizon)):
        DAYS.next(DAYS.horizon)
    with pytest.raises(NotASession, match=r"first 1990-01-02"):
        DAYS.on_or_before(date(1990, 1, 1))
    with pytest.raises(NotASession):
        DAYS.previous(DAYS.first)
    with pytest.raises(NotASession, match="was due at 1990-01-02T12:00"):
        DAYS.last_due(datetime(1990, 1, 2, 12, tzinfo=UTC))
    assert NotASession.code == "not_a_session"


def test_the_range_follows_the_year_of_a_process_that_lives_long() -> None:
    """The library fixes its range when loaded, and would start twenty years back."""
    this, following = calendar(date(2025, 12, 31)), calendar(date(2026, 1, 1))
    assert (this.horizon, following.horizon) == (date(2026, 12, 31), date(2027, 12, 31))
    assert this.first == following.first == FIRST_SESSION
    assert calendar(date(2025, 3, 1)) is this
    np.testing.assert_array_equal(this.sessions, following.sessions[: len(this.sessions)])


# Holidays and early closes as the New York Stock Exchange announced them, in December 2025 for the years up to 2028. Whoever upgrades
# exchange_calendars adds the year announced since, and moves ANNOUNCED_UNTIL.
ANNOUNCED = {
    2026: ("01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25", "11-27 12-24"),
    2027: ("01-01 01-18 02-15 03-26 05-31 06-18 07-05 09-06 11-25 12-24", "11-26"),
    2028: ("01-17 02-21 04-14 05-29 06-19 07-04 09-04 11-23 12-25", "07-03 11-24"),
}


@pytest.mark.parametrize("year", ANNOUNCED)
def test_the_library_has_the_sessions_that_the_exchange_announced(year: int) -> None:
    holidays, early = ({date.fromisoformat(f"{year}-{day}") for day in days.split()} for days in ANNOUNCED[year])
    days = calendar(date(year, 1, 1))
    weekdays = [
        day for index in range(366) if (day := date(year, 1, 1) + timedelta(index)).weekday() < 5 and day.year == year
    ]
    assert {day for day in weekdays if not days.is_session(day)} == holidays
    closes = {day: days.hours(day)[1].astimezone(NEW_YORK).time() for day in weekdays if days.is_session(day)}
    assert {day for day, at in closes.items() if at != time(16)} == early
    assert {closes[day] for day in early} == {time(13)}


def test_the_alarm_is_about_what_was_announced_and_not_about_what_is_loaded() -> None:
    assert date(max(ANNOUNCED), 12, 31) == ANNOUNCED_UNTIL
    for today in (date(2026, 11, 22), date(2027, 12, 31), date(2028, 1, 2), date(2029, 6, 1)):
        left = calendar(today).days_to_horizon(datetime(today.year, today.month, today.day, tzinfo=UTC))
        assert left == (date(2028, 12, 31) - today).days
        assert (left < HORIZON_ALARM_DAYS) is (today > date(2027, 12, 31)), "a year before the last announced day"


def test_the_regular_calendar_is_the_same_under_a_closure() -> None:
    closed = date(2020, 12, 29)
    with using_calendar(Closures((Closure(closed, None, "storm"),))):
        assert not calendar().is_session(closed)
        assert exchange_calendar().is_session(closed)
        assert exchange_calendar() is calendar(closures=NO_CLOSURES)


def test_many_days_at_once_are_sessions_as_each_alone() -> None:
    days = np.arange(DAYS.sessions[0] - 10, DAYS.sessions[-1] + 10, dtype="datetime64[D]")
    assert DAYS.are_sessions(days).tolist() == [DAYS.is_session(day) for day in days.tolist()]
    assert DAYS.are_sessions(days[:0]).tolist() == []
    assert DAYS.are_sessions(np.array(["NaT"], "datetime64[D]")).tolist() == [False]
