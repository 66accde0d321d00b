"""What a night's list of newest rows is joined to, and when a symbol is asked for by itself although the list has it.

The list has what took effect on its own day. A dividend or a split that the vendor lists days later stands in the symbol's history
alone, so each history is asked for anew before it is two weeks old.
"""

import threading
from datetime import date
from typing import NamedTuple
from zlib import crc32

from services.ingest.providers.normalise import Row
from shared.market.calendar import Calendar

# A history is asked for again after so many sessions, and as many more by symbol as spread the calls over the nights.
OLDEST, SPREAD = 5, 5
# A close that moves by more is asked about: a split may be missing in its row.
LARGEST_MOVE = 0.15


class Day(NamedTuple):
    """One row of an answer: prices, and what took effect that day."""

    row: Row
    dividend: float
    split: float

    @property
    def has_action(self) -> bool:
        return self.dividend != 0.0 or self.split != 1.0

    def leaps_from(self, before: "Day") -> bool:
        """Whether its close is further from the one before than a day without a split mostly brings."""
        here, there = self.row.close, before.row.close
        return bool(here and there) and not 1 - LARGEST_MOVE <= here / there <= 1 / (1 - LARGEST_MOVE)  # type: ignore[operator]


class ServedRows:
    """By the vendor's spelling, the newest row that was served, and the session at which the whole history was. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, Day] = {}
        self._histories: dict[str, date] = {}

    def __contains__(self, name: str) -> bool:
        with self._lock:
            return name in self._rows

    def newest(self, name: str) -> Day | None:
        with self._lock:
            return self._rows.get(name)

    def record_joined(self, name: str, day: Day) -> None:
        with self._lock:
            self._rows[name] = day

    def record_history(self, name: str, newest: Day | None, session: date) -> None:
        """The history was served, with what is listed up to the session."""
        with self._lock:
            self._histories[name] = session
            if newest is not None:
                self._rows[name] = newest

    def is_old(self, name: str, session: date, calendar: Calendar) -> bool:
        """Whether what was listed late may be missing by now."""
        with self._lock:
            at = self._histories.get(name)
        # By its name, so that symbols that began together do not come together again.
        most = OLDEST + crc32(name.encode()) % SPREAD
        return at is None or calendar.ordinal(session) - calendar.ordinal(at) >= most
