"""Units of work, the phase graph, and rectangles. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple, TypeVar
from uuid import UUID

from shared.buckets import pieces

# A handler call must stay well under the broker's poll interval: these bound it, measured by `make bench`.
MAX_UNITS = 5_000
MAX_PORTFOLIOS = 250
# A piece of shared work is worth a message of its own: so many portfolios, or this part of the units that a message may carry.
LEAST_PORTFOLIOS = 25
LEAST_SHARE = 10
# Portfolios that an event names beside its own: as many as its 64 KB take.
MAX_BESIDE = 1_000

T = TypeVar("T")
RowsPerSession = Callable[[Sequence[UUID]], int]
"""Rows that one session of these portfolios costs a phase. Never less for more portfolios, but not their sum where they share
symbols."""


class Phase(StrEnum):
    INGEST = "ingest"
    FACTORS = "factors"
    SNAPSHOTS = "snapshots"
    RISK = "risk"


UPSTREAM: dict[Phase, tuple[Phase, ...]] = {
    Phase.INGEST: (),
    Phase.FACTORS: (Phase.INGEST,),
    Phase.SNAPSHOTS: (Phase.INGEST,),
    Phase.RISK: (Phase.FACTORS, Phase.SNAPSHOTS),
}
# A snapshot is computed from the one before it, so a hole blocks what follows.
CHAINED: frozenset[Phase] = frozenset({Phase.SNAPSHOTS})


# What one computation makes at most, in rows of the phase (`rows_per_session`): it bounds a batch's memory and its time, which
# units do not, because one unit may be one lot or fifty thousand. Measured: docs/decisions/0069-room-for-batches.md, and of
# facts 0099.
MAX_ROWS: Mapping[Phase, int] = {
    Phase.INGEST: 500_000,
    Phase.FACTORS: 62_500,
    Phase.SNAPSHOTS: 500_000,
    Phase.RISK: 5_000_000,
}


class UnitKey(NamedTuple):
    """A unit within a phase."""

    portfolio_id: UUID
    session: date


class MissingUnit(NamedTuple):
    """A missing unit of one phase, with the revision it must reach."""

    portfolio_id: UUID
    session: date
    revision: int


class UnitsOf(NamedTuple):
    """Missing units of one portfolio: sessions, ascending, and beside each the revision that it must reach."""

    portfolio_id: UUID
    sessions: tuple[date, ...]
    revisions: tuple[int, ...]


@dataclass(frozen=True)
class Work:
    """A rectangle: a set of portfolios and a range of sessions, both ends included."""

    portfolios: tuple[UUID, ...]
    first: date
    last: date
    beside: tuple[UUID, ...] = ()
    """Portfolios of which the same is announced by events of their own: who would receive those, may do them at once."""

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError(f"work runs backwards: {self.first} to {self.last}")


@dataclass(frozen=True)
class Batch:
    """Missing units of one phase that fill a rectangle: every portfolio has the same consecutive sessions."""

    portfolios: tuple[UUID, ...]
    sessions: tuple[date, ...]
    revisions: tuple[tuple[int, ...], ...]
    """Revision to reach, per portfolio and session."""

    @property
    def first(self) -> date:
        return self.sessions[0]

    @property
    def last(self) -> date:
        return self.sessions[-1]

    @property
    def units(self) -> Iterator[MissingUnit]:
        for portfolio, revisions in zip(self.portfolios, self.revisions, strict=True):
            for session, revision in zip(self.sessions, revisions, strict=True):
                yield MissingUnit(portfolio, session, revision)

    def __len__(self) -> int:
        return len(self.portfolios) * len(self.sessions)

    def halves(self) -> tuple[Batch, Batch] | None:
        """Two batches of half as many portfolios, or, of a single portfolio, of half as many sessions; None for one unit."""
        if len(self.portfolios) > 1:
            middle = len(self.portfolios) // 2
            return (
                Batch(self.portfolios[:middle], self.sessions, self.revisions[:middle]),
                Batch(self.portfolios[middle:], self.sessions, self.revisions[middle:]),
            )
        if len(self.sessions) > 1:
            middle, (revisions,) = len(self.sessions) // 2, self.revisions
            return (
                Batch(self.portfolios, self.sessions[:middle], (revisions[:middle],)),
                Batch(self.portfolios, self.sessions[middle:], (revisions[middle:],)),
            )
        return None


class Size(NamedTuple):
    """What is held in a portfolio: its lots, its distinct symbols by any number that stands for each, and how many have a price."""

    lots: int
    symbols: frozenset[int]
    priced: int = 0


FIGURES_A_HOLDING = 100
# Holdings in a matrix of correlations at most: its cost grows with their square, and nobody reads five hundred lines.
MAX_MATRIX = 200
NOTHING = Size(0, frozenset())


def rows_per_session(phase: Phase, sizes: Mapping[UUID, Size]) -> RowsPerSession:
    """How a phase's cost grows: snapshots by lots; risk by pairs of holdings in the matrix, and by what it says of each symbol;
    ingest and factors by symbols, shared ones once."""
    if phase is Phase.SNAPSHOTS:
        return lambda portfolios: sum(sizes.get(p, NOTHING).lots for p in portfolios)
    if phase is Phase.RISK:
        held = {
            p: min(size.priced, MAX_MATRIX) ** 2 + FIGURES_A_HOLDING * len(size.symbols) for p, size in sizes.items()
        }
        return lambda portfolios: sum(held.get(p, 0) for p in portfolios)
    return lambda portfolios: len(frozenset[int]().union(*(sizes.get(p, NOTHING).symbols for p in portfolios)))


def portfolio_slices(
    portfolios: Sequence[T], sessions: int, *, max_units: int = MAX_UNITS, max_portfolios: int = MAX_PORTFOLIOS
) -> Iterator[Sequence[T]]:
    """Portfolios, or what stands for them, in as many pieces as it takes: over so many sessions each fits an event and a batch."""
    height = max(1, min(max_portfolios, max_units // sessions))
    for top in range(0, len(portfolios), height):
        yield portfolios[top : top + height]


def shared_slices(
    members: Sequence[T], sessions: int, buckets: int, portfolio_of: Callable[[T], UUID]
) -> Iterator[tuple[Sequence[T], tuple[UUID, ...]]]:
    """Pieces for events of a topic of so many partitions (`shared.buckets`), each within the limits of an event, and with each the
    portfolios of its neighbours: of no more units, all together, than one handler call may have.

    Only where each piece is one bucket: who reads a piece of several cannot tell which partition the others' messages go to.
    """
    least = min(LEAST_PORTFOLIOS, math.ceil(MAX_UNITS / LEAST_SHARE / sessions))
    found = pieces(members, buckets, least, portfolio_of)
    room = min(MAX_BESIDE, MAX_UNITS // sessions) if len(found) == buckets > 1 else 0
    groups: list[list[Sequence[T]]] = []
    for part in (part for piece in found for part in portfolio_slices(piece, sessions)):
        if groups and sum(map(len, groups[-1])) + len(part) <= room:
            groups[-1].append(part)
        else:
            groups.append([part])
    for group in groups:
        for part in group:
            yield part, tuple(portfolio_of(member) for other in group if other is not part for member in other)


def group_units(units: Iterable[MissingUnit]) -> list[UnitsOf]:
    """The units of each portfolio together."""
    by_portfolio: dict[UUID, list[MissingUnit]] = defaultdict(list)
    for unit in units:
        by_portfolio[unit.portfolio_id].append(unit)
    for due in by_portfolio.values():
        due.sort(key=lambda unit: unit.session)
    return [
        UnitsOf(portfolio, tuple(u.session for u in due), tuple(u.revision for u in due))
        for portfolio, due in by_portfolio.items()
    ]


def cut(
    units: Iterable[UnitsOf],
    sessions: Sequence[date],
    *,
    max_units: int = MAX_UNITS,
    max_portfolios: int = MAX_PORTFOLIOS,
    rows: RowsPerSession | None = None,
    max_rows: int = 0,
) -> list[Batch]:
    """Cut missing units into rectangles of equal consecutive ranges, oldest sessions first.

    sessions : all exchange sessions, ascending, that the units may fall on; consecutive means neighbours in this sequence.
    rows     : cost of a session; where given, a batch has at most `max_rows` of it, or is one session of one portfolio.
    Every unit falls into exactly one batch. Portfolios of a batch are sorted, so equal input gives equal batches.
    """
    batches: list[Batch] = []
    for (start, length), members in _equal_ranges(units, sessions):
        for low in range(0, length, max_units):
            width = min(max_units, length - low)
            for part in portfolio_slices(members, width, max_units=max_units, max_portfolios=max_portfolios):
                whole = Batch(
                    tuple(portfolio for portfolio, _ in part),
                    tuple(sessions[start + low : start + low + width]),
                    tuple(revisions[low : low + width] for _, revisions in part),
                )
                batches += [whole] if rows is None else _within(whole, rows, max_rows)
    return batches


def _equal_ranges(
    units: Iterable[UnitsOf], sessions: Sequence[date]
) -> list[tuple[tuple[int, int], list[tuple[UUID, tuple[int, ...]]]]]:
    """By ordinal of the first session and length, ascending: the portfolios, sorted, that have just such a range, with its revisions."""
    ordinal = {session: index for index, session in enumerate(sessions)}
    ranges: dict[tuple[int, int], list[tuple[UUID, tuple[int, ...]]]] = defaultdict(list)
    for portfolio, due, revisions in units:
        places = [ordinal[session] for session in due]
        start = 0
        if places[-1] - places[0] + 1 != len(places):
            for index in range(1, len(places)):
                if places[index] != places[index - 1] + 1:
                    ranges[places[start], index - start].append((portfolio, revisions[start:index]))
                    start = index
        ranges[places[start], len(places) - start].append((portfolio, revisions[start:]))
    for members in ranges.values():
        members.sort()
    return sorted(ranges.items())


def _within(batch: Batch, rows: RowsPerSession, max_rows: int) -> Iterator[Batch]:
    """The batch in pieces within the bound: fewer portfolios first, then, of a single one, as many sessions as fit at once.

    Portfolios are halved rather than added one by one, because what they cost together is not the sum of what each does.
    """
    cost = rows(batch.portfolios)
    if cost * len(batch.sessions) <= max_rows or len(batch) == 1:
        yield batch
    elif len(batch.portfolios) > 1:
        for half in batch.halves() or ():
            yield from _within(half, rows, max_rows)
    else:
        width, (revisions,) = max(1, max_rows // cost), batch.revisions
        for low in range(0, len(batch.sessions), width):
            reach = slice(low, low + width)
            yield Batch(batch.portfolios, batch.sessions[reach], (revisions[reach],))


def rectangles(keys: Iterable[UnitKey], sessions: Sequence[date], buckets: int = 1) -> list[Work]:
    """Completed or wanted keys as work for events: equal consecutive ranges grouped, within the limits of one event.

    buckets : partitions of the events' topic, among which the work is shared
    """
    works = []
    wanted: dict[UUID, list[date]] = defaultdict(list)
    for portfolio, session in keys:
        wanted[portfolio].append(session)
    # Of what revision they are, events do not say.
    units = (UnitsOf(portfolio, tuple(sorted(due)), ()) for portfolio, due in wanted.items())
    for (start, length), members in _equal_ranges(units, sessions):
        portfolios = [portfolio for portfolio, _ in members]
        for low in range(start, start + length, MAX_UNITS):
            width = min(MAX_UNITS, start + length - low)
            works += [
                Work(tuple(part), sessions[low], sessions[low + width - 1], beside)
                for part, beside in shared_slices(portfolios, width, buckets, lambda portfolio: portfolio)
            ]
    return works
