"""Who fails is asked for last, and what is asked about companies fails apart from prices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from services.ingest.model.market import Answer, NoData, NoDataReason, Request
from services.ingest.providers.errors import AuthRefused, PlanLimited, ProviderDown, ProviderError, RateLimited
from services.ingest.providers.quota.companies import LONGEST, PAUSE, CompanyBreaker
from services.ingest.providers.quota.limits import Priority
from services.ingest.providers.quota.rate_limited import RateLimitedProvider, SharedRateLimiter
from services.ingest.providers.transport.gate import asking_about
from tests.unit.ingest.test_metered import YEARS, Count, Priced

NAMES = ["A", "BAD", "C", "D"]


class Shut(Priced):
    """Meets a limit at one symbol, and then serves nobody of the portion: all prices need a call after it."""

    def fetch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        try:
            for request in requests:
                with asking_about(request.symbol):
                    self.gate.acquire()
                    if request.symbol == self.dead:
                        error = RateLimited("v", "limit reached", retry_at=datetime.now(UTC) + timedelta(minutes=1))
                        self.gate.record_failure(error)
                        raise error
                    self.gate.record_success()
        except ProviderError as error:
            yield from (error.to_no_data(request.symbol) for request in requests)
            return
        for request in requests:
            self.asked.append(request.symbol)
            yield NoData(request.symbol, NoDataReason.NOT_FOUND)


def limited(answers: Sequence[Answer]) -> set[str]:
    return {a.symbol for a in answers if isinstance(a, NoData) and a.reason is NoDataReason.RATE_LIMITED}


def test_a_symbol_that_closes_the_vendor_is_asked_for_last_and_by_itself() -> None:
    quota = Count(100)
    gate = SharedRateLimiter(quota)
    vendor = Shut(gate, dead="BAD")
    provider = RateLimitedProvider(vendor, gate, quota, lambda _: False)
    requests = [Request(name, *YEARS) for name in NAMES]
    assert limited(provider.fetch(requests)) == set(NAMES), "nobody knew"
    assert limited(provider.fetch(requests)) == {"BAD"}
    assert vendor.asked == ["A", "C", "D"]
    vendor.dead = ""
    assert limited(provider.fetch(requests)) == set()
    assert vendor.asked[3:] == ["A", "C", "D", "BAD"]
    provider.fetch(requests)
    assert vendor.asked[7:] == NAMES, "it was answered about: it has its place again"


DOWN = ProviderDown("v", "no answer")


@pytest.mark.parametrize("error", [DOWN, AuthRefused("v", "401")], ids=["timeout", "401"])
def test_what_questions_about_companies_end_in_closes_no_prices(error: ProviderError) -> None:
    quota = Count(100)
    gate = SharedRateLimiter(quota)
    provider = RateLimitedProvider(Priced(gate), gate, quota, lambda _: False)
    for _ in range(3):
        with provider.background(1) as refused:
            assert refused is None
            gate.record_failure(error)
    assert quota.failures == []
    with provider.background(1) as refused:
        assert refused is not None, "three in a row: companies are not asked about for a while"
        assert "prices are" in str(refused)
    assert len(quota.taken) == 3
    with gate.batch(Priority.HISTORY, 1, 1) as grant:
        assert grant.refused is None
        gate.record_failure(error)
    assert quota.failures == [error], "of prices it is told"


def test_a_limit_that_companies_meet_is_on_prices_too() -> None:
    quota = Count(100)
    gate = SharedRateLimiter(quota)
    error = RateLimited("v", "limit reached", retry_at=datetime.now(UTC))
    with RateLimitedProvider(Priced(gate), gate, quota, lambda _: False).background(1):
        gate.record_failure(error)
    assert quota.failures == [error]


def test_the_pause_of_companies_doubles_and_an_answer_ends_it() -> None:
    at = [datetime(2026, 11, 29, tzinfo=UTC)]
    breaker = CompanyBreaker(lambda: at[0])
    for _ in range(9):
        assert not breaker.record_failure(PlanLimited("v", "not in the plan"))
    assert breaker.refusal is None
    pauses = []
    for _ in range(9):
        assert breaker.record_failure(DOWN)
        until = getattr(breaker.refusal, "retry_at", None)
        pauses.append(timedelta(0) if until is None else until - at[0])
        at[0] += pauses[-1]
    assert pauses == [timedelta(0)] * 2 + [PAUSE, 2 * PAUSE, 4 * PAUSE, 8 * PAUSE] + [LONGEST] * 3
    breaker.record_success()
    assert breaker.refusal is None
