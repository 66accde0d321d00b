"""Errors of regression coefficients whose residuals go together for some days."""

from __future__ import annotations

from shared.arrays import FloatMatrix, FloatVector
from shared.market.registry import hac_lag


def covariance(design: FloatMatrix, residual: FloatVector, bread: FloatMatrix) -> FloatMatrix:
    """(p, p) of OLS coefficients, by Newey and West with Bartlett weights, without a correction for small samples.

    design : (n, p); residual : (n,); bread : (p, p), the inverse of design'design
    """
    moved = design * residual[:, None]
    meat = moved.T @ moved
    lag = hac_lag(len(residual))
    for k in range(1, lag + 1):
        cross = moved[k:].T @ moved[:-k]
        meat += (1.0 - k / (lag + 1.0)) * (cross + cross.T)
    found: FloatMatrix = bread @ meat @ bread
    return found
