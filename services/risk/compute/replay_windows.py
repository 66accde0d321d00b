"""What the proxies returned over the windows that a scenario file states without returns (docs/methods.md §9). Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from shared.market.calendar import Calendar

DIGITS = 4
"""Returns of a window count to the basis point: what a vendor restates in the digits after it moves no scenario, and restates nothing."""


@dataclass(frozen=True, slots=True)
class Daily:
    """Of one symbol on one session; None unknown."""

    session: date
    total_return: float | None
    adj_close: float | None


def sessions_of(window: tuple[date, date], calendar: Calendar) -> tuple[date, ...]:
    """The session whose close the window begins at, then those of the returns; empty where it holds no return."""
    first, last = window
    if first < calendar.first:
        return ()
    base, end = calendar.on_or_before(first), calendar.on_or_before(last)
    return () if base >= end else tuple(calendar.between(base, end))


def returns_of(rows: Mapping[str, Sequence[Daily]], sessions: Sequence[date]) -> dict[str, float]:
    """By symbol, decimal: the daily total returns compounded, else the ratio of the adjusted closes at both ends; without either it is
    left out.

    rows : by symbol what is stored of the window. sessions : as `sessions_of` has them
    """
    found = {}
    for symbol, days in rows.items():
        by_day = {day.session: day for day in days}
        whole: float | None = 1.0
        for session in sessions[1:]:
            of = by_day.get(session)
            if whole is None or of is None or of.total_return is None:
                whole = None
                break
            whole *= 1.0 + of.total_return
        if whole is None and sessions:
            ends = [by_day[session].adj_close if session in by_day else None for session in (sessions[0], sessions[-1])]
            if ends[0] and ends[1]:
                whole = ends[1] / ends[0]
        # A fund that lost all is an error of its prices. One that more than doubled is not: a window may be years long.
        if sessions and whole is not None and 0.0 < whole < math.inf:
            found[symbol] = round(whole - 1.0, DIGITS)
    return found
