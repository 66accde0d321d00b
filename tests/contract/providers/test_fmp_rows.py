"""FMP's odd rows cost themselves, its plans say which words they refuse with, and the free one still values a company."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pytest

from services.ingest.compute.rows import build_rows
from services.ingest.model.market import History, NoData, NoDataReason, ProviderErrorKind, Request
from services.ingest.model.write_set import FetchRequest
from services.ingest.providers.chain import Chain
from services.ingest.providers.network import Fundamentals
from services.ingest.store.prices import STAGED
from shared.market.calendar import calendar, exchange_calendar
from tests.contract.providers.conftest import FIRST, LAST, NOW, Case
from tests.contract.providers.test_answers import TRADED, as_traded, ask, history
from tests.support.vendors import Call, Reply, document, reply

DAYS = calendar()
DAY = date(2020, 8, 12)


def at(case: Case, path: str, change: Callable[[list[Any]], None]) -> None:
    """AAPL's rows at a path, changed."""
    served = case.server.answer

    def answer(call: Call) -> Reply:
        if path not in call.path or call.query.get("symbol") != "AAPL":
            return served(call)
        body = json.loads(served(call).body)
        change(body)
        return reply(body)

    case.server.answer = answer


def of_the_day(**values: object) -> Callable[[list[Any]], None]:
    def change(body: list[Any]) -> None:
        for item in body:
            if item["date"] == DAY.isoformat():
                item.update(values)

    return change


@pytest.mark.parametrize(
    "odd", [{"open": None, "high": None, "low": None, "close": None, "volume": 0}, {"close": "457.2"}, {"date": "soon"}]
)
def test_an_odd_price_is_no_bar_of_its_day_alone(fmp: Case, odd: dict[str, object]) -> None:
    at(fmp, "/historical", of_the_day(**odd))
    assert as_traded(history(fmp, "AAPL")) == pytest.approx({d: c for d, c in TRADED.items() if d != DAY}, abs=1e-4)


def test_a_split_that_is_listed_twice_is_one(fmp: Case) -> None:
    once = history(fmp, "AAPL").actions
    at(fmp, "/splits", lambda body: body.extend(list(body)))
    assert history(fmp, "AAPL").actions == once
    assert as_traded(history(fmp, "AAPL")) == pytest.approx(TRADED, abs=1e-4)


def test_a_volume_that_is_a_text_is_none_and_its_close_stands(fmp: Case, caplog: pytest.LogCaptureFixture) -> None:
    at(fmp, "/historical", of_the_day(volume="1,000"))
    found = history(fmp, "AAPL")
    assert as_traded(found) == pytest.approx(TRADED, abs=1e-4)
    volumes = dict(zip(found.bars.sessions.tolist(), found.bars.volume.tolist(), strict=True))
    assert [day for day, volume in volumes.items() if np.isnan(volume)] == [DAY]
    assert "volume" in caplog.text


def test_rows_none_of_which_can_be_read_are_another_format(fmp: Case) -> None:
    def renamed(body: list[Any]) -> None:
        for item in body:
            item["price"] = item.pop("close")

    at(fmp, "/historical", renamed)
    answer = ask(fmp, "AAPL")
    assert isinstance(answer, NoData)
    assert answer.fault is ProviderErrorKind.SCHEMA_CHANGED


@pytest.mark.parametrize("odd", [{"numerator": 0}, {"denominator": "x"}])
def test_a_split_before_the_range_that_can_not_be_costs_nothing_after_it(
    fmp: Case, odd: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    def old(body: list[Any]) -> None:
        body[-1].update(odd)

    at(fmp, "/splits", old)
    found = history(fmp, "AAPL")
    assert as_traded(found) == pytest.approx(TRADED, abs=1e-4)
    assert min(action.ex_date for action in found.actions) > date(2014, 6, 9), (
        "nothing of before it: nobody knows its basis"
    )
    assert "2014-06-09" in caplog.text or "split" in caplog.text
    # Of a range that reaches before it, the prices cannot be told.
    answer = ask(fmp, "AAPL", date(2014, 6, 2), LAST)
    assert isinstance(answer, NoData)
    assert answer.fault is ProviderErrorKind.SCHEMA_CHANGED


@pytest.mark.parametrize("path", ["/historical", "/splits", "/dividends"])
@pytest.mark.parametrize("day", ["soon", "", None, "0000-00-00", 20200812])
def test_a_row_without_a_day_costs_itself_wherever_it_stands(
    fmp: Case, path: str, day: object, caplog: pytest.LogCaptureFixture
) -> None:
    whole = history(fmp, "AAPL")
    at(fmp, path, lambda body: body.extend([body[0] | {"date": day}, None]))
    found = history(fmp, "AAPL")
    assert as_traded(found) == as_traded(whole)
    assert found.actions == whole.actions
    assert "left out" in caplog.text


def test_lists_of_companies_with_odd_rows_still_tell_of_the_others(fmp: Case) -> None:
    served = fmp.server.answer

    def answer(call: Call) -> Reply:
        given = served(call)
        if not call.path.endswith(("/symbol-change", "/delisted-companies")):
            return given
        rows = json.loads(given.body)
        return reply(
            [rows[0] | {"date": "soon", "delistedDate": "?"}, rows[0] | {"symbol": None, "newSymbol": None}, *rows]
        )

    fmp.server.answer = answer
    (renamed,) = fmp.vendor.renames(["FB"])
    assert renamed is not None
    assert not isinstance(renamed, NoData)
    assert renamed.new == "META"
    gone = history(fmp, "TWTR")
    assert gone.delisted_on == date(2022, 11, 8)


PLANS = [
    {"Error Message": "Restricted Endpoint: This endpoint is not part of your current plan, please visit our page."},
    {"Error Message": "You need to UPGRADE to use this symbol."},
    {"error": "Your subscription doesn\u2019t include mutual funds"},
    {"message": "This is a Premium feature"},
]


@pytest.mark.parametrize("said", PLANS)
@pytest.mark.parametrize("status", [402, 403])
def test_a_403_in_the_words_of_a_plan_is_no_refused_key_and_keeps_them(
    fmp: Case, said: dict[str, str], status: int
) -> None:
    fmp.server.fail(reply(said, status), "/historical")
    answer = ask(fmp, "AAPL")
    assert isinstance(answer, NoData)
    assert (answer.reason, answer.fault) == (NoDataReason.PLAN_LIMIT, ProviderErrorKind.PLAN)
    assert next(iter(said.values())) in (answer.detail or "")
    assert fmp.vendor.health().disabled is None


def test_prices_stand_where_the_plan_has_no_lists_of_actions(fmp: Case) -> None:
    whole = history(fmp, "AAPL")
    fmp.server.fail(reply(PLANS[0], 403), "/(splits|dividends)$")
    found = history(fmp, "AAPL")
    assert found.bars.close.tolist() == whole.bars.close.tolist()
    assert (found.actions, found.lists_splits, found.actions_refused) == ((), False, True)


def test_splits_stand_where_the_plan_has_no_dividends(fmp: Case) -> None:
    whole = history(fmp, "AAPL")
    fmp.server.fail(reply(PLANS[0], 403), "/dividends$")
    found = history(fmp, "AAPL")
    assert found.actions == tuple(action for action in whole.actions if action.type == "split") != ()
    assert as_traded(found) == pytest.approx(TRADED, abs=1e-4)
    [fetched] = Chain([fmp.vendor], exchange_calendar).fetch([Request("AAPL", FIRST, LAST)])
    span = ((DAYS.ordinal(FIRST), DAYS.ordinal(LAST)),)
    written = build_rows(
        [FetchRequest(1, "AAPL", FIRST, LAST, span, None)], [fetched], {}, DAYS, chain="fmp", now=NOW, newest=LAST
    )
    rows = [dict(zip(STAGED, row, strict=True)) for row in written.prices]
    assert {row["return_basis"] for row in rows[1:]} == {"price_only"}, "nobody knows of dividends"
    assert written.listed == [], "dividends that are stored stay"


@pytest.mark.parametrize("path", ["/splits", "/dividends"])
def test_a_row_of_another_symbol_is_none_of_its_lists(fmp: Case, path: str) -> None:
    whole = history(fmp, "AAPL").actions
    other = {"symbol": "TSLA", "date": "2020-08-31", "numerator": 5, "denominator": 1, "dividend": 1, "adjDividend": 1}
    at(fmp, path, lambda body: body.append(other))
    assert history(fmp, "AAPL").actions == whole


def test_a_dividend_of_nought_is_converted_from_todays_shares(fmp: Case) -> None:
    def zero(body: list[Any]) -> None:
        body[:] = [{"symbol": "AAPL", "date": "2020-08-07", "dividend": 0, "adjDividend": 0.21}]

    at(fmp, "/dividends", zero)
    paid = [action.value for action in history(fmp, "AAPL").actions if action.type == "dividend"]
    assert paid == pytest.approx([0.84])


@pytest.mark.parametrize("odd", [{"dividend": "0.84"}, {"adjDividend": "0.21"}])
def test_a_dividend_of_which_one_column_can_be_read_is_that(fmp: Case, odd: dict[str, object]) -> None:
    def text(body: list[Any]) -> None:
        body[:] = [{"symbol": "AAPL", "date": "2020-08-07", "dividend": 0.84, "adjDividend": 0.21, **odd}]

    at(fmp, "/dividends", text)
    paid = [action.value for action in history(fmp, "AAPL").actions if action.type == "dividend"]
    assert paid == pytest.approx([0.84])


def test_a_dividend_before_the_range_that_can_not_be_is_left_out(fmp: Case) -> None:
    def old(body: list[Any]) -> None:
        body.append({"symbol": "AAPL", "date": "1999-05-07", "dividend": "0.2", "adjDividend": 0.01})

    at(fmp, "/dividends", old)
    assert as_traded(history(fmp, "AAPL")) == pytest.approx(TRADED, abs=1e-4)


SYMBOL = b"Premium Query Parameter: 'Special Endpoint : This value set for 'symbol' is not available under your current subscription"
QUARTER = b"Premium Query Parameter: 'Special Endpoint : This value set for 'period' is not available under your current subscription"


def test_the_words_of_a_plan_that_are_no_json_are_kept(fmp: Case) -> None:
    fmp.server.fail(Reply(SYMBOL, 402, content_type="text/plain"), "/historical")
    answer = ask(fmp, "AAPL")
    assert isinstance(answer, NoData)
    assert (answer.reason, answer.fault) == (NoDataReason.PLAN_LIMIT, ProviderErrorKind.PLAN)
    assert "This value set for 'symbol' is not available" in (answer.detail or "")


@pytest.mark.parametrize("status", [200, 429])
def test_a_limit_that_is_no_json(fmp: Case, status: int) -> None:
    fmp.server.fail(Reply(b"Edge: Too Many Requests", status, content_type="text/plain"), "/historical")
    answer = ask(fmp, "AAPL")
    assert isinstance(answer, NoData)
    assert answer.reason is NoDataReason.RATE_LIMITED


def test_a_legacy_endpoint_is_no_plan_that_could_be_bought(fmp: Case) -> None:
    said = {"Error Message": "Legacy Endpoint : Due to Legacy endpoints being no longer supported - This endpoint is only available"
                             " for legacy users who have valid subscriptions prior August 31, 2025."}  # fmt: skip
    fmp.server.fail(reply(said, 403), "/historical")
    answer = ask(fmp, "AAPL")
    assert isinstance(answer, NoData)
    assert (answer.reason, answer.fault) == (NoDataReason.PROVIDER_DOWN, ProviderErrorKind.SCHEMA_CHANGED)
    assert "newer version of Leadline" in (answer.detail or "")
    assert fmp.vendor.health().disabled is None


def free(call: Call) -> Reply | None:
    """The free plan: no quarters, no list of more than five, one symbol of three."""
    if int(call.query.get("limit", 0)) > 5 or call.query.get("period") == "quarter":
        return Reply(QUARTER, 402, content_type="text/plain")
    return None if call.query.get("symbol", "AAPL") == "AAPL" else Reply(SYMBOL, 402, content_type="text/plain")


def test_the_free_plan_values_a_company_without_its_quarters(fmp: Case) -> None:
    served = fmp.server.answer
    fmp.server.answer = lambda call: free(call) or served(call)
    first, second = (next(iter(fmp.vendor.fundamentals(["AAPL"]))) for _ in range(2))
    for figures in (first, second):
        assert isinstance(figures, Fundamentals)
        assert figures.statements == ()
        assert figures.market_cap == document("fmp", "quote")[0]["marketCap"]
        assert figures.last_earnings is not None
    assert len(fmp.server.asked("statement")) == 1, "that the plan has no quarters is learnt once a day"
    priced, refused = fmp.vendor.fetch([Request(symbol, FIRST, LAST) for symbol in ("AAPL", "BRK.B")])
    assert isinstance(priced, History)
    assert isinstance(refused, NoData)
    assert refused.reason is NoDataReason.PLAN_LIMIT


def serves(case: Case, refused: Callable[[str], bool]) -> None:
    """FMP whose plan leaves out some symbols."""
    served = case.server.answer

    def answer(call: Call) -> Reply:
        out = refused(call.query.get("symbol", "AAPL"))
        return Reply(SYMBOL, 402, content_type="text/plain") if out else served(call)

    case.server.answer = answer


def test_what_the_free_plan_does_not_serve_is_asked_for_once_a_day_and_the_words_are_kept(fmp: Case) -> None:
    serves(fmp, lambda symbol: symbol != "AAPL")
    first, second = ask(fmp, "MU"), ask(fmp, "AVGO")
    for absent in (first, second):
        assert isinstance(absent, NoData)
        assert (absent.reason, absent.fault) == (NoDataReason.PLAN_LIMIT, ProviderErrorKind.PLAN)
        assert "'symbol' is not available under your current subscription" in (absent.detail or "")
    assert isinstance(second, NoData)
    assert "not asked, the plan serves 87 symbols" in (second.detail or "")
    assert isinstance(ask(fmp, "AAPL"), History)
    assert isinstance(ask(fmp, "KO"), NoData), "on the list: asked for, whatever the answer"
    others = [call.query["symbol"] for call in fmp.server.calls if call.query.get("symbol", "AAPL") != "AAPL"]
    assert others == ["MU", "IBM", "KO"]
    [statements] = fmp.vendor.fundamentals(["AVGO"])
    assert isinstance(statements, NoData)
    assert statements.reason is NoDataReason.PLAN_LIMIT
    assert fmp.server.asked("statement") == [], "nor for its statements"


def test_a_larger_plan_that_leaves_a_symbol_out_is_not_taken_for_the_free_one(fmp: Case) -> None:
    serves(fmp, lambda symbol: symbol == "FUND")
    refused = ask(fmp, "FUND")
    assert isinstance(refused, NoData)
    assert refused.reason is NoDataReason.PLAN_LIMIT
    ask(fmp, "MU")
    assert [call.query["symbol"] for call in fmp.server.asked("/historical")] == ["FUND", "MU"]
