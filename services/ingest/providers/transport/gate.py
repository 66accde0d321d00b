"""Whether a provider may be called now. Every HTTP call passes one gate, a retry as well as a first try.

The gate here lives in one process: it keeps a limit that a vendor told us, and stops asking one that is down. Quotas that
replicas share are another implementation of the same protocol.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from services.ingest.providers.errors import AuthRefused, ProviderDown, RateLimited, VendorError

# So many failures in a row, and the rest of a batch is answered without asking: 5,000 symbols would each wait for a timeout.
TRIP_AFTER = 3
PAUSE = timedelta(minutes=1)


class Gate(Protocol):
    def admit(self) -> None:
        """Return if one call may be made now. Raises `RateLimited`, `ProviderDown` (both with `retry_at`) or `AuthRefused`."""
        ...

    def succeeded(self) -> None:
        """The vendor answered, be it that it knows no such symbol."""
        ...

    def failed(self, error: VendorError) -> None:
        """The call ended so."""
        ...


class LocalGate:
    """Limits and failures of one process. Thread-safe."""

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
        self._closed_by: VendorError | None = None

    def admit(self) -> None:
        with self._lock:
            closed_by = self._closed_by
            if closed_by is None:
                return
            if closed_by.retry_at is not None and closed_by.retry_at <= self._now():
                self._closed_by = None  # one failure more trips again at once: the count stays
                return
        raise closed_by

    def succeeded(self) -> None:
        with self._lock:
            self._failures = 0

    def failed(self, error: VendorError) -> None:
        with self._lock:
            if isinstance(error, RateLimited | AuthRefused):
                self._closed_by = error
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
