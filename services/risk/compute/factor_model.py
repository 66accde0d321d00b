"""The factors' own covariance on each session, in the space of the joint set: market and residuals (docs/methods.md §8, §9)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.risk.compute.inputs import PUBLIC, Panel
from services.risk.compute.series import blocks, mask_unused
from shared.arrays import BoolMatrix, FloatCube, FloatMatrix, FloatVector
from shared.market.registry import (
    CORRELATION_WINDOW,
    FACTOR_NAMES,
    FACTORS,
    GROWTH,
    JOINT_FACTORS,
    LOOKBACK,
    SESSIONS_A_YEAR,
    STRESS_HALF_LIFE,
    STRESS_WINDOW,
    VALUE,
    proxy_legs,
)


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
    proxies: list[list[str | None]] = field(default_factory=list)
    """By session and factor, the symbol that stands for it; replays ask for it."""
    legs: FloatCube = field(default_factory=lambda: np.empty((0, 2, 2)))
    """(S, 2, 2) of the funds of value and of growth: slope on the market, and what the axis moves for each unit of the fund's residual,
    Cov(axis, fund)/Var(fund) of the window; NaN unknown."""


EQUAL = np.full(STRESS_WINDOW, 1.0 / STRESS_WINDOW)
_DECAY = 0.5 ** (np.arange(STRESS_WINDOW - 1, -1, -1, dtype=np.float64) / STRESS_HALF_LIFE)
RECENT = _DECAY / _DECAY.sum()


def factor_model(panel: Panel) -> FactorModel:
    """The model of each session from its own proxies' last 252 returns."""
    sessions, factors = panel.proxies.shape
    windows = panel.windows()[:, :, -STRESS_WINDOW:]
    finite = np.isfinite(panel.returns)
    known = np.cumsum(np.concatenate([np.zeros((len(finite), 1), dtype=np.int32), finite], axis=1), axis=1)
    full = known[:, LOOKBACK:] - known[:, LOOKBACK - STRESS_WINDOW : -STRESS_WINDOW] == STRESS_WINDOW
    row, at = np.maximum(panel.proxies, 0), np.arange(sessions)[:, None]
    available = (panel.proxies >= 0) & np.isfinite(panel.slopes) & full[row, at]
    available &= available[:, :1] & np.array(JOINT_FACTORS)
    slopes = np.where(available, panel.slopes, 0.0)
    sample, recent = np.empty((2, sessions, factors, factors))
    for part in blocks(sessions):
        raw = mask_unused(
            windows[row[part], at[part]], np.broadcast_to(available[part, :, None], (*row[part].shape, STRESS_WINDOW))
        )
        residual = raw - slopes[part, :, None] * raw[:, :1]
        residual[:, 0] = raw[:, 0]
        sample[part], recent[part] = _gram(residual, EQUAL), _gram(residual, RECENT)
    recent[:, 0, 1:] = 0.0
    recent[:, 1:, 0] = 0.0
    both = available[:, :, None] & available[:, None, :]
    # Back from residuals to the raw proxies: r_k = b_k m + Z_k. The market is its own.
    own = slopes.copy()
    own[:, 0] = 0.0
    market = own[:, :, None] * sample[:, :1]
    covariance = own[:, :, None] * own[:, None, :] * sample[:, :1, :1] + market + market.transpose(0, 2, 1) + sample
    sd = np.sqrt(np.maximum(np.einsum("sii->si", covariance), 0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.where(both, np.clip(covariance / (sd[:, :, None] * sd[:, None, :]), -1.0, 1.0), np.nan)
    diagonal = np.arange(factors)
    correlation[:, diagonal, diagonal] = np.where(available & (sd > 0.0), 1.0, np.nan)
    sample *= STRESS_WINDOW / (STRESS_WINDOW - 1.0)
    sample[~both] = 0.0
    recent[~both] = 0.0
    return FactorModel(available, slopes, sample, recent, correlation, proxy_names(panel), _legs(panel, available))


def _legs(panel: Panel, available: BoolMatrix) -> FloatCube:
    """As `FactorModel.legs`. Where value is one fund less the market, growth's leg is the growth fund that stands by itself."""
    value, growth = FACTOR_NAMES.index(VALUE), FACTOR_NAMES.index(GROWTH)
    row = {symbol: n for n, symbol in enumerate(panel.symbols) if panel.kinds[n] == PUBLIC}
    windows = panel.windows()[:, :, -STRESS_WINDOW:]
    found = np.full((len(available), 2, 2), np.nan)
    for axis in np.unique(panel.proxies[available[:, value], value]).tolist():
        at = np.flatnonzero(available[:, value] & (panel.proxies[:, value] == axis))
        long, short = proxy_legs(panel.symbols[axis])
        alone = panel.proxies[at, growth]
        beside = np.full_like(alone, row.get(short, -1)) if short and short not in FACTORS[0].proxies else alone
        market, own = windows[panel.proxies[at, 0], at], windows[axis, at]
        own = _residual(own, market)[0]
        for leg, funds in enumerate((np.full_like(alone, row.get(long, -1)), beside)):
            fund, slope = _residual(windows[np.maximum(funds, 0), at], market)
            squares = np.vecdot(fund, fund)
            gain = np.divide(np.vecdot(own, fund), squares, out=np.full_like(squares, np.nan), where=squares > 0.0)
            found[at, leg] = np.where((funds >= 0)[:, None], np.stack([slope, gain], axis=-1), np.nan)
    return found


def _residual(returns: FloatMatrix, market: FloatMatrix) -> tuple[FloatMatrix, FloatVector]:
    """(n, 252) what OLS on the market leaves of the returns, and (n,) the slopes."""
    market = market - market.mean(axis=-1, keepdims=True)
    returns = returns - returns.mean(axis=-1, keepdims=True)
    squares = np.vecdot(market, market)
    slope = np.divide(np.vecdot(returns, market), squares, out=np.zeros_like(squares), where=squares > 0.0)
    return returns - slope[:, None] * market, slope


def proxy_names(panel: Panel) -> list[list[str | None]]:
    """By session and factor, the proxy that stood for it."""
    return [[panel.symbols[row] if row >= 0 else None for row in rows] for rows in panel.proxies.tolist()]


def _gram(values: FloatCube, weight: FloatVector) -> FloatCube:
    """Weighted covariance over the last axis: one (F, 252) by (252, F) product a session, always of that shape."""
    scaled = values - np.matmul(values, weight)[:, :, None]
    scaled *= np.sqrt(weight)
    product = np.matmul(scaled, scaled.transpose(0, 2, 1))
    symmetric: FloatCube = 0.5 * (product + product.transpose(0, 2, 1))
    return symmetric


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
