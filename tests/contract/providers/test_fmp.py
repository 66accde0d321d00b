"""What is FMP's own: errors with status 200, plans, dividends on today's shares, lists without a filter."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import pairwise

import pytest

from services.ingest.model.market import History, NoData, NoDataReason, ProviderErrorKind, Rename, Request
from tests.contract.providers.conftest import FIRST, LAST, Case, running
from tests.contract.providers.test_answers import ask, history
from tests.support.vendors import Call, Reply, document, reply, stored


@pytest.mark.parametrize("status", [200, 429])
def test_the_daily_limit_whatever_its_status(fmp: Case, status: int) -> None:
    fmp.server.fail(stored("fmp", "error_429", status), "/historical")
    answer = ask(fmp, "AAPL")
    assert isinstance(answer, NoData)
    assert (answer.reason, answer.fault) == (NoDataReason.RATE_LIMITED, ProviderErrorKind.RATE_LIMITED)


def test_a_refused_key_with_status_200(fmp: Case) -> None:
    fmp.server.fail(stored("fmp", "error_401"), "/historical")
    answer = ask(fmp, "AAPL")
    assert isinstance(answer, NoData)
    assert answer.fault is ProviderErrorKind.AUTH
    assert "LEADLINE_FMP_API_KEY" in (answer.detail or "")


def test_a_symbol_the_plan_does_not_cover_does_not_turn_the_key_off(fmp: Case) -> None:
    fmp.server.fail(stored("fmp", "error_402", 402), "/historical")
    answer = ask(fmp, "AAPL")
    assert isinstance(answer, NoData)
    assert (answer.reason, answer.fault) == (NoDataReason.PLAN_LIMIT, ProviderErrorKind.PLAN)
    assert fmp.vendor.health().disabled is None


def test_a_dividend_stated_on_todays_shares_only_is_brought_to_those_of_its_day(fmp: Case) -> None:
    paid = {a.ex_date: a.value for a in history(fmp, "AAPL").actions if a.type == "dividend"}
    assert paid[date(1995, 11, 21)] == pytest.approx(0.004286 * 7 * 4)


@pytest.mark.parametrize(
    ("now", "listed"),
    [
        (datetime(2020, 8, 30, 23, 50, tzinfo=UTC), False),  # 19:50 in New York, on the eve
        (datetime(2020, 8, 31, 0, 10, tzinfo=UTC), False),  # 20:10
        (datetime(2020, 8, 31, 18, 0, tzinfo=UTC), False),  # the day itself, before its close
        (datetime(2020, 8, 31, 23, 50, tzinfo=UTC), True),
    ],
)
def test_a_split_counts_from_the_first_session_whose_close_has_it(now: datetime, listed: bool) -> None:
    with running("fmp", now=now) as case:
        (answer,) = case.vendor.fetch([Request("AAPL", date(2020, 8, 5), date(2020, 8, 28))])
    assert isinstance(answer, History)
    assert (date(2020, 8, 31) in {action.ex_date for action in answer.actions if action.type == "split"}) is listed
    assert date(2014, 6, 9) in {action.ex_date for action in answer.actions if action.type == "split"}


def test_a_symbol_without_prices_is_not_asked_for_its_actions(fmp: Case) -> None:
    ask(fmp, "LAZY")
    assert fmp.server.asked("/splits|/dividends") == []


def test_a_delisted_company_has_the_day_of_its_announcement(fmp: Case) -> None:
    assert history(fmp, "TWTR").delisted_on == date(2022, 11, 8)


def test_a_renamed_symbol_says_what_it_is_now(fmp: Case) -> None:
    answer = ask(fmp, "FB")
    assert isinstance(answer, NoData)
    assert (answer.reason, answer.renamed) == (NoDataReason.NOT_FOUND, Rename("FB", "META", date(2022, 6, 9)))
    assert list(fmp.vendor.renames(["FB", "AAPL"])) == [answer.renamed, None]


def test_renames_in_a_row_lead_to_the_last_and_a_circle_leads_nowhere(fmp: Case) -> None:
    def change(day: str, old: str, new: str) -> dict[str, str]:
        return {"date": day, "companyName": "X", "oldSymbol": old, "newSymbol": new}

    changes = [
        change("2024-01-02", "B", "C"), change("2023-01-03", "A", "B"), change("2022-01-03", "X", "Y"), change("2023-01-03", "Y", "X"),
    ]  # fmt: skip
    fmp.server.fail(reply(changes), "/symbol-change")
    assert list(fmp.vendor.renames(["A", "B", "X"])) == [
        Rename("A", "C", date(2023, 1, 3)), Rename("B", "C", date(2024, 1, 2)), None,
    ]  # fmt: skip


def test_lists_without_a_filter_are_fetched_once(fmp: Case) -> None:
    list(
        fmp.vendor.fetch(
            [Request(symbol, date(2020, 8, 5), date(2020, 9, 2)) for symbol in ("TWTR", "NOPE", "FB", "NADA")]
        )
    )
    assert len(fmp.server.asked("/symbol-change")) == 1
    assert len(fmp.server.asked("/delisted-companies")) == 1


def test_without_the_list_of_delisted_companies_nothing_is_called_delisted(fmp: Case) -> None:
    fmp.server.fail(stored("fmp", "error_402", 402), "/delisted-companies|/symbol-change")
    assert history(fmp, "TWTR").delisted_on is None


def test_a_symbol_of_two_companies_is_a_question(fmp: Case) -> None:
    answer = ask(fmp, "DUPE")
    assert isinstance(answer, NoData)
    assert answer.reason is NoDataReason.AMBIGUOUS
    assert len(answer.candidates) == 2


def test_an_answer_about_another_symbol_is_refused(fmp: Case) -> None:
    rows = [{"symbol": "MSFT", "date": "2020-08-05", "open": 1, "high": 1, "low": 1, "close": 1, "volume": 1}]
    fmp.server.fail(reply(rows), "/historical")
    answer = ask(fmp, "AAPL")
    assert isinstance(answer, NoData)
    assert answer.fault is ProviderErrorKind.SCHEMA_CHANGED


def test_a_long_range_is_asked_for_in_pieces_that_one_answer_holds(fmp: Case) -> None:
    history(fmp, "AAPL", date(1990, 1, 2), date(2020, 9, 2))
    asked = [(call.query["from"], call.query["to"]) for call in fmp.server.asked("/historical")]
    days = [(date.fromisoformat(first), date.fromisoformat(last)) for first, last in asked]
    assert days[0][0] == date(1990, 1, 2)
    assert days[-1][1] == date(2020, 9, 2)
    assert all((later[0] - earlier[1]).days == 1 for earlier, later in pairwise(days))
    assert all((last - first).days / 365.25 * 252 < 5000 for first, last in days)


def test_options_are_not_asked_for(fmp: Case) -> None:
    answer = ask(fmp, "AAPL201218C00120000")
    assert isinstance(answer, NoData)
    assert answer.reason is NoDataReason.NOT_FOUND
    assert fmp.server.calls == []


def test_prices_are_not_served_without_their_splits(fmp: Case) -> None:
    fmp.server.fail(Reply(b"{}", 500), "/splits")
    assert isinstance(ask(fmp, "AAPL"), NoData)


@pytest.mark.parametrize(
    ("symbol", "hour", "until"),
    [
        # In UTC, four hours ahead of New York. LAST is 2020-09-02.
        ("AAPL", "2020-09-02 21:59", "2020-09-02 22:00"),
        ("AAPL", "2020-09-02 22:01", None),
        ("VADRX", "2020-09-02 22:01", "2020-09-03 04:30"),
        ("VADRX", "2020-09-03 04:29", "2020-09-03 04:30"),
        ("VADRX", "2020-09-03 04:31", None),
    ],
)
@pytest.mark.parametrize("only", [True, False], ids=["newest session", "range"])
def test_what_is_not_out_yet_is_late(symbol: str, hour: str, until: str | None, only: bool) -> None:
    """Shares until six in the evening of New York, funds until half past midnight."""
    rows = [row | {"symbol": symbol} for row in document("fmp", "history") if row["date"] < LAST.isoformat()]
    profile = [document("fmp", "profile")[0] | {"symbol": symbol, "isActivelyTrading": True}]
    with running("fmp", now=datetime.fromisoformat(hour).replace(tzinfo=UTC)) as case:
        served = case.server.answer

        def answer(call: Call) -> Reply:
            if "/historical" in call.path:
                return reply([row for row in rows if call.query["from"] <= row["date"] <= call.query["to"]])
            return reply(profile) if call.path.endswith("/profile") else served(call)

        case.server.answer = answer
        found = history(case, symbol, LAST if only else FIRST, LAST)
    expected = (
        [] if until is None else [(LAST, LAST, NoDataReason.LATE, datetime.fromisoformat(until).replace(tzinfo=UTC))]
    )
    assert [(one.first, one.last, one.reason, one.retry_at) for one in found.unserved] == expected
    assert len(found.bars.sessions) == (0 if only else 20)
