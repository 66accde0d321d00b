"""Massive's free plan (no day that has not ended, two years back), and a night asked for by whole days."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from services.ingest.compute.rows import build_rows
from services.ingest.model.market import (
    ChainResult,
    History,
    NoData,
    NoDataReason,
    ProviderErrorKind,
    ProviderSeries,
    Request,
    Unserved,
)
from services.ingest.model.write_set import FetchRequest
from services.ingest.providers.massive.plan import LocalPlan
from services.ingest.providers.massive.provider import Massive
from shared.market.calendar import calendar, exchange_calendar
from tests.contract.providers.conftest import QUICK
from tests.support.markets import World
from tests.support.vendors import Call, Reply, VendorServer, reply, serving

DAYS = calendar()
# A Wednesday, ten minutes after the close.
NOW = datetime(2020, 9, 2, 20, 10, tzinfo=UTC)
TODAY = date(2020, 9, 2)
EDGE = date(2018, 9, 3)
LAST, FIRST = TODAY, DAYS.back(TODAY, 504 + 20)
NOT_TODAY = reply(
    {"status": "NOT_AUTHORIZED", "request_id": "3b1c",
     "message": "Attempted to request today's data before end of day. Please upgrade your plan at https://massive.com/pricing"}, 403
)  # fmt: skip
TOO_OLD = reply(
    {"status": "NOT_AUTHORIZED", "request_id": "6a7e",
     "message": "Your plan doesn't include this data timeframe. Please upgrade your plan at https://massive.com/pricing"}, 403
)  # fmt: skip


@dataclass
class Free:
    """A vendor of one world under the free plan. clips: an old beginning is cut off and not refused."""

    world: World
    now: datetime = NOW
    clips: bool = False
    grouped: bool = True
    memory: LocalPlan = field(default_factory=LocalPlan)
    later: int = 0
    """Days by which the plan begins later than two years ago."""
    behind: int = 0
    """Days before today that count as today's."""
    too_old: Reply = TOO_OLD

    def __call__(self, call: Call) -> Reply:
        if match := re.search(r"/range/1/day/([\d-]+)/([\d-]+)$", call.path):
            low, high = map(date.fromisoformat, match.groups())
            today = self.now.date()
            if high >= today - timedelta(days=self.behind):
                return NOT_TODAY
            edge = today.replace(year=today.year - 2) + timedelta(days=self.later)
            if low < edge and not self.clips:
                return self.too_old
            path = call.path[: match.start()] + f"/range/1/day/{max(low, edge)}/{high}"
            return self.world.massive(Call(path, call.query, call.headers))
        if match := re.search(r"/grouped/.*/([\d-]+)$", call.path):
            if not self.grouped:
                return reply(
                    {
                        "status": "NOT_AUTHORIZED",
                        "message": "You are not entitled to this data. Please upgrade your plan",
                    },
                    403,
                )
            return NOT_TODAY if date.fromisoformat(match[1]) >= self.now.date() else self.world.massive(call)
        return self.world.massive(call)


def adapter(server: VendorServer, free: Free) -> Massive:
    return Massive(
        "key", exchange_calendar, base_url=server.url, allow_loopback=True, bounds=QUICK, now=lambda: free.now, plan=free.memory
    )  # fmt: skip


def world(*symbols: str) -> World:
    made = World()
    sessions = DAYS.between(date(2017, 1, 3), LAST)
    for symbol in symbols:
        steps = np.random.default_rng(sum(map(ord, symbol))).normal(0, 0.01, len(sessions))
        made.closes[symbol] = dict(zip(sessions, np.round(100 * np.cumprod(1 + steps), 2).tolist(), strict=True))
    return made


def asked(server: VendorServer) -> list[tuple[str, str]]:
    found = (re.search(r"/ticker/([^/]+)/range/1/day/([\d-]+)/([\d-]+)", call.path) for call in server.calls)
    return [(match[2], match[3]) for match in found if match]


def absences(answer: History, request: Request) -> dict[tuple[date, date], tuple[str, bool, datetime | None]]:
    span = ((DAYS.ordinal(request.first), DAYS.ordinal(request.last)),)
    rows = build_rows(
        [FetchRequest(1, request.symbol, request.first, request.last, span, None)],
        [ChainResult(request, [ProviderSeries("massive", answer)])],
        {}, DAYS, chain="massive", now=NOW, newest=LAST,
    )  # fmt: skip
    return {
        (DAYS.session(gap.first), DAYS.session(gap.last)): (gap.reason, gap.terminal, gap.retry_at)
        for gap in rows.gaps[1]
    }


def fetch(vendor: Massive, *symbols: str, first: date = FIRST, last: date = LAST) -> list[History | NoData]:
    return list(vendor.fetch([Request(symbol, first, last) for symbol in symbols]))


MORNING = datetime(2020, 9, 3, 10, 0, tzinfo=UTC)  # six in New York


@pytest.mark.parametrize("clips", [False, True])
def test_the_free_plan_prices_what_it_covers_and_says_why_of_the_rest(clips: bool) -> None:
    free = Free(world("ABA", "ABB"), clips=clips)
    with serving(free) as server:
        first, second = fetch(adapter(server, free), "ABA", "ABB")
        ranges = asked(server)
    for symbol, answer in (("ABA", first), ("ABB", second)):
        assert isinstance(answer, History), answer
        sessions = answer.bars.sessions.tolist()
        begins = date(2018, 9, 4)
        assert sessions == DAYS.between(begins, DAYS.previous(TODAY))
        truth = free.world.closes[symbol]
        assert answer.bars.close.tolist() == [truth[day] for day in sessions]
        found = absences(answer, Request(symbol, FIRST, LAST))
        (before, limited), (newest, late) = found.items()
        assert (before, limited[:2]) == ((FIRST, DAYS.previous(begins)), ("plan_limit", True))
        assert limited[2] == NOW + timedelta(days=30)
        assert (newest, late) == ((TODAY, TODAY), ("late", False, MORNING))
    extra = [("2018-09-03", "2020-09-01")] if not clips else []
    assert ranges[0] == (str(FIRST), str(LAST))
    assert ranges[1] == (str(FIRST), "2020-09-01"), "the same with one session less"
    assert ranges[2 : 2 + len(extra)] == extra
    assert len(ranges) == 3 + len(extra), "what the first symbol taught, the second is not refused for"
    assert free.memory.years == (None if clips else 2)


@pytest.mark.parametrize(("later", "begins", "calls"), [(3, "2018-09-10", 3), (29, "2018-10-08", 4)])
def test_a_plan_whose_days_are_counted_otherwise_is_found_once(later: int, begins: str, calls: int) -> None:
    free = Free(world("ABA", "ABB"), later=later)
    with serving(free) as server:
        vendor = adapter(server, free)
        answers = fetch(vendor, "ABA", "ABB", last=date(2020, 9, 1))
        ranges = asked(server)
    assert [low for low, _ in ranges[-2:]] == [begins, begins]
    assert len(ranges) == calls + 1, "the second is not refused"
    for answer in answers:
        assert isinstance(answer, History)
        assert answer.unserved == (
            Unserved(FIRST, date.fromisoformat(begins) - timedelta(days=1), NoDataReason.PLAN_LIMIT),
        )


def test_a_refusal_in_other_words_of_what_begins_before_the_plan_asks_once_from_its_edge() -> None:
    words = reply({"status": "NOT_AUTHORIZED", "message": "Only recent bars come with what you pay for."}, 403)
    free = Free(world("ABA"), too_old=words)
    with serving(free) as server:
        (answer,) = fetch(adapter(server, free), "ABA", last=date(2020, 9, 1))
        assert asked(server) == [(str(FIRST), "2020-09-01"), (str(EDGE), "2020-09-01")]
        assert isinstance(answer, History)
        free.later = 60
        (nothing,) = fetch(adapter(server, Free(free.world)), "ABA", last=date(2020, 9, 1))
        assert len(asked(server)) == 4
    assert isinstance(nothing, NoData)
    assert nothing.reason is NoDataReason.PLAN_LIMIT


@pytest.mark.parametrize(("behind", "served"), [(1, date(2020, 8, 31)), (5, None)])
def test_a_day_that_is_refused_as_todays_twice_leaves_one_more_and_then_is_late(
    behind: int, served: date | None
) -> None:
    free = Free(world("ABA"), behind=behind)
    with serving(free) as server:
        (answer,) = fetch(adapter(server, free), "ABA", first=date(2020, 8, 3))
        assert len(asked(server)) == 3
    if served is None:
        assert isinstance(answer, NoData)
        assert (answer.reason, answer.fault, answer.retry_at) == (NoDataReason.LATE, None, MORNING)
    else:
        assert isinstance(answer, History)
        assert answer.bars.sessions[-1].item() == served
        assert answer.unserved == (Unserved(served + timedelta(days=1), TODAY, NoDataReason.LATE, MORNING),)


def test_an_answer_that_begins_two_years_ago_to_the_day_is_clipped_too() -> None:
    free = Free(world("ABA"), clips=True, now=datetime(2020, 9, 4, 12, 0, tzinfo=UTC))
    with serving(free) as server:
        [answer] = fetch(adapter(server, free), "ABA")
    assert isinstance(answer, History)
    begins = date(2018, 9, 4)
    assert answer.bars.sessions.tolist()[0] == begins
    found = absences(answer, Request("ABA", FIRST, LAST))
    assert found[FIRST, DAYS.previous(begins)][:2] == ("plan_limit", True)


def test_what_was_learnt_is_kept_for_another_process() -> None:
    free = Free(world("ABA"))
    free.memory.learn_plan(2)
    with serving(free) as server:
        (answer,) = fetch(adapter(server, free), "ABA", last=date(2020, 9, 1))
        assert asked(server) == [(str(EDGE), "2020-09-01")]
    assert isinstance(answer, History)
    assert answer.unserved == (Unserved(FIRST, EDGE - timedelta(days=1), NoDataReason.PLAN_LIMIT),)


def test_the_newest_session_alone_waits_for_the_morning_and_then_is_served() -> None:
    free = Free(world("ABA"))
    with serving(free) as server:
        vendor = adapter(server, free)
        (waits,) = fetch(vendor, "ABA", first=TODAY)
        assert isinstance(waits, NoData)
        assert (waits.reason, waits.fault, waits.retry_at) == (NoDataReason.LATE, None, MORNING)
        calls = len(server.calls)
        (night,) = fetch(vendor, "ABA", first=DAYS.previous(TODAY))
        assert isinstance(night, History)
        assert night.bars.sessions.tolist() == [DAYS.previous(TODAY)]
        assert asked(server)[1:] == [("2020-09-01", "2020-09-01")], "today is not asked for twice"
        assert len(server.calls) - calls == 3, "no question why a series ends whose end is not served yet"
        free.now = MORNING
        (there,) = fetch(vendor, "ABA", first=DAYS.previous(TODAY))
        assert isinstance(there, History)
        assert there.bars.sessions.tolist() == [DAYS.previous(TODAY), TODAY]
        assert there.unserved == ()


def test_a_range_before_the_plan_is_a_plan_limit_as_a_whole() -> None:
    free = Free(world("ABA"))
    with serving(free) as server:
        (answer,) = fetch(adapter(server, free), "ABA", first=date(2017, 1, 3), last=date(2017, 6, 1))
    assert isinstance(answer, NoData)
    assert (answer.reason, answer.fault) == (NoDataReason.PLAN_LIMIT, ProviderErrorKind.PLAN)


def test_a_listing_of_two_years_ago_is_no_plan_where_older_bars_were_served() -> None:
    made = world("OLD", "NEW")
    made.closes["NEW"] = {day: close for day, close in made.closes["NEW"].items() if day >= date(2018, 9, 4)}
    with serving(made.massive) as server:
        free = Free(made)
        old, new = fetch(adapter(server, free), "OLD", "NEW")
    assert isinstance(old, History)
    assert isinstance(new, History)
    assert (old.unserved, new.unserved) == ((), ())
    assert set(absences(new, Request("NEW", FIRST, LAST)).values()) == {("no_trade", True, None)}


SYMBOLS = [f"S{number:03d}" for number in range(120)]
NIGHT = (date(2020, 8, 31), date(2020, 9, 1))
MORNING_AFTER = datetime(2020, 9, 2, 12, 0, tzinfo=UTC)


def portions(vendor: Massive, symbols: list[str], size: int = 50) -> tuple[list[History | NoData], int]:
    """As they are asked for under a quota; with what they were expected to cost."""
    answers, expected = [], 0
    for start in range(0, len(symbols), size):
        requests = [Request(symbol, *NIGHT) for symbol in symbols[start : start + size]]
        expected += vendor.calls(requests)
        answers += list(vendor.fetch(requests))
    return answers, expected


def test_a_night_costs_one_call_a_day_and_what_it_serves_is_the_same() -> None:
    made = world(*SYMBOLS)
    made.splits["S003"] = {NIGHT[1]: 2.0}
    made.dividends["S004"] = {NIGHT[1]: 0.25}
    free = Free(made, now=MORNING_AFTER)
    with serving(free) as server:
        by_days, expected = portions(adapter(server, free), SYMBOLS)
        cost = len(server.calls)
        assert len(server.asked("/grouped/")) == 2
        assert len(server.asked("/ticker/")) == 0
    with serving(free) as server:
        one_by_one, _ = portions(adapter(server, free), SYMBOLS, 1)
        assert len(server.asked("/grouped/")) == 0
    assert cost == 4, "two days, splits and dividends of everybody"
    assert cost <= expected <= 7
    for mine, theirs in zip(by_days, one_by_one, strict=True):
        assert isinstance(mine, History)
        assert isinstance(theirs, History)
        assert mine.actions == theirs.actions
        assert mine.bars.sessions.tolist() == theirs.bars.sessions.tolist() == list(NIGHT)
        assert mine.bars.close.tolist() == theirs.bars.close.tolist()
        assert not mine.bars.split_adjusted


def test_a_row_of_everybodys_actions_that_names_nobody_costs_nobody() -> None:
    made = world(*SYMBOLS[:60])
    made.dividends["S004"] = {NIGHT[1]: 0.25}
    free = Free(made, now=MORNING_AFTER)
    nameless = {
        "ex_dividend_date": str(NIGHT[1]),
        "execution_date": str(NIGHT[1]),
        "cash_amount": 1,
        "split_to": 2,
        "split_from": 1,
    }

    def answer(call: Call) -> Reply:
        given = free(call)
        if not call.path.endswith(("/splits", "/dividends")):
            return given
        body = json.loads(given.body)
        return reply(body | {"results": [nameless | {"ticker": None}, *body.get("results", []), nameless]})

    with serving(answer) as server:
        answers, _ = portions(adapter(server, free), SYMBOLS[:60], 60)
        assert len(server.asked("/ticker/")) == 0
    assert all(isinstance(of, History) for of in answers)
    assert [len(of.actions) for of in answers if isinstance(of, History)] == [int(number == 4) for number in range(60)]


def test_a_night_of_today_is_late_for_all_and_costs_the_day_before() -> None:
    free = Free(world(*SYMBOLS[:10]))
    with serving(free) as server:
        requests = [Request(symbol, DAYS.previous(TODAY), TODAY) for symbol in SYMBOLS[:10]]
        answers = list(adapter(server, free).fetch(requests))
        assert len(server.asked("/grouped/")) == 2
        assert len(server.asked("/v3/reference")) == 0
    for request, answer in zip(requests, answers, strict=True):
        assert isinstance(answer, History)
        assert absences(answer, request) == {(TODAY, TODAY): ("late", False, MORNING)}


def dropping(
    free: Free, change: Callable[[list[dict[str, object]]], list[dict[str, object]]]
) -> Callable[[Call], Reply]:
    def answer(call: Call) -> Reply:
        if "/grouped/" not in call.path:
            return free(call)
        body = free.world._whole_day(date.fromisoformat(call.path.rsplit("/", 1)[1]))
        body["results"] = change(body["results"])  # type: ignore[arg-type]
        return reply(body)

    return answer


def test_what_whole_days_leave_out_is_asked_for_by_itself() -> None:
    """A market over the counter, and a row that cannot be read."""
    free = Free(world(*SYMBOLS[:10]), now=MORNING_AFTER)

    def change(rows: list[dict[str, object]]) -> list[dict[str, object]]:
        return [row | ({"c": None} if row["T"] == "S001" else {}) for row in rows if row["T"] != "S000"]

    with serving(dropping(free, change)) as server:
        answers, _ = portions(adapter(server, free), SYMBOLS[:10])
        assert sorted({call.path.split("/")[4] for call in server.asked("/ticker/")}) == ["S000", "S001"]
    assert all(isinstance(answer, History) and len(answer.bars.sessions) == 2 for answer in answers)


@pytest.mark.parametrize("grouped", [False, None])
def test_without_whole_days_each_symbol_is_asked_for(grouped: bool | None) -> None:
    free = Free(world(*SYMBOLS[:10]), now=MORNING_AFTER, grouped=False)
    answer = free if grouped is not None else lambda call: Reply(status=404) if "/grouped/" in call.path else free(call)
    with serving(answer) as server:
        vendor = adapter(server, free)
        for _ in range(2):
            answers, _ = portions(vendor, SYMBOLS[:10])
            assert all(isinstance(answer, History) and len(answer.bars.sessions) == 2 for answer in answers)
        assert len(server.asked("/grouped/")) == 1, "once a day"


def test_whole_days_that_are_adjusted_are_nobodys() -> None:
    free = Free(world(*SYMBOLS[:10]), now=MORNING_AFTER)

    def answer(call: Call) -> Reply:
        if "/grouped/" not in call.path:
            return free(call)
        return reply(free.world._whole_day(NIGHT[0]) | {"adjusted": True})

    with serving(answer) as server:
        answers, _ = portions(adapter(server, free), SYMBOLS[:10])
        assert server.asked("/grouped/")[0].query["adjusted"] == "false"
    assert {one.fault for one in answers if isinstance(one, NoData)} == {ProviderErrorKind.SCHEMA_CHANGED}
    assert len(answers) == 10


def test_few_symbols_and_long_ranges_are_asked_for_by_themselves() -> None:
    free = Free(world(*SYMBOLS[:10]), now=MORNING_AFTER)
    with serving(free) as server:
        vendor = adapter(server, free)
        fetch(vendor, "S000", "S001", first=NIGHT[0], last=NIGHT[1])
        fetch(vendor, *SYMBOLS[:10], first=date(2020, 7, 1), last=NIGHT[1])
        assert server.asked("/grouped/") == []
