"""A vendor under a quota: portions, today first, waiting in place for what was begun, turns told to those who wait."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from services.ingest.model.market import Answer, NoData, NoDataReason, Request
from services.ingest.providers.errors import ProviderDown, ProviderError, QuotaUsedUp, RateLimited
from services.ingest.providers.quota.limits import Permit, Priority, Window, spread, windows
from services.ingest.providers.quota.rate_limited import RateLimitedProvider, SharedRateLimiter
from services.ingest.providers.transport.gate import asking_about

NIGHT = (date(2020, 12, 29), date(2020, 12, 30))
YEARS = (date(2018, 12, 31), date(2020, 12, 30))


class Count:
    """A quota of one process that never refills."""

    def __init__(self, limit: int, refill: timedelta = timedelta(hours=1)) -> None:
        self.windows: tuple[Window, ...] = (Window(limit, refill.total_seconds()),)
        self.left = limit
        self.refill = refill
        self.taken: list[tuple[Priority, int]] = []
        self.settled: list[tuple[list[int], int]] = []
        self.failures: list[ProviderError] = []
        self.closing: ProviderError | None = None

    def reserve(self, wanted: int, least: int, priority: Priority) -> Permit:
        if self.left < least:
            return Permit(0, refused=QuotaUsedUp("v", "used up", retry_at=datetime.now(UTC) + self.refill))
        calls = min(wanted, self.left)
        self.left -= calls
        self.taken.append((priority, calls))
        return Permit(calls, len(self.taken))

    def renew(self, uses: Sequence[int]) -> None: ...

    def release(self, uses: Sequence[int], unused: int) -> None:
        self.settled.append((list(uses), unused))
        self.left += unused

    def record_success(self) -> None: ...

    def plan_years(self) -> int | None:
        return None

    def learn_plan(self, years: int) -> None: ...

    def record_failure(self, error: ProviderError, *, confirmed: bool = False) -> ProviderError | None:
        self.failures.append(error)
        return self.closing


class Priced:
    """A vendor of one call a request and two a batch, like Massive; a dead symbol costs `extra` more."""

    name = "v"

    def __init__(self, gate: SharedRateLimiter, dead: str = "", extra: int = 0) -> None:
        self.gate, self.dead, self.extra = gate, dead, extra
        self.asked: list[str] = []

    def calls(self, requests: Sequence[Request]) -> int:
        return len(requests) + 2

    def fetch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        try:
            for request in requests:
                with asking_about(request.symbol):
                    for _ in range(1 + (self.extra if request.symbol == self.dead else 0)):
                        self.gate.acquire()
            self.gate.acquire()
            self.gate.acquire()
        except ProviderError as error:
            yield from (error.to_no_data(request.symbol) for request in requests)
            return
        for request in requests:
            self.asked.append(request.symbol)
            yield NoData(request.symbol, NoDataReason.NOT_FOUND)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is of no use here")


def metered(quota: Count, **vendor: Any) -> tuple[RateLimitedProvider, Priced, list[float]]:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        quota.left = quota.windows[0].calls

    gate = SharedRateLimiter(quota, sleep=sleep)
    made = Priced(gate, **vendor)
    return RateLimitedProvider(made, gate, quota, lambda request: request.first == NIGHT[0]), made, slept


def test_today_takes_quota_before_history() -> None:
    quota = Count(10)
    provider, vendor, _ = metered(quota)
    provider.fetch([Request("OLD", *YEARS), Request("NEW", *NIGHT), Request("OLDER", *YEARS)])
    assert vendor.asked == ["NEW", "OLD", "OLDER"]
    assert [priority for priority, _ in quota.taken] == [Priority.TODAY, Priority.HISTORY]


def test_a_portion_is_as_large_as_the_quota_pays_for_and_the_rest_is_told_its_turn() -> None:
    quota = Count(5)
    provider, vendor, slept = metered(quota)
    names = [f"S{i}" for i in range(13)]
    answers = provider.fetch([Request(name, *YEARS) for name in names])
    assert vendor.asked == names[:3], "three, and two calls for their actions"
    assert [answer.symbol for answer in answers] == names
    assert [answer.reason for answer in answers if isinstance(answer, NoData)] == [NoDataReason.NOT_FOUND] * 3 + [
        NoDataReason.RATE_LIMITED
    ] * 10
    turns = [answer.retry_at for answer in answers[3:] if isinstance(answer, NoData) and answer.retry_at]
    assert turns == sorted(turns)
    assert turns[-1] - turns[0] == timedelta(hours=(9 * 3) // 5)
    assert slept == []


def test_what_was_begun_is_waited_for_in_place() -> None:
    """Six calls for one symbol on a plan of five a minute: broken off halfway it would never end."""
    quota = Count(5, timedelta(seconds=60))
    provider, vendor, slept = metered(quota, dead="GONE", extra=3)
    provider.fetch([Request("GONE", *YEARS)])
    assert vendor.asked == ["GONE"]
    assert len(slept) == 1
    assert quota.settled == [([1, 2, 3], 0), ([4], 0)], (
        "before the wait, so that the calls made leave the window, and at the end"
    )


def test_bars_adjusted_for_splits_are_waited_for_in_place_from_the_beginning() -> None:
    """They are the rest of bars as traded, which have just used up the quota, and are thrown away without them."""
    quota = Count(5, timedelta(seconds=60))
    provider, vendor, slept = metered(quota)
    quota.left = 0
    adjusted = Request("SPLIT", *YEARS, split_adjusted=True)
    provider.fetch([adjusted])
    assert (vendor.asked, len(slept)) == (["SPLIT"], 1)
    quota.left, quota.refill = 0, timedelta(hours=1)
    [answer] = provider.fetch([adjusted])
    assert isinstance(answer, NoData)
    assert (answer.reason, len(slept)) == (NoDataReason.RATE_LIMITED, 1), "no longer than patience lasts"


def test_who_used_up_the_patience_is_asked_for_last_and_alone() -> None:
    """Its unforeseen calls keep the others of its portion waiting, each time it is asked for with them."""
    quota = Count(5, timedelta(seconds=60))
    provider, vendor, slept = metered(quota, dead="DEAR", extra=12)
    both = [Request("DEAR", *YEARS), Request("USUAL", *YEARS)]
    quota.left = 5
    first = provider.fetch(both)
    assert {answer.reason for answer in first if isinstance(answer, NoData)} == {NoDataReason.RATE_LIMITED}
    assert slept == pytest.approx([60, 60], abs=0.1)
    vendor.extra, quota.left = 7, 5
    provider.fetch(both)
    assert vendor.asked == ["USUAL"]
    quota.left = 5
    provider.fetch(both)
    assert vendor.asked == ["USUAL", "USUAL"]
    quota.left = 3
    provider.fetch(both[:1])
    assert vendor.asked[-1] == "DEAR"
    quota.left = 5
    vendor.extra = 0
    provider.fetch(both)
    assert vendor.asked[-2:] == ["DEAR", "USUAL"], "answered about, it has its place again"


def test_patience_ends() -> None:
    quota = Count(5, timedelta(hours=1))
    provider, _vendor, slept = metered(quota, dead="GONE", extra=3)
    [answer] = provider.fetch([Request("GONE", *YEARS)])
    assert isinstance(answer, NoData)
    assert answer.reason is NoDataReason.RATE_LIMITED
    assert slept == []


def test_unused_calls_go_back() -> None:
    quota = Count(100)
    gate = SharedRateLimiter(quota)
    with gate.batch(Priority.TODAY, 10, 1):
        gate.acquire()
    assert quota.settled == [([1], 9)]


def test_a_closed_provider_is_not_asked_again_within_the_portion() -> None:
    quota = Count(100)
    gate = SharedRateLimiter(quota)
    closed = RateLimited("v", "later", retry_at=datetime.now(UTC) + timedelta(minutes=1))
    with gate.batch(Priority.TODAY, 10, 1):
        gate.acquire()
        gate.record_failure(ProviderDown("v", "500"))
        gate.acquire()
        quota.closing = closed
        gate.record_failure(closed)
        with pytest.raises(RateLimited):
            gate.acquire()
    assert quota.settled == [([1], 8)]


def test_quotas_as_people_write_them() -> None:
    assert windows("5/minute, 250/day") == (Window(5, 60), Window(250, 86400))
    assert windows("100/10s") == (Window(100, 10),)
    assert windows("Unlimited") == ()
    for wrong in ("", "5", "0/minute", "5/week", "5/minute;3/day"):
        with pytest.raises(ValueError, match="is not a quota"):
            windows(wrong)


def test_turns_follow_the_slowest_window() -> None:
    base = datetime(2026, 1, 5, tzinfo=UTC)
    assert spread([3, 3, 3], base, (Window(5, 60), Window(6, 86400))) == [base, base, base + timedelta(days=1)]
    assert spread([3, 3], base, ()) == [base, base]


def test_a_vendor_is_tried_with_who_was_answered_about_and_never_with_who_failed_last() -> None:
    gate = SharedRateLimiter(Count(10))
    odd = ProviderDown("v", "an answer nobody can use", answered=True)
    assert gate.reference() == "SPY"
    with asking_about("SPY"):
        gate.record_failure(odd)
    assert gate.reference() == "QQQ"
    with asking_about("ABA"):
        gate.record_success()
    assert gate.reference() == "ABA"
    with asking_about("ABA"):
        gate.record_failure(odd)
    assert gate.reference() == "SPY"
