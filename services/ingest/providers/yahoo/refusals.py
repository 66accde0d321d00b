"""What Yahoo refuses beside prices: crumbs, profiles, statements. Charts need none of them, and go on being asked for.

Busy addresses get no crumb for hours and are refused profiles (401 "Invalid Crumb", 429) while charts are served to them. So these refusals
have a pause of their own, kept in the process: a restart costs one question.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock

from curl_cffi.requests import Response

from services.ingest.providers.errors import ProfilesLimited, ProfilesRefused

PAUSE = timedelta(minutes=15)
LONGEST = timedelta(hours=4)
# yfinance tries cookies in two ways; a limit is none that the other way would lift.
WAYS = 2


class ProfileBreaker:
    """Closed for `PAUSE` after a refusal, each time twice as long, up to `LONGEST`; by a limit until its end. Thread-safe."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = Lock()
        self._refusals = 0
        self._until: datetime | None = None
        self._said: ProfilesRefused | None = None

    def assert_open(self) -> None:
        """Raises `ProfilesRefused`; nobody is asked."""
        with self._lock:
            if self._said is not None and self._until is not None and self._now() < self._until:
                raise self._said

    def record_refusal(self, provider: str, said: str, until: datetime | None = None) -> ProfilesRefused:
        """The error to raise. until : of a limit, when the vendor said to come back."""
        kind = ProfilesRefused if until is None else ProfilesLimited
        with self._lock:
            if self._until is None or self._now() >= self._until:  # four threads meet one refusal
                pause = min(LONGEST, PAUSE * 2 ** min(self._refusals, 10))
                self._refusals += 1
                self._until = until or self._now() + pause
            self._said = kind(
                provider,
                f"{said}: profiles and statements are not asked for until {self._until:%Y-%m-%d %H:%M} UTC; prices are",
                retry_at=self._until,
            )
            return self._said

    def record_success(self) -> None:
        with self._lock:
            self._refusals, self._until, self._said = 0, None, None


class CrumbRefusals:
    """The last refusal of a crumb, which stands for `PAUSE` for every page about cookies: a library asks for one before each symbol."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = Lock()
        self._failures = 0
        self._kept: tuple[datetime, Response] | None = None

    def kept_response(self) -> Response | None:
        with self._lock:
            return self._kept[1] if self._kept is not None and self._now() < self._kept[0] else None

    def record_answer(self, response: Response) -> None:
        words = response.content[:200].strip()
        limited = response.status_code == 429 or b"Too Many Requests" in words
        with self._lock:
            if response.status_code < 400 and words and not limited and b"<html" not in words.lower():
                self._failures, self._kept = 0, None
                return
            self._failures += 1
            if limited or self._failures >= WAYS:
                self._kept = self._now() + PAUSE, response
