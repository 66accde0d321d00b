"""HAR-RV in volatility form (Corsi 2009; docs/methods.md §7): the regression, on single series and on every window of a series.

y_t = √mean(r²_{t+1..t+21}) on |r_t| and the RMS of 5 and of 22 sessions, OLS with intercept on rows with t + 21 <= D within
LOOKBACK returns; ŷ is clipped to the range of y. Figures are daily, NaN where there are fewer than 252 returns, where sessions without a
market return leave fewer than 126 rows, or where the regressors are collinear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.risk.compute.rolling import restarts, spans, trailing_rms
from services.risk.compute.series import mask_unused
from shared.arrays import BoolMatrix, DateVector, FloatCube, FloatMatrix, IntVector
from shared.market.registry import HAR_HORIZON, HAR_MIN_OBS, HAR_MIN_ROWS, HAR_MONTH, HAR_SINGULAR, HAR_WEEK, LOOKBACK

ROWS = LOOKBACK - HAR_MONTH - HAR_HORIZON + 1
"""Rows of the regression in a window without holes."""
FIRST = HAR_MONTH - 1
"""The first column that has its regressors."""


@dataclass(frozen=True, slots=True)
class Har:
    """Of series or windows, whatever their shape."""

    value: FloatMatrix
    """ŷ."""
    s: FloatMatrix
    """√(Σu²/(n-4))."""
    rows: IntVector


@dataclass(frozen=True, slots=True)
class Design:
    """What the regressions of n series read, each of them alone."""

    daily: FloatMatrix
    """(n, LOOKBACK - FIRST) |r_t| from the first t that has a month behind it; likewise the RMS of 5 and of 22."""
    week: FloatMatrix
    month: FloatMatrix
    ahead: FloatMatrix
    """(n, ROWS) RMS of the 21 to come."""
    use: BoolMatrix
    """(n, ROWS) rows that touch valid sessions only."""
    current: NDArray[np.bool_]
    """(n,) whether today's regressors do, on enough valid sessions."""


def design(series: FloatMatrix, valid: BoolMatrix) -> Design:
    """series, valid : (n, LOOKBACK)."""
    use, current = _complete(valid)
    return Design(*_regressors(mask_unused(series, valid)), use, current & (valid.sum(axis=1) >= HAR_MIN_OBS))


def on_series(of: Design) -> Har:
    """Of each series of the design; a row that touches an invalid session is left out."""
    use, ahead = of.use, of.ahead
    rows = use.sum(axis=1)
    table = np.stack([of.daily[:, :ROWS], of.week[:, :ROWS], of.month[:, :ROWS], ahead], axis=1)
    mean, product = _centre(table, use, rows)
    low, high = (ahead, ahead) if use.all() else (np.where(use, ahead, np.inf), np.where(use, ahead, -np.inf))
    today = np.stack([of.daily[:, -1], of.week[:, -1], of.month[:, -1]])
    upper = [[product[:, i, j] for j in range(4)] for i in range(4)]
    found = _solve(upper, mean.T, today, low.min(axis=1), high.max(axis=1), rows)
    good = (rows >= HAR_MIN_ROWS) & of.current
    return Har(np.where(good, found.value, np.nan), np.where(good, found.s, np.nan), rows)


def as_known(of: Design) -> FloatMatrix:
    """(n, ROWS) daily variance ŷ² + s² forecast on each row's day, estimated on the rows whose targets ended by then; NaN with fewer than
    126 of them.

    Sums are carried forward over the window, of columns less their means over it, so that little cancels; no digit depends on other series.
    """
    use, ahead = of.use, of.ahead
    known = use[:, : ROWS - HAR_HORIZON]
    table = np.stack([of.daily[:, :ROWS], of.week[:, :ROWS], of.month[:, :ROWS], ahead], axis=1)
    count = use.sum(axis=1)[:, None]
    each = np.broadcast_to(use[:, None, :], table.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        level = mask_unused(table, each).sum(axis=-1) / count
        shifted = mask_unused(table - level[:, :, None], each)[:, :, : ROWS - HAR_HORIZON]
        rows: IntVector = np.cumsum(known, axis=1, dtype=np.int64)
        sums = np.cumsum(shifted, axis=-1)
        mean = [sums[:, i] / rows for i in range(4)]
        product = [[np.empty(0)] * 4 for _ in range(4)]
        for i in range(4):
            for j in range(i, 4):
                gram = np.cumsum(shifted[:, i] * shifted[:, j], axis=-1)
                gram -= sums[:, i] * mean[j]
                product[i][j] = product[j][i] = gram
    low = np.minimum.accumulate(np.where(known, ahead[:, : ROWS - HAR_HORIZON], np.inf), axis=1)
    high = np.maximum.accumulate(np.where(known, ahead[:, : ROWS - HAR_HORIZON], -np.inf), axis=1)
    today = table[:, :3, HAR_HORIZON:].transpose(1, 0, 2)
    mean = [part + level[:, i, None] for i, part in enumerate(mean)]
    found = _solve(product, mean, today, low, high, rows)
    enough = (rows >= HAR_MIN_ROWS) & use[:, HAR_HORIZON:]
    out = np.full((len(ahead), ROWS), np.nan)
    out[:, HAR_HORIZON:] = np.where(enough, found.value * found.value + found.s * found.s, np.nan)
    return out


def on_windows(returns: FloatMatrix, days: DateVector) -> Har:
    """Of every window of LOOKBACK returns without a hole: returns (n, W), dates of their sessions (W,); figures (n, W - 503).

    NaN in a window leaves no figure in it and disturbs no other.
    """
    daily, week, month, ahead = _regressors(returns)
    count = ahead.shape[1]
    columns = (daily[:, :count], week[:, :count], month[:, :count], ahead)
    shape = (len(returns), count - ROWS + 1)
    mean, product = np.empty((4, *shape)), [[np.empty(0)] * 4 for _ in range(4)]
    lowest, highest = np.empty(shape), np.empty(shape)
    pairs = [(i, j) for i in range(4) for j in range(i, 4)]
    grams = np.empty((len(pairs), *shape))
    for span in spans(restarts(days[FIRST : FIRST + count], ROWS), count, ROWS):
        into = slice(span.start, span.start + span.high - span.low)
        parts = [span.less_anchor(column) for column in columns]
        for i, part in enumerate(parts):
            mean[i, :, into] = span.over(np.add, part) / ROWS
        for at, (i, j) in enumerate(pairs):
            sums = span.over(np.add, parts[i] * parts[j])
            grams[at, :, into] = sums - ROWS * mean[i, :, into] * mean[j, :, into]
        for i, column in enumerate(columns):
            mean[i, :, into] += column[:, span.anchor, None]
        whole = ahead[:, span.start : span.high]
        lowest[:, into], highest[:, into] = span.over(np.minimum, whole), span.over(np.maximum, whole)
    for at, (i, j) in enumerate(pairs):
        product[i][j] = product[j][i] = grams[at]
    today = np.stack([column[:, ROWS + HAR_HORIZON - 1 :] for column in (daily, week, month)])
    return _solve(product, mean, today, lowest, highest, np.full(shape, ROWS))


def _regressors(returns: FloatMatrix) -> tuple[FloatMatrix, FloatMatrix, FloatMatrix, FloatMatrix]:
    """(|r_t|, RMS of 5, RMS of 22, RMS of the 21 to come) from the first t that has a month behind it; the last is shorter."""
    week, month, ahead = trailing_rms(returns * returns, HAR_WEEK, HAR_MONTH, HAR_HORIZON)
    return np.abs(returns[:, FIRST:]), week[:, HAR_MONTH - HAR_WEEK :], month, ahead[:, HAR_MONTH:]


def _complete(valid: BoolMatrix) -> tuple[BoolMatrix, NDArray[np.bool_]]:
    """(rows of the regression that touch valid sessions only, whether today's regressors do)."""
    span = HAR_MONTH + HAR_HORIZON
    n, length = valid.shape
    if valid.all():
        return np.ones((n, length - span + 1), dtype=np.bool_), np.ones(n, dtype=np.bool_)
    known = np.concatenate([np.zeros((n, 1), dtype=np.int64), np.cumsum(valid, axis=1)], axis=1)
    return known[:, span:] - known[:, :-span] == span, known[:, -1] - known[:, -1 - HAR_MONTH] == HAR_MONTH


def _centre(table: FloatCube, use: BoolMatrix, rows: IntVector) -> tuple[FloatMatrix, FloatCube]:
    """(means (n, 4), products of the centred columns (n, 4, 4)): one (4, rows) by (rows, 4) product a series."""
    each = np.broadcast_to(use[:, None, :], table.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = mask_unused(table, each).sum(axis=-1) / rows.astype(np.float64)[:, None]
        centred = mask_unused(table - mean[:, :, None], each)
        return mean, np.matmul(centred, centred.transpose(0, 2, 1))


def _solve(
    product: Sequence[Sequence[FloatMatrix]],
    mean: Sequence[FloatMatrix] | FloatCube,
    today: FloatCube,
    low: FloatMatrix,
    high: FloatMatrix,
    rows: IntVector,
) -> Har:
    """OLS from the centred products (4 by 4, the target last), elementwise over whatever shape they have.

    The regressors are scaled to a correlation matrix and solved by L D L', with three unknowns written out.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = [np.sqrt(product[i][i]) for i in range(3)]
        a = product[0][1] / (scale[0] * scale[1])
        b = product[0][2] / (scale[0] * scale[2])
        c = product[1][2] / (scale[1] * scale[2])
        moment = [product[i][3] / scale[i] for i in range(3)]
        second = 1.0 - a * a
        lower = (c - a * b) / second
        third = 1.0 - b * b - lower * lower * second
        middle = moment[1] - a * moment[0]
        z = (moment[2] - b * moment[0] - lower * middle) / third
        y = middle / second - lower * z
        x = moment[0] - a * y - b * z
        slopes = [x / scale[0], y / scale[1], z / scale[2]]
        fitted = mean[3] + sum(slope * (now - mid) for slope, now, mid in zip(slopes, today, mean[:3], strict=True))
        explained = slopes[0] * product[0][3] + slopes[1] * product[1][3] + slopes[2] * product[2][3]
        # What a perfect fit leaves is rounding, which may come out below zero.
        s = np.sqrt(np.maximum(product[3][3] - explained, 0.0) / (rows - 4.0))
        good = (second * third > HAR_SINGULAR) & np.isfinite(fitted) & np.isfinite(s)
        value = np.clip(fitted, low, high)
    return Har(np.where(good, value, np.nan), np.where(good, s, np.nan), rows)
