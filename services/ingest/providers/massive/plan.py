"""What a key's plan lets be asked: not the day that has not ended, and nothing older than so many years. Learnt from refusals."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from services.ingest.model.market import NoDataReason, Unserved
from services.ingest.providers.errors import NotPublished, PlanLimited, TimeframeRefused, TodayRefused
from services.ingest.providers.normalise import Row, market_day
from services.ingest.providers.quota.limits import PlanMemory
from shared.market.calendar import Calendar

# Plans reach so many years back; the free one two.
YEARS = (10, 5, 2)
# Whose days are counted in weeks or whole months begins so much later.
LATER = (timedelta(days=7), timedelta(days=35))
# So many sessions are tried that are older than one refused as today's; then it is late.
SESSIONS_LESS = 2
# A first bar so many days after the edge of a plan is the plan's doing: the edge may lie on a weekend and a holiday.
NEAR = timedelta(days=5)
# What the database knows is looked up this often.
READ_AGAIN = timedelta(minutes=10)
# A finished day is served by then, in New York.
MORNING = time(6, 0)
_NEW_YORK = ZoneInfo("America/New_York")


class Served(NamedTuple):
    """Rows of [first, last], and which days of the question lie outside it, and why."""

    rows: list[Row]
    last: date
    unserved: tuple[Unserved, ...] = ()


class _Edge(NamedTuple):
    """Where a plan of so many years begins, some days later than the calendar has it."""

    years: int
    late_by: timedelta
    day: date


class LocalPlan:
    """Implements `PlanMemory` for one process: tests and scripts."""

    def __init__(self) -> None:
        self.years: int | None = None

    def plan_years(self) -> int | None:
        return self.years

    def learn_plan(self, years: int) -> None:
        self.years = years


class Plan:
    """One a key. What was refused is not asked for again: today's session until the next day, years that are too many for a week."""

    def __init__(self, memory: PlanMemory, calendar: Callable[[], Calendar], now: Callable[[], datetime]) -> None:
        self._memory = memory
        self._calendar = calendar
        self._now = now
        self._years: tuple[datetime, int | None] | None = None
        self._refused: tuple[date, date] | None = None
        self._oldest = date.max
        self._late_by = timedelta(0)

    def ask(self, provider: str, question: Callable[[date, date], list[Row]], first: date, last: date) -> Served:
        """The rows of a question as far as the plan reaches; `question` is asked once more after each kind of refusal.

        Raises `PlanLimited` if the plan covers none of it, `NotPublished` if all of it is today's.
        """
        known = self._known_years()
        low, high = max(first, self._edge(known)) if known else first, self.last_served(last)
        edge: _Edge | None = None
        less = 0
        while True:
            if high < first:
                raise NotPublished(provider, f"{last} is served when the day has ended", retry_at=self.morning())
            if low > high:
                raise PlanLimited(provider, f"the plan begins at {low}")
            try:
                rows = question(low, high)
                break
            except TodayRefused:
                less += 1
                if less > SESSIONS_LESS:
                    raise NotPublished(provider, f"{high} is not served yet", retry_at=self.morning()) from None
                high = self.refuse(high)
            except PlanLimited as error:
                edge = self._next_edge(low, error, edge)
                if edge is None:
                    raise
                low = edge.day
        if edge is not None:
            self._late_by = edge.late_by
            if edge.years != known:
                self._memory.learn_plan(edge.years)
                self._years = self._now(), edge.years
        if rows:
            self._oldest = min(self._oldest, *(row.day for row in rows))
        return Served(rows, high, self._find_unserved(first, low, rows) + self.late(high, last))

    def begins(self, first: date) -> list[date]:
        """Where a list of what happened since `first` may begin, the next one after a refusal: as far back as the plan goes."""
        years = self._known_years()
        first = max(first, self._edge(years)) if years else first
        return [first, *(edge.day for edge in self._edges() if edge.day > first)]

    def _edges(self) -> list[_Edge]:
        """Where a plan may begin, the longest one's first; the shortest one's later too, as its day may be counted otherwise."""
        found = [_Edge(years, timedelta(0), self._edge(years, timedelta(0))) for years in YEARS]
        return found + [_Edge(YEARS[-1], late, self._edge(YEARS[-1], late)) for late in LATER]

    def _next_edge(self, low: date, refused: PlanLimited, before: _Edge | None) -> _Edge | None:
        """Where to ask from after a refusal. One that does not speak of days may be about them: the shortest plan's edge tells."""
        if isinstance(refused, TimeframeRefused):
            return next((edge for edge in self._edges() if edge.day > low), None)
        shortest = next(edge for edge in self._edges() if edge.years == YEARS[-1])
        return shortest if before is None and shortest.day > low else None

    def last_served(self, last: date) -> date:
        """`last`, or the session before one that was refused today."""
        if self._refused is None or self._refused[0] != market_day(self._now()) or last < self._refused[1]:
            return last
        return self._calendar().previous(self._refused[1])

    def refuse(self, session: date) -> date:
        """This session, or the one before it, was refused as today's; the last one to ask for instead."""
        session = self._calendar().on_or_before(session)
        self._refused = market_day(self._now()), session
        return self._calendar().previous(session)

    def late(self, high: date, last: date) -> tuple[Unserved, ...]:
        """What of a question up to `last` waits for the morning, where `high` was the last day asked for."""
        if high >= last:
            return ()
        return (Unserved(high + timedelta(days=1), last, NoDataReason.LATE, self.morning()),)

    def morning(self) -> datetime:
        return datetime.combine(market_day(self._now()) + timedelta(days=1), MORNING, _NEW_YORK)

    def _find_unserved(self, first: date, low: date, rows: list[Row]) -> tuple[Unserved, ...]:
        """The days before the edge of the plan: those not asked for, or those left out of an answer that begins there."""
        if low > first:
            return (Unserved(first, low - timedelta(days=1), NoDataReason.PLAN_LIMIT),)
        begins = min((row.day for row in rows), default=None)
        if begins is None or begins <= self._calendar().on_or_after(first):
            return ()
        for years in YEARS:
            edge = self._edge(years)
            # Whoever was served older bars of anything has a longer plan; then it is the listing that begins there.
            # On either side of it: the vendor's day begins elsewhere, and the day to spare is ours.
            if edge - NEAR <= begins <= edge + NEAR and self._oldest >= edge - NEAR:
                return (Unserved(first, begins - timedelta(days=1), NoDataReason.PLAN_LIMIT),)
        return ()

    def _known_years(self) -> int | None:
        if self._years is None or self._now() - self._years[0] > READ_AGAIN:
            self._years = self._now(), self._memory.plan_years()
        return self._years[1]

    def _edge(self, years: int, late_by: timedelta | None = None) -> date:
        """The first day that a plan of so many years serves, with a day to spare.

        late_by : what is known of the shortest plan unless given
        """
        if late_by is None:
            late_by = self._late_by if years == YEARS[-1] else timedelta(0)
        today = market_day(self._now())
        # From the first of March if today is a leap day.
        year = today.year - years
        past = (
            today.replace(year=year, month=3, day=1)
            if (today.month, today.day) == (2, 29)
            else today.replace(year=year)
        )
        return past + timedelta(days=1) + late_by
