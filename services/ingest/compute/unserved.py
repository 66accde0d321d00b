"""Absences that the source explains by its plan or the hour, and not by the symbol. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np

from services.ingest.compute.returns import GapRange
from services.ingest.model.market import ChainResult, NoDataReason
from shared.market.calendar import Calendar


class Explained(NamedTuple):
    """An absence with the instant at which its source may serve it; None: by the absence's own clock."""

    gap: GapRange
    retry_at: datetime | None


def split_by_reason(gap: GapRange, answer: ChainResult, calendar: Calendar) -> Iterator[Explained]:
    """The parts of an absence, ascending: those that a source did not answer about have its reason, the others their own."""
    spans = [
        (
            int(np.searchsorted(calendar.sessions, np.datetime64(one.first))),
            int(np.searchsorted(calendar.sessions, np.datetime64(one.last), side="right")) - 1,
            one,
        )
        for part in answer.parts
        for one in sorted(part.history.unserved, key=lambda one: one.first)
    ]
    if gap.reason != NoDataReason.NO_TRADE:
        spans = []
    at = gap.first
    for first, last, one in spans:
        low, high = max(at, first), min(gap.last, last)
        if low > high:
            continue
        if at < low:
            yield Explained(gap._replace(first=at, last=low - 1), None)
        yield Explained(GapRange(low, high, one.reason.value), one.retry_at)
        at = high + 1
    if at <= gap.last:
        yield Explained(gap._replace(first=at), None)


def explain_all(gaps: Sequence[GapRange], answer: ChainResult, calendar: Calendar) -> Iterator[Explained]:
    for gap in gaps:
        yield from split_by_reason(gap, answer, calendar)
