"""Numbers that can not be, from every vendor: the symbol has a typed absence, the others of its batch their prices."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from services.ingest.model.market import History, NoData, NoDataReason, ProviderErrorKind, Request
from services.ingest.providers import actions
from services.ingest.providers.errors import SchemaChanged
from services.ingest.providers.transport.payload import Record
from tests.contract.providers.conftest import FIRST, LAST, Case, running
from tests.support.vendors import Call, Reply, document, reply

Change = Callable[[Any], None]
# Of these vendors' answers about any symbol, those about AAPL alone are changed.
SYMBOL, OTHER = "AAPL", "BRK.B"


def changed(case: Case, path: str, change: Change) -> None:
    """The vendor's answers at a path, changed where they are about `SYMBOL`."""
    served = case.server.answer

    def answer(call: Call) -> Reply:
        whole = served(call)
        about = SYMBOL in call.path or call.query.get("symbol") == SYMBOL or "ticker.any_of" in call.query
        if path not in call.path or not about:
            return whole
        body = json.loads(whole.body)
        change(body)
        return reply(body)

    case.server.answer = answer


def massive(**values: object) -> Change:
    def change(body: Any) -> None:
        for item in body["results"]:
            if item.get("ticker", SYMBOL) == SYMBOL:
                item.update(values)

    return change


def fmp(**values: object) -> Change:
    def change(body: Any) -> None:
        for item in body:
            item.update(values)

    return change


def event(kind: str, **values: object) -> Change:
    def change(body: Any) -> None:
        for item in body["chart"]["result"][0]["events"][kind].values():
            item.update(values)

    return change


def meta(**values: object) -> Change:
    return lambda body: body["chart"]["result"][0]["meta"].update(values)


CASES: list[tuple[str, str, Change]] = [
    ("massive", "/splits", massive(split_from=0)),
    ("massive", "/splits", massive(split_to=0)),
    ("massive", "/splits", massive(split_to=-4)),
    ("massive", "/splits", massive(split_to=1e300)),
    ("massive", "/dividends", massive(cash_amount=1e300)),
    ("massive", "/dividends", massive(cash_amount=-1)),
    ("massive", "/v2/aggs/", massive(t=10**18)),
    ("massive", "/v2/aggs/", massive(t=1e308)),
    ("massive", "/v2/aggs/", massive(t=-(10**18))),
    ("massive", "/v2/aggs/", lambda body: body.update(ticker="MSFT")),
    ("fmp", "/splits", fmp(denominator=0)),
    ("fmp", "/splits", fmp(numerator=0)),
    ("fmp", "/splits", fmp(numerator=1e300)),
    ("fmp", "/dividends", fmp(dividend=1e300)),
    *(
        (name, "/chart/", change)
        for name in ("yahoo", "yahooquery")
        for change in (
            event("splits", denominator=0),
            event("splits", numerator=1e300),
            event("dividends", amount=1e300),
            meta(firstTradeDate=10**18),
            meta(firstTradeDate="x"),
            meta(firstTradeDate=4085490600),  # in 2099
            meta(dataGranularity="1mo"),
        )
    ),
]


@pytest.mark.parametrize(("name", "path", "change"), CASES)
def test_a_number_that_can_not_be_is_the_absence_of_its_symbol_alone(name: str, path: str, change: Change) -> None:
    if name == "yahooquery":
        pytest.importorskip("yahooquery")
    with running(name) as case:
        changed(case, path, change)
        bad, good = case.vendor.fetch([Request(symbol, FIRST, LAST) for symbol in (SYMBOL, OTHER)])
    assert isinstance(bad, NoData)
    assert (bad.reason, bad.fault) == (NoDataReason.PROVIDER_DOWN, ProviderErrorKind.SCHEMA_CHANGED)
    assert isinstance(good, History)
    assert len(good.bars.sessions) == 21


def test_a_listing_that_has_not_begun_is_none_of_fmps_either(fmp: Case) -> None:
    served = fmp.server.answer

    def answer(call: Call) -> Reply:
        if "/profile" in call.path:
            return reply([document("fmp", "profile")[0] | {"symbol": "LAZY", "ipoDate": "2099-01-02"}])
        return served(call)

    fmp.server.answer = answer
    (found,) = fmp.vendor.fetch([Request("LAZY", FIRST, LAST)])
    assert isinstance(found, NoData)
    assert found.fault is ProviderErrorKind.SCHEMA_CHANGED


def test_a_price_beyond_every_price_is_none(case: Case) -> None:
    def change(body: Any) -> None:
        if "chart" in body:
            body["chart"]["result"][0]["indicators"]["quote"][0]["close"][3] = 1e300
            body["chart"]["result"][0]["indicators"]["adjclose"][0]["adjclose"][3] = 1e300
        else:
            rows = body["results"] if case.name == "massive" else body
            rows[3].update({"c": 1e300} if case.name == "massive" else {"close": 1e300})

    changed(case, case.data, change)
    (answer,) = case.vendor.fetch([Request(SYMBOL, FIRST, LAST)])
    assert isinstance(answer, History)
    assert len(answer.bars.sessions) == 20
    assert answer.bars.close.max() < 1000


def test_what_nobody_foresaw_is_the_absence_of_its_symbol_alone(
    case: Case, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever breaks inside an adapter: the others have their prices, and the log has the traceback."""
    names = {"massive": "_rows", "fmp": "_rows", "yahoo": "_history", "yahooquery": "_history"}
    name = names[case.name]
    kept = getattr(type(case.vendor), name)

    def breaks(self: Any, *arguments: Any) -> Any:
        if any(SYMBOL in str(argument) for argument in arguments):
            raise ZeroDivisionError("by nought")
        return kept(self, *arguments)

    monkeypatch.setattr(type(case.vendor), name, breaks)
    with caplog.at_level(logging.ERROR):
        bad, good = case.vendor.fetch([Request(symbol, FIRST, LAST) for symbol in (SYMBOL, OTHER)])
    assert isinstance(bad, NoData)
    assert (bad.reason, bad.fault) == (NoDataReason.PROVIDER_DOWN, ProviderErrorKind.SCHEMA_CHANGED)
    assert "ZeroDivisionError" in (bad.detail or "")
    assert isinstance(good, History)
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(("new", "old"), [(4, 0), (0, 4), (-4, 1), (float("inf"), 1), (1, float("nan")), (1e7, 1)])
def test_a_split_that_can_not_be_is_none(new: float, old: float) -> None:
    with pytest.raises(SchemaChanged, match="split"):
        actions.split("v", FIRST, new, old)


@pytest.mark.parametrize("amount", [0.0, -1.0, float("inf"), float("nan"), 1e8])
def test_a_dividend_that_can_not_be_is_none(amount: float) -> None:
    with pytest.raises(SchemaChanged, match="dividend"):
        actions.dividend("v", FIRST, amount)


def test_splits_that_can_be_are_kept_and_too_many_of_them_are_not() -> None:
    reverse = [actions.split("v", date(2000 + year, 1, 3), 1, 1000) for year in range(7)]
    assert reverse[0].value == 0.001
    assert actions.check_actions("v", tuple(reverse[:6])) == tuple(reverse[:6])
    with pytest.raises(SchemaChanged, match="splits"):
        actions.check_actions("v", tuple(reverse))


@pytest.mark.parametrize("value", [10**18, 1e308, -(10**18), float("inf"), "x", True])
def test_an_epoch_out_of_range_is_a_schema_change(value: object) -> None:
    with pytest.raises(SchemaChanged):
        Record("v", "where", {"t": value}).epoch("t")
