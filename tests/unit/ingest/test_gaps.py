"""What is missing, and what is left of it after asking again."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.compute.returns import missing_spans, replace_gaps
from services.ingest.model.stored import PriceGap

NOW = datetime(2020, 1, 2, tzinfo=UTC)


def spans(
    first: int,
    last: int,
    have: list[int],
    *,
    listed_from: int | None = None,
    delisted_from: int | None = None,
    absent: str | None = None,
) -> list[tuple[int, int, str]]:
    found = missing_spans(
        first, last, np.array(have, np.int64), listed_from=listed_from, delisted_from=delisted_from, absent=absent
    )
    return [(span.first, span.last, span.reason) for span in found]


def gap(first: int, last: int, reason: str = "no_trade", *, terminal: bool = True, at: datetime = NOW) -> PriceGap:
    return PriceGap(first, last, reason, terminal, "file", at, None if terminal else at + timedelta(minutes=5))


def test_nothing_is_missing_where_every_session_has_a_bar() -> None:
    assert spans(3, 5, [3, 4, 5]) == []


def test_a_series_that_begins_late_and_ends_early() -> None:
    assert spans(1, 9, [4, 5, 7], listed_from=4) == [(1, 3, "not_yet_listed"), (6, 6, "no_trade"), (8, 9, "no_trade")]


def test_only_an_announcement_makes_a_symbol_delisted_and_only_from_its_date_on() -> None:
    assert spans(1, 9, [1, 2, 3], listed_from=1, delisted_from=6) == [(4, 5, "no_trade"), (6, 9, "delisted")]


def test_a_symbol_nobody_knows_is_one_absence() -> None:
    assert spans(1, 500, [], absent="not_found") == [(1, 500, "not_found")]


def test_a_request_wholly_before_the_listing() -> None:
    assert spans(1, 3, [], listed_from=90) == [(1, 3, "not_yet_listed")]


@given(st.sets(st.integers(0, 30)), st.integers(0, 30), st.integers(0, 31))
def test_bars_and_spans_partition_the_range(have: set[int], listed_from: int, delisted_from: int) -> None:
    covered = [
        session
        for first, last, _ in spans(0, 30, sorted(have), listed_from=listed_from, delisted_from=delisted_from)
        for session in range(first, last + 1)
    ]
    assert sorted(covered + list(have)) == list(range(31))


def test_a_dead_symbol_stays_one_row_however_many_nights_pass() -> None:
    gaps = [gap(1, 10)]
    for night in range(11, 20):
        gaps = replace_gaps(gaps, [(night, night)], [gap(night, night, at=NOW + timedelta(days=night))])
    assert [(g.first, g.last) for g in gaps] == [(1, 19)]
    assert gaps[0].checked_at == NOW + timedelta(days=19)


def test_a_price_that_arrives_splits_the_absence_it_falls_into() -> None:
    left = replace_gaps([gap(1, 10)], [(4, 6)], [gap(4, 4), gap(6, 6)])
    assert [(g.first, g.last) for g in left] == [(1, 4), (6, 10)]


def test_neighbours_of_different_reasons_are_not_joined() -> None:
    left = replace_gaps([gap(1, 3, "not_yet_listed")], [(4, 5)], [gap(4, 5)])
    assert [(g.first, g.last, g.reason) for g in left] == [(1, 3, "not_yet_listed"), (4, 5, "no_trade")]


def test_waiting_began_when_the_provider_first_failed() -> None:
    later = NOW + timedelta(hours=1)
    failed_again = gap(1, 5, "rate_limited", terminal=False, at=later)
    [found] = replace_gaps([gap(1, 5, "rate_limited", terminal=False)], [(1, 5)], [failed_again])
    assert found.checked_at == NOW
    assert found.retry_at == failed_again.retry_at


@given(
    st.sets(st.integers(0, 40)),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=4),
    st.sets(st.integers(0, 40)),
)
def test_gaps_are_those_found_inside_what_was_checked_and_the_old_ones_outside(
    old: set[int], ranges: list[tuple[int, int]], new: set[int]
) -> None:
    checked = [(min(pair), max(pair)) for pair in ranges]
    inside = {session for low, high in checked for session in range(low, high + 1)}
    result = replace_gaps(
        [gap(session, session) for session in sorted(old)], checked, [gap(s, s) for s in sorted(new & inside)]
    )
    found = [session for g in result for session in range(g.first, g.last + 1)]
    assert found == sorted((old - inside) | (new & inside))
    assert all(a.last + 1 < b.first for a, b in pairwise(result))
