"""The regressions of every symbol: one matrix product for a block of symbols of one gap pattern.

Blocks have a fixed number of rows, and every other sum runs over a last axis of 252: no digit depends on which symbols or
sessions happen to be computed together.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.factors.compute.patterns import JOINT, Patterns
from services.factors.compute.proxies import GROWTH_AT, N_BASE, N_REGRESSORS, WINDOW
from shared.arrays import BoolMatrix, FloatCube, FloatMatrix, IntVector
from shared.market import layouts, registry
from shared.market.layouts import Layout

MAX_LAG: Final = registry.hac_lag(WINDOW)


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


def apply(
    patterns: Patterns, y: FloatCube, symbols: int, *, factor_scales: FloatMatrix, factor_usable: BoolMatrix
) -> Fits:
    """All regressions of the first M symbols per pattern, of a block of B.

    y             : (G, B, 252) total returns laid out like the pattern's rows, zeros behind and for padding symbols.
                    B must be the same in every call for the same kind of pattern (see the module's note).
    symbols       : M; what follows them only fills the block for its matrix products
    factor_scales, factor_usable : (G, 8) of `Geometry`, one per pattern
    """
    block = _block(patterns, y, symbols)
    market, residual = _market(patterns, block)
    others = _others(patterns, block, residual)
    joint, joint_stderr, fit = _joint(patterns, block, factor_scales, others)
    joint = np.where(factor_usable[:, None, :], joint, np.nan)
    joint_stderr = np.where(factor_usable[:, None, :], joint_stderr, np.nan)
    return Fits(market, others, joint, joint_stderr, fit, block.varies)


@dataclass(frozen=True, slots=True)
class _Block:
    """What all regressions of G patterns and M symbols each start from.

    y          : (G, M, 252) total returns
    coefficients : (G, M, 17) of all regressions, in the order of `Patterns.solve`
    joint_fit  : (G, M, 252) what all factors together say the returns are
    deviation  : (G, M, 252) the returns less their mean
    total      : (G, M) sum of their squares, 1 where the symbol does not move
    varies     : (G, M) whether it moves
    lag_weights: (G, MAX_LAG)
    still, unknown : (G, M) 0 and NaN: what does not move has a slope of exactly 0 and nothing left over; the share explained
                 of nothing is no number
    """

    y: FloatCube
    coefficients: FloatCube
    joint_fit: FloatCube
    deviation: FloatCube
    total: FloatMatrix
    varies: BoolMatrix
    lag_weights: FloatMatrix
    still: FloatMatrix
    unknown: FloatMatrix


def _block(p: Patterns, y: FloatCube, symbols: int) -> _Block:
    # The two products of whole blocks; all that follows is of a symbol alone.
    solved = np.matmul(y, np.ascontiguousarray(np.swapaxes(p.solve, 1, 2)))
    joint_fit = np.matmul(np.ascontiguousarray(solved[:, :, JOINT]), p.base)[:, :symbols]
    y, coefficients = y[:, :symbols], solved[:, :symbols]
    mean = coefficients[:, :, 0]
    deviation = y - mean[:, :, None] * p.base[:, 0][:, None, :]
    total = np.vecdot(deviation, deviation)
    varies = total > registry.NO_VARIANCE * np.vecdot(y, y)
    return _Block(
        y=y,
        coefficients=coefficients,
        joint_fit=joint_fit,
        deviation=deviation,
        total=np.where(varies, total, 1.0),
        varies=varies,
        lag_weights=_bartlett(p.n),
        still=np.zeros_like(mean),
        unknown=np.full_like(mean, np.nan),
    )


def _market(p: Patterns, block: _Block) -> tuple[FloatCube, FloatCube]:
    """(figures of `layouts.MARKET`, the residuals (G, M, 252)) of the regression on the market."""
    mean, beta = block.coefficients[:, :, 0], block.coefficients[:, :, 1]
    residual = block.deviation - beta[:, :, None] * p.market[:, None, :]
    squares = np.vecdot(residual, residual)
    exact = squares <= registry.EXACT_FIT * block.total
    squares = np.where(exact, 0.0, squares)
    variance = _hac(residual * p.solve[:, 1][:, None, :], block.lag_weights)
    hac = np.where(exact, 0.0, np.sqrt(variance))
    n = p.n.astype(np.float64)[:, None]
    market = _laid_out(
        layouts.MARKET,
        beta=beta,
        alpha=mean - beta * p.mean[:, None],
        r2=1.0 - squares / block.total,
        stderr=np.sqrt(squares / (n - 2.0) / np.where(p.usable[:, :1], p.squares[:, :1], 1.0)),
        stderr_hac=hac,
        t_hac=np.divide(beta, hac, out=np.full_like(beta, np.nan), where=hac > 0),
    )
    still, unknown = block.still, block.unknown
    at_rest = _laid_out(
        layouts.MARKET, beta=still, alpha=mean, r2=unknown, stderr=still, stderr_hac=still, t_hac=unknown
    )
    market = np.where(block.varies[:, :, None], market, at_rest)
    market[~np.broadcast_to(p.usable[:, :1], block.varies.shape)] = np.nan
    return market, residual


def _others(p: Patterns, block: _Block, residual: FloatCube) -> NDArray[np.float64]:
    """(G, M, 6, 3) figures of `layouts.SPREAD` of rates, the spreads and growth. residual : what the market leaves"""
    varies = block.varies
    others = np.empty((*varies.shape, N_REGRESSORS, len(layouts.SPREAD)))
    at_rest = _laid_out(layouts.SPREAD, beta=block.still, stderr_hac=block.still, r2=block.unknown)
    for r in range(N_REGRESSORS):
        slope = block.coefficients[:, :, 2 + r]
        left = residual - slope[:, :, None] * p.partial[:, r][:, None, :]
        left_squares = np.vecdot(left, left)
        exact = left_squares <= registry.EXACT_FIT * block.total
        variance = _hac(left * p.solve[:, 2 + r][:, None, :], block.lag_weights)
        moving = _laid_out(
            layouts.SPREAD,
            beta=slope,
            stderr_hac=np.where(exact, 0.0, np.sqrt(variance)),
            r2=1.0 - np.where(exact, 0.0, left_squares) / block.total,
        )
        others[:, :, r] = np.where(varies[:, :, None], moving, at_rest)
        others[:, :, r][~np.broadcast_to(p.usable[:, 1 + r, None], varies.shape)] = np.nan
    return others


def _joint(
    p: Patterns, block: _Block, factor_scales: FloatMatrix, others: NDArray[np.float64]
) -> tuple[FloatCube, FloatCube, FloatCube]:
    """(betas (G, M, 8), their errors, figures of `layouts.JOINT_FIT`) of the regression on all factors at once.

    others : what `_others` found; growth, which is in no joint set, has its figures from there.
    """
    varies = block.varies
    left = block.y - block.joint_fit
    squares = np.vecdot(left, left)
    exact = squares <= registry.EXACT_FIT * block.total
    squares = np.where(exact, 0.0, squares)
    stderr = _joint_errors(left, p.solve[:, JOINT], block.lag_weights) / factor_scales[:, None, :]
    stderr[exact] = 0.0
    betas = block.coefficients[:, :, JOINT][:, :, 1:] / factor_scales[:, None, :]
    fit = _laid_out(
        layouts.JOINT_FIT,
        r2=1.0 - squares / block.total,
        condition=np.broadcast_to(p.condition[:, None], varies.shape),
        resid_sd=np.sqrt(squares / (p.n.astype(np.float64)[:, None] - 1.0)),
    )
    betas[:, :, GROWTH_AT], stderr[:, :, GROWTH_AT] = others[:, :, -1, 0], others[:, :, -1, 1]
    betas[~varies] = 0.0
    stderr[~varies] = 0.0
    at_rest = _laid_out(layouts.JOINT_FIT, r2=block.unknown, condition=fit[..., 1], resid_sd=block.still)
    fit = np.where(varies[:, :, None], fit, at_rest)
    known = np.broadcast_to(p.usable[:, :1], varies.shape)
    for figures in (betas, stderr, fit):
        figures[~known] = np.nan
    return betas, stderr, fit


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
