"""A price or dividend in another currency is never a number."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from services.ingest.model.market import History, NoData, NoDataReason, Request
from services.ingest.providers.chain import Chain
from services.ingest.providers.normalise import is_foreign_listing, to_vendor
from shared.market.calendar import exchange_calendar
from tests.contract.providers.conftest import FIRST, LAST, Case, needs_yahooquery, running
from tests.contract.providers.test_answers import ask, history
from tests.contract.providers.test_nonsense import changed, event, meta
from tests.contract.providers.test_nonsense import massive as massive_change
from tests.support.vendors import Call, Reply, document, reply


@pytest.mark.parametrize("name", ["yahoo", pytest.param("yahooquery", marks=needs_yahooquery)])
@pytest.mark.parametrize("currency", ["GBp", "GBX", "CAD", "CNY", "EUR", "USd", "USX"])
def test_yahoos_price_in_another_currency_is_none(name: str, currency: str) -> None:
    with running(name) as case:
        changed(case, "/chart/", meta(currency=currency))
        answer = ask(case, "AAPL")
        assert isinstance(ask(case, "BRK.B"), History)
    assert isinstance(answer, NoData)
    assert (answer.reason, answer.fault, answer.retry_at) == (NoDataReason.FOREIGN_CURRENCY, None, None)
    assert currency in (answer.detail or "")


@pytest.mark.parametrize("currency", ["usd", "Usd", " USD"])
def test_dollars_are_dollars_however_they_are_written(yahoo: Case, currency: str) -> None:
    def of_both(body: Any) -> None:
        meta(currency=currency)(body)
        event("dividends", currency=currency)(body)

    changed(yahoo, "/chart/", of_both)
    found = history(yahoo, "AAPL")
    assert [action.type for action in found.actions].count("dividend") == 1
    assert found.left_out == ()


def test_a_currency_that_is_not_told_is_the_markets_own(yahoo: Case) -> None:
    changed(yahoo, "/chart/", meta(currency=None))
    assert isinstance(ask(yahoo, "AAPL"), History)


def test_a_listing_abroad_is_asked_for_as_that_and_its_currency_looked_up(fmp_vod: Case) -> None:
    answer = ask(fmp_vod, "VOD.L")
    assert isinstance(answer, NoData)
    assert answer.reason is NoDataReason.FOREIGN_CURRENCY
    assert [call.query["symbol"] for call in fmp_vod.server.calls] == ["VOD.L"]


@pytest.fixture
def fmp_vod(fmp: Case) -> Case:
    served = fmp.server.answer

    def answer(call: Call) -> Reply:
        if "/profile" in call.path and call.query.get("symbol") == "VOD.L":
            return reply([document("fmp", "profile")[0] | {"symbol": "VOD.L", "currency": "GBp"}])
        return served(call)

    fmp.server.answer = answer
    return fmp


def test_a_dividend_in_another_currency_is_left_out_and_told(massive: Case, caplog: pytest.LogCaptureFixture) -> None:
    changed(massive, "/dividends", massive_change(currency="CAD"))
    with caplog.at_level(logging.WARNING):
        found = history(massive, "AAPL")
    assert {action.type for action in found.actions} == {"split"}
    assert "AAPL" in caplog.text
    assert "CAD" in caplog.text


def test_nobody_is_asked_for_a_number_after_a_foreign_currency() -> None:
    with running("yahoo") as first, running("fmp") as second:
        changed(first, "/chart/", meta(currency="GBp"))
        [found] = Chain([first.vendor, second.vendor], exchange_calendar).fetch([Request("AAPL", FIRST, LAST)])
        assert (found.absent, found.parts) == (NoDataReason.FOREIGN_CURRENCY, [])
        assert second.server.calls == []


@pytest.mark.parametrize(
    ("symbol", "asked"),
    [
        ("BRK.B", "BRK-B"), ("BF.A", "BF-A"), ("MOG.A", "MOG-A"), ("HEI.K", "HEI-K"),
        ("VOD.L", "VOD.L"), ("BMW.F", "BMW.F"), ("RIO.V", "RIO.V"), ("RY.TO", "RY.TO"), ("AAPL", "AAPL"),
    ],
)  # fmt: skip
def test_only_a_share_class_is_spelled_as_one(symbol: str, asked: str) -> None:
    assert to_vendor(symbol, "-") == asked
    assert is_foreign_listing(symbol) == (symbol in {"VOD.L", "BMW.F", "RIO.V", "RY.TO"})
