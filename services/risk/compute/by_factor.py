"""Losses by factor (docs/methods.md §8, §9): in the expected shortfall, and in the likeliest move that loses a given amount."""

from __future__ import annotations

import numpy as np

from services.risk.compute.factor_model import FactorModel
from services.risk.compute.inputs import Panel, PortfolioGroup
from services.risk.compute.reasons import Document, nullable
from shared.arrays import BoolMatrix, FloatMatrix, FloatVector
from shared.market.registry import ES_LEVEL, FACTOR_NAMES, REVERSE_LOSS, STRESS_CAP_SESSIONS


def es_factors(
    panel: Panel,
    model: FactorModel,
    stack: PortfolioGroup,
    series: FloatMatrix,
    since: BoolMatrix,
    beta: FloatMatrix,
    var: FloatVector,
    es: FloatVector,
) -> list[Document | None]:
    """By unit, what each factor and the rest have in the one-day historical ES at 97.5 %; None where ES or exposures are unknown.

    A factor's: minus the mean of beta_k f_k over the days at or below the quantile, with the betas of the session and the market's return
    or the residual r_k - b_k m of the proxy on that day; what is specific is the rest, so that they sum to the ES.
    series, since : (g, LOOKBACK) the portfolio's and which count; beta (g, F) joint; var, es (g,) of that level.
    """
    s = stack.sessions
    unit, day = np.nonzero(since & (series <= -var[:, None]))
    windows = panel.windows()
    moved = windows[np.maximum(panel.proxies[s[unit]], 0), s[unit, None], day[:, None]]
    market = moved[:, :1].copy()
    moved = moved - model.slopes[s[unit]] * market
    moved[:, :1] = market
    available = model.available[s]
    # A proxy that has no return of a day that far back moved nothing then; the day is in what is specific.
    moved = np.where(available[unit] & np.isfinite(moved), moved, 0.0)
    count = np.bincount(unit, minlength=len(s))
    total = np.zeros((len(s), len(FACTOR_NAMES)))
    for k in range(total.shape[1]):
        total[:, k] = np.bincount(unit, weights=moved[:, k], minlength=len(s))
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = -np.where(available, beta, 0.0) * total / count[:, None]
    specific = es - parts.sum(axis=1)
    known = np.isfinite(specific) & available[:, 0]
    return [
        {
            "level": ES_LEVEL,
            "factors": {name: value for name, value, there in zip(FACTOR_NAMES, row, own, strict=True) if there},
            "specific": rest,
        }
        if good
        else None
        for row, own, rest, good in zip(
            nullable(parts), available.tolist(), nullable(specific), known.tolist(), strict=True
        )
    ]


def reverse_stress(model: FactorModel, stack: PortfolioGroup, beta: FloatMatrix) -> list[Document | None]:
    """By unit, the likeliest joint move of the factors that loses `REVERSE_LOSS` of NAV by the betas: -x Σb / (b'Σb), Σ the covariance of
    the market and the residuals with half-life 63. None where the exposures are unknown or nothing moves.

    sigmas : how many standard deviations of a quarter that is. shocks : returns of the raw proxies; null, all of them, where one would
    have to lose all or more: then there is no such move. beta (g, F) joint.
    """
    s = stack.sessions
    available = model.available[s]
    b = np.where(available, beta, 0.0)
    spread = (model.recent[s] * b[:, None, :]).sum(axis=-1)
    variance = (b * spread).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        residual = -REVERSE_LOSS * spread / variance[:, None]
        sigmas = REVERSE_LOSS / np.sqrt(variance * STRESS_CAP_SESSIONS)
    raw = residual + model.slopes[s] * residual[:, :1]
    raw[:, 0] = residual[:, 0]
    raw[(available & (raw <= -1.0)).any(axis=1)] = np.nan
    known = available[:, 0] & (variance > 0.0)
    return [
        {
            "loss": REVERSE_LOSS,
            "sigmas": size,
            "shocks": {name: value for name, value, there in zip(FACTOR_NAMES, row, own, strict=True) if there},
        }
        if good
        else None
        for row, own, size, good in zip(
            nullable(raw), available.tolist(), nullable(sigmas), known.tolist(), strict=True
        )
    ]
