"""Questions about companies (profiles, statements, searches) fail apart from prices: they have a breaker of their own."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock

from services.ingest.providers.errors import PlanLimited, ProfilesRefused, ProviderError, RateLimited
from services.ingest.providers.transport.gate import TRIP_AFTER

PAUSE = timedelta(minutes=15)
LONGEST = timedelta(hours=4)


class CompanyBreaker:
    """Open for questions until `TRIP_AFTER` of them failed in a row, then closed for `PAUSE`, each time twice as long, up to `LONGEST`.

    Kept in the process: a restart costs a few questions. A limit is none of its business, because it is on prices too; nor
    is what a plan does not cover. Thread-safe.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._lock = Lock()
        self._failures = 0
        self._refused: ProfilesRefused | None = None

    def record_failure(self, error: ProviderError) -> bool:
        """Whether this is kept from prices."""
        if isinstance(error, RateLimited | PlanLimited):
            return False
        with self._lock:
            self._failures += 1
            if (pauses := self._failures - TRIP_AFTER) >= 0:
                until = self._now() + min(LONGEST, PAUSE * 2 ** min(pauses, 10))
                told = f"companies are not asked about until {until:%Y-%m-%d %H:%M} UTC, prices are; after: {error}"
                self._refused = ProfilesRefused(error.provider, told, retry_at=until)
        return True

    def record_success(self) -> None:
        with self._lock:
            self._failures, self._refused = 0, None

    @property
    def refusal(self) -> ProfilesRefused | None:
        """Why nobody is asked now; None if somebody may be."""
        with self._lock:
            refused = self._refused
        return (
            refused if refused is not None and refused.retry_at is not None and self._now() < refused.retry_at else None
        )
