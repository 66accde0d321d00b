"""The one trading calendar: sessions of the New York Stock Exchange, and when each is due.

A session is *due* once its close plus a buffer has passed. Closes come from the calendar in exchange time, so half-days and
daylight saving are right without any arithmetic on UTC dates.

The library knows the exchange's rules; what a user knows better, a day of mourning or a storm, are closures. They are a frozen
value that whoever computes reads together with its inputs (shared/db/closures.py) and computes under (`using_calendar`), so two
computations of one process never see each other's calendar. Whoever computes without having said under which closures is told
so (`CalendarNotChosen`): the library's sessions would be a plausible answer, and a wrong one.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shared.arrays import DateVector
from shared.errors import PermanentError
from shared.market import exchange_sessions

EXCHANGE = exchange_sessions.EXCHANGE
FIRST_SESSION = exchange_sessions.FIRST_SESSION

# Vendors publish the official close within minutes; half an hour covers late corrections and the closing auction.
DUE_BUFFER = timedelta(minutes=30)
# The library computes sessions by the rules of the day it was released, as far ahead as it is asked: that it has a session says
# nothing. What is known is what the exchange has announced, three years at a time and a year more each December. Up to this day the
# locked library has been compared with that (tests/unit/market/test_calendar.py); whoever upgrades it compares, moves the day, and
# writes the sessions down again (`python -m deploy.sessions`).
ANNOUNCED_UNTIL = date(2028, 12, 31)
# Less than this many days left, and two announcements were made that nobody has compared: somebody has to upgrade.
HORIZON_ALARM_DAYS = 365
HORIZON_REMEDY = "upgrade Leadline, and exchange_calendars with it"


class NotASession(PermanentError):
    """A date on which the exchange does not trade, or that the calendar does not know."""

    code = "not_a_session"


class CalendarNotChosen(RuntimeError):
    """Sessions were asked for before anybody said under which closures."""

    def __init__(self) -> None:
        super().__init__(
            "no calendar was chosen: read the closures beside what is computed (`load_closures`, `using_calendar`), "
            "or name the calendar (`exchange_calendar`, `calendar(closures=…)`)"
        )


@dataclass(frozen=True, slots=True)
class Closure:
    """A session of the library's calendar on which the exchange stays closed, or closes early at `close_at` (aware)."""

    day: date
    close_at: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Closures:
    """All of them, ascending by day. Equal values mean equal calendars and equal `changes`.

    changes : days that stopped to be a session, or are one again, with the change number (of `ledger.change`) of the last time:
              what was computed from a window that reaches over such a day is older than the calendar if its number is lower
    """

    entries: tuple[Closure, ...] = ()
    changes: tuple[tuple[date, int], ...] = ()

    @property
    def closed_days(self) -> list[date]:
        """Days that are no session, ascending."""
        return [closure.day for closure in self.entries if closure.close_at is None]


NO_CLOSURES = Closures()
_current: ContextVar[Closures | None] = ContextVar("closures", default=None)


class Calendar:
    """Sessions by ordinal. Immutable; all look-ups are O(log n) or O(1)."""

    def __init__(
        self, sessions: list[date], opens: list[datetime], closes: list[datetime], closures: Closures = NO_CLOSURES
    ) -> None:
        self._sessions = sessions
        self._opens = opens
        self._closes = closes
        self._special = {closure.day: closure for closure in closures.entries}
        self._ordinals = {session: index for index, session in enumerate(sessions)}
        self.sessions: DateVector = np.array(sessions, dtype="datetime64[D]")
        self.sessions.setflags(write=False)
        self.first = sessions[0]
        self.horizon = sessions[-1]

    def is_session(self, day: date) -> bool:
        return day in self._ordinals

    def are_sessions(self, days: DateVector) -> NDArray[np.bool_]:
        """Which of many days are sessions. Shape of `days`. A look-up each: the whole calendar is not sorted again for it."""
        at = np.searchsorted(self.sessions, days)
        found: NDArray[np.bool_] = self.sessions[np.minimum(at, len(self.sessions) - 1)] == days
        return found

    def closure(self, day: date) -> Closure | None:
        """What a user entered about the day: closed, or closed early."""
        return self._special.get(day)

    def ordinal(self, session: date) -> int:
        """Position of the session, 0 for the first one known. Raises `NotASession`."""
        try:
            return self._ordinals[session]
        except KeyError:
            raise NotASession(
                f"{session} is not a session of {EXCHANGE} between {self.first} and {self.horizon}; "
                "use a trading day, or upgrade exchange_calendars if the date is beyond the horizon"
            ) from None

    def session(self, ordinal: int) -> date:
        if not 0 <= ordinal < len(self._sessions):
            raise NotASession(f"session number {ordinal} is outside {self.first} to {self.horizon}")
        return self._sessions[ordinal]

    def on_or_after(self, day: date) -> date:
        """The first session on or after the day. Raises `NotASession` beyond the horizon."""
        index = bisect.bisect_left(self._sessions, day)
        if index == len(self._sessions):
            raise NotASession(f"no session of {EXCHANGE} is known on or after {day} (horizon {self.horizon})")
        return self._sessions[index]

    def on_or_before(self, day: date) -> date:
        """The last session on or before the day. Raises `NotASession` before the first one."""
        index = bisect.bisect_right(self._sessions, day) - 1
        if index < 0:
            raise NotASession(f"no session of {EXCHANGE} is known on or before {day} (first {self.first})")
        return self._sessions[index]

    def previous(self, session: date) -> date:
        return self.session(self.ordinal(session) - 1)

    def next(self, session: date) -> date:
        return self.session(self.ordinal(session) + 1)

    def back(self, session: date, sessions: int) -> date:
        """The session that many sessions earlier, clipped at the first one known."""
        return self._sessions[max(0, self.ordinal(session) - sessions)]

    def forward(self, session: date, sessions: int) -> date:
        """The session that many sessions later, clipped at the horizon."""
        return self._sessions[min(len(self._sessions) - 1, self.ordinal(session) + sessions)]

    def between(self, first: date, last: date) -> list[date]:
        """All sessions in [first, last], both ends included, in order."""
        low = bisect.bisect_left(self._sessions, first)
        return self._sessions[low : bisect.bisect_right(self._sessions, last)]

    def count(self, first: date, last: date) -> int:
        """How many sessions [first, last] has."""
        return max(0, bisect.bisect_right(self._sessions, last) - bisect.bisect_left(self._sessions, first))

    def hours(self, session: date) -> tuple[datetime, datetime]:
        """When the exchange opens and closes, in UTC."""
        at = self.ordinal(session)
        return self._opens[at], self._closes[at]

    def due_at(self, session: date) -> datetime:
        """The instant, in UTC, from which the session's data is expected."""
        return self._closes[self.ordinal(session)] + DUE_BUFFER

    def last_due(self, now: datetime) -> date:
        """The newest session whose close and buffer have passed at `now` (aware)."""
        index = bisect.bisect_right(self._closes, now - DUE_BUFFER) - 1
        if index < 0:
            raise NotASession(f"no session of {EXCHANGE} was due at {now.isoformat()}")
        return self._sessions[index]

    def days_to_horizon(self, now: datetime) -> int:
        """Days of which the sessions are known to be what the exchange announced; negative once there are none."""
        return (ANNOUNCED_UNTIL - now.date()).days


@lru_cache(maxsize=4)
def _load(end: date) -> Calendar:
    return Calendar(*exchange_sessions.sessions_until(end))


@lru_cache(maxsize=8)
def _without_closures(end: date, closures: Closures) -> Calendar:
    """The library's sessions without those on which the exchange stays closed, and with the early closes."""
    regular = _load(end)
    special = {closure.day: closure.close_at for closure in closures.entries}
    sessions = [day for day in regular.between(regular.first, regular.horizon) if special.get(day, day) is not None]
    hours = [regular.hours(day) for day in sessions]
    closes = [special.get(day) or close for day, (_, close) in zip(sessions, hours, strict=True)]
    return Calendar(sessions, [opens for opens, _ in hours], closes, closures)


def exchange_calendar() -> Calendar:
    """The library's calendar of today, whatever closures the caller runs under: for adapters, whose answers outlive a closure."""
    return calendar(closures=NO_CLOSURES)


def calendar(today: date | None = None, *, closures: Closures | None = None) -> Calendar:
    """The calendar from 1990-01-02 to the end of the year after `today` (default: today).

    The library fixes its range when a calendar is loaded, so a process that lives for months must not keep the first one:
    the range follows the year of `today`, and a new year loads a new calendar.

    closures : instead of those the caller runs under. Raises `CalendarNotChosen` where there are neither.
    """
    year = (today or datetime.now(UTC).date()).year
    chosen = _chosen_closures() if closures is None else closures
    return _without_closures(date(year + 1, 12, 31), chosen) if chosen.entries else _load(date(year + 1, 12, 31))


def closures() -> Closures:
    """Those the caller runs under. Raises `CalendarNotChosen` unless somebody up the stack, or earlier in the task, said which."""
    return _chosen_closures()


def closures_if_chosen() -> Closures:
    """Those the caller runs under, or no closures where nobody has said. For the time and for refusals, never for what is computed."""
    return _current.get() or NO_CLOSURES


def _chosen_closures() -> Closures:
    found = _current.get()
    if found is None:
        raise CalendarNotChosen
    return found


@contextmanager
def using_calendar(closures: Closures | None) -> Iterator[None]:
    """Inside, in the threads and tasks started there too, `calendar()` is the one with these closures.

    None: none is chosen there, whatever the caller runs under, so that what is inside has to say under which it computes.
    """
    token = _current.set(closures)
    try:
        yield
    finally:
        _current.reset(token)


def set_calendar(closures: Closures | None) -> None:
    """The same for the rest of the task: for whoever cannot put what follows inside a `with`."""
    _current.set(closures)
