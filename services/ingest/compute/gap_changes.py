"""Find gaps that one write changed or ended, and what was computed without the awaited prices. Pure."""

from collections.abc import Mapping, Sequence
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
    """What of the absences has gone, or has another reason. Runs of sessions that changed alike, ascending."""
    if [gap[:4] for gap in before] == [gap[:4] for gap in after]:
        return []
    now = {at: (gap.reason, gap.terminal) for gap in after for at in range(gap.first, gap.last + 1)}
    found: list[GapChange] = []
    for gap in before:
        for at in range(gap.first, gap.last + 1):
            if now.get(at) == (gap.reason, gap.terminal):
                continue
            waited = not gap.terminal and (at not in now or now[at][1])
            if found and found[-1].last == at - 1 and found[-1].waited == waited:
                found[-1] = found[-1]._replace(last=at)
            else:
                found.append(GapChange(at, at, waited))
    return found


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
