"""Realised market beta of portfolio series (docs/methods.md §8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.arrays import BoolMatrix, FloatMatrix, FloatVector, IntVector
from shared.market.registry import BETA_WINDOW, VOLATILITY_MIN_SHARE


@dataclass(frozen=True, slots=True)
class RealizedBeta:
    """OLS with intercept over the last 252 returns; all (n,), NaN where withheld."""

    beta: FloatVector
    r2: FloatVector
    n_obs: IntVector


def realized_beta(series: FloatMatrix, market: FloatMatrix, valid: BoolMatrix) -> RealizedBeta:
    """Slope of the portfolio series on the market's; all arguments (n, LOOKBACK).

    R² is 1 - RSS/TSS, unknown for a series that does not move. At least 80 % of the window must be valid.
    """
    x, y, use = market[:, -BETA_WINDOW:], series[:, -BETA_WINDOW:], valid[:, -BETA_WINDOW:]
    count = use.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_x = np.where(use, x, 0.0).sum(axis=1) / count
        mean_y = np.where(use, y, 0.0).sum(axis=1) / count
        dx = np.where(use, x - mean_x[:, None], 0.0)
        dy = np.where(use, y - mean_y[:, None], 0.0)
        sxx, sxy, syy = (dx * dx).sum(axis=1), (dx * dy).sum(axis=1), (dy * dy).sum(axis=1)
        beta = sxy / sxx
        residual = dy - beta[:, None] * dx
        r2 = 1.0 - (residual * residual).sum(axis=1) / syy
    known = (count >= VOLATILITY_MIN_SHARE * BETA_WINDOW) & np.isfinite(beta)
    return RealizedBeta(np.where(known, beta, np.nan), np.where(known & np.isfinite(r2), r2, np.nan), count)
