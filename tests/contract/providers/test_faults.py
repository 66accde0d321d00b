"""Every way a vendor fails, asked of every vendor: each has its typed reason, and nothing is swallowed."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta

import pytest

from services.ingest.model.market import History, NoData, NoDataReason, ProviderErrorKind, Request
from services.ingest.providers.transport.gate import LocalRateLimiter
from tests.contract.providers.conftest import ALL, FIRST, LAST, NOW, Case, running
from tests.support.vendors import Call, Reply

HTML = Reply(b"<!doctype html><html><body>Will be right back</body></html>", content_type="text/html")
DOWN, LIMITED = NoDataReason.PROVIDER_DOWN, NoDataReason.RATE_LIMITED
IN_A_MINUTE = {"Retry-After": "60"}
FAILURES = {
    "500": (Reply(b'{"error":"oops"}', 500), DOWN, ProviderErrorKind.OUTAGE),
    "502 as HTML": (Reply(HTML.body, 502, content_type="text/html"), DOWN, ProviderErrorKind.OUTAGE),
    "503 with Retry-After": (Reply(b"", 503, IN_A_MINUTE), DOWN, ProviderErrorKind.OUTAGE),
    "timeout": (Reply(delay=1.2), DOWN, ProviderErrorKind.TIMEOUT),
    "a connection that breaks": (Reply(b'{"a": 1', cut=40), DOWN, None),
    "truncated JSON": (Reply(b'{"results": [{"c": 1.0'), DOWN, ProviderErrorKind.BAD_BODY),
    "an empty body": (Reply(b""), DOWN, ProviderErrorKind.BAD_BODY),
    "HTML instead of JSON": (HTML, DOWN, ProviderErrorKind.BAD_BODY),
    "a body too large": (Reply(b'"' + b"x" * 3_000_000 + b'"'), DOWN, ProviderErrorKind.BAD_BODY),
    "429": (Reply(b"{}", 429), LIMITED, ProviderErrorKind.RATE_LIMITED),
    "429 with Retry-After": (Reply(b"{}", 429, IN_A_MINUTE), LIMITED, ProviderErrorKind.RATE_LIMITED),
    "429 as text": (
        Reply(b"Too Many Requests", 429, content_type="text/plain"),
        LIMITED,
        ProviderErrorKind.RATE_LIMITED,
    ),
    "401": (Reply(b"{}", 401), DOWN, ProviderErrorKind.AUTH),
    "403": (Reply(b"{}", 403), DOWN, ProviderErrorKind.AUTH),
    "404": (Reply(b"{}", 404), NoDataReason.NOT_FOUND, None),
    "another schema": (Reply(b'{"data": {"prices": []}}'), DOWN, ProviderErrorKind.SCHEMA_CHANGED),
    "an array of the wrong things": (Reply(b"[1, 2, 3]"), DOWN, ProviderErrorKind.SCHEMA_CHANGED),
    "a redirect": (
        Reply(b"", 302, {"Location": "http://169.254.169.254/latest/meta-data/"}),
        DOWN,
        ProviderErrorKind.SCHEMA_CHANGED,
    ),
    "our question refused": (Reply(b"{}", 422), DOWN, ProviderErrorKind.SCHEMA_CHANGED),
}


def ask(case: Case, symbol: str = "AAPL") -> History | NoData:
    (answer,) = case.vendor.fetch([Request(symbol, FIRST, LAST)])
    return answer


@pytest.mark.parametrize("failure", FAILURES)
def test_each_failure_gives_its_typed_reason(case: Case, failure: str) -> None:
    reply, reason, fault = FAILURES[failure]
    if reply.delay:
        case.lose_patience()
    case.server.fail(reply, case.data)
    answer = ask(case)
    assert isinstance(answer, NoData)
    assert answer.reason is reason, answer
    assert answer.fault is fault or (
        failure == "a connection that breaks" and answer.fault in {ProviderErrorKind.OUTAGE, ProviderErrorKind.BAD_BODY}
    )
    assert answer.fault is None or (answer.detail or "").startswith(f"{case.name}: ")
    assert "good" not in (answer.detail or "")
    assert (case.vendor.health().last_fault is not None) == (answer.fault is not None)


def test_retry_after_is_honoured(case: Case) -> None:
    case.server.fail(Reply(b"{}", 429, {"Retry-After": "120"}), case.data)
    answer = ask(case)
    assert isinstance(answer, NoData)
    assert answer.retry_at == NOW + timedelta(seconds=120)


def test_retry_after_as_a_date_is_honoured(case: Case) -> None:
    case.server.fail(Reply(b"{}", 429, {"Retry-After": "Thu, 03 Sep 2020 01:30:00 GMT"}), case.data)
    answer = ask(case)
    assert isinstance(answer, NoData)
    assert answer.retry_at == datetime(2020, 9, 3, 1, 30, tzinfo=UTC)


def test_a_limit_without_a_time_has_one_all_the_same(case: Case) -> None:
    case.server.fail(Reply(b"{}", 429), case.data)
    answer = ask(case)
    assert isinstance(answer, NoData)
    assert answer.retry_at is not None
    assert NOW < answer.retry_at <= NOW + timedelta(hours=1)


def test_a_limit_is_not_asked_again_in_place(case: Case) -> None:
    case.server.fail(Reply(b"{}", 429), case.data)
    ask(case)
    # yfinance tries once more with a new crumb; a limit that the session raised never lets it.
    assert len(case.server.asked(case.data)) == 1


def test_an_outage_is_tried_again_and_no_more_often_than_bounded(case: Case) -> None:
    case.server.fail(Reply(b"{}", 500), case.data)
    ask(case)
    assert len(case.server.asked(case.data)) == 2  # `attempts` of the tests


def test_one_hiccup_costs_nothing(case: Case) -> None:
    served = case.server.answer
    seen: list[Call] = []

    def once(call: Call) -> Reply:
        if case.data in call.path and not seen:
            seen.append(call)
            return Reply(b"{}", 500)
        return served(call)

    case.server.answer = once
    assert isinstance(ask(case), History)


def test_one_symbol_that_fails_does_not_stop_the_others(case: Case) -> None:
    served = case.server.answer

    def answer(call: Call) -> Reply:
        bad = "BRK" in call.path or "BRK" in call.query.get("symbol", "")
        return Reply(b"{}", 500) if bad and case.data in call.path else served(call)

    case.server.answer = answer
    first, second, third = case.vendor.fetch([Request(s, FIRST, LAST) for s in ("AAPL", "BRK.B", "LAZY")])
    assert isinstance(first, History)
    assert isinstance(second, NoData)
    assert second.reason is NoDataReason.PROVIDER_DOWN
    assert isinstance(third, History)


@pytest.mark.parametrize("name", ALL)
def test_after_a_limit_the_rest_is_answered_without_asking(name: str) -> None:
    with running(name, gate=LocalRateLimiter(now=lambda: NOW)) as case:
        case.server.fail(Reply(b"{}", 429, IN_A_MINUTE), case.data)
        answers = list(case.vendor.fetch([Request(f"S{number:04}", FIRST, LAST) for number in range(40)]))
        assert {answer.reason for answer in answers if isinstance(answer, NoData)} == {NoDataReason.RATE_LIMITED}
        assert len(answers) == 40
        assert len(case.server.asked(case.data)) <= 4  # those under way at once


@pytest.mark.parametrize("name", ALL)
def test_a_provider_that_is_down_costs_a_few_calls_and_not_one_a_symbol(name: str) -> None:
    with running(name, gate=LocalRateLimiter(now=lambda: NOW)) as case:
        case.server.fail(Reply(b"{}", 500), case.data)
        answers = list(case.vendor.fetch([Request(f"S{number:04}", FIRST, LAST) for number in range(40)]))
        assert {answer.reason for answer in answers if isinstance(answer, NoData)} == {NoDataReason.PROVIDER_DOWN}
        assert len(answers) == 40
        assert len(case.server.asked(case.data)) <= 10


@pytest.mark.parametrize("name", ALL)
def test_a_gate_opens_again(name: str) -> None:
    at = [NOW]
    with running(name, gate=LocalRateLimiter(now=lambda: at[0])) as case:
        case.server.fail(Reply(b"{}", 429, IN_A_MINUTE), case.data)
        assert isinstance(ask(case), NoData)
        case.server.fail(None)
        assert isinstance(ask(case), NoData)
        at[0] += timedelta(seconds=61)
        assert isinstance(ask(case), History)


@pytest.mark.parametrize("name", ALL)
def test_a_refused_key_turns_the_provider_off_and_says_what_to_set(name: str) -> None:
    variable = {"massive": "LEADLINE_MASSIVE_API_KEY", "fmp": "LEADLINE_FMP_API_KEY"}.get(name, "LEADLINE_PROVIDERS")
    with running(name, gate=LocalRateLimiter(now=lambda: NOW), key="bad") as case:
        if variable == "LEADLINE_PROVIDERS":
            case.server.fail(Reply(b'{"finance":{"result":null,"error":{"code":"Unauthorized"}}}', 401), case.data)
        first = ask(case)
        assert isinstance(first, NoData)
        assert first.fault is ProviderErrorKind.AUTH
        assert variable in (first.detail or "")
        asked = len(case.server.asked(case.data))
        second = ask(case, "LAZY")
        assert isinstance(second, NoData)
        assert second.fault is ProviderErrorKind.AUTH
        assert len(case.server.asked(case.data)) == asked
        assert variable in (case.vendor.health().disabled or "")


def test_profiles_fundamentals_and_search_fail_typed_too(case: Case) -> None:
    case.server.fail(Reply(b"{}", 429, IN_A_MINUTE))
    (profile,) = case.vendor.profiles(["AAPL"])
    (figures,) = case.vendor.fundamentals(["AAPL"])
    failed = case.vendor.search("apple").failed
    for answer in (profile, figures, failed):
        assert isinstance(answer, NoData)
        assert answer.reason is NoDataReason.RATE_LIMITED
        assert answer.retry_at == NOW + timedelta(seconds=60)


def test_a_schema_change_of_profiles_is_not_an_empty_profile(case: Case) -> None:
    case.server.fail(Reply(b'{"hello": "world"}'), "quoteSummary|/profile|/v3/reference/tickers")
    (profile,) = case.vendor.profiles(["AAPL"])
    assert isinstance(profile, NoData)
    assert profile.fault is ProviderErrorKind.SCHEMA_CHANGED


def test_a_provider_without_connection_is_down(case: Case) -> None:
    case.server.shutdown()
    case.server.server_close()
    # The port is held and nobody listens: a server of a test beside this one could be given it, and answer.
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(case.server.server_address)
        answer = ask(case)
    assert isinstance(answer, NoData)
    assert (answer.reason, answer.fault) == (NoDataReason.PROVIDER_DOWN, ProviderErrorKind.OUTAGE)
