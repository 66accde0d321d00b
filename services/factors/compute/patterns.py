"""The gap patterns of symbols, and what their regressions share.

A *pattern* is the set of window rows a symbol has. The rows are moved together and padded with zeros to 252, so a symbol
with gaps runs through the same arithmetic as one without. Each pattern is factorised once.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.factors.compute.proxies import N_BASE, N_REGRESSORS, WINDOW
from shared.arrays import BoolMatrix, FloatCube, FloatMatrix, FloatVector, IntVector
from shared.market import registry

N_COEFFICIENTS: Final = 2 + N_REGRESSORS + N_BASE  # mean, market, regressors, joint: 16
JOINT: Final = slice(2 + N_REGRESSORS, N_COEFFICIENTS)


@dataclass(frozen=True, slots=True)
class Patterns:
    """G factorised patterns. Rows past `n` are zero in every array over the window.

    n        : (G,) rows the symbol has
    base     : (G, 9, 252) the base on those rows
    market   : (G, 252) market return less its mean on those rows
    mean     : (G,) that mean
    squares  : (G, 6) sums of squares of the market and of the regressors' parts that the market leaves
    usable   : (G, 6) whether those exceed rounding
    partial  : (G, 5, 252) those parts
    solve    : (G, 16, 252) rows whose product with y are all coefficients
    condition: (G,) 2-norm condition number of the standardised, centred joint regressors on those rows, without penalty
    """

    n: IntVector
    base: FloatCube
    market: FloatMatrix
    mean: FloatVector
    squares: FloatMatrix
    usable: BoolMatrix
    partial: FloatCube
    solve: FloatCube
    condition: FloatVector


def factorise(
    base: FloatCube, market_mean: FloatVector, market_sd: FloatVector, regressors: FloatCube, rows: BoolMatrix
) -> Patterns:
    """Factorise G patterns.

    base, regressors : as in `Geometry`, one per pattern
    market_mean, market_sd : (G,) of the market over the whole window
    rows             : (G, 252) which rows the symbol has, at least `BETA_MIN_OBS` of them
    """
    n = rows.sum(axis=-1)
    if not rows.all():
        base = _compact_regressors(base, rows)
    ones = base[:, 0]
    count = n.astype(np.float64)[:, None]
    market = base[:, 1] * market_sd[:, None]
    offset = market.sum(axis=-1) / count[:, 0]
    market = market - offset[:, None] * ones
    market_squares = np.vecdot(market, market)
    moving = market_squares > registry.NO_VARIANCE * count[:, 0] * market_sd**2
    safe = np.where(moving, market_squares, 1.0)

    raw = np.matmul(regressors, base)
    partial = raw - (raw.sum(axis=-1) / count)[:, :, None] * ones[:, None, :]
    partial -= (np.vecdot(partial, market[:, None, :]) / safe[:, None])[:, :, None] * market[:, None, :]
    squares = np.vecdot(partial, partial)
    usable = moving[:, None] & (squares > registry.NO_VARIANCE * np.vecdot(raw, raw)) & (squares > 0)

    solve = np.empty((len(n), N_COEFFICIENTS, WINDOW))
    solve[:, 0] = ones / count
    solve[:, 1] = market / safe[:, None]
    solve[:, 2 : 2 + N_REGRESSORS] = partial / np.where(usable, squares, 1.0)[:, :, None]
    gram = np.matmul(base, np.ascontiguousarray(np.swapaxes(base, 1, 2)))
    system = gram.copy()
    styles = np.arange(2, N_BASE)
    system[:, styles, styles] += registry.JOINT_PENALTY * count
    system[~moving] = np.eye(N_BASE)  # no solution to be had; masked by `usable`
    solve[:, JOINT] = np.matmul(np.linalg.inv(system), base)
    return Patterns(
        n=n,
        base=base,
        market=market,
        mean=market_mean + offset,
        squares=np.concatenate([market_squares[:, None], squares], axis=1),
        usable=np.concatenate([moving[:, None], usable], axis=1),
        partial=partial,
        solve=solve,
        condition=_condition(gram, count),
    )


def _compact_regressors(base: FloatCube, rows: BoolMatrix) -> FloatCube:
    """The rows that are there, in order, from the front; zeros behind."""
    order = np.argsort(~rows, axis=-1, kind="stable")
    moved = np.take_along_axis(base, order[:, None, :], axis=2)
    return moved * np.take_along_axis(rows, order, axis=1)[:, None, :]


def compact_rows(y: FloatMatrix, rows: BoolMatrix) -> FloatMatrix:
    """The symbols' returns (G, 252) laid out as `factorise` lays out the regressors."""
    order = np.argsort(~rows, axis=-1, kind="stable")
    return np.where(np.take_along_axis(rows, order, axis=1), np.take_along_axis(y, order, axis=1), 0.0)


def _condition(gram: FloatCube, count: FloatMatrix) -> FloatVector:
    """√(λmax/λmin) of the regressors' correlations. Absent ones count as uncorrelated, which moves neither end."""
    means = gram[:, 0, 1:] / count
    covariance = gram[:, 1:, 1:] / count[:, :, None] - means[:, :, None] * means[:, None, :]
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    there = variance > 0
    sd = np.sqrt(np.where(there, variance, 1.0))
    correlation = covariance / (sd[:, :, None] * sd[:, None, :])
    diagonal = np.arange(N_BASE - 1)
    correlation[:, diagonal, diagonal] = 1.0
    values = np.linalg.eigvalsh(correlation)
    with np.errstate(divide="ignore", invalid="ignore"):
        condition = np.sqrt(values[:, -1] / values[:, 0])
    return np.where(values[:, 0] > 0, condition, np.nan)
