"""The regressions of one gap pattern, and their application to every symbol that has it.

A *pattern* is the set of window rows a symbol has. The rows are moved together and padded with zeros to 252, so a symbol
with gaps runs through the same arithmetic as one without. Each pattern is factorised once; applying it is one matrix
product for a block of symbols. Blocks have a fixed number of rows, and every other sum runs over a last axis of 252:
no digit depends on which symbols or sessions happen to be computed together.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.factors.compute.proxies import GROWTH_AT, N_BASE, N_REGRESSORS, WINDOW
from shared.arrays import BoolMatrix, FloatCube, FloatMatrix, FloatVector, IntVector
from shared.market import layouts, registry
from shared.market.layouts import Layout

N_COEFFICIENTS: Final = 2 + N_REGRESSORS + N_BASE  # mean, market, regressors, joint: 17
JOINT: Final = slice(2 + N_REGRESSORS, N_COEFFICIENTS)
MAX_LAG: Final = registry.hac_lag(WINDOW)


@dataclass(frozen=True, slots=True)
class Patterns:
    """G factorised patterns. Rows past `n` are zero in every array over the window.

    n        : (G,) rows the symbol has
    base     : (G, 9, 252) the base on those rows; zero where a factor is in no joint set
    market   : (G, 252) market return less its mean on those rows
    mean     : (G,) that mean
    squares  : (G, 7) sums of squares of the market and of the regressors' parts that the market leaves
    usable   : (G, 7) whether those exceed rounding
    partial  : (G, 6, 252) those parts
    solve    : (G, 17, 252) rows whose product with y are all coefficients
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


@dataclass(frozen=True, slots=True)
class Fits:
    """Of G patterns and M symbols each. Daily decimal returns; NaN where there is no figure.

    market  : (G, M, 6) beta, alpha, r2, stderr, stderr_hac, t_hac
    others  : (G, M, 6, 3) rates, spreads, growth: beta, stderr_hac, r2
    joint   : (G, M, 8) beta per factor (NaN where the factor is unusable); of growth the one of `others`
    joint_stderr : (G, M, 8) errors of those, from the ridge's sandwich
    fit     : (G, M, 3) r2, condition, resid_sd
    varies  : (G, M) whether the symbol moves at all; where not, slopes, errors and residual are 0 and shares explained NaN
    """

    market: FloatCube
    others: NDArray[np.float64]
    joint: FloatCube
    joint_stderr: FloatCube
    fit: FloatCube
    varies: BoolMatrix


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

    # Growth is regressed on by itself: in the joint set it would share its beta with value.
    base = base.copy()
    base[:, 1 + GROWTH_AT] = 0.0
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


def apply(patterns: Patterns, y: FloatCube, *, factor_scales: FloatMatrix, factor_usable: BoolMatrix) -> Fits:
    """All regressions of M symbols per pattern.

    y             : (G, M, 252) total returns laid out like the pattern's rows, zeros behind and for padding symbols.
                    M must be the same in every call for the same kind of pattern (see the module's note).
    factor_scales, factor_usable : (G, 8) of `Geometry`, one per pattern
    """
    p = patterns
    ones = p.base[:, 0][:, None, :]
    n = p.n.astype(np.float64)[:, None]
    coefficients = np.matmul(y, np.ascontiguousarray(np.swapaxes(p.solve, 1, 2)))
    mean = coefficients[:, :, 0]
    beta = coefficients[:, :, 1]
    deviation = y - mean[:, :, None] * ones
    total = np.vecdot(deviation, deviation)
    varies = total > registry.NO_VARIANCE * np.vecdot(y, y)
    safe_total = np.where(varies, total, 1.0)

    residual = deviation - beta[:, :, None] * p.market[:, None, :]
    squares = np.vecdot(residual, residual)
    exact = squares <= registry.EXACT_FIT * safe_total
    squares = np.where(exact, 0.0, squares)
    lag_weights = _bartlett(p.n)
    variance = _hac(residual * p.solve[:, 1][:, None, :], lag_weights)
    hac = np.where(exact, 0.0, np.sqrt(variance))
    market = _laid_out(
        layouts.MARKET,
        beta=beta,
        alpha=mean - beta * p.mean[:, None],
        r2=1.0 - squares / safe_total,
        stderr=np.sqrt(squares / (n - 2.0) / np.where(p.usable[:, :1], p.squares[:, :1], 1.0)),
        stderr_hac=hac,
        t_hac=np.divide(beta, hac, out=np.full_like(beta, np.nan), where=hac > 0),
    )
    # What does not move has a slope of exactly 0 and nothing left over; the share explained of nothing is no number.
    still = np.zeros_like(beta)
    unknown = np.full_like(beta, np.nan)
    at_rest = _laid_out(
        layouts.MARKET, beta=still, alpha=mean, r2=unknown, stderr=still, stderr_hac=still, t_hac=unknown
    )
    market = np.where(varies[:, :, None], market, at_rest)
    market[~np.broadcast_to(p.usable[:, :1], varies.shape)] = np.nan

    others = np.empty((*beta.shape, N_REGRESSORS, len(layouts.SPREAD)))
    for r in range(N_REGRESSORS):
        slope = coefficients[:, :, 2 + r]
        left = residual - slope[:, :, None] * p.partial[:, r][:, None, :]
        left_squares = np.vecdot(left, left)
        left_exact = left_squares <= registry.EXACT_FIT * safe_total
        variance = _hac(left * p.solve[:, 2 + r][:, None, :], lag_weights)
        others[:, :, r] = _laid_out(
            layouts.SPREAD,
            beta=slope,
            stderr_hac=np.where(left_exact, 0.0, np.sqrt(variance)),
            r2=1.0 - np.where(left_exact, 0.0, left_squares) / safe_total,
        )
        at_rest = _laid_out(layouts.SPREAD, beta=still, stderr_hac=still, r2=unknown)
        others[:, :, r] = np.where(varies[:, :, None], others[:, :, r], at_rest)
        others[:, :, r][~np.broadcast_to(p.usable[:, 1 + r, None], varies.shape)] = np.nan

    scaled = np.ascontiguousarray(coefficients[:, :, JOINT])
    left = y - np.matmul(scaled, p.base)
    left_squares = np.vecdot(left, left)
    left_exact = left_squares <= registry.EXACT_FIT * safe_total
    left_squares = np.where(left_exact, 0.0, left_squares)
    joint_stderr = _joint_errors(left, p.solve[:, JOINT], lag_weights) / factor_scales[:, None, :]
    joint_stderr[left_exact] = 0.0
    joint = scaled[:, :, 1:] / factor_scales[:, None, :]
    fit = _laid_out(
        layouts.JOINT_FIT,
        r2=1.0 - left_squares / safe_total,
        condition=np.broadcast_to(p.condition[:, None], beta.shape),
        resid_sd=np.sqrt(left_squares / (n - 1.0)),
    )
    joint[:, :, GROWTH_AT], joint_stderr[:, :, GROWTH_AT] = others[:, :, -1, 0], others[:, :, -1, 1]
    joint[~varies] = 0.0
    joint_stderr[~varies] = 0.0
    fit = np.where(
        varies[:, :, None], fit, _laid_out(layouts.JOINT_FIT, r2=unknown, condition=fit[..., 1], resid_sd=still)
    )
    known = np.broadcast_to(p.usable[:, :1], varies.shape)
    joint[~known] = np.nan
    joint_stderr[~known] = np.nan
    fit[~known] = np.nan
    joint = np.where(factor_usable[:, None, :], joint, np.nan)
    joint_stderr = np.where(factor_usable[:, None, :], joint_stderr, np.nan)
    return Fits(market, others, joint, joint_stderr, fit, varies)


def _joint_errors(left: FloatCube, solve: FloatCube, lag_weights: FloatMatrix) -> FloatCube:
    """(G, M, 8) errors of the factors' scaled coefficients: H⁻¹X'ΩXH⁻¹ with the penalty in H. The penalty's bias is not in it."""
    rows = [_hac(left * solve[:, 1 + f][:, None, :], lag_weights) for f in range(N_BASE - 1)]
    return np.sqrt(np.stack(rows, axis=-1))


def _laid_out(layout: Layout, **figures: NDArray[np.float64]) -> FloatCube:
    """(G, M, len(layout)): the figures under the names of the layout, in its order."""
    return np.stack([figures[name] for name in layout], axis=-1)


def _bartlett(n: IntVector) -> FloatMatrix:
    """(G, MAX_LAG) weights 1 - l/(L+1) of lags 1.. with L = ⌊4(n/100)^(2/9)⌋; zero past L."""
    lags = np.array([registry.hac_lag(int(x)) for x in n], dtype=np.float64)[:, None]
    return np.maximum(1.0 - np.arange(1, MAX_LAG + 1) / (lags + 1.0), 0.0)


def _hac(influence: FloatCube, weights: FloatMatrix) -> FloatMatrix:
    """Newey-West variance of a coefficient from its influence series (G, M, 252), without small-sample correction.

    The influence of row t is (partial regressor / its sum of squares)·residual; the sandwich of the coefficient is the
    Bartlett-weighted sum of its autocovariances (Newey and West, 1987). Zero rows behind add nothing.
    """
    out = np.vecdot(influence, influence)
    for lag in range(1, MAX_LAG + 1):
        out = out + 2.0 * weights[:, lag - 1, None] * np.vecdot(influence[:, :, lag:], influence[:, :, :-lag])
    variance: FloatMatrix = np.maximum(out, 0.0)  # never negative with Bartlett weights but by rounding
    return variance
