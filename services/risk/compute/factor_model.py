"""The factors' own covariance on each session, in the space of the joint set: market and residuals (docs/methods.md §8, §9)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.risk.compute.inputs import Panel
from shared.arrays import FloatCube, FloatMatrix, FloatVector
from shared.market.registry import CORRELATION_WINDOW, FACTORS, SESSIONS_A_YEAR, STRESS_HALF_LIFE, STRESS_WINDOW


@dataclass(frozen=True, slots=True)
class FactorModel:
    """S sessions, F factors of the registry. Rows and columns of factors that are not available are 0."""

    available: NDArray[np.bool_]
    """(S, F) factors with a proxy that has all 252 returns; none where the market has not."""
    slopes: FloatMatrix
    """(S, F) b_k on the market; 1 for the market, 0 where unavailable."""
    sample: FloatCube
    """(S, F, F) daily covariance (ddof=1) of the market and the residuals Z_k."""
    recent: FloatCube
    """(S, F, F) the same, EWMA with half-life 63, means removed, Cov(m, Z) = 0."""
    correlation: FloatCube
    """(S, F, F) of the raw proxies, sample; NaN where unavailable or unmoving."""


def factor_model(panel: Panel) -> FactorModel:
    """The model of each session from its own proxies' last 252 returns."""
    sessions, factors = panel.proxies.shape
    windows = panel.windows()[np.maximum(panel.proxies, 0), np.arange(sessions)[:, None]][:, :, -STRESS_WINDOW:]
    available = (panel.proxies >= 0) & np.isfinite(panel.slopes) & np.isfinite(windows).all(axis=-1)
    available &= available[:, :1]
    raw = np.where(available[:, :, None], windows, 0.0)
    slopes = np.where(available, panel.slopes, 0.0)
    residual = raw - slopes[:, :, None] * raw[:, :1]
    residual[:, 0] = raw[:, 0]

    def gram(values: FloatCube, weight: FloatVector) -> FloatCube:
        """Weighted covariance over the last axis: one (F, 252) by (252, F) product a session, always of that shape."""
        mean = (values * weight).sum(axis=-1, keepdims=True)
        scaled = (values - mean) * np.sqrt(weight)
        product = np.matmul(scaled, scaled.transpose(0, 2, 1))
        symmetric: FloatCube = 0.5 * (product + product.transpose(0, 2, 1))
        return symmetric

    equal = np.full(CORRELATION_WINDOW, 1.0 / CORRELATION_WINDOW)
    unbiased = CORRELATION_WINDOW / (CORRELATION_WINDOW - 1.0)
    decay = 0.5 ** (np.arange(STRESS_WINDOW - 1, -1, -1, dtype=np.float64) / STRESS_HALF_LIFE)
    recent = gram(residual, decay / decay.sum())
    recent[:, 0, 1:] = 0.0
    recent[:, 1:, 0] = 0.0
    both = available[:, :, None] & available[:, None, :]
    covariance = gram(raw, equal)
    sd = np.sqrt(np.einsum("sii->si", covariance))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.where(both, np.clip(covariance / (sd[:, :, None] * sd[:, None, :]), -1.0, 1.0), np.nan)
    diagonal = np.arange(factors)
    correlation[:, diagonal, diagonal] = np.where(available & (sd > 0.0), 1.0, np.nan)
    zero = ~both
    sample = gram(residual, equal) * unbiased
    sample[zero] = 0.0
    recent[zero] = 0.0
    return FactorModel(available, slopes, sample, recent, correlation)


@dataclass(frozen=True, slots=True)
class ModelRisk:
    """Portfolio volatility by factor; annualised; NaN where the exposures are unknown."""

    volatility: FloatVector
    shares: FloatMatrix
    """(g, F) of the variance, summing to 1 with the specific share; a negative share offsets others."""
    specific: FloatVector


def model_risk(
    sample: FloatCube, available: NDArray[np.bool_], beta: FloatMatrix, weight: FloatMatrix, resid_sd: FloatMatrix
) -> ModelRisk:
    """b'Fb + Σ w² resid_sd²; sample (g, F, F), beta and available (g, F), weight and resid_sd (g, K; NaN uncovered)."""
    known = np.where(available, beta, 0.0)
    by_factor = known * (sample * known[:, None, :]).sum(axis=-1)
    covered = np.isfinite(resid_sd)
    own = np.where(covered, (weight * np.where(covered, resid_sd, 0.0)) ** 2, 0.0).sum(axis=-1)
    total = by_factor.sum(axis=-1) + own
    total = np.where(available[:, 0], total, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        positive = total > 0.0
        return ModelRisk(
            np.sqrt(total * SESSIONS_A_YEAR),
            np.where(positive[:, None], by_factor / total[:, None], np.nan),
            np.where(positive, own / total, np.nan),
        )


assert STRESS_WINDOW == CORRELATION_WINDOW, "one window serves both"
assert FACTORS[0].name == "market", "the market stands first"
