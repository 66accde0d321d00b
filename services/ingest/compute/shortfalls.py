"""What the sessions of a portfolio fall short of, from the absences of its lots."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import pairwise

import numpy as np

from services.ingest.model.stored import Absence, LotCost, Shortfall
from shared.arrays import FloatVector


def fall_short(
    absences: Sequence[Absence], lots: Sequence[LotCost], windows: Sequence[tuple[date, date]]
) -> Iterator[tuple[Sequence[date], Shortfall]]:
    """Sessions next to each other that lack the same of the same lots, with what they lack; those that lack nothing are left out.

    absences : of all lots, each with its whole span
    lots     : all of the portfolio, in one order: the sum is stored
    windows  : (session, the first session of its window), ascending in both
    """
    sessions, starts = [session for session, _ in windows], [start for _, start in windows]
    absent = [(*_reach(absence, sessions, starts), absence) for absence in absences]
    entries = np.array([bisect_left(sessions, lot.entry) for lot in lots])
    ends = np.array([_end(lot.exit, sessions) for lot in lots])
    costs = np.array([lot.cost for lot in lots])
    place = {lot.lot_id: row for row, lot in enumerate(lots)}
    edges = {edge for low, high, _ in absent for edge in (low, high)}
    for low, high in pairwise(sorted({0, len(sessions), *edges, *entries.tolist(), *ends.tolist()})):
        if lacking := [absence for first, end, absence in absent if first <= low < end]:
            held = (entries <= low) & (low < ends)
            backed = held.copy()
            backed[[place[absence.lot_id] for absence in lacking]] = False
            total = _sum(costs[held])
            yield (
                sessions[low:high],
                Shortfall(
                    coverage=min(1.0, _sum(costs[backed]) / total) if total > 0 else 0.0,
                    reasons=sorted({(absence.symbol, absence.reason) for absence in lacking}),
                    waits=any(absence.waits for absence in lacking),
                ),
            )


def _reach(absence: Absence, sessions: Sequence[date], starts: Sequence[date]) -> tuple[int, int]:
    """The range of sessions that the absence falls on, or in whose window it is waited for. Empty where its end is not behind."""
    end = bisect_right(starts if absence.waits else sessions, absence.last)
    return bisect_left(sessions, absence.first), min(end, _end(absence.exit, sessions))


def _end(last: date | None, sessions: Sequence[date]) -> int:
    return len(sessions) if last is None else bisect_right(sessions, last)


def _sum(costs: FloatVector) -> float:
    """From left to right, as no sum of NumPy's adds."""
    return float(np.cumsum(costs)[-1]) if costs.size else 0.0
