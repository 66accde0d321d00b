"""Which curves are news, who looked at them, and when a year is asked for again."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from services.ingest.compute.yields import RETRY, affected_days, ask_again_at, news
from shared.market.calendar import exchange_calendar
from shared.market.curve import Curve

DAY = date(2026, 1, 5)
ORDER = ("treasury", "fred")


def curve(day: date = DAY, **yields: float) -> Curve:
    points = {0.25: 0.0366, 20.0: 0.0478, 30.0: 0.0485} | {float(k[1:]): v for k, v in yields.items()}
    return Curve(day, tuple(sorted(points)), tuple(points[tenor] for tenor in sorted(points)))


def test_a_curve_that_is_not_stored_is_news() -> None:
    assert news([curve()], "treasury", {}, ORDER) == [curve()]


def test_the_same_yields_with_further_tenors_are_no_news() -> None:
    stored = {DAY: (curve(), "fred")}
    assert news([curve(t10=0.0416)], "treasury", stored, ORDER) == []
    assert news([curve(t20=0.0478 + 1e-9)], "treasury", stored, ORDER) == []


def test_a_correction_is_news_from_its_source_and_from_one_before_it_and_from_none_behind() -> None:
    other = curve(t20=0.0479)
    assert news([other], "treasury", {DAY: (curve(), "treasury")}, ORDER) == [other]
    assert news([other], "treasury", {DAY: (curve(), "fred")}, ORDER) == [other]
    assert news([other], "fred", {DAY: (curve(), "treasury")}, ORDER) == []


def test_sessions_up_to_the_next_curve_look_at_one() -> None:
    days = [date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 7), date(2026, 1, 9)]
    assert affected_days([days[0]], days) == [(date(2026, 1, 6), date(2026, 1, 6))]
    assert affected_days([days[2]], days) == [(date(2026, 1, 8), date(2026, 1, 9))]
    assert affected_days(days[:2], days) == [(date(2026, 1, 6), date(2026, 1, 7))]
    assert affected_days([days[0], days[2]], days) == [
        (date(2026, 1, 6), date(2026, 1, 6)),
        (date(2026, 1, 8), date(2026, 1, 9)),
    ]


def test_the_newest_one_is_looked_at_for_a_month() -> None:
    assert affected_days([DAY], [DAY]) == [(date(2026, 1, 6), date(2026, 2, 5))]
    assert affected_days([], [DAY]) == []


def at(day: date, hour: int = 22) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("newest", "due", "expected"),
    [
        # The day's own is there: again when the next session's is published.
        (date(2026, 1, 6), date(2026, 1, 6), datetime(2026, 1, 7, 23, tzinfo=UTC)),
        # Before a weekend: on Monday.
        (date(2026, 1, 9), date(2026, 1, 9), datetime(2026, 1, 12, 23, tzinfo=UTC)),
        # Columbus Day: the exchange is open, no curve is published, none is waited for.
        (date(2026, 10, 9), date(2026, 10, 12), datetime(2026, 10, 13, 22, tzinfo=UTC)),
    ],
)
def test_a_curve_that_is_there_is_not_asked_for_before_the_next_one_is_out(
    newest: date, due: date, expected: datetime
) -> None:
    assert ask_again_at(2026, newest, exchange_calendar(), due, at(due)) == expected


def test_one_that_is_not_out_yet_is_asked_for_in_half_an_hour() -> None:
    due = date(2026, 1, 6)
    assert ask_again_at(2026, date(2026, 1, 5), exchange_calendar(), due, at(due)) == at(due) + RETRY


def test_after_a_failure_in_half_an_hour_or_when_the_source_says() -> None:
    now = at(DAY)
    assert ask_again_at(2026, None, exchange_calendar(), DAY, now) == now + RETRY
    assert ask_again_at(2026, None, exchange_calendar(), DAY, now, now + timedelta(hours=3)) == now + timedelta(hours=3)
    assert ask_again_at(2026, None, exchange_calendar(), DAY, now, now + timedelta(seconds=1)) == now + RETRY


def test_a_past_year_is_settled_once_its_last_curve_is_surely_out() -> None:
    newest, due = date(2025, 12, 31), date(2026, 1, 2)
    early = ask_again_at(2025, newest, exchange_calendar(), due, at(due))
    assert early is not None
    assert ask_again_at(2025, newest, exchange_calendar(), due, at(date(2026, 1, 9))) is None
