"""Massive's refusals in their several wordings, and a plan that has prices and no lists of splits and dividends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from services.ingest.compute.rows import build_rows
from services.ingest.model.market import History, NoData, NoDataReason, ProviderErrorKind, Request
from services.ingest.model.write_set import FetchRequest
from services.ingest.providers.chain import Chain
from services.ingest.providers.errors import PlanLimited, TimeframeRefused, TodayRefused
from services.ingest.providers.massive.provider import ERROR_RULES
from services.ingest.providers.transport.refusals import comparable
from services.ingest.store.prices import STAGED
from shared.market.calendar import calendar, exchange_calendar
from tests.contract.providers.conftest import FIRST, LAST, NOW, Case, running
from tests.contract.providers.test_answers import TRADED, ask, history
from tests.contract.providers.test_massive_plan import MORNING_AFTER, NIGHT, SYMBOLS, Free, adapter, portions, world
from tests.support.vendors import Call, Reply, document, reply, serving

DAYS = calendar()
TODAY = "Attempted to request today's data before end of day."
FRAME = "Your plan doesn't include this data timeframe."


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (TODAY, TodayRefused),
        (TODAY.replace("'", "\u2019"), TodayRefused),
        (TODAY.upper(), TodayRefused),
        ("Today\u2019s data comes with a larger plan", TodayRefused),
        ("attempted  to request today\u02bcs\n data before the end of the day", TodayRefused),
        (FRAME, TimeframeRefused),
        (FRAME.replace("'", "\u2019").title(), TimeframeRefused),
        ("Your plan does not include this time frame", TimeframeRefused),
        ("Historical data beyond 2 years requires another subscription", TimeframeRefused),
        ("You are not entitled to this data.", PlanLimited),
        ("YOU ARE NOT ENTITLED", PlanLimited),
        ("Your Plan doesn\u2019t include access to Corporate Actions", PlanLimited),
        ("Please upgrade at https://massive.com/pricing", PlanLimited),
        ("something new (NOT_AUTHORIZED)", PlanLimited),
        ("Unknown API Key", None),
        ("Your API key was disabled", None),
        ("Internal error", None),
    ],
)
def test_what_a_refusal_is_about_however_it_is_put(said: str, kind: type[PlanLimited] | None) -> None:
    assert ERROR_RULES.plan(comparable(said)) is kind


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"status": "NOT_AUTHORIZED", "message": "This market is none of yours."}, ProviderErrorKind.PLAN),
        ({"status": "NOT_AUTHORIZED"}, ProviderErrorKind.PLAN),
        ({"status": "NOT_AUTHORIZED", "message": "Your API Key is disabled"}, ProviderErrorKind.AUTH),
        ({"status": "ERROR", "error": "Unknown API Key"}, ProviderErrorKind.AUTH),
    ],
)
def test_its_status_tells_a_plan_from_a_key(massive: Case, body: dict[str, str], fault: ProviderErrorKind) -> None:
    massive.server.fail(reply(body, 403))
    answer = ask(massive, "AAPL")
    assert isinstance(answer, NoData)
    assert answer.fault is fault


NO_ACTIONS = reply(
    {"status": "NOT_AUTHORIZED", "message": "You are not entitled to this data. Please upgrade your plan"}, 403
)
ACTIONS = ("/stocks/v1/splits", "/stocks/v1/dividends")


def basic(served: Callable[[Call], Reply], refused: tuple[str, ...] = ACTIONS) -> Callable[[Call], Reply]:
    """A plan without lists of actions. Asked for adjusted bars it divides what was traded before the split by four."""

    def answer(call: Call) -> Reply:
        if call.path in refused:
            return NO_ACTIONS
        if call.query.get("adjusted") == "true" and "/AAPL/" in call.path:
            body = document("massive", "aggregates")
            split = datetime(2020, 8, 31, tzinfo=UTC).timestamp() * 1000
            body["results"] = [
                row | {key: row[key] / 4 for key in "ohlc"} if row["t"] < split else row for row in body["results"]
            ]
            return reply(body | {"adjusted": True})
        return served(call)

    return answer


def chained(case: Case, last: date = LAST) -> History:
    [found] = Chain([case.vendor], exchange_calendar).fetch([Request("AAPL", FIRST, last)])
    [part] = found.parts
    return part.history


def test_bars_that_may_hold_a_split_wait_where_adjusted_ones_are_not_to_be_had_now(massive: Case) -> None:
    served = basic(massive.server.answer)
    massive.server.answer = lambda call: Reply(b"", 429) if call.query.get("adjusted") == "true" else served(call)
    [found] = Chain([massive.vendor], exchange_calendar).fetch([Request("AAPL", FIRST, LAST)])
    assert (found.parts, found.absent) == ([], NoDataReason.RATE_LIMITED)
    assert found.retry_at is not None


@pytest.mark.parametrize("refused", [ACTIONS, ACTIONS[:1], ACTIONS[1:]])
def test_without_lists_of_actions_bars_stand_adjusted_for_splits(massive: Case, refused: tuple[str, ...]) -> None:
    massive.server.answer = basic(massive.server.answer, refused)
    found = chained(massive)
    assert (found.actions, found.lists_splits, found.actions_refused) == ((), False, True)
    assert found.bars.split_adjusted
    split = date(2020, 8, 31)
    expected = [close / (4 if day < split else 1) for day, close in TRADED.items()]
    assert found.bars.close.tolist() == pytest.approx(expected)

    massive.server.calls.clear()
    chained(massive)
    assert [call.query["adjusted"] for call in massive.server.calls] == ["false", "true"], (
        "what was learnt costs nothing that day"
    )

    stored = {row["session"]: row for row in stored_rows(Chain([massive.vendor], exchange_calendar))}
    assert {row["return_basis"] for day, row in stored.items() if day > FIRST} == {"price_only"}, (
        "returns without dividends"
    )
    assert stored[split]["total_return"] == pytest.approx(129.04 / (499.23 / 4) - 1, abs=1e-4), (
        "no loss of three quarters"
    )
    assert {row["basis"] for row in stored.values()} == {"file"}


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize(
    "body",
    [b"{}", b"<html>Forbidden</html>", b"Forbidden", b'{"error": "Forbidden"}', b'{"message": "Unknown API Key"}',
     b'{"status": "ERROR", "error": "Unknown API Key"}', b'{"message": "Please upgrade"}'],
)  # fmt: skip
def test_lists_that_are_refused_to_a_key_that_was_served_bars_are_the_plans_affair(
    massive: Case, status: int, body: bytes
) -> None:
    served = massive.server.answer
    massive.server.answer = lambda call: Reply(body, status) if call.path in ACTIONS else served(call)
    first = date(2020, 8, 31)
    for _ in range(2):
        found = history(massive, "AAPL", first, LAST)
        assert (len(found.bars.sessions), found.actions_refused) == (3, True)
    assert len(massive.server.asked("/stocks/v1/")) == 1, "what was learnt costs nothing that day"
    assert massive.vendor.health().disabled is None
    massive.server.answer = served
    assert isinstance(ask(massive, "AAPL"), History), "nothing is closed"


@pytest.mark.parametrize("body", [{"message": "Please upgrade your plan"}, {"error": "You are not entitled to this"}])
def test_the_words_of_a_plan_need_no_status(massive: Case, body: dict[str, str]) -> None:
    massive.server.fail(reply(body, 403))
    answer = ask(massive, "AAPL")
    assert isinstance(answer, NoData)
    assert answer.reason is NoDataReason.PLAN_LIMIT


def test_a_mirror_that_knows_bars_as_traded_alone_has_bars_all_the_same(massive: Case) -> None:
    served = massive.server.answer
    massive.server.answer = lambda call: NO_ACTIONS if call.path in ACTIONS else served(call)
    over_a_split = chained(massive)
    assert (len(over_a_split.bars.sessions), over_a_split.bars.split_adjusted) == (21, False)
    assert over_a_split.bars.close.tolist() == list(TRADED.values())
    before = chained(massive, last=date(2020, 8, 28))
    assert not before.bars.split_adjusted
    assert over_a_split.actions_refused
    assert before.actions_refused


def test_bars_as_traded_without_a_split_in_them_have_returns_without_dividends(massive: Case) -> None:
    massive.server.answer = basic(massive.server.answer)
    first = date(2020, 8, 31)
    rows = stored_rows(Chain([massive.vendor], exchange_calendar), first)
    assert len(massive.server.asked("/v2/aggs/")) == 1, "nothing looks like a split: no further question"
    assert [(row["close"], row["return_basis"]) for row in rows] == [
        (TRADED[day], None if day == first else "price_only") for day in sorted(TRADED) if day >= first
    ]


def stored_rows(chain: Chain, first: date = FIRST) -> list[dict[str, Any]]:
    request = Request("AAPL", first, LAST)
    span = ((DAYS.ordinal(first), DAYS.ordinal(LAST)),)
    rows = build_rows(
        [FetchRequest(1, "AAPL", first, LAST, span, None)],
        chain.fetch([request]),
        {},
        DAYS,
        chain=chain.name,
        now=NOW,
        newest=LAST,
    )
    return [dict(zip(STAGED, row, strict=True)) for row in rows.prices]


@pytest.mark.parametrize("second", ["yahoo", "fmp", "tiingo"])
def test_the_next_provider_lists_the_actions_of_bars_whose_plan_has_none(massive: Case, second: str) -> None:
    massive.server.answer = basic(massive.server.answer)
    with running(second) as other:
        whole = history(other, "AAPL")
        [found] = Chain([massive.vendor, other.vendor], exchange_calendar).fetch([Request("AAPL", FIRST, LAST)])
        asked = len(other.server.calls)
        [unknown] = Chain([massive.vendor, other.vendor], exchange_calendar).fetch([Request("LAZY", FIRST, LAST)])
    assert [call for call in massive.server.calls if call.query.get("adjusted") == "true"] == [], (
        "somebody lists splits"
    )
    [part] = found.parts
    assert (part.provider, part.actions_by, found.asked) == ("massive", second, ("massive", second))
    assert part.history.actions == whole.actions
    assert part.history.lists_splits
    assert found.absent is None
    assert asked > 0
    assert unknown.absent is None
    span = ((DAYS.ordinal(FIRST), DAYS.ordinal(LAST)),)
    rows = build_rows(
        [FetchRequest(1, "AAPL", FIRST, LAST, span, None)], [found], {}, DAYS, chain="massive", now=NOW, newest=LAST
    )
    closes = {row["session"]: row["close"] for row in (dict(zip(STAGED, row, strict=True)) for row in rows.prices)}
    assert closes == pytest.approx(TRADED), "converted to what was traded"
    assert {row.provider for row in rows.actions} == {second}


def test_a_next_provider_that_is_down_leaves_the_bars(massive: Case) -> None:
    massive.server.answer = basic(massive.server.answer)
    with running("fmp") as other:
        other.server.fail(Reply(b"", 503))
        [found] = Chain([massive.vendor, other.vendor], exchange_calendar).fetch([Request("AAPL", FIRST, LAST)])
    assert [(part.provider, len(part.history.bars.sessions)) for part in found.parts] == [("massive", 21)]
    assert found.absent is None


def test_a_night_of_whole_days_stands_without_actions_too() -> None:
    free = Free(world(*SYMBOLS[:10]), now=MORNING_AFTER)

    def answer(call: Call) -> Reply:
        if call.path in ACTIONS:
            return NO_ACTIONS
        given = free(call)
        if call.query.get("adjusted") != "true":
            return given
        return Reply(given.body.replace(b'"adjusted": false', b'"adjusted": true'), given.status)

    with serving(answer) as server:
        vendor = adapter(server, free)
        answers, _ = portions(vendor, SYMBOLS[:10])
        assert len(server.asked("/grouped/")) == 2
        assert len(server.asked("/ticker/")) == 0
        server.calls.clear()
        answers, expected = portions(vendor, SYMBOLS[:10])
        assert len(server.calls) <= expected
    for one in answers:
        assert isinstance(one, History)
        assert one.actions_refused
        assert one.bars.sessions.tolist() == list(NIGHT)


def test_actions_begin_where_the_plan_does() -> None:
    free = Free(world("ABA"))
    edge = date(2018, 9, 3)

    def answer(call: Call) -> Reply:
        since = call.query.get("execution_date.gte") or call.query.get("ex_dividend_date.gte")
        if since and date.fromisoformat(since) < edge:
            return reply({"status": "NOT_AUTHORIZED", "message": FRAME}, 403)
        return free(call)

    with serving(answer) as server:
        (found,) = adapter(server, free).fetch([Request("ABA", date(2018, 8, 1), date(2020, 9, 1))])
    assert isinstance(found, History)
    assert found.lists_splits
    assert not found.actions_refused


@pytest.mark.parametrize(
    ("hour", "late"),
    [("2020-09-02 20:31", True), ("2020-09-03 00:14", True), ("2020-09-03 00:16", False), ("2020-09-03 11:00", False)],
)
@pytest.mark.parametrize("plan", [ACTIONS, ()])
def test_a_bar_that_may_still_come_is_late(hour: str, late: bool, plan: tuple[str, ...]) -> None:
    """Hours in UTC: until a quarter past eight of New York's evening."""
    now = datetime.fromisoformat(hour).replace(tzinfo=UTC)

    def answer(served: Callable[[Call], Reply]) -> Callable[[Call], Reply]:
        def of(call: Call) -> Reply:
            if "/v2/aggs/ticker/AAPL" not in call.path:
                return NO_ACTIONS if call.path in plan else served(call)
            body = document("massive", "aggregates")
            rows = body["results"][:-1]
            adjusted = call.query["adjusted"] == "true"
            return reply(body | {"results": rows, "resultsCount": len(rows), "adjusted": adjusted})

        return of

    with running("massive", now=now) as case:
        case.server.answer = answer(case.server.answer)
        found = history(case, "AAPL")
        reference = case.server.asked("/v3/reference/tickers")
    expected = [(LAST, LAST, NoDataReason.LATE, datetime(2020, 9, 3, 0, 15, tzinfo=UTC))] if late else []
    assert [(one.first, one.last, one.reason, one.retry_at) for one in found.unserved] == expected
    assert (reference == []) is late, "whether it ended is asked when its bar is due"


def test_a_row_whose_instant_cannot_be_read_costs_itself(massive: Case) -> None:
    body = document("massive", "aggregates")
    body["results"][4]["t"] = 10**18
    massive.server.fail(reply(body), "/v2/aggs/ticker/AAPL")
    assert len(history(massive, "AAPL").bars.sessions) == 20


def test_an_action_without_a_day_costs_itself_and_one_of_tomorrow_is_none(massive: Case) -> None:
    whole = history(massive, "AAPL")
    served = massive.server.answer

    def answer(call: Call) -> Reply:
        if call.path not in ACTIONS:
            return served(call)
        key = "execution_date" if call.path.endswith("splits") else "ex_dividend_date"
        body = document("massive", call.path.rsplit("/", 1)[1])
        odd = [body["results"][0] | {"id": f"X{n}", key: day} for n, day in enumerate(["soon", None, "2020-09-20"])]
        return reply(body | {"results": [*body["results"], *odd]})

    massive.server.answer = answer
    assert history(massive, "AAPL").actions == whole.actions


@pytest.mark.parametrize(("day", "costs"), [("2020-08-03", False), ("2020-08-12", True)])
def test_an_action_that_can_not_be_costs_itself_before_the_range(massive: Case, day: str, costs: bool) -> None:
    served = massive.server.answer
    whole = history(massive, "AAPL")

    def answer(call: Call) -> Reply:
        if call.path != ACTIONS[1]:
            return served(call)
        body = document("massive", "dividends")
        odd = body["results"][0] | {"id": "X", "ex_dividend_date": day, "cash_amount": -1}
        return reply(body | {"results": [*body["results"], odd]})

    massive.server.answer = answer
    found = ask(massive, "AAPL")
    if costs:
        assert isinstance(found, NoData)
        assert found.fault is ProviderErrorKind.SCHEMA_CHANGED
    else:
        assert isinstance(found, History)
        assert found.actions == whole.actions
