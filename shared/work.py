"""Units of work, the phase graph, and rectangles. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

# A handler call must stay well under the broker's poll interval: these bound it, measured by `make bench`.
MAX_UNITS = 5_000
MAX_PORTFOLIOS = 250


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
DOWNSTREAM: dict[Phase, tuple[Phase, ...]] = {phase: tuple(p for p in Phase if phase in UPSTREAM[p]) for phase in Phase}
# A snapshot is computed from the one before it, so a hole blocks what follows.
CHAINED: frozenset[Phase] = frozenset({Phase.SNAPSHOTS})


class Unit(NamedTuple):
    """One row of the ledger."""

    portfolio_id: UUID
    session: date
    phase: Phase


class Key(NamedTuple):
    """A unit within a phase."""

    portfolio_id: UUID
    session: date


class Due(NamedTuple):
    """A missing unit of one phase, with the revision it must reach."""

    portfolio_id: UUID
    session: date
    revision: int


@dataclass(frozen=True)
class Work:
    """A rectangle: a set of portfolios and a range of sessions, both ends included."""

    portfolios: tuple[UUID, ...]
    first: date
    last: date

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
    def units(self) -> Iterator[Due]:
        for portfolio, revisions in zip(self.portfolios, self.revisions, strict=True):
            for session, revision in zip(self.sessions, revisions, strict=True):
                yield Due(portfolio, session, revision)

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


def cut(
    units: Iterable[Due],
    sessions: Sequence[date],
    *,
    max_units: int = MAX_UNITS,
    max_portfolios: int = MAX_PORTFOLIOS,
) -> list[Batch]:
    """Cut missing units into rectangles of equal consecutive ranges, oldest sessions first.

    sessions : all exchange sessions, ascending, that the units may fall on; consecutive means neighbours in this sequence.
    Every unit falls into exactly one batch. Portfolios of a batch are sorted, so equal input gives equal batches.
    """
    ordinal = {session: index for index, session in enumerate(sessions)}
    by_portfolio: dict[UUID, list[Due]] = defaultdict(list)
    for unit in units:
        by_portfolio[unit.portfolio_id].append(unit)
    ranges: dict[tuple[int, int], list[tuple[UUID, tuple[int, ...]]]] = defaultdict(list)
    for portfolio, due in by_portfolio.items():
        due.sort(key=lambda unit: unit.session)
        run: list[Due] = []
        for unit in due:
            if run and ordinal[unit.session] != ordinal[run[-1].session] + 1:
                ranges[ordinal[run[0].session], len(run)].append((portfolio, tuple(u.revision for u in run)))
                run = []
            run.append(unit)
        ranges[ordinal[run[0].session], len(run)].append((portfolio, tuple(u.revision for u in run)))
    batches = []
    for (start, length), members in sorted(ranges.items()):
        members.sort()
        for low in range(0, length, max_units):
            width = min(max_units, length - low)
            height = max(1, min(max_portfolios, max_units // width))
            for top in range(0, len(members), height):
                rows = members[top : top + height]
                batches.append(
                    Batch(
                        tuple(portfolio for portfolio, _ in rows),
                        tuple(sessions[start + low : start + low + width]),
                        tuple(revisions[low : low + width] for _, revisions in rows),
                    )
                )
    return batches


def rectangles(keys: Iterable[Key], sessions: Sequence[date]) -> list[Work]:
    """Completed or wanted keys as work for events: equal consecutive ranges grouped, within the limits of one event."""
    batches = cut((Due(key.portfolio_id, key.session, 0) for key in keys), sessions)
    return [Work(batch.portfolios, batch.first, batch.last) for batch in batches]
