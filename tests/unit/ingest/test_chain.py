"""Who is asked, and what it means when nobody has it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import numpy as np
import pytest

from services.ingest.model.market import (
    Answer,
    Bars,
    History,
    Listing,
    NoData,
    NoDataReason,
    ProviderErrorKind,
    Request,
)
from services.ingest.providers.chain import Chain
from shared.market.calendar import calendar, exchange_calendar

DAYS = calendar()
FIRST, LAST = date(2020, 1, 2), date(2020, 1, 31)


@dataclass
class Source:
    """Has bars of one range of sessions, or a reason."""

    name: str
    answer: tuple[date, date] | NoData
    asked: list[Request] = field(default_factory=list)

    def fetch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        self.asked += requests
        for request in requests:
            if isinstance(self.answer, NoData):
                yield self.answer
            else:
                low, high = self.answer
                days = DAYS.between(max(low, request.first), min(high, request.last))
                level = np.ones(len(days))
                sessions = np.array(days, dtype="datetime64[D]")
                bars = Bars(sessions, level, level, level, level, level, level, split_adjusted=True)
                yield History(request.symbol, bars, listed_from=low)


def absent(reason: NoDataReason, retry_at: datetime | None = None) -> NoData:
    return NoData("A", reason, retry_at)


def test_the_second_is_not_asked_for_what_the_first_has() -> None:
    first, second = Source("one", (FIRST, LAST)), Source("two", (FIRST, LAST))
    [found] = Chain([first, second], exchange_calendar).fetch([Request("A", FIRST, LAST)])
    assert [part.provider for part in found.parts] == ["one"]
    assert second.asked == []
    assert found.absent is None


def test_the_second_serves_what_the_first_does_not_know() -> None:
    first, second = Source("one", absent(NoDataReason.NOT_FOUND)), Source("two", (FIRST, LAST))
    [found] = Chain([first, second], exchange_calendar).fetch([Request("A", FIRST, LAST)])
    assert [part.provider for part in found.parts] == ["two"]
    assert found.asked == ("one", "two")


def test_the_second_is_asked_for_both_ends_with_the_bar_next_to_them() -> None:
    middle = (date(2020, 1, 8), date(2020, 1, 21))
    first, second = Source("one", middle), Source("two", (FIRST, LAST))
    [found] = Chain([first, second], exchange_calendar).fetch([Request("A", FIRST, LAST)])
    assert [(request.first, request.last) for request in second.asked] == [(FIRST, middle[0]), (middle[1], LAST)]
    assert [part.provider for part in found.parts] == ["one", "two", "two"]
    assert found.listed_from == FIRST


def test_the_most_telling_of_several_answers_is_told() -> None:
    chain = Chain(
        [Source("one", absent(NoDataReason.NOT_FOUND)), Source("two", absent(NoDataReason.DELISTED))], exchange_calendar
    )
    [found] = chain.fetch([Request("A", FIRST, LAST)])
    assert found.absent is NoDataReason.DELISTED
    assert found.parts == []


@pytest.mark.parametrize("other", [absent(NoDataReason.NOT_FOUND), (FIRST, date(2020, 1, 10))])
def test_absence_is_not_settled_while_somebody_has_not_answered(other: NoData | tuple[date, date]) -> None:
    retry_at = datetime(2020, 2, 1, tzinfo=UTC)
    chain = Chain([Source("one", other), Source("two", absent(NoDataReason.RATE_LIMITED, retry_at))], exchange_calendar)
    [found] = chain.fetch([Request("A", FIRST, LAST)])
    assert found.absent is NoDataReason.RATE_LIMITED
    assert found.retry_at == retry_at


def test_a_symbol_known_without_bars_in_the_range_is_explained_by_its_history() -> None:
    [found] = Chain([Source("one", (date(2020, 6, 1), date(2020, 6, 30)))], exchange_calendar).fetch(
        [Request("A", FIRST, LAST)]
    )
    assert found.absent is None
    assert found.listed_from == date(2020, 6, 1)


QUESTION = NoData("A", NoDataReason.AMBIGUOUS, candidates=(Listing("A.N"), Listing("A.TO")))
NO_BARS = (date(2021, 1, 4), date(2021, 1, 29))
OTHERS: dict[str, NoData | tuple[date, date]] = {
    "has it": (FIRST, LAST),
    "knows it without bars": NO_BARS,
    "does not know it": absent(NoDataReason.NOT_FOUND),
    "knows it is gone": absent(NoDataReason.DELISTED),
}


@pytest.mark.parametrize("other", OTHERS)
def test_nobody_is_asked_after_a_question_to_the_user(other: str) -> None:
    second = Source("two", OTHERS[other])
    [found] = Chain([Source("one", QUESTION), second], exchange_calendar).fetch([Request("A", FIRST, LAST)])
    assert (found.parts, found.candidates, second.asked) == ([], QUESTION.candidates, [])
    assert found.absent is NoDataReason.AMBIGUOUS
    assert found.asked == ("one",)


@pytest.mark.parametrize("other", ["knows it without bars", "does not know it"])
def test_a_question_after_others_who_have_nothing_is_one_all_the_same(other: str) -> None:
    chain = Chain(
        [Source("one", OTHERS[other]), Source("two", QUESTION), Source("three", (FIRST, LAST))], exchange_calendar
    )
    [found] = chain.fetch([Request("A", FIRST, LAST)])
    assert (found.parts, found.absent, found.candidates) == ([], NoDataReason.AMBIGUOUS, QUESTION.candidates)


def test_who_has_the_bars_before_anybody_asks_has_answered() -> None:
    [found] = Chain([Source("one", (FIRST, LAST)), Source("two", QUESTION)], exchange_calendar).fetch(
        [Request("A", FIRST, LAST)]
    )
    assert [part.provider for part in found.parts] == ["one"]
    assert found.absent is None


def test_the_rest_of_a_series_is_not_taken_from_whoever_comes_after_a_question() -> None:
    third = Source("three", (FIRST, LAST))
    chain = Chain(
        [Source("one", (date(2020, 1, 8), date(2020, 1, 21))), Source("two", QUESTION), third], exchange_calendar
    )
    [found] = chain.fetch([Request("A", FIRST, LAST)])
    assert [part.provider for part in found.parts] == ["one"]
    assert third.asked == []


def test_a_first_who_is_down_may_still_answer_and_nobody_after_the_question_does() -> None:
    third = Source("three", (FIRST, LAST))
    chain = Chain(
        [Source("one", absent(NoDataReason.PROVIDER_DOWN)), Source("two", QUESTION), third], exchange_calendar
    )
    [found] = chain.fetch([Request("A", FIRST, LAST)])
    assert (found.parts, found.absent, third.asked) == ([], NoDataReason.PROVIDER_DOWN, [])
    assert found.candidates == QUESTION.candidates


def test_what_the_user_has_chosen_is_no_question_any_more() -> None:
    chain = Chain([Source("one", QUESTION), Source("two", (FIRST, LAST))], exchange_calendar)
    [found] = chain.fetch([Request("A", FIRST, LAST, chosen=True)])
    assert [part.provider for part in found.parts] == ["two"]
    assert found.absent is None


class Breaks:
    """Fails as no provider should."""

    name = "breaks"

    def fetch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        raise ZeroDivisionError("by nought")


def test_a_plan_that_ends_before_the_range_is_told_and_the_next_one_serves() -> None:
    limited = NoData("A", NoDataReason.PLAN_LIMIT, fault=ProviderErrorKind.PLAN)
    [alone] = Chain([Source("one", limited), Source("two", absent(NoDataReason.NOT_FOUND))], exchange_calendar).fetch(
        [Request("A", FIRST, LAST)]
    )
    assert alone.absent is NoDataReason.PLAN_LIMIT
    [served] = Chain([Source("one", limited), Source("two", (FIRST, LAST))], exchange_calendar).fetch(
        [Request("A", FIRST, LAST)]
    )
    assert ([part.provider for part in served.parts], served.absent) == (["two"], None)


def test_a_provider_that_fails_as_nobody_foresaw_is_as_one_that_is_down() -> None:
    requests = [Request(symbol, FIRST, LAST) for symbol in "AB"]
    alone = Chain([Breaks()], exchange_calendar).fetch(requests)
    assert [found.absent for found in alone] == [NoDataReason.PROVIDER_DOWN] * 2
    served = Chain([Breaks(), Source("two", (FIRST, LAST))], exchange_calendar).fetch(requests)
    assert [[part.provider for part in found.parts] for found in served] == [["two"]] * 2
    assert isinstance(Chain([Breaks()], exchange_calendar).second_opinion(requests[0], "one"), NoData)


def test_a_chain_is_named_by_all_who_may_be_asked() -> None:
    assert Chain([Source("one", (FIRST, LAST)), Source("two", (FIRST, LAST))], exchange_calendar).name == "one,two"
    with pytest.raises(ValueError, match="at least one"):
        Chain([], exchange_calendar)


def refused(name: str) -> Source:
    later = datetime(2020, 2, 1, 1, tzinfo=UTC)
    return Source(name, NoData("A", NoDataReason.PROVIDER_DOWN, later, fault=ProviderErrorKind.AUTH))


@pytest.mark.parametrize("first", [True, False])
def test_who_has_no_valid_key_keeps_nobody_from_settling_an_absence(first: bool) -> None:
    others = [Source("one", absent(NoDataReason.NOT_FOUND))]
    chain = Chain([refused("two"), *others] if first else [*others, refused("two")], exchange_calendar)
    [found] = chain.fetch([Request("A", FIRST, LAST)])
    assert (found.absent, found.retry_at, found.broken) == (NoDataReason.NOT_FOUND, None, ("two",))


def test_who_has_no_valid_key_is_waited_for_only_if_nobody_else_answers() -> None:
    retry_at = datetime(2020, 2, 1, tzinfo=UTC)
    limited = Source("one", absent(NoDataReason.RATE_LIMITED, retry_at))
    [found] = Chain([refused("two"), limited], exchange_calendar).fetch([Request("A", FIRST, LAST)])
    assert (found.absent, found.retry_at) == (NoDataReason.RATE_LIMITED, retry_at)
    [found] = Chain([refused("two")], exchange_calendar).fetch([Request("A", FIRST, LAST)])
    assert (found.absent, found.retry_at, found.broken) == (
        NoDataReason.PROVIDER_DOWN, datetime(2020, 2, 1, 1, tzinfo=UTC), (),
    )  # fmt: skip


def test_the_ends_of_a_series_are_not_held_up_by_who_has_no_valid_key() -> None:
    chain = Chain([Source("one", (FIRST, date(2020, 1, 10))), refused("two")], exchange_calendar)
    [found] = chain.fetch([Request("A", FIRST, LAST)])
    assert (found.absent, found.broken) == (None, ("two",))


def test_a_chain_that_lives_through_new_years_asks_by_the_calendar_of_the_day() -> None:
    today = [date(2020, 6, 1)]
    first, second = Source("one", (FIRST, date(2021, 12, 31))), Source("two", (FIRST, date(2023, 6, 30)))
    chain = Chain([first, second], lambda: calendar(today[0]))
    today[0] = date(2023, 6, 30)
    [found] = chain.fetch([Request("A", date(2021, 12, 1), date(2023, 6, 30))])
    assert [part.provider for part in found.parts] == ["one", "two"]
    assert found.parts[1].history.bars.sessions[-1] == np.datetime64("2023-06-30")
