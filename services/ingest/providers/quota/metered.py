"""A vendor under a shared quota: asked in portions it can afford, today's questions first, the rest told when to come back.

The adapter's calls all pass its gate, retries and unforeseen ones too. A portion is begun only if the quota has room for what
it is expected to cost; what it then needs beyond that (why has this symbol no prices?) is waited for in place, because
a portion broken off halfway would be begun again and again, and never end.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from services.ingest.model.market import Absent, Answer, Request
from services.ingest.providers.errors import AuthRefused, ProviderDown, QuotaUsedUp, RateLimited, VendorError
from services.ingest.providers.quota.limits import Grant, Priority, Quota, spread
from services.ingest.providers.vendor import Vendor

REQUESTS_A_PORTION = 50
# Of one portion, in all. Under the consumer's poll interval with room to spare.
PATIENCE_SECONDS = 150.0
# A lease of calls being made is renewed after this; far below the lease, far above a call's usual time.
RENEW_SECONDS = 30.0


class SharedGate:
    """Implements `gate.Gate` on a quota. One portion at a time: a provider's own concurrency is inside the portion."""

    def __init__(self, quota: Quota, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._quota = quota
        self._sleep = sleep
        self._portion = threading.Lock()
        self._lock = threading.Lock()
        self._priority = Priority.HISTORY
        self._uses: list[int] = []
        self._left = 0
        self._patience = PATIENCE_SECONDS
        self._renewed = 0.0
        self._closed: VendorError | None = None
        self._told = False

    @contextmanager
    def portion(self, priority: Priority, wanted: int, least: int) -> Iterator[Grant]:
        """Room for `wanted` calls, or at least `least`; look at the grant's `refused` first."""
        with self._portion:
            grant = self._quota.take(wanted, least, priority)
            if grant.refused is not None:
                yield grant
                return
            self._begin(grant, priority)
            try:
                yield grant
            finally:
                with self._lock:
                    uses, left, self._uses, self._left = self._uses, self._left, [], 0
                if uses:
                    self._quota.settle(uses, left)

    def _begin(self, grant: Grant, priority: Priority) -> None:
        with self._lock:
            self._priority, self._left, self._patience = priority, grant.calls, PATIENCE_SECONDS
            self._uses = [] if grant.use is None else [grant.use]
            self._renewed, self._closed, self._told = time.monotonic(), None, False

    def admit(self) -> None:
        """Room for one call, of the portion's or taken now; waits for it within the portion's patience."""
        with self._lock:
            if self._closed is not None:
                raise self._closed
            if self._uses and time.monotonic() - self._renewed > RENEW_SECONDS:
                self._quota.renew(self._uses)
                self._renewed = time.monotonic()
            if self._left > 0:
                self._left -= 1
                return
            self._one_more()

    def _one_more(self) -> None:
        while True:
            grant = self._quota.take(1, 1, self._priority)
            if grant.refused is None:
                if grant.use is not None:
                    self._uses.append(grant.use)
                self._left = grant.calls - 1
                return
            refused = grant.refused
            wait = (refused.retry_at - datetime.now(UTC)).total_seconds() + 0.01 if refused.retry_at else self._patience
            if not isinstance(refused, QuotaUsedUp) or wait >= self._patience:
                raise refused
            self._patience -= max(wait, 0.05)
            self._sleep(max(wait, 0.05))
            if self._uses:
                self._quota.renew(self._uses)
                self._renewed = time.monotonic()

    def succeeded(self) -> None:
        with self._lock:
            if not self._told:
                self._quota.succeeded()
                self._told = True

    def failed(self, error: VendorError) -> None:
        with self._lock:
            self._told = False
            self._closed = self._quota.failed(error) or self._closed


class Metered:
    """Implements `base.Provider`."""

    def __init__(
        self,
        vendor: Vendor,
        gate: SharedGate,
        quota: Quota,
        is_today: Callable[[Request], bool],
        source: str | None = None,
    ) -> None:
        """source: whose data it is, where several adapters ask one vendor."""
        self.name = vendor.name
        self.source = source or vendor.name
        self.vendor = vendor
        self._gate = gate
        self.quota = quota
        self._is_today = is_today

    def fetch(self, requests: Sequence[Request]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        of_today = [self._is_today(request) for request in requests]
        for priority in (Priority.TODAY, Priority.HISTORY):
            queue = [index for index, today in enumerate(of_today) if today is (priority is Priority.TODAY)]
            while queue:
                portion = queue[:REQUESTS_A_PORTION]
                asked = [requests[index] for index in portion]
                with self._gate.portion(priority, self.vendor.calls(asked), self.vendor.calls(asked[:1])) as grant:
                    if grant.refused is not None:
                        self._refuse(grant.refused, requests, queue, answers)
                        break
                    size = self._affordable(asked, grant.calls)
                    answers |= zip(portion[:size], self.vendor.fetch(asked[:size]), strict=True)
                queue = queue[size:]
        return [answers[index] for index in range(len(requests))]

    @contextmanager
    def background(self, calls: int) -> Iterator[VendorError | None]:
        """A portion of the lowest priority, for what can wait (profiles, statements)."""
        with self._gate.portion(Priority.BACKGROUND, calls, calls) as grant:
            yield grant.refused

    def _affordable(self, asked: Sequence[Request], calls: int) -> int:
        """How many of the requests so many calls pay for; at least one, which may wait for the rest of what it costs."""
        if self.vendor.calls(asked) <= calls:
            return len(asked)
        low, high = 1, len(asked)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.vendor.calls(asked[:middle]) <= calls else (low, middle)
        return low

    def _refuse(
        self, refused: VendorError, requests: Sequence[Request], queue: Sequence[int], answers: dict[int, Answer]
    ) -> None:
        base = refused.retry_at
        waits: list[datetime | None] = [base] * len(queue)
        if base is not None and isinstance(refused, QuotaUsedUp):
            costs = [self.vendor.calls([requests[index]]) for index in queue]
            waits = list(spread(costs, base, self.quota.windows))
        for index, wait in zip(queue, waits, strict=True):
            absent: Absent = refused.absent(requests[index].symbol)
            answers[index] = replace(absent, retry_at=wait)


def refusal(provider: str, reason: str | None, fault: str | None, until: datetime) -> VendorError:
    """What a stored state of a provider means for who asks now: our quota without a `fault`, the vendor's word with one."""
    told = f", after: {fault}" if fault else ""
    when = f"{until:%Y-%m-%d %H:%M:%S} UTC"
    if reason == "rate_limited":
        kind = RateLimited if fault else QuotaUsedUp
        return kind(provider, f"limit reached, next call at {when}{told}", retry_at=until)
    if reason == "auth":
        return AuthRefused(provider, f"not asked until {when}{told}", retry_at=until)
    return ProviderDown(provider, f"not asked until {when}{told}", retry_at=until)
