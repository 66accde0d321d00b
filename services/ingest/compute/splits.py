"""Whether a source that lists a split has adjusted its closes for it. Pure.

A vendor does the two at two times, in either order. Closes that are said to be adjusted for splits run on over a split's day; where
they fall by its ratio instead, the source has listed the split and not yet adjusted, and converting them would multiply the
history and lose the difference on the day. No stored price can tell the two apart: "stored right, vendor not adjusted" and
"stored wrong, vendor adjusted" are off by the same factor. The closes on both sides of the day can.
"""

from collections.abc import Iterator
from datetime import date
from math import log, sqrt
from typing import NamedTuple

import numpy as np

from services.ingest.model.market import History
from shared.market.calendar import Calendar

# A fall of a stock dividend's size is a bad day, too: it counts only beyond so many standard deviations of the source's own returns.
SIGMAS = 3.0
# Of fewer returns nothing is said of a day's usual size.
ENOUGH = 20


class Crossing(NamedTuple):
    """A split between two bars. move: log return of the delivered closes over it; usual: what a day like any other moves at most."""

    session: date
    value: float
    move: float
    usual: float

    @property
    def distance_if_adjusted(self) -> float:
        """How far the move is from what adjusted closes do, and ..."""
        return abs(self.move)

    @property
    def distance_if_unadjusted(self) -> float:
        """... from what closes do that are not adjusted."""
        return abs(self.move + log(self.value))

    @property
    def is_unadjusted(self) -> bool:
        """The closes fall by the ratio: not adjusted yet."""
        return self.distance_if_unadjusted < self.distance_if_adjusted and self.distance_if_adjusted > self.usual

    @property
    def confirmed_adjusted(self) -> bool:
        """The closes run on, and could not have if they were not adjusted."""
        return self.distance_if_adjusted <= self.distance_if_unadjusted and self.distance_if_unadjusted > self.usual


def crossings(history: History, calendar: Calendar) -> Iterator[Crossing]:
    """Splits with a bar before and one from their day on, of a source whose closes are adjusted for those it lists."""
    bars = history.bars
    if not (bars.split_adjusted and history.lists_splits) or len(bars.sessions) < 2:
        return
    closes = np.where(np.isfinite(bars.close), bars.close, bars.adj_close)
    at: dict[int, list[tuple[date, float]]] = {}
    for action in history.actions:
        if action.type == "split" and action.value > 0 and action.ex_date <= calendar.horizon:
            session = calendar.on_or_after(action.ex_date)
            place = int(np.searchsorted(bars.sessions, np.datetime64(session, "D")))
            if 0 < place < len(closes):
                at.setdefault(place, []).append((session, action.value))
    if not at:
        return
    ordinals = np.searchsorted(calendar.sessions, bars.sessions)
    with np.errstate(divide="ignore", invalid="ignore"):
        moves = np.diff(np.log(closes))
    ordinary = moves[np.isfinite(moves) & (np.diff(ordinals) == 1)]
    # The median, so that a split's own fall does not make itself look usual.
    sigma = float(np.median(np.abs(ordinary))) * 1.4826 if len(ordinary) >= ENOUGH else 0.0
    for place, splits in sorted(at.items()):
        move = float(moves[place - 1])
        usual = SIGMAS * sigma * sqrt(int(ordinals[place] - ordinals[place - 1]))
        value = float(np.prod([value for _, value in sorted(splits)]))
        if np.isfinite(move) and value != 1.0:
            yield Crossing(max(session for session, _ in splits), value, move, usual)


def unadjusted_splits(history: History, calendar: Calendar) -> list[Crossing]:
    """Splits that are listed and that the closes are not adjusted for."""
    return [crossing for crossing in crossings(history, calendar) if crossing.is_unadjusted]


def confirmed_adjusted_splits(history: History, calendar: Calendar) -> set[date]:
    """Ex-sessions of splits that the closes are adjusted for, by their own evidence."""
    return {crossing.session for crossing in crossings(history, calendar) if crossing.confirmed_adjusted}
