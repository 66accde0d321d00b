"""Find gaps that one write changed or ended, and what was computed without the awaited prices. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from services.ingest.model.stored import Affected, PriceGap
from shared.market.calendar import Calendar
from shared.market.registry import LOOKBACK
from shared.work import Phase


class GapChange(NamedTuple):
    """Consecutive sessions [first, last], as ordinals, that had no price and are known otherwise now.

    waited : a price was waited for, and either came or is not waited for any more
    """

    first: int
    last: int
    waited: bool


def find_gap_changes(before: Sequence[PriceGap], after: Sequence[PriceGap]) -> list[GapChange]:
    """What of the absences has gone, or has another reason. Runs of sessions that changed alike, ascending.

    before, after : each disjoint and ascending. Told by their ends, never by their sessions: it is done for thousands of symbols
        that nobody knows, behind the commit-order lock.
    """
    found: list[GapChange] = []
    at = 0
    for gap in before:
        while at < len(after) and after[at].last < gap.first:
            at += 1
        for first, last, now in _pieces(gap, after, at):
            if now is not None and (now.reason, now.terminal) == (gap.reason, gap.terminal):
                continue
            waited = not gap.terminal and (now is None or now.terminal)
            if found and found[-1].last == first - 1 and found[-1].waited == waited:
                found[-1] = found[-1]._replace(last=last)
            else:
                found.append(GapChange(first, last, waited))
    return found


def _pieces(gap: PriceGap, after: Sequence[PriceGap], at: int) -> Iterator[tuple[int, int, PriceGap | None]]:
    """The gap cut where those from `at` on begin and end: (first, last, the one that is there now, if any)."""
    first = gap.first
    while at < len(after) and after[at].first <= gap.last:
        now = after[at]
        if first < now.first:
            yield first, now.first - 1, None
        yield max(first, now.first), min(gap.last, now.last), now
        first = now.last + 1
        at += 1
    if first <= gap.last:
        yield first, gap.last, None


def settled_by(changes: Mapping[str, Sequence[GapChange]], calendar: Calendar) -> list[Affected]:
    """What was computed while a price was waited for that is not waited for any more: all whose window holds its session.

    Also where none came. What was said is provisional until it is computed anew, and nothing else demands that.
    """
    affected = []
    for symbol, spans in changes.items():
        waited = [span for span in spans if span.waited]
        if waited:
            first, last = calendar.session(waited[0].first), calendar.session(waited[-1].last)
            reach = calendar.forward(last, LOOKBACK)
            affected += [Affected(symbol, phase, first, reach) for phase in (Phase.FACTORS, Phase.SNAPSHOTS)]
    return affected
