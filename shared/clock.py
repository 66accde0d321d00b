"""What time it is, once, for the whole process. Sessions come from here; leases and backoff use the database's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from shared.market.calendar import Calendar, calendar, closures_if_chosen


@dataclass(frozen=True)
class Clock:
    """The wall clock, or one that stands still just after session `as_of` became due."""

    as_of: date | None = None

    def calendar(self) -> Calendar:
        return calendar()

    def now(self) -> datetime:
        if self.as_of is None:
            return datetime.now(UTC)
        # What time it is has to be known before the closures are: to count a lease, to log, to check a date.
        days = calendar(closures=closures_if_chosen())
        return days.due_at(days.on_or_before(self.as_of))

    def last_due(self) -> date:
        """The newest session whose data is expected now."""
        return self.calendar().last_due(self.now())

    def today(self) -> date:
        """The exchange date users may write: a trade of today is allowed before today's session is due."""
        return self.now().astimezone(ZoneInfo("America/New_York")).date()
