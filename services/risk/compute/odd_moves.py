"""Returns that look like an error of the source, and stand in the figures all the same: a holding with one has a remark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.risk.compute.inputs import PUBLIC, Panel, PortfolioGroup
from services.risk.compute.reasons import PRICE_SPIKE, SPLIT_NOT_LISTED, Reasons
from shared.market.registry import LOOKBACK, SPIKE_FACTOR, SPIKE_RETURN_SHARE, SPLIT_RATIOS, SPLIT_TOLERANCE


@dataclass(frozen=True, slots=True)
class OddMove:
    """A return at column `at` of the panel, and the last columns of the windows that know it as this."""

    at: int
    known_from: int
    known_to: int
    reason: str


@dataclass(frozen=True, slots=True)
class OddMoves:
    """By row of the panel."""

    of_row: dict[int, tuple[OddMove, ...]]

    def remark(self, panel: Panel, stack: PortfolioGroup, reasons: Sequence[Reasons]) -> None:
        """Name the holdings of each unit that have one in the window of its session. What came later is not known yet."""
        if not self.of_row:
            return
        for i, (s, rows) in enumerate(zip(stack.sessions.tolist(), stack.source.tolist(), strict=True)):
            last = s + LOOKBACK - 1
            for row in rows:
                for move in self.of_row.get(row, ()):
                    # The window's first return is left out: whether it takes back another one is not in the window.
                    if s < move.at and move.known_from <= last <= move.known_to:
                        reasons[i].remark(move.reason, symbol=panel.symbols[row])


def find_odd_moves(panel: Panel) -> OddMoves:
    """Spikes, which the next session takes back, and moves of a split's size on a session whose return knows of no split.

    What a move is depends on the returns beside it alone, so that no answer depends on where a panel begins or ends.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = np.log1p(panel.returns)
        large = (np.abs(moved) >= np.log(SPIKE_FACTOR)) & (panel.kinds == PUBLIC)[:, None] & np.isfinite(moved)
    end = panel.returns.shape[1]
    found: dict[int, list[OddMove]] = {}
    for row, at in np.argwhere(large).tolist():
        own = moved[row]
        if at > 0 and large[row, at - 1] and _takes_back(own[at - 1], own[at]):
            continue
        spike = at + 1 < end and _takes_back(own[at], own[at + 1])
        if _like_a_split(float(np.exp(abs(own[at])))):
            found.setdefault(row, []).append(OddMove(at, at, at if spike else end, SPLIT_NOT_LISTED))
        if spike:
            found.setdefault(row, []).append(OddMove(at, at + 1, end, PRICE_SPIKE))
    return OddMoves({row: tuple(moves) for row, moves in found.items()})


def _takes_back(move: float, following: float) -> bool:
    return bool(abs(move + following) <= SPIKE_RETURN_SHARE * abs(move))


def _like_a_split(ratio: float) -> bool:
    return any(abs(ratio / whole - 1.0) <= SPLIT_TOLERANCE for whole in SPLIT_RATIOS)
