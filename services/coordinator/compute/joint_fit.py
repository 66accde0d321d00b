"""Betas of the joint set of one symbol from its stored returns (docs/methods.md §3), for a symbol that nobody holds. Pure.

The definition is that of stored exposures, for one symbol and session at a time; a test holds the two together.
"""

from __future__ import annotations

import math

import numpy as np

from services.coordinator.compute import newey_west
from shared.arrays import BoolMatrix, FloatMatrix, FloatVector
from shared.market.registry import (
    BETA_MIN_OBS,
    BETA_WINDOW,
    FACTOR_NAMES,
    JOINT_FACTORS,
    JOINT_PENALTY,
    NO_VARIANCE,
    REPORTED_FACTOR,
    SHRINK_MEAN,
    SHRINK_SD,
)


def joint_betas(own: FloatVector, proxies: FloatMatrix) -> FloatVector:
    """(F,) betas, NaN of a factor without a proxy; all NaN without a market or below 63 returns of both.

    own : (252,) the symbol's daily total returns, NaN where missing; proxies : (F, 252) those of the factors' proxies, the market first, a
    row with a hole is no proxy
    """
    found = np.full(len(FACTOR_NAMES), np.nan)
    rows = np.isfinite(own)
    n = int(rows.sum())
    whole: BoolMatrix = np.asarray(np.isfinite(proxies).all(axis=1))
    raw = np.where(whole[:, None], proxies, 0.0)
    centred = raw - raw.mean(axis=1)[:, None]
    market = centred[0]
    squares = float(market @ market)
    if not whole[0] or n < BETA_MIN_OBS or squares <= NO_VARIANCE * float(raw[0] @ raw[0]):
        return found
    residual = centred - np.outer(centred @ market / squares, market)
    residual[0] = market
    left = (residual * residual).sum(axis=1)
    usable = whole & (left > NO_VARIANCE * (raw * raw).sum(axis=1)) & (left > 0.0)
    y = own[rows]
    deviation = y - y.mean()
    if float(deviation @ deviation) <= NO_VARIANCE * float(y @ y):
        # What stands still has no sensitivity, which is known.
        return np.where(usable, 0.0, np.nan)
    scale = np.where(usable, np.sqrt(left / BETA_WINDOW), 1.0)
    joint = np.flatnonzero(usable & np.array(JOINT_FACTORS))
    found[joint] = _ridge(y, (residual[joint] / scale[joint, None])[:, rows], joint != 0) / scale[joint]
    alone = FACTOR_NAMES.index(REPORTED_FACTOR)
    if usable[alone]:
        found[alone] = _ridge(y, residual[[0, alone]][:, rows], np.zeros(2, dtype=np.bool_))[1]
    return found


def shrunk_beta(own: FloatVector, market: FloatVector) -> float:
    """Vasicek's market beta of stored exposures; NaN below 63 returns, or of a market that lacks one or stands still.

    own, market : (252,) daily total returns, NaN where missing
    """
    rows = np.isfinite(own) & np.isfinite(market)
    n = int(rows.sum())
    y, x = own[rows], market[rows]
    if n < BETA_MIN_OBS or not np.isfinite(market).all():
        return math.nan
    centred, deviation = x - x.mean(), y - y.mean()
    squares = float(centred @ centred)
    if squares <= NO_VARIANCE * float(x @ x):
        return math.nan
    beta = float(centred @ deviation) / squares
    design = np.column_stack([np.ones(n), x])
    residual = deviation - beta * centred
    error = float(newey_west.covariance(design, residual, np.linalg.inv(design.T @ design))[1, 1])
    spread = SHRINK_SD**2
    return (beta * spread + SHRINK_MEAN * error) / (spread + error)


def _ridge(y: FloatVector, regressors: FloatMatrix, penalised: FloatVector) -> FloatVector:
    """(k,) coefficients of regressors (k, n) beside an intercept; 0.1 · n times the square of the `penalised` (k,) ones is added."""
    x = np.vstack([np.ones(len(y)), regressors])
    system = x @ x.T + np.diag(np.append(0.0, JOINT_PENALTY * len(y) * penalised))
    coefficients: FloatVector = np.linalg.solve(system, x @ y)[1:]
    return coefficients
