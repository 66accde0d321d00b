"""Errors of a portfolio's joint exposures, from the same regression on its own series (docs/methods.md §5).

The errors of its holdings cannot be added up: what their regressions leave over goes together. Every product is of one unit or session.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.risk.compute.factor_model import FactorModel
from services.risk.compute.inputs import Panel
from services.risk.compute.series import blocks
from shared.arrays import BoolVector, FloatCube, FloatMatrix, IntVector
from shared.market.registry import BETA_WINDOW, EXACT_FIT, JOINT_PENALTY, NO_VARIANCE, hac_lag


@dataclass(frozen=True, slots=True)
class Design:
    """The joint set of S sessions, F factors: constant, market and residuals, each of unit variance."""

    sessions: IntVector
    """(S,) ascending."""
    base: FloatCube
    """(S, F + 1, 252); rows of unavailable factors are 0."""
    solve: FloatCube
    """(S, F + 1, 252) whose product with a series is its coefficients."""
    scale: FloatMatrix
    """(S, F) standard deviations (ddof=0) that coefficients are divided by; NaN where a factor is unavailable."""


def design(panel: Panel, model: FactorModel, sessions: IntVector) -> Design:
    """The regressors of the distinct `sessions`."""
    sessions = np.unique(sessions)
    factors = panel.proxies.shape[1]
    base, solve = np.empty((2, len(sessions), factors + 1, BETA_WINDOW))
    scale = np.empty((len(sessions), factors))
    for part in blocks(len(sessions)):
        base[part], solve[part], scale[part] = _regressors(panel, model, sessions[part])
    return Design(sessions, base, solve, scale)


def _regressors(panel: Panel, model: FactorModel, sessions: IntVector) -> tuple[FloatCube, FloatCube, FloatMatrix]:
    """(base, solve, scale) of the sessions."""
    proxies = np.maximum(panel.proxies[sessions], 0)
    there = model.available[sessions]
    raw = panel.windows()[proxies, sessions[:, None], -BETA_WINDOW:]
    raw = np.where(there[:, :, None], raw, 0.0)
    centred = raw - (raw.sum(axis=-1) / BETA_WINDOW)[:, :, None]
    residual = centred - model.slopes[sessions][:, :, None] * centred[:, :1]
    residual[:, 0] = centred[:, 0]
    squares = np.vecdot(residual, residual)
    usable = there & (squares > NO_VARIANCE * np.vecdot(raw, raw)) & (squares > 0.0)
    scale = np.where(usable, np.sqrt(squares / BETA_WINDOW), np.nan)
    count, factors = usable.shape
    base = np.zeros((count, factors + 1, BETA_WINDOW))
    base[:, 0] = 1.0
    np.divide(residual, scale[:, :, None], out=base[:, 1:], where=usable[:, :, None])
    system = np.matmul(base, base.transpose(0, 2, 1))
    styles = np.arange(2, factors + 1)
    system[:, styles, styles] += JOINT_PENALTY * BETA_WINDOW
    # A session without a market has no regression, and one that stands still none either: masked by the scale.
    system[~usable[:, 0]] = np.eye(factors + 1)
    return base, np.matmul(np.linalg.inv(system), base), scale


def exposure_errors(of: Design, sessions: IntVector, series: FloatMatrix) -> FloatMatrix:
    """(g, F) HAC errors of the joint betas of series (g, LOOKBACK) on `sessions` (g,); NaN unknown.

    H⁻¹X'ΩXH⁻¹ of the ridge, Bartlett weights to the lag of 252 observations, without a small-sample correction. The bias that the penalty
    brings is not in it. 0 where the factors leave nothing over but rounding, as of a book of the market's proxy alone.
    """
    at = np.searchsorted(of.sessions, sessions)
    errors = np.empty((len(series), of.scale.shape[1]))
    lag = hac_lag(BETA_WINDOW)
    for part in blocks(len(series)):
        y, s = np.ascontiguousarray(series[part, -BETA_WINDOW:]), at[part]
        coefficients = np.matmul(of.solve[s], y[:, :, None])
        left = y - np.matmul(coefficients.transpose(0, 2, 1), of.base[s])[:, 0]
        influence = of.solve[s, 1:] * left[:, None, :]
        variance = np.vecdot(influence, influence)
        for step in range(1, lag + 1):
            variance += 2.0 * (1.0 - step / (lag + 1.0)) * np.vecdot(influence[:, :, step:], influence[:, :, :-step])
        # A t of 10^16 would be the error of rounding, not of the book.
        variance[_exact(y, left)] = 0.0
        errors[part] = np.sqrt(np.maximum(variance, 0.0)) / of.scale[s]
    return errors


def _exact(y: FloatMatrix, left: FloatMatrix) -> BoolVector:
    """(g,) series that stand still, or of which the regression leaves nothing: the limits are those of a symbol's regressions."""
    deviation = y - (y.sum(axis=-1) / BETA_WINDOW)[:, None]
    total = np.vecdot(deviation, deviation)
    exact: BoolVector = (np.vecdot(left, left) <= EXACT_FIT * total) | (total <= NO_VARIANCE * np.vecdot(y, y))
    return exact
