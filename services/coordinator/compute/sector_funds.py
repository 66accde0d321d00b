"""A book's sensitivity to the funds of sectors, beyond the market's (docs/methods.md §16): a reported set. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from services.coordinator.compute import newey_west
from services.coordinator.compute.what_if import NAN
from shared.arrays import BoolMatrix, FloatVector
from shared.market.registry import BETA_MIN_OBS

_SAME = 1e-12


@dataclass(frozen=True, slots=True)
class SectorBeta:
    """NaN where the fund adds nothing to the market, or the book is wholly explained (`t_hac`)."""

    beta: float
    stderr_hac: float
    t_hac: float
    r2: float
    n_obs: int


def sector_beta(book: FloatVector, market: FloatVector, fund: FloatVector, use: BoolMatrix) -> SectorBeta:
    """Coefficient of the fund in OLS with intercept of the book on {market, fund}; all (n,), on the sessions of `use` (n,).

    The error is Newey and West's with Bartlett weights, without a correction for small samples; NaN below 63 sessions.
    """
    y = book[use]
    n = len(y)
    x = np.column_stack([np.ones(n), market[use], fund[use]])
    if n < BETA_MIN_OBS or not np.isfinite(y).all():
        return SectorBeta(NAN, NAN, NAN, NAN, n)
    centred = x[:, 1:] - x[:, 1:].mean(axis=0)
    spread = (centred * centred).sum(axis=0)
    left = spread[1] - float(centred[:, 0] @ centred[:, 1]) ** 2 / spread[0] if spread[0] > 0.0 else 0.0
    if not left > _SAME * spread[1]:
        return SectorBeta(NAN, NAN, NAN, NAN, n)
    inverse = np.linalg.inv(x.T @ x)
    beta = inverse @ (x.T @ y)
    residual = y - x @ beta
    error = math.sqrt(max(float(newey_west.covariance(x, residual, inverse)[2, 2]), 0.0))
    total = float(((y - y.mean()) ** 2).sum())
    unexplained = float((residual**2).sum())
    explained = unexplained <= _SAME * total
    return SectorBeta(
        float(beta[2]),
        0.0 if explained else error,
        NAN if explained or error == 0.0 else float(beta[2]) / error,
        1.0 - unexplained / total if total > 0.0 else NAN,
        n,
    )
