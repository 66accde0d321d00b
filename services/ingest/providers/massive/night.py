"""A night's bars: one call a finished day for the whole market, where that is cheaper than one a symbol. A backfill stays per symbol."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta

from services.ingest.model.market import Request
from services.ingest.providers.normalise import Row
from shared.market.calendar import Calendar

# A question of more sessions is no night's.
SESSIONS = 5
# Portions of one night follow each other; a bar that a retry hours later is after is not to come from here.
KEPT = timedelta(minutes=15)

Day = Mapping[str, Row]
"""Every ticker's row of a day; empty where the vendor has none yet"""


class Night:
    """Days of the whole market, kept for `KEPT`. Of one thread."""

    def __init__(self, calendar: Callable[[], Calendar], now: Callable[[], datetime]) -> None:
        self._calendar = calendar
        self._now = now
        self._kept: dict[date, tuple[datetime, Day]] = {}
        self._useless_on: date | None = None

    def sessions(self, request: Request) -> list[date]:
        return self._calendar().between(request.first, request.last)

    def choose_requests(self, requests: Sequence[Request]) -> set[int]:
        """Indices of the requests whose days are asked for as wholes."""
        if self._useless_on == self._now().date():
            return set()
        short = {
            index
            for index, request in enumerate(requests)
            if not (request.formerly or request.split_adjusted) and 0 < len(self.sessions(request)) <= SESSIONS
        }
        return short if self.cost(requests, short) < len(short) else set()

    def cost(self, requests: Sequence[Request], chosen: set[int]) -> int:
        """Calls for the days of the chosen requests that are not at hand."""
        return len({day for index in chosen for day in self.sessions(requests[index])} - self._at_hand().keys())

    def day(self, session: date, ask: Callable[[date], Day]) -> Day:
        if session not in (kept := self._at_hand()):
            self._kept = {**kept, session: (self._now(), ask(session))}
        return self._kept[session][1]

    def forgo(self) -> None:
        """The vendor or the plan has no such days; asked again tomorrow."""
        self._useless_on = self._now().date()

    def _at_hand(self) -> dict[date, tuple[datetime, Day]]:
        return {day: kept for day, kept in self._kept.items() if self._now() - kept[0] < KEPT}
