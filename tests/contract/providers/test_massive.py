"""What is Massive's own: paging, as traded, delisted, renamed and ambiguous tickers, plans, options, 5,000 symbols."""

from __future__ import annotations

import re
from datetime import date

import pytest

from services.ingest.model.market import History, NoData, NoDataReason, ProviderErrorKind, Rename, Request
from tests.contract.providers.conftest import FIRST, LAST, Case
from tests.contract.providers.test_answers import TRADED, ask, history
from tests.support.vendors import Call, Reply, document, reply, stored


def test_pages_are_followed_to_the_end(massive: Case) -> None:
    found = history(massive, "PAGED")
    assert found.bars.sessions.tolist() == sorted(TRADED)
    assert found.bars.close.tolist() == [TRADED[day] for day in sorted(TRADED)]
    assert [call.headers["authorization"] for call in massive.server.asked("PAGED")] == ["Bearer good"] * 2


def test_a_next_page_on_another_origin_never_gets_the_key(massive: Case) -> None:
    body = document("massive", "aggregates") | {"next_url": "https://evil.example/v2/aggs?cursor=1"}
    massive.server.fail(reply(body), "/v2/aggs/")
    answer = ask(massive, "AAPL")
    assert isinstance(answer, NoData)
    assert answer.fault is ProviderErrorKind.REFUSED_ADDRESS


def test_pages_without_end_are_a_fault(massive: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ingest.providers.massive.reference.MAX_PAGES", 5)
    served = massive.server.answer

    def endless(call: Call) -> Reply:
        if "/v2/aggs/" not in call.path:
            return served(call)
        return reply(
            document("massive", "aggregates") | {"next_url": f"http://{call.headers['host']}{call.path}?cursor=x"}
        )

    massive.server.answer = endless
    answer = ask(massive, "AAPL")
    assert isinstance(answer, NoData)
    assert answer.fault is ProviderErrorKind.SCHEMA_CHANGED
    assert len(massive.server.calls) == 6


def test_prices_are_asked_for_as_traded_and_refused_if_adjusted(massive: Case) -> None:
    assert not history(massive, "AAPL").bars.split_adjusted
    assert massive.server.asked("/v2/aggs/")[0].query["adjusted"] == "false"
    massive.server.fail(reply(document("massive", "aggregates") | {"adjusted": True}), "/v2/aggs/")
    answer = ask(massive, "AAPL")
    assert isinstance(answer, NoData)
    assert answer.fault is ProviderErrorKind.SCHEMA_CHANGED


def test_results_that_are_missing_though_counted_are_no_empty_range(massive: Case) -> None:
    body = document("massive", "aggregates")
    del body["results"]
    massive.server.fail(reply(body), "/v2/aggs/")
    answer = ask(massive, "AAPL")
    assert isinstance(answer, NoData)
    assert answer.fault is ProviderErrorKind.SCHEMA_CHANGED


def test_a_delayed_answer_is_an_answer(massive: Case) -> None:
    """The status of free and delayed plans."""
    massive.server.fail(reply(document("massive", "aggregates") | {"status": "DELAYED"}), "/v2/aggs/ticker/AAPL")
    delayed = history(massive, "AAPL").bars.close.tolist()
    massive.server.fail(None)
    assert delayed == history(massive, "AAPL").bars.close.tolist()


def test_prices_are_not_served_without_their_actions(massive: Case) -> None:
    massive.server.fail(Reply(b"{}", 500), "/stocks/v1/splits")
    answer = ask(massive, "AAPL")
    assert isinstance(answer, NoData)
    assert answer.reason is NoDataReason.PROVIDER_DOWN


def test_a_delisted_ticker_has_the_day_of_its_announcement(massive: Case) -> None:
    whole, ended = history(massive, "TWTR"), history(massive, "GONE")
    assert (len(whole.bars.sessions), whole.delisted_on) == (0, date(2022, 11, 8))
    assert (len(ended.bars.sessions), ended.delisted_on) == (4, date(2020, 8, 11))


def test_a_series_that_is_there_to_the_end_costs_no_question_about_its_status(massive: Case) -> None:
    history(massive, "AAPL")
    assert massive.server.asked("/v3/reference") == []


def test_a_renamed_ticker_is_not_called_delisted(massive: Case) -> None:
    answer = ask(massive, "FB")
    assert isinstance(answer, NoData)
    assert (answer.reason, answer.renamed) == (NoDataReason.NOT_FOUND, Rename("FB", "META", date(2022, 6, 9)))
    assert list(massive.vendor.renames(["FB", "AAPL", "NOPE"])) == [answer.renamed, None, None]


def test_a_ticker_of_two_securities_is_a_question(massive: Case) -> None:
    answer = ask(massive, "DUPE")
    assert isinstance(answer, NoData)
    assert answer.reason is NoDataReason.AMBIGUOUS
    assert {candidate.exchange for candidate in answer.candidates} == {"XNYS", "XTSE"}


def test_a_plan_that_does_not_cover_a_range_does_not_turn_the_key_off(massive: Case) -> None:
    massive.server.fail(stored("massive", "error_403_plan", 403), "/v2/aggs/")
    answer = ask(massive, "AAPL")
    assert isinstance(answer, NoData)
    assert (answer.reason, answer.fault) == (NoDataReason.PLAN_LIMIT, ProviderErrorKind.PLAN)
    assert massive.vendor.health().disabled is None
    massive.server.fail(None)
    assert isinstance(ask(massive, "AAPL"), History)


def test_the_limit_in_the_vendors_own_words(massive: Case) -> None:
    massive.server.fail(stored("massive", "error_429", 429), "/v2/aggs/")
    answer = ask(massive, "AAPL")
    assert isinstance(answer, NoData)
    assert answer.reason is NoDataReason.RATE_LIMITED
    assert "exceeded the maximum requests per minute" in (answer.detail or "")


def test_an_option_is_asked_for_under_its_occ_ticker(massive: Case) -> None:
    assert len(history(massive, "AAPL201218C00120000").bars.sessions) == len(TRADED)
    assert "/ticker/O:AAPL201218C00120000/" in massive.server.calls[0].path


@pytest.mark.slow
def test_a_thousand_symbols(massive: Case) -> None:
    """One call each, and two for each fifty; every answer in its place (bug 42: nothing has a limit of 32,767 of anything)."""
    requests = [Request(f"S{number:04}", FIRST, LAST) for number in range(1000)]
    answers = list(massive.vendor.fetch(requests))
    assert [answer.symbol for answer in answers] == [request.symbol for request in requests]
    assert all(isinstance(answer, History) and len(answer.bars.sessions) == 2 for answer in answers)
    # Each question once: a connection that a loaded machine loses repeats a call, and asks nothing new.
    questions = {(call.path, *sorted(call.query.items())) for call in massive.server.calls}
    assert len(questions) == 1040 == massive.vendor.calls(requests)
    assert len(massive.server.calls) <= 1045
    longest = max(len(call.query.get("ticker.any_of", "")) for call in massive.server.calls)
    assert longest < 1000
    assert re.fullmatch(r"(S\d{4},?)+", massive.server.asked("/splits")[0].query["ticker.any_of"])
