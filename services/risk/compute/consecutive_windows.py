"""Units whose holdings all have whole windows, in runs of sessions over which the holdings stay: their windows overlap.

A run's returns are gathered once, (K, window - 1 + sessions), and the window of each session is a view of them. Matrix products are
of one unit's view, so no digit depends on how long the run is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.risk.compute.inputs import Book, Panel, PortfolioGroup
from services.risk.compute.rolling import anchors, restarts
from shared.arrays import FloatCube, FloatMatrix, IntVector
from shared.market.registry import LOOKBACK

MOST_CELLS = 160_000  # returns gathered at a time: a few copies of them stay in a core's cache


@dataclass(frozen=True, slots=True)
class ConsecutiveWindows:
    """R runs of L consecutive sessions, K holdings each."""

    units: NDArray[np.int64]
    """(R, L) positions among the units that were cut."""
    returns: FloatCube
    """(R, K, window - 1 + L)."""
    anchor: IntVector
    """(R,) column of `returns` that is the anchor of all the run's windows."""

    def less_anchor(self) -> FloatCube:
        """(R, K, window - 1 + L) the returns less the anchor's."""
        return self.returns - np.take_along_axis(self.returns, self.anchor[:, None, None], axis=2)


def windows(values: FloatCube, length: int) -> NDArray[np.float64]:
    """(R, L, K, length) view of (R, K, length - 1 + L)."""
    return np.lib.stride_tricks.sliding_window_view(values, length, axis=2).transpose(0, 2, 1, 3)


def cut(
    panel: Panel, portfolio: IntVector, sessions: IntVector, source: IntVector, window: int = LOOKBACK
) -> Iterator[ConsecutiveWindows]:
    """Runs of the units with these sessions (g,) and rows (g, K); runs of one length together, and one anchor a run."""
    order = np.lexsort((sessions, portfolio))
    session, rows, owner = sessions[order], source[order], portfolio[order]
    last = session + LOOKBACK - 1
    anchor = anchors(restarts(panel.days, window), last)
    goes_on = (owner[1:] == owner[:-1]) & (session[1:] == session[:-1] + 1) & (anchor[1:] == anchor[:-1])
    goes_on &= (rows[1:] == rows[:-1]).all(axis=1)
    begins = np.flatnonzero(np.concatenate([[True], ~goes_on]))
    lengths = np.diff(np.append(begins, len(order)))
    for length in np.unique(lengths).tolist():
        same, width = begins[lengths == length], window - 1 + length
        step = max(1, MOST_CELLS // max(1, source.shape[1] * width))
        view = np.lib.stride_tricks.sliding_window_view(panel.returns, width, axis=1)
        for low in range(0, len(same), step):
            at = same[low : low + step]
            begin = session[at] + LOOKBACK - window
            yield ConsecutiveWindows(
                order[at[:, None] + np.arange(length)], view[rows[at], begin[:, None]], anchor[at] - begin
            )


def steady_series(panel: Panel, book: Book, stack: PortfolioGroup) -> FloatMatrix:
    """(g, LOOKBACK) constant weights of D on the holdings' returns, of a stack whose holdings all have whole windows."""
    total, weight = np.empty((len(stack.units), LOOKBACK)), stack.exposure_weight
    for runs in cut(panel, book.portfolio[stack.units], stack.sessions, stack.source):
        part = np.matmul(weight[runs.units][:, :, None], windows(runs.returns, LOOKBACK))
        total[runs.units.reshape(-1)] = part.reshape(-1, LOOKBACK)
    # Without holdings there is no weight to carry an unknown NAV into the series.
    total[np.isnan(stack.nav)] = np.nan
    return total
