"""The chain over real adapters: a provider that is down, limited or refused is replaced by the next (bugs 23 and 35)."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import pairwise

import pytest

from services.ingest.model.market import NoDataReason, Request
from services.ingest.providers.chain import Chain
from shared.market.calendar import calendar, exchange_calendar
from tests.contract.providers.conftest import FIRST, LAST, Case, running
from tests.contract.providers.test_answers import TRADED, as_traded
from tests.support.vendors import Reply

ORDER = ("yahoo", "massive", "fmp")
DOWN = {
    "500": Reply(b"{}", 500),
    "hangs": Reply(delay=1.2),
    "limited": Reply(b"{}", 429),
    "refused": Reply(b"{}", 401),
    "HTML": Reply(b"<html>", content_type="text/html"),
    "other schema": Reply(b'{"surprise": 1}'),
}


def chain(stack: ExitStack) -> tuple[Chain, list[Case]]:
    cases = [stack.enter_context(running(name)) for name in ORDER]
    return Chain([case.vendor for case in cases], exchange_calendar), cases


@pytest.mark.parametrize("failure", DOWN)
@pytest.mark.parametrize("working", [1, 2])
def test_the_next_provider_really_serves(failure: str, working: int) -> None:
    with ExitStack() as stack:
        _, cases = chain(stack)
        for case in cases[:working]:
            if failure == "hangs":
                case.lose_patience()
            case.server.fail(DOWN[failure], case.data)
        asked = Chain([case.vendor for case in cases], exchange_calendar)
        (found,) = asked.fetch([Request("AAPL", FIRST, LAST)])
        assert [part.provider for part in found.parts] == [ORDER[working]]
        assert as_traded(found.parts[0].history) == pytest.approx(TRADED, abs=1e-4)
        assert found.asked == ORDER[: working + 1]
        assert found.absent is None


def test_nobody_further_is_asked_for_what_the_first_has() -> None:
    with ExitStack() as stack:
        asked, cases = chain(stack)
        asked.fetch([Request("AAPL", FIRST, LAST)])
        assert [bool(case.server.calls) for case in cases] == [True, False, False]


def test_all_down_is_transient_and_all_ignorant_is_not() -> None:
    with ExitStack() as stack:
        asked, cases = chain(stack)
        (unknown,) = asked.fetch([Request("NOPE", FIRST, LAST)])
        assert unknown.absent is NoDataReason.NOT_FOUND
        for case in cases:
            case.server.fail(DOWN["500"], case.data)
        (down,) = asked.fetch([Request("AAPL", FIRST, LAST)])
        assert down.absent is NoDataReason.PROVIDER_DOWN


def test_a_dead_symbol_costs_one_attempt_a_provider_whatever_the_range() -> None:
    with ExitStack() as stack:
        asked, cases = chain(stack)
        asked.fetch([Request("NOPE", FIRST, LAST)])
        short = [len(case.server.asked(case.data)) for case in cases]
        asked.fetch([Request("NOPE", calendar().back(LAST, 135), LAST)])
        long = [len(case.server.asked(case.data)) for case in cases]
        assert short == [1, 1, 1]
        assert long == [2, 2, 2]


def test_a_delisting_known_to_a_later_provider_is_told() -> None:
    with ExitStack() as stack:
        asked, _cases = chain(stack)
        (found,) = asked.fetch([Request("TWTR", FIRST, LAST)])
        assert found.delisted_on is not None


def test_the_fixture_has_every_session() -> None:
    days = sorted(TRADED)
    assert all(calendar().next(earlier) == later for earlier, later in pairwise(days))
