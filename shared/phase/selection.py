"""Which of the ready units are worked on. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shared.work import CHAINED, MissingUnit, Phase


def select(phase: Phase, units: Sequence[MissingUnit], chosen: Callable[[MissingUnit], bool]) -> list[MissingUnit]:
    """The chosen ones among ready units; in a chained phase only up to the first that is not.

    What follows a session that stays missing would be computed from a predecessor of an older revision, and would then
    count as complete.
    """
    if phase not in CHAINED:
        return [unit for unit in units if chosen(unit)]
    selected, broken = [], set()
    for unit in sorted(units):
        if unit.portfolio_id in broken:
            continue
        if chosen(unit):
            selected.append(unit)
        else:
            broken.add(unit.portfolio_id)
    return selected
