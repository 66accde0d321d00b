"""Whether a provider may be called now. Every HTTP call passes one gate, a retry as well as a first try.

The gate here lives in one process: it keeps a limit that a vendor told us, and stops asking one that is down. Quotas that
replicas share are another implementation of the same protocol.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from services.ingest.providers.errors import AuthRefused, ProviderDown, ProviderError, RateLimited

# So many failures in a row, and the rest of a batch is answered without asking: 5,000 symbols would each wait for a timeout.
TRIP_AFTER = 3
PAUSE = timedelta(minutes=1)

_subject: Final[ContextVar[str | None]] = ContextVar("subject", default=None)


@contextmanager
def asking_about(symbol: str) -> Iterator[None]:
    """Calls of this thread are about one symbol: an answer that cannot be read is then that symbol's fault, not the vendor's."""
    token = _subject.set(symbol)
    try:
        yield
    finally:
        _subject.reset(token)


def subject() -> str | None:
    """The symbol that this thread's call is about; None for a call about many or about none."""
    return _subject.get()


class RateLimiter(Protocol):
    def acquire(self) -> None:
        """Return if one call may be made now. Raises `RateLimited`, `ProviderDown` (both with `retry_at`) or `AuthRefused`."""
        ...

    def record_success(self) -> None:
        """The vendor answered, be it that it knows no such symbol."""
        ...

    def record_failure(self, error: ProviderError) -> None:
        """The call ended so. Never told of a refusal by `acquire`: nobody was asked."""
        ...


class LocalRateLimiter:
    """Limits and failures of one process. Thread-safe.

    A fault about one answer counts if its symbol was answered about before, or if nothing was answered yet.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        trip_after: int = TRIP_AFTER,
        pause: timedelta = PAUSE,
    ) -> None:
        self._now = now
        self._trip_after = trip_after
        self._pause = pause
        self._lock = threading.Lock()
        self._failures = 0
        self._answered: set[str] = set()
        self._closed_by: ProviderError | None = None

    def acquire(self) -> None:
        with self._lock:
            closed_by = self._closed_by
            if closed_by is None:
                return
            if closed_by.retry_at is not None and closed_by.retry_at <= self._now():
                self._closed_by = None  # one failure more trips again at once: the count stays
                return
        raise closed_by

    def record_success(self) -> None:
        with self._lock:
            self._failures = 0
            if (symbol := subject()) is not None:
                self._answered.add(symbol)

    def record_failure(self, error: ProviderError) -> None:
        with self._lock:
            if isinstance(error, RateLimited | AuthRefused):
                self._closed_by = error
            elif self._of_the_symbol(error):
                return
            elif isinstance(error, ProviderDown):
                self._failures += 1
                if error.retry_at is not None or self._failures >= self._trip_after:
                    until = error.retry_at or self._now() + self._pause
                    self._closed_by = ProviderDown(
                        error.provider,
                        f"not asked until {until:%H:%M:%S} UTC, after: {error}",
                        fault=error.fault,
                        retry_at=until,
                    )

    def _of_the_symbol(self, error: ProviderError) -> bool:
        symbol = subject()
        return error.of_one_answer and symbol is not None and bool(self._answered) and symbol not in self._answered
