"""Validate a closure. Pure: the calendar comes with the call."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from services.coordinator.errors import Invalid
from shared.market.calendar import EXCHANGE, NO_CLOSURES, Closure, Closures, calendar

NEW_YORK = ZoneInfo("America/New_York")


def check(day: date, at: time | None, reason: str) -> Closure:
    """The closure that is meant. Raises `Invalid` for a day that has no trading to stop, and for a time outside its hours.

    at : New York time of an early close; None for a day that stays closed
    """
    regular = calendar(closures=NO_CLOSURES)
    if not regular.first < day < regular.horizon:
        raise Invalid(
            f"{day} is not between {regular.first} and {regular.horizon}, the days this calendar knows. "
            "Upgrade exchange_calendars for a later one.",
            code="outside_the_calendar",
        )
    if not regular.is_session(day):
        raise Invalid(
            f"{day} is not a session of {EXCHANGE} anyway. The one before it is {regular.on_or_before(day)}, the one after it "
            f"{regular.on_or_after(day)}.",
            code="not_a_session",
        )
    words = reason.strip()
    if not words:
        raise Invalid("reason is empty. Say why the exchange closes: it is what readers of the day are told.")
    return Closure(day, None if at is None else _within(regular.hours(day), day, at), words)


def _within(hours: tuple[datetime, datetime], day: date, at: time) -> datetime:
    opens, closes = (instant.astimezone(NEW_YORK) for instant in hours)
    close_at = datetime.combine(day, at, NEW_YORK)
    if not opens < close_at < closes:
        raise Invalid(
            f"{at:%H:%M} is not an early close: on {day} the exchange opens at {opens:%H:%M} and closes at {closes:%H:%M} New York "
            "time. Name a time between, or none if it stays closed.",
            code="outside_the_session",
        )
    return close_at.astimezone(UTC)


def replace_closure(before: Closures, day: date, closure: Closure | None, change_seq: int | None) -> Closures:
    """The closures with this one in place of what stood for the day; `change_seq` where the day becomes a session or stops to be one."""
    entries = [entry for entry in before.entries if entry.day != day] + ([closure] if closure else [])
    changes = dict(before.changes) | ({} if change_seq is None else {day: change_seq})
    return Closures(tuple(sorted(entries, key=lambda entry: entry.day)), tuple(sorted(changes.items())))
