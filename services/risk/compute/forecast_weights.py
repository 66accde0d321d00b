"""How far HAR and EWMA have been right in a series' own window (docs/methods.md §7).

Each day of the window is forecast by what lay before it: the HAR estimated on the rows whose target was known by then, the EWMA as it
stood. Both are judged by QLIKE against the month that followed, as the scorecard judges them; nothing outside the window is looked at.
"""

from __future__ import annotations

import numpy as np

from services.risk.compute import har
from services.risk.compute.series import masked
from shared.arrays import BoolMatrix, FloatMatrix, FloatVector
from shared.market.registry import COMBINED_MIN_ROWS, EWMA_DECAY, EWMA_MIN_OBS, HAR_HORIZON


def har_weights(series: FloatMatrix, valid: BoolMatrix) -> FloatVector:
    """(n,) weight of the HAR beside the EWMA: Q_ewma / (Q_har + Q_ewma) of their mean QLIKE, a half where fewer than 63 days are judged.

    series, valid : (n, LOOKBACK), each alone.
    """
    ahead = har.targets(series, valid)
    by_har, by_ewma = har.as_known(series, valid), ewma_path(series, valid)[:, har.FIRST : har.FIRST + har.ROWS]
    loss_har, loss_ewma = _qlike(ahead, by_har), _qlike(ahead, by_ewma)
    both = np.isfinite(loss_har) & np.isfinite(loss_ewma)
    count = both.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        q_har, q_ewma = (masked(loss, both).sum(axis=1) / count for loss in (loss_har, loss_ewma))
        weight = q_ewma / (q_har + q_ewma)
    return np.where((count >= COMBINED_MIN_ROWS) & np.isfinite(weight), weight, 0.5)


def ewma_path(series: FloatMatrix, valid: BoolMatrix) -> FloatMatrix:
    """(n, LOOKBACK) daily EWMA variance as of each session of the window, NaN before 63 valid returns."""
    out = np.empty(series.shape)
    squares, total, weight = np.where(valid, series * series, 0.0), np.zeros(len(series)), np.zeros(len(series))
    for t in range(series.shape[1]):
        # Weights count valid sessions by their age in sessions, as at the window's end.
        total = EWMA_DECAY * total + squares[:, t]
        weight = EWMA_DECAY * weight + valid[:, t]
        out[:, t] = total
        with np.errstate(invalid="ignore", divide="ignore"):
            out[:, t] /= weight
    out[np.cumsum(valid, axis=1) < EWMA_MIN_OBS] = np.nan
    return out


def _qlike(realized: FloatMatrix, variance: FloatMatrix) -> FloatMatrix:
    """x - ln x - 1, x = realised over forecast variance; NaN where one is not above zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where((realized > 0.0) & (variance > 0.0), realized / variance, np.nan)
        return ratio - np.log(ratio) - 1.0


assert HAR_HORIZON <= har.FIRST + 1, "the first rows are known before any day is judged"
