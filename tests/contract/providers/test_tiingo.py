"""Tiingo: what every vendor must answer alike, and what is its own: one call for a night, actions in the rows, limits in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.ingest.model.market import History, NoData, NoDataReason, ProviderErrorKind, Request
from services.ingest.providers.tiingo.provider import LATEST_IS_FRESH, Tiingo
from services.ingest.providers.transport.gate import LocalRateLimiter
from shared.market.calendar import exchange_calendar
from tests.contract.providers import test_answers as answers
from tests.contract.providers import test_faults as faults
from tests.contract.providers import test_matrix as matrix
from tests.contract.providers.conftest import FIRST, LAST, NOW, QUICK, Case, running
from tests.contract.providers.test_answers import ask, history
from tests.support import vendors
from tests.support.vendors import Call, Reply, VendorServer, document, reply, serving, stored

ROOT = Path(__file__).parents[3]
EVE = date(2020, 9, 1)
ALIKE: list[Callable[[Case], None]] = [
    answers.test_prices_as_traded_are_the_same_from_every_vendor,
    answers.test_a_split_and_a_dividend_come_as_paid_on_the_shares_of_their_day,
    answers.test_a_range_before_a_split_still_knows_of_it,
    answers.test_nothing_outside_the_range_is_served,
    answers.test_a_symbol_that_is_listed_and_not_traded_is_known_and_empty,
    answers.test_an_unknown_symbol_is_not_found_and_that_is_no_fault,
    answers.test_one_answer_a_request_in_order,
    answers.test_the_estimate_is_what_a_fetch_costs,
    answers.test_the_key_is_in_no_url,
    answers.test_an_answer_that_is_not_json_is_not_an_empty_one,
    faults.test_retry_after_is_honoured,
    faults.test_a_limit_is_not_asked_again_in_place,
    faults.test_an_outage_is_tried_again_and_no_more_often_than_bounded,
    faults.test_one_hiccup_costs_nothing,
    faults.test_one_symbol_that_fails_does_not_stop_the_others,
    faults.test_a_provider_without_connection_is_down,
]
# The symbol's answer in every case of the matrix; docs/providers.md has the same table.
OUTCOMES = {
    "normal": "21 bars", "empty": "0 bars", "partial": "10 bars", "delisted": "0 bars", "renamed": "not_found",
    "401": "provider_down, auth", "403": "provider_down, auth", "404": "not_found",
    "429 with Retry-After": "rate_limited, rate_limited, in 120 s",
    "429 without Retry-After": "rate_limited, rate_limited, in 3600 s", "500": "provider_down, outage",
    "timeout": "provider_down, timeout", "truncated JSON": "provider_down, bad_body",
    "HTML instead of JSON": "provider_down, bad_body", "schema change": "provider_down, schema_changed",
}  # fmt: skip


@pytest.mark.parametrize("check", ALIKE, ids=lambda check: check.__name__)
def test_what_every_vendor_answers_alike(tiingo: Case, check: Callable[[Case], None]) -> None:
    check(tiingo)


@pytest.mark.parametrize("failure", faults.FAILURES)
def test_each_failure_gives_its_typed_reason(tiingo: Case, failure: str) -> None:
    faults.test_each_failure_gives_its_typed_reason(tiingo, failure)


@pytest.mark.parametrize("what", matrix.CASES)
def test_each_cell(tiingo: Case, what: str) -> None:
    if what == "timeout":
        tiingo.lose_patience()
    if what in matrix.REPLIES:
        tiingo.server.fail(matrix.REPLIES[what], tiingo.data)
    elif what == "partial":
        tiingo.server.answer = matrix.partial(tiingo)
    elif what == "truncated JSON":
        tiingo.server.answer = matrix.truncated(tiingo)
    assert matrix.told(ask(tiingo, matrix.SYMBOLS.get(what, "AAPL"))) == OUTCOMES[what]


def test_the_documentation_has_the_same_table() -> None:
    written = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
    assert tuple(OUTCOMES) == matrix.CASES
    for what, told in OUTCOMES.items():
        assert f"\n| {what} | {told} |\n" in written, what


def test_adjusted_closes_are_the_vendors() -> None:
    with running("tiingo") as case:
        found = history(case, "AAPL").bars
    assert not found.split_adjusted
    assert found.adj_close.tolist() == [row["adjClose"] for row in document("tiingo", "history")]


def test_class_shares_are_spelled_with_a_hyphen(tiingo: Case) -> None:
    assert history(tiingo, "BRK.B").symbol == "BRK.B"
    assert tiingo.server.calls[0].path == "/tiingo/daily/BRK-B/prices"


@pytest.mark.parametrize("symbol", ["^GSPC", "VOD.L", "600519", "AAPL201218C00120000", "CASH_USD", "../x"])
def test_what_it_does_not_have_costs_no_call(tiingo: Case, symbol: str) -> None:
    answer = ask(tiingo, symbol)
    assert isinstance(answer, NoData)
    assert answer.reason is NoDataReason.NOT_FOUND
    assert tiingo.server.calls == []


def test_the_hours_limit_comes_with_429(tiingo: Case) -> None:
    tiingo.server.fail(stored("tiingo", "error_429", 429), tiingo.data)
    answer = ask(tiingo, "AAPL")
    assert isinstance(answer, NoData)
    assert (answer.reason, answer.retry_at) == (NoDataReason.RATE_LIMITED, NOW + timedelta(hours=1))


def test_the_months_symbols_come_as_a_bare_sentence_and_concern_this_symbol_alone(tiingo: Case) -> None:
    said = b"You have run over your 500 symbol look up for this month. Please upgrade to have your limits increased."
    tiingo.server.fail(Reply(said, content_type="text/plain"), "/tiingo/daily/AAPL/")
    answer = ask(tiingo, "AAPL")
    assert isinstance(answer, NoData)
    assert (answer.reason, answer.fault) == (NoDataReason.PLAN_LIMIT, ProviderErrorKind.PLAN)
    assert "500 symbol look up" in (answer.detail or "")
    assert isinstance(ask(tiingo, "BRK.B"), History)
    assert tiingo.vendor.health().disabled is None


@pytest.mark.parametrize(("name", "status"), [("error_401", 401), ("error_403", 403)])
def test_a_refused_key_names_its_variable(tiingo: Case, name: str, status: int) -> None:
    tiingo.server.fail(stored("tiingo", name, status))
    answer = ask(tiingo, "AAPL")
    assert isinstance(answer, NoData)
    assert answer.fault is ProviderErrorKind.AUTH
    assert "LEADLINE_TIINGO_API_KEY" in (tiingo.vendor.health().disabled or "")


@pytest.mark.parametrize("values", [{"splitFactor": 0.0}, {"splitFactor": 1e9}, {"divCash": 1e300}, {"divCash": -1.0}])
def test_an_action_that_can_not_be_is_the_absence_of_its_symbol(tiingo: Case, values: dict[str, float]) -> None:
    rows = document("tiingo", "history")
    rows[3] |= values
    tiingo.server.fail(reply(rows), "/tiingo/daily/AAPL/prices")
    bad, good = tiingo.vendor.fetch([Request(symbol, FIRST, LAST) for symbol in ("AAPL", "BRK.B")])
    assert isinstance(bad, NoData)
    assert bad.fault is ProviderErrorKind.SCHEMA_CHANGED
    assert isinstance(good, History)


def test_a_day_that_comes_twice_pays_and_splits_once(tiingo: Case) -> None:
    once = history(tiingo, "AAPL")
    assert {action.type for action in once.actions} == {"split", "dividend"}
    rows = document("tiingo", "history")
    tiingo.server.fail(reply([row for row in rows for _ in range(2)]), "/tiingo/daily/AAPL/prices")
    twice = history(tiingo, "AAPL")
    assert twice.actions == once.actions
    assert twice.bars.sessions.tolist() == once.bars.sessions.tolist()


@pytest.mark.parametrize("key", ["volume", "divCash", "open", "adjClose"])
def test_a_value_that_is_a_text_costs_itself(tiingo: Case, key: str) -> None:
    whole = history(tiingo, "AAPL")
    served = tiingo.server.answer

    def answer(call: Call) -> Reply:
        given = served(call)
        if not call.path.endswith("AAPL/prices"):
            return given
        rows = json.loads(given.body)
        rows[12][key] = "n/a"
        return reply(rows)

    tiingo.server.answer = answer
    found = history(tiingo, "AAPL")
    assert (found.bars.close.tolist(), found.actions) == (whole.bars.close.tolist(), whole.actions)


def test_a_symbol_listed_within_the_range_says_since_when(tiingo: Case) -> None:
    rows = document("tiingo", "history")[5:]
    tiingo.server.fail(reply(rows), "/tiingo/daily/AAPL/prices")
    assert history(tiingo, "AAPL").listed_from == date(2020, 8, 12)
    assert history(tiingo, "LAZY").listed_from == date(1999, 3, 10)


def test_profiles_and_statements_are_left_to_others_without_a_call(tiingo: Case) -> None:
    for kind in (tiingo.vendor.profiles, tiingo.vendor.fundamentals):
        (answer,) = kind(["AAPL"])
        assert isinstance(answer, NoData)
        assert (answer.reason, answer.fault) == (NoDataReason.NOT_FOUND, None)
    assert tiingo.server.calls == []


def test_search_tells_funds_from_shares(tiingo: Case) -> None:
    found = tiingo.vendor.search("berkshire")
    assert [(listing.symbol, listing.asset_type) for listing in found.listings] == [
        ("BRK.B", "stock"),
        ("ABCDX", "fund"),
    ]


def test_rows_are_out_at_half_past_five_and_those_of_funds_after_midnight(tiingo: Case) -> None:
    vendor = tiingo.vendor
    assert isinstance(vendor, Tiingo)
    assert vendor.published_at("AAPL", LAST) == datetime(2020, 9, 2, 21, 30, tzinfo=UTC)
    assert vendor.published_at("VWILX", LAST) == datetime(2020, 9, 3, 4, 30, tzinfo=UTC)
    assert vendor.published_at("GOOGL", date(2020, 12, 1)) == datetime(2020, 12, 1, 22, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("symbol", "now", "late"),
    [
        ("AAPL", datetime(2020, 9, 2, 21, 29, tzinfo=UTC), [(LAST, datetime(2020, 9, 2, 21, 30, tzinfo=UTC))]),
        ("AAPL", datetime(2020, 9, 2, 21, 31, tzinfo=UTC), []),
        ("VWILX", datetime(2020, 9, 3, 4, 29, tzinfo=UTC), [(LAST, datetime(2020, 9, 3, 4, 30, tzinfo=UTC))]),
        ("VWILX", datetime(2020, 9, 3, 4, 31, tzinfo=UTC), []),
        # After midnight of the eve the fund's row of the day before that is out, and two are missing.
        ("VWILX", datetime(2020, 9, 2, 4, 29, tzinfo=UTC), [(EVE, datetime(2020, 9, 3, 4, 30, tzinfo=UTC))]),
    ],
)
def test_a_row_that_is_not_out_yet_is_late_and_one_that_stays_away_did_not_trade(
    symbol: str, now: datetime, late: list[tuple[date, datetime]]
) -> None:
    stop = EVE - timedelta(days=1) if late and late[0][0] == EVE else EVE
    with serving(vendors.tiingo) as server:
        rows = [row for row in document("tiingo", "history") if row["date"][:10] <= stop.isoformat()]
        server.fail(reply(rows), "/tiingo/daily/.+/prices")
        vendor = Tiingo(
            "good", exchange_calendar, gate=LocalRateLimiter(), base_url=server.url, allow_loopback=True, bounds=QUICK, now=lambda: now
        )  # fmt: skip
        (answer,) = vendor.fetch([Request(symbol, FIRST, LAST)])
    assert isinstance(answer, History)
    assert answer.bars.sessions[-1].item() == stop
    assert [(one.first, one.last, one.reason, one.retry_at) for one in answer.unserved] == [
        (first, LAST, NoDataReason.LATE, until) for first, until in late
    ]


class Night:
    """An adapter that served AAPL and BRK.B up to the eve, on a clock that can be moved."""

    def __init__(self, server: VendorServer) -> None:
        self.server = server
        self.now = NOW - timedelta(days=1)
        self.vendor = Tiingo(
            "good", exchange_calendar, gate=LocalRateLimiter(trip_after=1000), base_url=server.url, allow_loopback=True, bounds=QUICK,
            now=lambda: self.now,
        )  # fmt: skip
        eve = [row for row in document("tiingo", "history") if row["date"][:10] <= EVE.isoformat()]
        server.fail(reply(eve), "/tiingo/daily/.+/prices")
        self.ask(FIRST, EVE)
        server.fail(None)
        server.calls.clear()
        self.now = NOW

    def ask(self, first: date = EVE, last: date = LAST) -> list[Any]:
        return list(self.vendor.fetch([Request(symbol, first, last) for symbol in ("AAPL", "BRK.B")]))

    def latest(self, **values: object) -> None:
        """What the list of newest rows says of AAPL."""
        newest = document("tiingo", "history")[-1]
        rows = [newest | {"ticker": "AAPL"} | values, newest | {"ticker": "BRK-B"}]
        self.server.fail(reply(rows), "^/tiingo/daily/prices$")

    @property
    def asked(self) -> list[str]:
        return [call.path for call in self.server.calls]


@contextmanager
def night() -> Iterator[Night]:
    with serving(vendors.tiingo) as server:
        made = Night(server)
        try:
            yield made
        finally:
            made.vendor.close()


LATEST, OWN = "/tiingo/daily/prices", "/tiingo/daily/AAPL/prices"


def test_a_night_is_one_call_for_all_symbols() -> None:
    with night() as of:
        requests = [Request(symbol, EVE, LAST) for symbol in ("AAPL", "BRK.B")]
        assert of.vendor.calls(requests) == 1
        found = of.ask()
        assert of.asked == [LATEST]
        assert of.vendor.calls(requests) == 2, "the session is served; whoever asks again wants it anew"
    closes = {row["date"][:10]: row["close"] for row in document("tiingo", "history")}
    for answer in found:
        assert answer.bars.sessions.tolist() == [EVE, LAST]
        assert answer.bars.close.tolist() == [closes[EVE.isoformat()], closes[LAST.isoformat()]]
        assert answer.lists_splits


@pytest.mark.parametrize("values", [{"divCash": 0.2}, {"splitFactor": 2.0}])
def test_a_symbol_with_an_action_that_day_is_asked_for_by_itself(values: dict[str, float]) -> None:
    with night() as of:
        of.latest(**values)
        of.ask()
        assert of.asked == [LATEST, OWN]


def test_a_symbol_that_is_not_in_the_list_is_asked_for_by_itself() -> None:
    with night() as of:
        of.server.fail(reply([]), "^/tiingo/daily/prices$")
        found = of.ask()
        assert of.asked == [LATEST, OWN, "/tiingo/daily/BRK-B/prices"]
        assert all(isinstance(answer, History) for answer in found)


def test_a_row_that_is_not_out_yet_costs_one_call_in_ten_minutes() -> None:
    with night() as of:
        of.latest(date=f"{EVE}T00:00:00.000Z")
        late, out = of.ask()
        assert late.bars.sessions.tolist() == [EVE]
        assert out.bars.sessions.tolist() == [EVE, LAST]
        of.latest()
        of.now += LATEST_IS_FRESH - timedelta(seconds=1)
        (again,) = of.vendor.fetch([Request("AAPL", EVE, LAST)])
        assert isinstance(again, History)
        assert (of.asked, again.bars.sessions.tolist()) == ([LATEST], [EVE])
        of.now += timedelta(seconds=2)
        (again,) = of.vendor.fetch([Request("AAPL", EVE, LAST)])
        assert isinstance(again, History)
        assert (of.asked, again.bars.sessions.tolist()) == ([LATEST, OWN], [EVE, LAST]), (
            "one symbol is one call either way"
        )


def test_a_list_that_is_refused_is_not_asked_for_again_that_day() -> None:
    symbols = [f"S{number:03}" for number in range(4)]
    rows = document("tiingo", "history")

    def answer(call: Call) -> Reply:
        if call.path == LATEST:
            return Reply(b'{"detail": "You do not have permission to access this."}', 403)
        return reply([row for row in rows if row["date"][:10] <= call.query["endDate"]])

    with serving(answer) as server:
        now = [NOW - timedelta(days=1)]
        vendor = Tiingo(
            "good", exchange_calendar, base_url=server.url, allow_loopback=True, bounds=QUICK, now=lambda: now[0]
        )
        list(vendor.fetch([Request(symbol, FIRST, EVE) for symbol in symbols]))
        now[0] = NOW
        found = [
            answer
            for portion in (symbols[:2], symbols[2:])
            for answer in vendor.fetch([Request(symbol, EVE, LAST) for symbol in portion])
        ]
        vendor.close()
        asked = server.asked(f"^{LATEST}$")
    assert all(isinstance(answer, History) and len(answer.bars.sessions) == 2 for answer in found)
    assert len(asked) == 1


def test_a_process_that_has_served_nothing_asks_for_each_symbol(tiingo: Case) -> None:
    found = list(tiingo.vendor.fetch([Request(symbol, EVE, LAST) for symbol in ("AAPL", "BRK.B")]))
    assert [call.path for call in tiingo.server.calls] == [OWN, "/tiingo/daily/BRK-B/prices"]
    assert all(isinstance(answer, History) and len(answer.bars.sessions) == 2 for answer in found)


def test_a_limit_on_the_list_is_everybodys_limit() -> None:
    with serving(vendors.tiingo) as server:
        of = Night(server)
        of.vendor._http._gate = LocalRateLimiter(now=lambda: of.now)  # one that closes, unlike the others' here
        server.fail(stored("tiingo", "error_429", 429), "^/tiingo/daily/prices$")
        found = of.ask()
        of.vendor.close()
    assert {answer.reason for answer in found} == {NoDataReason.RATE_LIMITED}
    assert of.asked == [LATEST]


@pytest.mark.parametrize("refused", [False, True])
def test_what_is_listed_late_beside_joined_nights_is_found_within_two_weeks(refused: bool) -> None:
    """After the night that should have had it, a dividend of the eve is listed. Each night is one call, until the history is asked for.

    refused : the first time it is, the hour's calls are used up: that costs the night nothing, and the next one asks again.
    """
    days = exchange_calendar()
    known = [row for row in document("tiingo", "history") if row["date"][:10] <= EVE.isoformat()]
    now = [NOW - timedelta(days=1)]
    today = [EVE]
    late = [0.0]

    def rows() -> list[dict[str, Any]]:
        found = [row | {"divCash": late[0] if row["date"][:10] == EVE.isoformat() else row["divCash"]} for row in known]
        extra = days.between(days.next(EVE), today[0]) if today[0] > EVE else []
        return [*found, *(known[-1] | {"date": f"{day}T00:00:00.000Z", "divCash": 0.0} for day in extra)]

    def answer(call: Call) -> Reply:
        if call.path == LATEST:
            return reply([rows()[-1] | {"ticker": symbol} for symbol in ("AAPL", "MSFT")])
        return reply(rows())

    calls, found = [], []
    with serving(answer) as server:
        vendor = Tiingo(
            "good", exchange_calendar, gate=LocalRateLimiter(now=lambda: now[0]), base_url=server.url, allow_loopback=True,
            bounds=QUICK, now=lambda: now[0],
        )  # fmt: skip
        list(vendor.fetch([Request(symbol, FIRST, EVE) for symbol in ("AAPL", "MSFT")]))
        late[0] = 0.33
        for number in range(10):
            limited = stored("tiingo", "error_429", 429) if refused and number == 5 else None
            server.fail(limited, "/tiingo/daily/.+/prices")
            before, today[0] = today[0], days.next(today[0])
            now[0] = datetime.combine(today[0], datetime.min.time(), UTC) + timedelta(hours=23)
            server.calls.clear()
            requests = [Request(symbol, before, today[0]) for symbol in ("AAPL", "MSFT")]
            expected = vendor.calls(requests)
            nights = [one for one in vendor.fetch(requests) if isinstance(one, History)]
            assert len(nights) == 2
            assert len(server.calls) == expected
            assert all(one.bars.sessions.tolist() == [before, today[0]] for one in nights)
            calls.append(expected)
            found.append({one.symbol for one in nights for action in one.actions if action.ex_date == EVE})
        vendor.close()
    assert calls[:4] == [1, 1, 1, 1]
    assert sum(calls) == 12 + refused, "ten lists, and each history once"
    assert set().union(*found[4:]) == {"AAPL", "MSFT"}


@pytest.mark.parametrize("close", [26.2, 400.0])
def test_a_close_far_from_the_last_one_is_asked_about(close: float) -> None:
    """A split that the newest row does not tell of."""
    with night() as of:
        of.latest(close=close)
        of.ask()
        assert of.asked == [LATEST, OWN]


def test_a_row_without_a_date_costs_itself(tiingo: Case) -> None:
    whole = history(tiingo, "AAPL")
    rows = document("tiingo", "history")
    tiingo.server.fail(reply([*rows[:5], rows[5] | {"date": "soon"}, None, *rows[6:]]), "/tiingo/daily/AAPL/prices")
    found = history(tiingo, "AAPL")
    assert len(found.bars.sessions) == len(whole.bars.sessions) - 1
    assert found.actions == whole.actions


def test_calls_of_a_whole_night_stay_within_the_free_hour() -> None:
    """35 symbols: a first history is 35 calls, every night after it one."""
    symbols = [f"S{number:03}" for number in range(35)]
    rows = document("tiingo", "history")

    def answer(call: Call) -> Reply:
        if call.path == LATEST:
            return reply([{"ticker": symbol.lower()} | rows[-1] for symbol in symbols])
        last = call.query["endDate"]
        return reply([row for row in rows if row["date"][:10] <= last])

    with serving(answer) as server:
        now = [NOW - timedelta(days=1)]
        vendor = Tiingo(
            "good", exchange_calendar, base_url=server.url, allow_loopback=True, bounds=QUICK, now=lambda: now[0]
        )
        list(vendor.fetch([Request(symbol, FIRST, EVE) for symbol in symbols]))
        assert len(server.calls) == 35
        now[0] = NOW
        list(vendor.fetch([Request(symbol, EVE, LAST) for symbol in symbols]))
        vendor.close()
    assert len(server.calls) == 36
