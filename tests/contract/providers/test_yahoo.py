"""What is Yahoo's own, through yfinance: crumbs, ranges, answers about another symbol."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from services.ingest.model.market import History, NoData, NoDataReason, ProviderErrorKind
from services.ingest.providers.network import ITEMS
from services.ingest.providers.yahoo import fields as yahoo_fields
from services.ingest.providers.yahoo.fields import range_for
from services.ingest.providers.yahoo.yahooquery import YahooQuery
from shared.errors import ConfigurationError
from shared.market.calendar import exchange_calendar
from tests.contract.providers.conftest import Case
from tests.contract.providers.test_answers import ask, history
from tests.contract.providers.test_nonsense import changed
from tests.support.vendors import Call, Reply, stored


def test_an_answer_about_another_symbol_is_a_question(yahoo: Case) -> None:
    answer = ask(yahoo, "FOREIGN")
    assert isinstance(answer, NoData)
    assert answer.reason is NoDataReason.AMBIGUOUS
    assert [candidate.symbol for candidate in answer.candidates] == ["OTHER.TO"]


def test_possibly_delisted_is_not_delisted(yahoo: Case) -> None:
    answer = ask(yahoo, "TWTR")
    assert isinstance(answer, NoData)
    assert answer.reason is NoDataReason.NOT_FOUND
    assert "may be delisted" in (answer.detail or "")


def test_the_first_trade_is_known(yahoo: Case) -> None:
    assert history(yahoo, "AAPL").listed_from == date(1980, 12, 12)


def test_a_symbol_costs_one_call(yahoo: Case) -> None:
    history(yahoo, "AAPL")
    before = len(yahoo.server.calls)
    history(yahoo, "BRK.B")
    ask(yahoo, "NOPE")
    assert [call.path for call in yahoo.server.calls[before:]] == ["/v8/finance/chart/BRK-B", "/v8/finance/chart/NOPE"]


def test_an_old_crumb_is_renewed_once(yahoo: Case) -> None:
    served = yahoo.server.answer
    seen: list[Call] = []

    def once(call: Call) -> Reply:
        if yahoo.data in call.path and not seen:
            seen.append(call)
            return stored("yahoo", "error_401", 401)
        return served(call)

    yahoo.server.answer = once
    assert isinstance(ask(yahoo, "AAPL"), History)
    assert yahoo.vendor.health().disabled is None


def test_a_refusal_that_stays_names_what_to_do(yahoo: Case) -> None:
    yahoo.server.fail(stored("yahoo", "error_401", 401), yahoo.data)
    answer = ask(yahoo, "AAPL")
    assert isinstance(answer, NoData)
    assert answer.fault is ProviderErrorKind.AUTH
    assert answer.retry_at is not None
    assert "HTTPS_PROXY" in (yahoo.vendor.health().disabled or "")


def test_cookies_that_cannot_be_had_do_not_matter_for_prices(yahoo: Case) -> None:
    yahoo.server.fail(Reply(b"", 500), "^/$|getcrumb")
    assert isinstance(ask(yahoo, "AAPL"), History)


@pytest.mark.parametrize("back", [0, 4, 5, 27, 28, 85, 175, 360, 725, 1820, 3645, 3646, 9000])
def test_the_range_reaches_back_to_the_first_session(back: int) -> None:
    today = date(2026, 11, 21)
    months = {
        "1mo": 28,
        "3mo": 28 + 31 + 30,
        "6mo": 181,
        "1y": 365,
        "2y": 730,
        "5y": 1826,
        "10y": 3652,
        "5d": 5,
        "max": 10**6,
    }
    assert months[range_for(today - timedelta(days=back), today)] >= back


def test_without_the_extra_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "yahooquery", None)
    with pytest.raises(ConfigurationError, match=r"leadline\[yahooquery\]"):
        YahooQuery(exchange_calendar)


def test_every_figure_has_a_name_of_yahoos_or_is_told_missing() -> None:
    for kind, fields in yahoo_fields.FIELDS.items():
        assert set(fields) <= set(ITEMS[kind])


@pytest.mark.parametrize(("gain", "paid"), [(0.05, [0.82]), (0.205, [0.82]), (0.3, [0.82, 1.2])])
def test_a_capital_gain_within_the_dividend_of_its_day_is_not_paid_twice(
    yahoo: Case, gain: float, paid: list[float]
) -> None:
    """On today's shares the dividend is 0.205; a larger gain cannot be within it."""

    def change(body: Any) -> None:
        result = body["chart"]["result"][0]
        result["meta"]["instrumentType"] = "ETF"
        [(key, dividend)] = result["events"]["dividends"].items()
        result["events"]["capitalGains"] = {key: {"amount": gain, "date": dividend["date"]}}

    changed(yahoo, "/chart/", change)
    found = history(yahoo, "AAPL")
    assert [action.value for action in found.actions if action.type == "dividend"] == pytest.approx(paid)
