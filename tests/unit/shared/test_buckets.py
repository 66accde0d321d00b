"""Which bucket a portfolio is in, the pieces that work is cut into, and what an event names beside its own."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.buckets import bucket_of, pieces
from shared.events.coordinator import DateDue
from shared.events.envelope import WorkBody
from shared.work import (
    LEAST_PORTFOLIOS,
    MAX_BESIDE,
    MAX_PORTFOLIOS,
    MAX_UNITS,
    UnitKey,
    Work,
    portfolio_slices,
    rectangles,
    shared_slices,
)

NIGHT = [date(2024, 1, 2)]
_draw = random.Random(1)
RANDOM = [UUID(int=_draw.getrandbits(128), version=4) for _ in range(12_000)]
COUNTED = [UUID(int=number) for number in range(12_000)]


def itself(portfolio: UUID) -> UUID:
    return portfolio


def test_a_bucket_is_the_same_in_every_release() -> None:
    """Another one would send a portfolio's next message to another partition than its last, in the middle of an upgrade."""
    assert [bucket_of(UUID(int=number), 12) for number in range(8)] == [6, 6, 7, 10, 9, 11, 3, 11]
    assert {bucket_of(portfolio, 1) for portfolio in RANDOM[:50]} == {0}


@pytest.mark.parametrize("made", [RANDOM, COUNTED], ids=["random", "counted"])
@pytest.mark.parametrize("buckets", [2, 3, 4, 6, 7, 12])
def test_buckets_are_of_equal_size_however_ids_are_made(made: list[UUID], buckets: int) -> None:
    found = Counter(bucket_of(portfolio, buckets) for portfolio in made)
    assert len(found) == buckets
    assert max(found.values()) < 1.12 * len(made) / buckets
    assert min(found.values()) > 0.88 * len(made) / buckets


@given(number=st.integers(0, 400), buckets=st.integers(1, 13), least=st.integers(1, 30))
def test_every_member_is_in_one_piece_and_no_piece_is_too_small(number: int, buckets: int, least: int) -> None:
    members = RANDOM[:number]
    found = pieces(members, buckets, least, itself)
    assert sorted(member for piece in found for member in piece) == sorted(members)
    assert len(found) == 1 or min(map(len, found)) >= least
    for piece in found:
        assert list(piece) == [member for member in members if member in set(piece)]


def test_a_night_is_cut_by_bucket_and_a_small_one_is_not() -> None:
    assert [len(pieces(RANDOM[:number], 6, 25, itself)) for number in (0, 1, 30, 49)] == [1, 1, 1, 1]
    # As many pieces as divide six, once all of them are large enough.
    assert [len(pieces(RANDOM[:number], 6, 25, itself)) for number in (70, 110, 300)] == [2, 3, 6]
    # Seven have no divisor between.
    assert [len(pieces(RANDOM[:number], 7, 25, itself)) for number in (110, 400)] == [1, 7]
    night = pieces(RANDOM[:1000], 12, 25, itself)
    assert [{bucket_of(member, 12) for member in piece} for piece in night] == [{number} for number in range(12)]


def test_what_is_of_one_bucket_is_cut_no_further() -> None:
    """A completed piece is announced as it came, and the next phase shares the night as this one did."""
    for piece in pieces(RANDOM[:6000], 12, 25, itself):
        assert pieces(piece, 12, 25, itself) == [piece]


def test_one_partition_gets_what_it_always_got() -> None:
    for number, sessions in ((3, 1), (1000, 1), (40, 500)):
        assert list(shared_slices(RANDOM[:number], sessions, 1, itself)) == [
            (part, ()) for part in portfolio_slices(RANDOM[:number], sessions)
        ]


@pytest.mark.parametrize("number", [1, 30, 240, 1000, 10_000])
@pytest.mark.parametrize("sessions", [1, 20, 500])
@pytest.mark.parametrize("buckets", [2, 6, 12])
def test_events_stay_within_their_limits_and_name_all_that_is_beside_them(
    number: int, sessions: int, buckets: int
) -> None:
    found = list(shared_slices(RANDOM[:number], sessions, buckets, itself))
    assert sorted(member for part, _ in found for member in part) == sorted(RANDOM[:number])
    for part, beside in found:
        assert len(part) <= MAX_PORTFOLIOS
        assert len(part) * sessions <= MAX_UNITS
        together = len(part) + len(beside)
        assert not beside or together <= MAX_BESIDE
        assert not beside or together * sessions <= MAX_UNITS
        assert not set(part) & set(beside)
        # Whoever does all of it has done what those events say.
        assert all(set(other) <= {*part, *beside} for other, _ in found if set(other) & set(beside))


@pytest.mark.parametrize(("number", "buckets"), [(110, 6), (110, 12), (240, 12), (1000, 12)])
def test_no_two_processes_take_the_same_portfolio(number: int, buckets: int) -> None:
    """Each takes the messages of its partitions, and of those beside them the portfolios in its own buckets."""
    taken = Counter[UUID]()
    for process in (0, 1):
        held = set(range(process * buckets // 2, (process + 1) * buckets // 2))
        read = [
            each
            for each in shared_slices(RANDOM[:number], 1, buckets, itself)
            if bucket_of(each[0][0], buckets) in held
        ]
        own = {
            member for part, beside in read for member in (*part, *(b for b in beside if bucket_of(b, buckets) in held))
        }
        taken.update(own)
    assert set(taken.values()) == {1}
    assert len(taken) == number


def test_long_work_is_shared_in_smaller_pieces() -> None:
    """A tenth of what an event may carry is worth one, however few portfolios that is."""
    assert [len(part) for part, _ in shared_slices(RANDOM[:40], 1, 2, itself)] == [40]
    assert len(list(shared_slices(RANDOM[:40], 100, 2, itself))) == 2
    assert LEAST_PORTFOLIOS * 20 == MAX_UNITS / 10


def test_rectangles_of_a_night_are_shared() -> None:
    keys = {UnitKey(portfolio, NIGHT[0]) for portfolio in RANDOM[:1000]}
    works = rectangles(keys, NIGHT, 12)
    assert len(works) == 12
    assert {UnitKey(p, NIGHT[0]) for work in works for p in work.portfolios} == keys
    assert len(rectangles(keys, NIGHT)) == 4


def test_the_largest_event_fits_the_outbox() -> None:
    work = Work(tuple(RANDOM[:MAX_PORTFOLIOS]), NIGHT[0], NIGHT[0], tuple(RANDOM[:MAX_BESIDE]))
    event = DateDue(work=WorkBody.of(work))
    assert len(event.body()) < 60_000
    assert DateDue.model_validate_json(event.body()).work.rectangle() == work
    assert event.about() == [*work.portfolios, *work.beside]
    assert "beside" not in DateDue(work=WorkBody.of(Work(work.portfolios, NIGHT[0], NIGHT[0]))).body()
