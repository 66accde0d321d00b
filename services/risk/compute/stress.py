"""Stress: what a scenario does to the factors, and what that does to portfolios (ANALYTICS §9)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.risk.compute.factor_model import FactorModel
from services.risk.compute.scenarios import Scenario, Scenarios
from shared.arrays import FloatCube, FloatMatrix, FloatVector
from shared.market.registry import STRESS_CAP_SESSIONS, STRESS_CAP_SIGMAS

CAP = STRESS_CAP_SIGMAS * float(np.sqrt(STRESS_CAP_SESSIONS))


@dataclass(frozen=True, slots=True)
class Shocks:
    """One scenario on S sessions, F factors. Unavailable factors are 0; the rows of withheld sessions are 0 too."""

    scenario: Scenario
    reasons: tuple[str | None, ...]
    """(S,) why the scenario is withheld on that session."""
    scripted: FloatMatrix
    """(S, F) raw returns as scripted, 0 elsewhere."""
    direct: FloatMatrix
    """(S, F) market shock and residual shocks e_k = s_k - b_k s_m; an unscripted market is 0, an unscripted residual 0."""
    raw: FloatMatrix
    """(S, F) propagated returns of the raw proxies."""
    propagated: FloatMatrix
    """(S, F) the same as market and residual shocks."""
    capped: NDArray[np.bool_]
    """(S, F)."""


def shocks(scenarios: Scenarios, scenario: Scenario, model: FactorModel, sessions: tuple[object, ...]) -> Shocks:
    """Direct and propagated factor shocks of one scenario on every session."""
    count, factors = model.available.shape
    index = list(scenario.scripted())
    scripted = np.zeros((count, factors))
    reasons: list[str | None] = []
    for s, session in enumerate(sessions):
        on = scenarios.shocks_on(scenario, session)  # type: ignore[arg-type]
        if not (model.available[s, index].all() and model.available[s, 0]):
            reasons.append("no_proxy")
        elif on is None:
            reasons.append("no_duration")
        else:
            scripted[s, index] = list(on.values())
            reasons.append(None)
    good = np.array([reason is None for reason in reasons])
    is_scripted = np.zeros(factors, dtype=np.bool_)
    is_scripted[index] = True
    direct = np.where(is_scripted, scripted - model.slopes * scripted[:, :1], 0.0)
    direct[:, 0] = scripted[:, 0]
    mean = _conditional_mean(model, scripted, is_scripted, good)
    raw, propagated, capped = _cap(model, mean, is_scripted, good)
    return Shocks(scenario, tuple(reasons), scripted, direct, raw, propagated, capped)


def _conditional_mean(
    model: FactorModel, scripted: FloatMatrix, is_scripted: NDArray[np.bool_], good: NDArray[np.bool_]
) -> FloatMatrix:
    """(S, F) raw returns: scripted where scripted, else Σ_us Σ_ss⁻¹ s_s, in the space r_k = b_k m + Z_k."""
    raw = model.slopes[:, :, None] * model.slopes[:, None, :] * model.recent[:, :1, :1] + model.recent
    raw[:, 0, 0] = model.recent[:, 0, 0]
    mean = scripted.copy()
    index = np.flatnonzero(is_scripted)
    at = np.flatnonzero(good)
    if not len(at) or not len(index):
        return mean
    within = raw[np.ix_(at, index, index)]
    # Scripted proxies that move as one leave no unique answer: pinv takes the smallest.
    weights = np.matmul(np.linalg.pinv(within, rcond=1e-12, hermitian=True), scripted[np.ix_(at, index)][:, :, None])[
        :, :, 0
    ]
    implied = (raw[np.ix_(at, np.arange(raw.shape[1]), index)] * weights[:, None, :]).sum(axis=-1)
    mean[at] = np.where(is_scripted, scripted[at], implied)
    return mean


def _cap(
    model: FactorModel, mean: FloatMatrix, is_scripted: NDArray[np.bool_], good: NDArray[np.bool_]
) -> tuple[FloatMatrix, FloatMatrix, NDArray[np.bool_]]:
    """(raw, market and residual shocks, capped): implied shocks within ±3σ√63, scripted ones as scripted."""
    limit = CAP * np.sqrt(np.einsum("sii->si", model.recent))
    implied = mean - model.slopes * mean[:, :1]
    implied[:, 0] = mean[:, 0]
    free = ~is_scripted & model.available & good[:, None]
    bounded = np.clip(implied, -limit, limit)
    capped = free & (np.abs(implied) > limit)
    shock = np.where(free, bounded, implied)
    market = shock[:, :1]
    # A scripted proxy keeps its own return whatever the market does: its residual takes up the rest.
    shock = np.where(is_scripted, mean - model.slopes * market, shock)
    shock[:, 0] = market[:, 0]
    raw = np.where(is_scripted, mean, model.slopes * market + shock)
    raw[:, 0] = market[:, 0]
    keep = model.available & good[:, None]
    return np.where(keep, raw, 0.0), np.where(keep, shock, 0.0), capped


@dataclass(frozen=True, slots=True)
class Loss:
    """Profit and loss of g portfolios, in money; both attributions sum to the total."""

    money: FloatVector
    by_factor: FloatMatrix
    """(g, F)."""
    by_position: FloatMatrix
    """(g, K); NaN where uncovered."""


def apply(value: FloatMatrix, betas: FloatCube, shock: FloatMatrix) -> Loss:
    """Revalue holdings: value (g, K) signed, betas (g, K, F; NaN uncovered or unavailable), shock (g, F).

    A holding's return β_m s_m + Σ β_k e_k is floored at -100 %, its factor contributions scaled pro rata: a long loses at
    most its value, a short gains at most its value.
    """
    known = np.isfinite(betas)
    covered = known[:, :, 0]
    contribution = np.where(known & covered[:, :, None], betas, 0.0) * shock[:, None, :]
    total = contribution.sum(axis=-1)
    floored = total < -1.0
    scale = np.divide(-1.0, total, out=np.ones_like(total), where=floored)
    money = contribution * (scale * value)[:, :, None]
    by_position = np.where(covered, money.sum(axis=-1), np.nan)
    by_factor = np.ascontiguousarray(money.transpose(0, 2, 1)).sum(axis=-1)
    whole = np.where(covered, by_position, 0.0).sum(axis=-1)
    return Loss(whole, by_factor, by_position)
