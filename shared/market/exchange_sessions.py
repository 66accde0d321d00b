"""Sessions of the New York Stock Exchange as the library of exchange calendars computes them, and a table of the locked library's.

The library takes half a second of a start and forty megabytes, pandas with it, of each process that asks for a calendar. What it
computes up to the day that the exchange has announced is written down beside this module (`python -m deploy.sessions`), and a test
holds the one against the other. Another library than the locked one, or a later day, is computed as ever.
"""

from __future__ import annotations

import importlib.metadata
import json
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

EXCHANGE = "XNYS"
FIRST_SESSION = date(1990, 1, 2)
TABLE = Path(__file__).with_name("exchange_sessions.json")
LIBRARY = "exchange_calendars"
_ZONE = ZoneInfo("America/New_York")
_UTC = ZoneInfo("UTC")
_HOURS = (time(9, 30), time(16))


class Sessions(NamedTuple):
    """Sessions ascending, and when the exchange opens and closes on each, in UTC."""

    days: list[date]
    opens: list[datetime]
    closes: list[datetime]


def sessions_until(end: date) -> Sessions:
    """From `FIRST_SESSION` on: from the table where it is of the library that is installed and knows the day, else by the library."""
    table = json.loads(TABLE.read_text())
    if table["library"] == importlib.metadata.version(LIBRARY) and end <= date.fromisoformat(table["last"]):
        return from_table(table, end)
    return from_library(end)


def from_library(end: date) -> Sessions:
    import exchange_calendars

    raw = exchange_calendars.get_calendar(EXCHANGE, start=FIRST_SESSION.isoformat(), end=end.isoformat())
    opens, closes = ([at.to_pydatetime() for at in column] for column in (raw.opens, raw.closes))
    return Sessions([s.date() for s in raw.sessions], opens, closes)


def from_table(table: dict[str, Any], end: date) -> Sessions:
    closed = {date.fromisoformat(day) for day in table["closed"]}
    unusual = {
        date.fromisoformat(day): (time.fromisoformat(opens), time.fromisoformat(closes))
        for day, (opens, closes) in table["hours"].items()
    }
    days = [day for day in _weekdays(end) if day not in closed]
    hours = [(day, *unusual.get(day, _HOURS)) for day in days]
    return Sessions(
        days, [_in_utc(day, opens) for day, opens, _ in hours], [_in_utc(day, closes) for day, _, closes in hours]
    )


def table_of(sessions: Sessions, last: date) -> dict[str, Any]:
    """What is not as on any other day: weekdays without a session, and sessions with other hours, in the exchange's time."""
    known = set(sessions.days)
    hours = {}
    for day, *at in zip(*sessions, strict=True):
        local = tuple(each.astimezone(_ZONE).time() for each in at)
        if local != _HOURS:
            hours[day.isoformat()] = [each.isoformat("minutes") for each in local]
    return {
        "library": importlib.metadata.version(LIBRARY),
        "last": last.isoformat(),
        "closed": [day.isoformat() for day in _weekdays(last) if day not in known],
        "hours": hours,
    }


def _weekdays(end: date) -> list[date]:
    days = (FIRST_SESSION + timedelta(days=each) for each in range((end - FIRST_SESSION).days + 1))
    return [day for day in days if day.weekday() < 5]


def _in_utc(day: date, at: time) -> datetime:
    return datetime.combine(day, at, _ZONE).astimezone(_UTC)
