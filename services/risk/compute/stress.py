"""Stress: what a scenario does to the factors, and what that does to portfolios (docs/methods.md §9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from services.risk.compute.factor_model import FactorModel
from services.risk.compute.reasons import NO_DURATION, NO_PROXY
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


def every(scenarios: Scenarios, model: FactorModel, sessions: Sequence[date]) -> list[Shocks]:
    """Direct and propagated factor shocks of every scenario on every session."""
    implied = _Implied(model)
    return [_shocks(scenarios, scenario, model, sessions, implied) for scenario in scenarios.scenarios]


def shocks(scenarios: Scenarios, scenario: Scenario, model: FactorModel, sessions: Sequence[date]) -> Shocks:
    """The shocks of one scenario."""
    return _shocks(scenarios, scenario, model, sessions, _Implied(model))


def _shocks(
    scenarios: Scenarios, scenario: Scenario, model: FactorModel, sessions: Sequence[date], implied: _Implied
) -> Shocks:
    count, factors = model.available.shape
    index = list(scenario.scripted())
    scripted = np.zeros((count, factors))
    there = model.available[:, index].all(axis=1) & model.available[:, 0]
    good = there.copy()
    # What a script says changes only where another duration begins.
    dated = np.array([duration.as_of for duration in scenarios.durations], dtype="datetime64[D]")
    period = np.searchsorted(dated, np.array(sessions, dtype="datetime64[D]"), side="right")
    for begins in np.unique(period).tolist():
        within = period == begins
        on = scenarios.shocks_on(scenario, sessions[int(within.argmax())])
        good &= ~within | (on is not None)
        if on is not None:
            scripted[np.ix_(within & there, index)] = list(on.values())
    reasons = tuple(
        None if fine else NO_DURATION if proxies else NO_PROXY
        for fine, proxies in zip(good.tolist(), there.tolist(), strict=True)
    )
    is_scripted = np.zeros(factors, dtype=np.bool_)
    is_scripted[index] = True
    direct = np.where(is_scripted, scripted - model.slopes * scripted[:, :1], 0.0)
    direct[:, 0] = scripted[:, 0]
    mean = implied.mean(scripted, is_scripted, good)
    raw, propagated, capped = _cap(model, mean, is_scripted, good)
    return Shocks(scenario, reasons, scripted, direct, raw, propagated, capped)


class _Implied:
    """Conditional means: Σ_us Σ_ss⁻¹ s_s in the space r_k = b_k m + Z_k. Scenarios with the same script share the inverse."""

    def __init__(self, model: FactorModel) -> None:
        raw = model.slopes[:, :, None] * model.slopes[:, None, :] * model.recent[:, :1, :1] + model.recent
        raw[:, 0, 0] = model.recent[:, 0, 0]
        self._raw = raw
        self._inverse: dict[tuple[int, ...], FloatCube] = {}

    def mean(self, scripted: FloatMatrix, is_scripted: NDArray[np.bool_], good: NDArray[np.bool_]) -> FloatMatrix:
        """(S, F) raw returns: scripted where scripted, else implied; 0 on sessions that are not good."""
        index = np.flatnonzero(is_scripted)
        key = tuple(index.tolist())
        if key not in self._inverse:
            # Scripted proxies that move as one leave no unique answer: pinv takes the smallest. An unavailable proxy's
            # row is 0, and with it all of its session's inverse that is ever looked at.
            within = self._raw[:, index[:, None], index]
            inverse: FloatCube = np.linalg.pinv(within, rcond=1e-12, hermitian=True).astype(np.float64, copy=False)
            self._inverse[key] = inverse
        weights = np.matmul(self._inverse[key], scripted[:, index, None])[:, :, 0]
        implied = (np.ascontiguousarray(self._raw[:, :, index]) * weights[:, None, :]).sum(axis=-1)
        return np.where(good[:, None], np.where(is_scripted, scripted, implied), scripted)


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
    """Profit and loss of g portfolios (in C scenarios), in money; both attributions sum to the total."""

    money: FloatVector
    """(g,) or (g, C)."""
    by_factor: FloatMatrix
    """(g, F) or (g, C, F)."""
    by_position: FloatMatrix
    """(g, K) or (g, C, K); NaN where uncovered."""


def apply(value: FloatMatrix, betas: FloatCube, shock: FloatMatrix, leverage: FloatMatrix | None = None) -> Loss:
    """Revalue holdings: value and leverage (g, K), betas (g, K, F; NaN uncovered or unavailable), shock (g, F).

    For C scenarios at once value and leverage are (g, 1, K), betas (g, 1, K, F) and shock (g, C, F). What a holding moves with
    returns β_m s_m + Σ β_k e_k, the holding `leverage` (default 1) times that; both are floored at -100 %, factor contributions scaled
    pro rata: a long, of an option too, loses at most its value, a short gains at most its value.
    """
    known = np.isfinite(betas)
    covered = known[..., 0]
    contribution = np.where(known & covered[..., None], betas, 0.0) * shock[..., None, :]
    total = contribution.sum(axis=-1)
    floored = total < -1.0
    if leverage is not None and (leverage != 1.0).any():
        scale = leverage * np.divide(-1.0, total, out=np.ones_like(total), where=floored)
        own = leverage * np.maximum(total, -1.0)
        scale *= np.divide(-1.0, own, out=np.ones_like(own), where=own < -1.0)
        contribution *= (scale * value)[..., None]
    elif floored.any():
        scale = np.divide(-1.0, total, out=np.ones_like(total), where=floored)
        contribution *= (scale * value)[..., None]
    else:
        contribution *= value[..., None]
    by_position = np.where(covered, contribution.sum(axis=-1), np.nan)
    by_factor = np.ascontiguousarray(contribution.swapaxes(-1, -2)).sum(axis=-1)
    whole = np.where(covered, by_position, 0.0).sum(axis=-1)
    return Loss(whole, by_factor, by_position)
