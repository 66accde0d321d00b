"""How far HAR and EWMA have been right in a series' own window (docs/methods.md §7).

Each day of the window is forecast by what lay before it: the HAR estimated on the rows whose target was known by then, the EWMA as it
stood. Both are judged by QLIKE against the month that followed, as the scorecard judges them; nothing outside the window is looked at.
"""

from __future__ import annotations

import numpy as np

from services.risk.compute import har
from services.risk.compute.series import mask_unused
from shared.arrays import BoolMatrix, FloatMatrix, FloatVector
from shared.market.registry import COMBINED_MIN_ROWS, EWMA_DECAY, EWMA_MIN_OBS


def har_weights(of: har.Design, path: FloatMatrix) -> FloatVector:
    """(n,) weight of the HAR beside the EWMA: Q_ewma / (Q_har + Q_ewma) of their mean QLIKE, a half where fewer than 63 days are judged.

    path : (n, LOOKBACK) of `ewma_path`
    """
    ahead = np.where(of.use, of.ahead * of.ahead, np.nan)
    loss_har, loss_ewma = _qlike(ahead, har.as_known(of)), _qlike(ahead, path[:, har.FIRST : har.FIRST + har.ROWS])
    both = np.isfinite(loss_har) & np.isfinite(loss_ewma)
    count = both.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        q_har, q_ewma = (np.where(both, loss, 0.0).sum(axis=1) / count for loss in (loss_har, loss_ewma))
        weight = q_ewma / (q_har + q_ewma)
    return np.where((count >= COMBINED_MIN_ROWS) & np.isfinite(weight), weight, 0.5)


def ewma_path(series: FloatMatrix, valid: BoolMatrix) -> FloatMatrix:
    """(n, LOOKBACK) daily EWMA variance as of each session of the window, NaN before 63 valid returns.

    Weights count valid sessions by their age in sessions. A step of the recursion is for all series at once, each alone.
    """
    squares = np.ascontiguousarray(mask_unused(series * series, valid).T)
    there = np.ascontiguousarray(valid.T).astype(np.float64)
    for of in (squares, there):
        for t in range(1, len(of)):
            of[t] += EWMA_DECAY * of[t - 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        squares /= there
    squares[np.cumsum(valid, axis=1).T < EWMA_MIN_OBS] = np.nan
    return np.ascontiguousarray(squares.T)


def _qlike(realized: FloatMatrix, variance: FloatMatrix) -> FloatMatrix:
    """x - ln x - 1, x = realised over forecast variance; NaN where one is not above zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = realized / variance
        loss: FloatMatrix = ratio - np.log(ratio) - 1.0
        return loss
