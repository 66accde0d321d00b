"""A vendor under a shared quota: asked in portions it can afford, today's questions first, the rest told when to come back.

The adapter's calls all pass its gate, retries and unforeseen ones too. A portion is begun only if the quota has room for what
it is expected to cost; what it then needs beyond that (why has this symbol no prices?) is waited for in place, because a portion
broken off halfway would be begun again and again, and never end. So are bars adjusted for splits, without which those as traded are
worth nothing. Before such a wait the calls already made are settled: while they count as being made they leave no window. Symbols over
which the patience ended are asked for last, one a portion.

A fault about one answer (`ProviderError.of_one_answer`) says little about the vendor. After several in a row the rest of the portion is
held, and a symbol that was answered about before is asked for: if that fails too the vendor is down, else the faults were the symbols' own.
The one call that a closed vendor is tried with is about such a symbol too, never about the one that failed.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import takewhile

from services.ingest.model.market import Answer, Request
from services.ingest.providers.errors import NotAsked, ProviderError
from services.ingest.providers.network import NetworkProvider
from services.ingest.providers.quota import patience
from services.ingest.providers.quota.companies import CompanyBreaker
from services.ingest.providers.quota.limits import Permit, Priority, Quota
from services.ingest.providers.quota.patience import Patience, Turn, wait_of
from services.ingest.providers.quota.portions import affordable, come_back_later
from services.ingest.providers.transport.gate import TRIP_AFTER, subject

REQUESTS_A_BATCH = 50
# A lease of calls being made is renewed after this; far below the lease, far above a call's usual time.
RENEW_SECONDS = 30.0
# Asked for where nothing was answered yet: in every vendor's data and in every plan. The second where the first has just failed.
REFERENCE_SYMBOLS, PROBE_SPAN = ("SPY", "QQQ"), timedelta(days=14)


class SharedRateLimiter:
    """Implements `gate.Gate` on a quota. One portion at a time: a provider's own concurrency is inside the portion."""

    def __init__(self, quota: Quota, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._quota = quota
        self._sleep = sleep
        self._portion = threading.Lock()
        self._lock = threading.Lock()
        self._priority = Priority.HISTORY
        self._uses: list[int] = []
        self._left = 0
        self.patience = Patience()
        self._renewed = 0.0
        self._closed: ProviderError | None = None
        self._told = False
        self._odd = 0
        self._suspicion: ProviderError | None = None
        self._probing = False
        self._last_answered: str | None = None
        self._last_failed: str | None = None
        self._odd_symbols: set[str] = set()
        self._held: set[str] = set()
        self._failing: set[str] = set()
        self._companies = False
        self.companies = CompanyBreaker()

    @contextmanager
    def batch(self, priority: Priority, wanted: int, least: int, *, waits: float = 0.0) -> Iterator[Permit]:
        """Room for `wanted` calls, or at least `least`; look at the grant's `refused` first. waits: seconds that it may take."""
        while True:
            with self._portion:
                grant = self._quota.reserve(wanted, least, priority)
                wait = None if grant.refused is None else wait_of(grant.refused)
                if grant.refused is None or wait is None or wait >= waits:
                    with self._hold_portion(grant, priority):
                        yield grant
                    return
            waits -= wait
            self._sleep(wait)

    @contextmanager
    def _hold_portion(self, grant: Permit, priority: Priority) -> Iterator[None]:
        if grant.refused is not None:
            yield
            return
        self._begin(grant, priority)
        try:
            yield
        finally:
            with self._lock:
                uses, left, self._uses, self._left = self._uses, self._left, [], 0
            if uses:
                self._quota.release(uses, left)

    def _begin(self, grant: Permit, priority: Priority) -> None:
        with self._lock:
            self._priority, self._left = priority, grant.calls
            self.patience.begin()
            # One call that a closed vendor is tried with is about the vendor, whatever it asks.
            self._companies = priority is Priority.BACKGROUND and not grant.probe
            self._uses = [] if grant.reservation is None else [grant.reservation]
            self._renewed, self._closed, self._told = time.monotonic(), None, False
            self._suspicion, self._odd_symbols, self._held = None, set(), set()

    def acquire(self) -> None:
        """Room for one call, of the portion's or taken now; waits for it within the portion's patience."""
        with self._lock:
            if self._closed is not None:
                raise self._closed
            if self._suspicion is not None and not self._probing and (symbol := subject()) is not None:
                self._held |= {symbol} - self._odd_symbols
                raise NotAsked(
                    self._suspicion.provider,
                    f"not asked: {self._odd} answers in a row could not be used, the last one was: {self._suspicion}",
                )
            if self._uses and time.monotonic() - self._renewed > RENEW_SECONDS:
                self._quota.renew(self._uses)
                self._renewed = time.monotonic()
            if self._left > 0:
                self._left -= 1
                return
            self._one_more()

    def _one_more(self) -> None:
        while True:
            grant = self._quota.reserve(1, 1, self._priority)
            if grant.refused is None:
                if grant.reservation is not None:
                    self._uses.append(grant.reservation)
                self._left = grant.calls - 1
                return
            wait = self.patience.take_wait(grant.refused, subject())
            if self._uses:
                self._quota.release(self._uses, 0)
            self._uses = []
            self._sleep(wait)

    def record_success(self) -> None:
        with self._lock:
            self._odd, self._suspicion = 0, None
            self._last_answered = subject() or self._last_answered
            self._failing.discard(subject() or "")
            if self._companies:
                self.companies.record_success()
            if not self._told:
                self._quota.record_success()
                self._told = True

    def record_failure(self, error: ProviderError) -> None:
        with self._lock:
            if self._companies and self.companies.record_failure(error):
                return
            symbol = subject()
            if symbol is not None:
                self._failing.add(symbol)
                self._last_failed = symbol
                if symbol == self._last_answered:
                    self._last_answered = None
            if error.of_one_answer and symbol is not None and not self._probing:
                self._odd += 1
                self._odd_symbols.add(symbol)
                if self._odd >= TRIP_AFTER:
                    self._suspicion = error
                return
            self._told = False
            confirmed = self._probing and error.of_one_answer
            self._closed = self._quota.record_failure(error, confirmed=confirmed) or self._closed

    @property
    def suspicious(self) -> bool:
        """Whether it must be found out if the vendor is down or some symbols have odd answers."""
        with self._lock:
            return self._suspicion is not None and self._closed is None

    def turn(self, symbol: str) -> Turn:
        """When a symbol is asked for. One whose last call failed comes last: it may close the vendor each time."""
        with self._lock:
            usual = Turn.COSTLY if self.patience.is_costly(symbol) else Turn.USUAL
            return Turn.FAILING if symbol in self._failing else usual

    def take_held(self) -> set[str]:
        """Symbols that were not asked for because of a suspicion, each told once."""
        with self._lock:
            held, self._held = self._held, set()
            return held

    def reference(self) -> str:
        """The symbol to try the vendor with: the last one it answered about, never the one that failed last."""
        with self._lock:
            choices = (self._last_answered, *REFERENCE_SYMBOLS)
            return next(symbol for symbol in choices if symbol is not None and symbol != self._last_failed)

    @contextmanager
    def probe(self) -> Iterator[None]:
        """Within it calls pass in spite of a suspicion, and what they end in is about the vendor."""
        with self._lock:
            self._probing = True
        try:
            yield
        finally:
            with self._lock:
                self._probing = False
                if self._closed is None:
                    self._odd, self._suspicion = 0, None

    @property
    def closed_by(self) -> ProviderError | None:
        """Why nobody is to ask any more, if a call of this portion ended so."""
        with self._lock:
            return self._closed

    @property
    def answered(self) -> bool:
        """Whether the vendor's last word in this portion was an answer."""
        with self._lock:
            return self._told


class RateLimitedProvider:
    """Implements `base.Provider`."""

    def __init__(
        self,
        vendor: NetworkProvider,
        gate: SharedRateLimiter,
        quota: Quota,
        is_today: Callable[[Request], bool],
        source: str | None = None,
    ) -> None:
        """source: whose data it is, where several adapters ask one vendor."""
        self.name = vendor.name
        self.source = source or vendor.name
        self.provider = vendor
        self._gate = gate
        self.quota = quota
        self._is_today = is_today

    @property
    def publishes(self) -> timedelta | None:
        """When the vendor's bars of a session are out, as `base.Provider` has it."""
        hour: timedelta | None = getattr(self.provider, "publishes", None)
        return hour

    def fetch(self, requests: Sequence[Request]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        until = time.monotonic() + patience.PATIENCE_SECONDS
        of_today = [self._is_today(request) for request in requests]
        for priority in (Priority.TODAY, Priority.HISTORY):
            queue = [index for index, today in enumerate(of_today) if today is (priority is Priority.TODAY)]
            queue.sort(key=lambda index: self._gate.turn(requests[index].symbol))
            while queue:
                portion = self._next_portion(requests, queue)
                asked = [requests[index] for index in portion]
                waits = until - time.monotonic() if asked[0].split_adjusted else 0.0
                calls = self.provider.calls(asked), self.provider.calls(asked[:1])
                with self._gate.batch(priority, *calls, waits=waits) as grant:
                    if grant.refused is not None:
                        self._refuse(grant.refused, requests, queue, answers)
                        break
                    if grant.probe and self._answers_about_another(asked[0]):
                        continue  # open again: the next portion is a whole one
                    if grant.probe and (closed := self._gate.closed_by) is not None:
                        self._refuse(closed, requests, queue, answers)
                        break
                    size = affordable(self.provider.calls, asked, grant.calls)
                    answers |= zip(portion[:size], self.provider.fetch(asked[:size]), strict=True)
                    self._gate.patience.forget(answers[index] for index in portion[:size])
                    held = self._gate.take_held()
                    if self._gate.suspicious:
                        self._answers_about_another(asked[0])
                again = [index for index in portion[:size] if requests[index].symbol in held]
                queue = [*again, *queue[size:]]
        return [answers[index] for index in range(len(requests))]

    def _next_portion(self, requests: Sequence[Request], queue: Sequence[int]) -> list[int]:
        """The next requests of one turn; of costly symbols one."""
        turns = [self._gate.turn(requests[index].symbol) for index in queue[:REQUESTS_A_BATCH]]
        if turns[0] is Turn.COSTLY:
            return [queue[0]]
        return list(queue[: sum(1 for _ in takewhile(lambda turn: turn is turns[0], turns))])

    def _answers_about_another(self, like: Request) -> bool:
        """Ask about the reference symbol over a few days; whether the vendor answered."""
        first = max(like.first, like.last - PROBE_SPAN)
        with self._gate.probe():
            list(self.provider.fetch([Request(self._gate.reference(), first, like.last)]))
        return self._gate.answered

    @contextmanager
    def background(self, calls: int) -> Iterator[ProviderError | None]:
        """A portion of the lowest priority, for what can wait (profiles, statements)."""
        if (closed := self._gate.companies.refusal) is not None:
            yield closed
            return
        with self._gate.batch(Priority.BACKGROUND, calls, calls) as grant:
            yield grant.refused

    def _refuse(
        self, refused: ProviderError, requests: Sequence[Request], queue: Sequence[int], answers: dict[int, Answer]
    ) -> None:
        costs = [self.provider.calls([requests[index]]) for index in queue]
        symbols = [requests[index].symbol for index in queue]
        answers |= zip(queue, come_back_later(refused, symbols, costs, self.quota.windows), strict=True)
