"""Yahoo as busy and European addresses know it: crumbs and profiles refused for hours while charts are served, consent asked for first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from yfinance.data import YfData

from services.ingest.model.market import History, NoData, NoDataReason, ProviderErrorKind, Request
from services.ingest.providers.errors import ProviderError, QuotaUsedUp
from services.ingest.providers.network import Described, Fundamentals, NetworkProvider
from services.ingest.providers.transport.gate import LocalRateLimiter
from services.ingest.providers.yahoo.refusals import LONGEST, PAUSE
from services.ingest.providers.yahoo.yahooquery import YahooQuery
from services.ingest.providers.yahoo.yfinance import Yahoo
from shared.market.calendar import exchange_calendar
from tests.contract.providers.conftest import FIRST, LAST, NOW, QUICK, Case, needs_yahooquery, running
from tests.contract.providers.test_payments import BEFORE, PAID, SPAN, Chart, paid_by, path, rows_of
from tests.support import vendors
from tests.support.markets import _opening
from tests.support.vendors import Call, Reply, VendorServer, document, reply, serving, stored

YAHOOS = [pytest.param("yahoo"), pytest.param("yahooquery", marks=needs_yahooquery)]
NO_CRUMB = Reply(b"Too Many Requests\r\n", 429, content_type="text/plain")
BAD_CRUMB = reply({"finance": {"result": None, "error": {"code": "Unauthorized", "description": "Invalid Crumb"}}}, 401)
OF_PROFILES = ("/v10/finance/quoteSummary", "/v7/finance/quote", "/ws/fundamentals-timeseries", "/v1/finance/search")


@pytest.fixture(autouse=True)
def fresh() -> None:
    """yfinance keeps cookies and crumb in one object a process: each test begins without."""
    YfData._instances.clear()


class Time:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(params=YAHOOS)
def busy(request: pytest.FixtureRequest, time: Time) -> Iterator[tuple[NetworkProvider, VendorServer]]:
    """With the breaker of the product's rules, and a clock that the test moves."""
    kind: type[Yahoo | YahooQuery] = Yahoo if request.param == "yahoo" else YahooQuery
    with serving(vendors.yahoo) as server:
        vendor = kind(
            exchange_calendar, gate=LocalRateLimiter(now=time), endpoint=server.url, allow_loopback=True, bounds=QUICK, now=time
        )  # fmt: skip
        yield vendor, server
        vendor.close()


def refusing(replies: dict[str, Reply]) -> Callable[[Call], Reply]:
    def answer(call: Call) -> Reply:
        return next((said for path, said in replies.items() if call.path.startswith(path)), vendors.yahoo(call))

    return answer


def prices(vendor: NetworkProvider, *symbols: str) -> list[Any]:
    return list(vendor.fetch([Request(symbol, FIRST, LAST) for symbol in symbols or ("AAPL",)]))


@pytest.mark.parametrize("refusal", [BAD_CRUMB, Reply(b"{}", 403), NO_CRUMB], ids=["401", "403", "429"])
def test_refused_profiles_are_an_absence_of_the_profile_and_close_no_prices(
    busy: tuple[NetworkProvider, VendorServer], time: Time, refusal: Reply
) -> None:
    vendor, server = busy
    server.answer = refusing({"/v1/test/getcrumb": NO_CRUMB, **dict.fromkeys(OF_PROFILES, refusal)})
    (refused,) = vendor.profiles(["AAPL"])
    assert isinstance(refused, NoData)
    assert refused.reason.transient
    assert refused.fault is ProviderErrorKind.PROFILES_REFUSED
    assert "prices are" in (refused.detail or "")
    assert refused.retry_at == NOW + PAUSE
    assert vendor.health().disabled is None

    asked = len(server.calls)
    assert all(isinstance(answer, History) for answer in prices(vendor, "AAPL", "BRK.B"))
    for again in (*vendor.profiles(["BRK.B"]), *vendor.fundamentals(["AAPL"]), vendor.search("apple").failed):
        assert isinstance(again, NoData)
        assert again.fault is ProviderErrorKind.PROFILES_REFUSED
    assert {call.path.split("/")[1] for call in server.calls[asked:]} <= {"v8", "consent", ""}, (
        "charts alone are asked for"
    )

    server.answer = vendors.yahoo
    time.now += PAUSE + timedelta(seconds=1)
    (found,) = vendor.profiles(["AAPL"])
    assert isinstance(found, Described)


def test_the_pause_doubles_and_a_profile_ends_it(busy: tuple[NetworkProvider, VendorServer], time: Time) -> None:
    vendor, server = busy
    server.answer = refusing(dict.fromkeys(OF_PROFILES, BAD_CRUMB))
    waits = []
    for _ in range(6):
        (refused,) = vendor.profiles(["AAPL"])
        assert isinstance(refused, NoData)
        assert refused.retry_at is not None
        waits.append(refused.retry_at - time.now)
        time.now = refused.retry_at + timedelta(seconds=1)
    assert waits == [PAUSE, PAUSE * 2, PAUSE * 4, PAUSE * 8, LONGEST, LONGEST]
    server.answer = vendors.yahoo
    assert isinstance(next(iter(vendor.profiles(["AAPL"]))), Described)
    server.answer = refusing(dict.fromkeys(OF_PROFILES, BAD_CRUMB))
    (refused,) = vendor.profiles(["AAPL"])
    assert isinstance(refused, NoData)
    assert refused.retry_at == time.now + PAUSE


def test_a_refused_crumb_costs_one_question_and_not_one_a_symbol(
    busy: tuple[NetworkProvider, VendorServer], time: Time
) -> None:
    vendor, server = busy
    server.answer = refusing({"/v1/test/getcrumb": NO_CRUMB})
    assert all(isinstance(answer, History) for answer in prices(vendor, *["AAPL", "BRK.B"] * 10))
    assert len(server.asked("/chart/")) == 20
    assert len(server.asked("getcrumb")) <= 4, "four threads may ask at once"
    time.now += PAUSE + timedelta(seconds=1)
    before = len(server.asked("getcrumb"))
    prices(vendor)
    assert len(server.asked("getcrumb")) - before <= 1


def test_prices_refused_close_prices(busy: tuple[NetworkProvider, VendorServer]) -> None:
    vendor, server = busy
    server.answer = refusing({"/v8/finance/chart": BAD_CRUMB})
    (first,) = prices(vendor)
    assert isinstance(first, NoData)
    assert first.fault is ProviderErrorKind.AUTH
    before = len(server.calls)
    (second,) = prices(vendor, "BRK.B")
    assert isinstance(second, NoData)
    assert len(server.calls) == before


PAGE = b"""<html><form><input name="csrfToken" value="t0k"/><input name="sessionId" value="s1d"/></form></html>"""


class European:
    """No crumb before consent; every page about cookies leads over two hosts to a form."""

    def __init__(self) -> None:
        self.agreed: list[Call] = []

    def __call__(self, call: Call) -> Reply:
        if call.path in {"/", "/consent"}:
            return Reply(b"", 302, {"Location": "https://guce.yahoo.com/show"})
        if call.path == "/show":
            return Reply(b"", 307, {"Location": "https://consent.yahoo.com/v2/collectConsent?sessionId=s1d"})
        if call.path == "/v2/collectConsent":
            return Reply(PAGE, content_type="text/html")
        if call.path == "/copyConsent":
            self.agreed.append(call)
            return Reply(b"", 200, {"Set-Cookie": "A3=d=agreed; Path=/"})
        if call.path == "/v1/test/getcrumb" and not self.agreed:
            return Reply(b"<html>consent</html>", content_type="text/html")
        return vendors.yahoo(call)


@pytest.fixture
def posts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in answers a form as it answers a page: with the page to copy the consent from."""

    def do_post(self: Any) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._send(Reply(b"", 302, {"Location": "https://guce.yahoo.com/copyConsent?sessionId=s1d"}))

    served = vendors._Handler.do_GET

    def do_get(self: Any) -> None:
        self.rfile.read(
            int(self.headers.get("Content-Length") or 0)
        )  # yfinance sends the form along to the second page
        served(self)

    monkeypatch.setattr(vendors._Handler, "do_POST", do_post, raising=False)
    monkeypatch.setattr(vendors._Handler, "do_GET", do_get)


@pytest.mark.usefixtures("posts")
def test_consent_is_given_over_yahoos_own_hosts(yahoo: Case) -> None:
    european = European()
    yahoo.server.answer = european
    (found,) = yahoo.vendor.profiles(["AAPL"])
    assert isinstance(found, Described)
    assert european.agreed
    crumbs = [call.query.get("crumb") for call in yahoo.server.asked("quoteSummary")]
    assert crumbs == ["crumb"]


class Full(LocalRateLimiter):
    """Lets `room` calls pass, and refuses the others as a used-up quota does."""

    def __init__(self, room: int) -> None:
        super().__init__(now=lambda: NOW)
        self.room = room
        self.told: list[ProviderError] = []

    def acquire(self) -> None:
        self.room -= 1
        if self.room < 0:
            raise QuotaUsedUp("yahoo", "limit reached", retry_at=NOW + timedelta(minutes=1))

    def record_failure(self, error: ProviderError) -> None:
        self.told.append(error)


@pytest.mark.parametrize("room", [0, 1, 2])
def test_a_redirect_there_is_no_room_for_is_no_failure_of_the_vendor(room: int) -> None:
    with serving(European()) as server:
        gate = Full(room)
        vendor = Yahoo(
            exchange_calendar, gate=gate, endpoint=server.url, allow_loopback=True, bounds=QUICK, now=lambda: NOW
        )
        (found,) = vendor.profiles(["AAPL"])
        vendor.close()
        assert len(server.calls) == room
    assert isinstance(found, NoData)
    assert found.reason == NoDataReason.RATE_LIMITED
    assert gate.told == []


@pytest.mark.parametrize("to", ["https://evil.example/", "http://guce.yahoo.com/", "https://yahoo.com.evil.example/"])
def test_a_page_about_cookies_leads_nowhere_but_to_yahoo(yahoo: Case, to: str) -> None:
    away = Reply(b"", 302, {"Location": to})
    yahoo.server.answer = refusing({"/consent": away, "/v1/test/getcrumb": away})
    assert isinstance(prices(yahoo.vendor)[0], History)
    assert {call.path for call in yahoo.server.calls} <= {
        "/",
        "/consent",
        "/v1/test/getcrumb",
        "/v8/finance/chart/AAPL",
    }


def test_redirects_of_cookies_end(yahoo: Case) -> None:
    again = Reply(b"", 302, {"Location": "/consent"})
    yahoo.server.answer = refusing({"/consent": again, "/v1/test/getcrumb": again})
    assert isinstance(prices(yahoo.vendor)[0], History)
    assert len(yahoo.server.asked("/consent")) < 30


# What APPL is to Yahoo: a name of its list of dead and unknown ones.
UNKNOWN: dict[str, object] = {
    "currency": None,
    "exchangeName": "YHD",
    "fullExchangeName": "YHD",
    "firstTradeDate": None,
}


def mistyped(meta: dict[str, object], found: Reply) -> Callable[[Call], Reply]:
    def answer(call: Call) -> Reply:
        if call.path == "/v1/finance/search":
            return found
        if "/chart/APPL" not in call.path:
            return vendors.yahoo(call)
        body = document("yahoo", "chart_empty")
        body["chart"]["result"][0]["meta"] |= {"symbol": "APPL", **meta}
        return reply(body)

    return answer


@pytest.mark.parametrize("name", YAHOOS)
@pytest.mark.parametrize("meta", [UNKNOWN, {"exchangeName": "YHD"}, {"firstTradeDate": None}])
def test_a_mistyped_symbol_is_not_found_with_what_a_search_says(name: str, meta: dict[str, object]) -> None:
    quotes = [
        {"symbol": "APPL", "shortname": "itself", "exchange": "YHD", "quoteType": "MUTUALFUND"},
        {"symbol": "AAPL", "longname": "Apple Inc.", "exchange": "NMS", "quoteType": "EQUITY"},
    ]
    with running(name) as case:
        case.server.answer = mistyped(meta, reply({"quotes": quotes}))
        (answer,) = prices(case.vendor, "APPL")
        assert len(case.server.asked("/search")) == 1
    assert isinstance(answer, NoData)
    assert (answer.reason, answer.fault) == (NoDataReason.NOT_FOUND, None)
    assert [one.symbol for one in answer.candidates] == ["AAPL"]
    assert "AAPL (Apple Inc.)" in (answer.detail or "")


def all_null(result: dict[str, Any]) -> None:
    for values in result["indicators"]["quote"][0].values():
        values[:] = [None] * len(values)
    result["indicators"]["adjclose"] = [{}]


def without_values(result: dict[str, Any]) -> None:
    result["indicators"] = {"quote": [{}], "adjclose": [{}]}


def no_times(result: dict[str, Any]) -> None:
    result["timestamp"] = []
    without_values(result)


def years_ago(result: dict[str, Any]) -> None:
    result["timestamp"] = [stamp - 3 * 365 * 86_400 for stamp in result["timestamp"]]


def its_last_price_again(result: dict[str, Any]) -> None:
    quote = result["indicators"]["quote"][0]
    for name, values in quote.items():
        values[:] = [0 if name == "volume" else 5.25] * len(values)


@pytest.mark.parametrize("name", YAHOOS)
@pytest.mark.parametrize(
    ("meta", "change"),
    [
        *((meta, change) for meta in (UNKNOWN, {"firstTradeDate": None}) for change in (all_null, no_times, years_ago)),
        *(({"exchangeName": "YHD"}, change) for change in (all_null, without_values, years_ago, its_last_price_again)),
    ],
)
def test_a_mistyped_symbol_with_bars_that_are_none_is_not_found_either(
    name: str, meta: dict[str, object], change: Callable[[dict[str, Any]], None]
) -> None:
    def answer(call: Call) -> Reply:
        if call.path == "/v1/finance/search":
            return reply({"quotes": [{"symbol": "AAPL", "longname": "Apple Inc.", "quoteType": "EQUITY"}]})
        body = document("yahoo", "chart")
        result = body["chart"]["result"][0]
        result["meta"] |= {"symbol": "APPL", **meta}
        del result["events"]
        change(result)
        return reply(body)

    with running(name) as case:
        served = case.server.answer
        case.server.answer = lambda call: answer(call) if "APPL" in call.path or "search" in call.path else served(call)
        (found,) = prices(case.vendor, "APPL")
    assert isinstance(found, NoData)
    assert (found.reason, found.fault) == (NoDataReason.NOT_FOUND, None)
    assert [one.symbol for one in found.candidates] == ["AAPL"]


@pytest.mark.parametrize("name", YAHOOS)
@pytest.mark.parametrize("change", [all_null, its_last_price_again])
def test_a_listed_name_whose_bars_say_nothing_is_known(name: str, change: Callable[[dict[str, Any]], None]) -> None:
    """A share that is halted has no prices, and a fund of money the same one every day."""

    def answer(call: Call) -> Reply:
        body = document("yahoo", "chart")
        result = body["chart"]["result"][0]
        del result["events"]
        change(result)
        return reply(body)

    with running(name) as case:
        served = case.server.answer
        case.server.answer = lambda call: answer(call) if "/chart/" in call.path else served(call)
        assert isinstance(prices(case.vendor)[0], History)


@pytest.mark.parametrize("name", YAHOOS)
def test_a_search_that_cannot_be_made_changes_no_answer(name: str) -> None:
    with running(name) as case:
        case.server.answer = mistyped(UNKNOWN, BAD_CRUMB)
        unknown, known = prices(case.vendor, "APPL", "AAPL")
    assert isinstance(unknown, NoData)
    assert (unknown.reason, unknown.candidates) == (NoDataReason.NOT_FOUND, ())
    assert isinstance(known, History)


@pytest.mark.parametrize("name", YAHOOS)
def test_a_name_of_the_dead_with_bars_has_a_past(name: str) -> None:
    with running(name) as case:
        served = case.server.answer

        def answer(call: Call) -> Reply:
            if "/chart/" not in call.path:
                return served(call)
            body = document("yahoo", "chart")
            body["chart"]["result"][0]["meta"]["exchangeName"] = "YHD"
            return reply(body)

        case.server.answer = answer
        assert isinstance(prices(case.vendor)[0], History)


@pytest.mark.parametrize("name", YAHOOS)
def test_a_coin_is_priced_on_sessions_and_its_weekends_are_one_line(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its days begin at midnight in London: the bar of the 10th is the 10th's, though it is still the 9th in New York."""
    days = [date(2020, 8, 3) + timedelta(days=index) for index in range(31)]
    body = document("yahoo", "chart")
    result = body["chart"]["result"][0]
    result["meta"] |= {"symbol": "BTC-USD", "instrumentType": "CRYPTOCURRENCY", "exchangeName": "CCC"}
    result["meta"] |= {"exchangeTimezoneName": "UTC", "timezone": "UTC", "gmtoffset": 0}
    result["timestamp"] = [int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) for day in days]
    closes = [11_000.0 + index for index in range(31)]
    result["indicators"] = {
        "quote": [dict.fromkeys(("open", "high", "low", "close", "volume"), closes)], "adjclose": [{"adjclose": closes}]
    }  # fmt: skip
    del result["events"]
    with running(name) as case:
        case.server.answer = lambda call: reply(body) if "/chart/" in call.path else vendors.yahoo(call)
        (found,) = prices(case.vendor, "BTC-USD")
    assert isinstance(found, History)
    sessions = found.bars.sessions.tolist()
    assert sessions == exchange_calendar().between(FIRST, LAST)
    assert dict(zip(sessions, found.bars.close.tolist(), strict=True))[date(2020, 8, 10)] == 11_007.0
    dropped = [record for record in caplog.records if "no sessions" in record.getMessage()]
    assert len(dropped) == 1
    assert dropped[0].getMessage().startswith("8 bars")


@pytest.mark.parametrize("name", YAHOOS)
def test_a_payment_dated_on_a_saturday_is_earned_on_monday(name: str) -> None:
    monday = next(day for day in reversed(SPAN) if day.weekday() == 0)
    friday = SPAN[SPAN.index(monday) - 1]
    closes = path(48.0, {monday: 0.61})
    chart = Chart(closes, {"dividends": {monday - timedelta(days=2): {"amount": 0.61}}}, {monday: 0.61})
    with running(name) as case:
        case.server.answer = chart.answer
        rows = rows_of(case)
    assert rows[monday]["total_return"] == pytest.approx((closes[monday] + 0.61) / closes[friday] - 1, abs=1e-12)
    assert (rows[monday]["return_basis"], rows[friday]["return_basis"]) == ("actions", "adjusted")


@pytest.mark.parametrize("name", YAHOOS)
def test_a_gain_beside_a_smaller_dividend_is_paid(name: str) -> None:
    """Yahoo did not add it to the dividend: both were paid."""
    closes = path(48.0, {PAID: 2.0})
    events = {"dividends": {PAID: {"amount": 0.5}}, "capitalGains": {PAID: {"amount": 1.5}}}
    with running(name) as case:
        case.server.answer = Chart(closes, events, {PAID: 2.0}).answer
        (found,) = case.vendor.fetch([Request("FUND", SPAN[0], SPAN[-1])])
        assert isinstance(found, History)
        assert sorted(paid_by(found.actions)) == [0.5, 1.5]
        assert case.server.asked("/chart/")[0].query["events"] == "div,splits,capitalGains"
        row = rows_of(case)[PAID]
    assert row["total_return"] == pytest.approx((closes[PAID] + 2.0) / closes[BEFORE] - 1, abs=1e-12)


@pytest.mark.parametrize("name", YAHOOS)
def test_of_two_bars_of_a_day_the_last_one_stands(name: str) -> None:
    body = document("yahoo", "chart")
    result = body["chart"]["result"][0]
    result["timestamp"].append(_opening(LAST) + 6 * 3600 + 1800)
    for values in (*result["indicators"]["quote"][0].values(), result["indicators"]["adjclose"][0]["adjclose"]):
        values.append(values[-1] * 1.5)
    with running(name) as case:
        case.server.answer = lambda call: reply(body) if "/chart/" in call.path else vendors.yahoo(call)
        (found,) = prices(case.vendor)
    assert isinstance(found, History)
    assert len(found.bars.sessions) == 21
    assert found.bars.close[-1] == pytest.approx(result["indicators"]["quote"][0]["close"][-1])


@pytest.mark.parametrize("name", YAHOOS)
@pytest.mark.parametrize(
    ("symbol", "meta"),
    [("OCDO.L", {"currency": "GBp"}), ("AZT.OL", {"currency": "NOK"}), ("SHOP.TO", {"currency": "CAD"})],
)
def test_prices_in_other_money_are_refused(name: str, symbol: str, meta: dict[str, str]) -> None:
    body = document("yahoo", "chart")
    body["chart"]["result"][0]["meta"] |= {"symbol": symbol, **meta}
    with running(name) as case:
        case.server.answer = lambda call: reply(body) if "/chart/" in call.path else vendors.yahoo(call)
        (answer,) = prices(case.vendor, symbol)
    assert isinstance(answer, NoData)
    assert answer.reason is NoDataReason.FOREIGN_CURRENCY


@pytest.mark.parametrize("name", YAHOOS)
@pytest.mark.parametrize("odd", [{"close": ["1.0"] * 21}, {"close": [1.0] * 20}, {"close": None}])
def test_columns_that_do_not_fit_are_no_prices(name: str, odd: dict[str, object]) -> None:
    body = document("yahoo", "chart")
    body["chart"]["result"][0]["indicators"]["quote"][0] |= odd
    with running(name) as case:
        case.server.answer = lambda call: reply(body) if "/chart/AAPL" in call.path else vendors.yahoo(call)
        bad, good = prices(case.vendor, "AAPL", "BRK.B")
    assert isinstance(bad, NoData)
    assert bad.fault is ProviderErrorKind.SCHEMA_CHANGED
    assert isinstance(good, History)


@pytest.mark.parametrize("name", YAHOOS)
def test_a_profile_and_statements_cost_what_is_reserved_for_them(name: str) -> None:
    with running(name) as case:
        prices(case.vendor)
        before = len(case.server.calls)
        assert isinstance(next(iter(case.vendor.profiles(["AAPL"]))), Described)
        profile = len(case.server.calls) - before
        assert isinstance(next(iter(case.vendor.fundamentals(["AAPL"]))), Fundamentals)
        statements = len(case.server.calls) - before - profile
    assert (profile, statements) == (case.vendor.profile_calls, case.vendor.statement_calls)


def test_an_error_of_charts_is_none_of_profiles(yahoo: Case) -> None:
    yahoo.server.fail(stored("yahoo", "error_404", 404), "/chart/")
    assert isinstance(next(iter(yahoo.vendor.profiles(["AAPL"]))), Described)
