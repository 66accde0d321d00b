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
from shared.arrays import FloatCube, FloatMatrix
from shared.market.registry import FACTOR_NAMES, RATES, STRESS_CAP_SESSIONS, STRESS_CAP_SIGMAS

SMALLEST = 1e-12  # of a variance: what of it the other factors do not explain is nothing but rounding below that
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


def all_shocks(scenarios: Scenarios, model: FactorModel, sessions: Sequence[date]) -> list[Shocks]:
    """Direct and propagated factor shocks of every scenario on every session."""
    return _shocks(scenarios, scenarios.scenarios, model, sessions)


def shocks(scenarios: Scenarios, scenario: Scenario, model: FactorModel, sessions: Sequence[date]) -> Shocks:
    """The shocks of one scenario."""
    return _shocks(scenarios, (scenario,), model, sessions)[0]


def _shocks(
    scenarios: Scenarios, asked: Sequence[Scenario], model: FactorModel, sessions: Sequence[date]
) -> list[Shocks]:
    """Arrays are (C, S, F); what is scripted, (C, 1, F)."""
    count, factors = model.available.shape
    is_scripted = np.zeros((len(asked), 1, factors), dtype=np.bool_)
    for c, scenario in enumerate(asked):
        is_scripted[c, 0, list(scenario.scripted())] = True
    there = (model.available | ~is_scripted).all(axis=2) & model.available[:, 0]
    good = there.copy()
    scripted = np.zeros((len(asked), count, factors))
    durations = [scenarios.duration_on(session) for session in sessions]
    dated = np.array([of is not None for of in durations])
    for c, scenario in enumerate(asked):
        if scenario.rates_bp is not None:
            good[c] &= dated
        for name, value in scenario.shocks.items():
            scripted[c, good[c], FACTOR_NAMES.index(name)] = value
        if scenario.rates_bp is not None:
            moved = [0.0 if of is None else of.proxy_return(scenario.rates_bp) for of in durations]
            scripted[c, good[c], FACTOR_NAMES.index(RATES)] = np.array(moved)[good[c]]
    direct = np.where(is_scripted, scripted - model.slopes * scripted[:, :, :1], 0.0)
    direct[:, :, 0] = scripted[:, :, 0]
    mean = _means(model, scripted, is_scripted, good)
    raw, propagated, capped = _cap(model, mean, is_scripted, good)
    return [
        Shocks(scenario, _reasons(good[c], there[c]), scripted[c], direct[c], raw[c], propagated[c], capped[c])
        for c, scenario in enumerate(asked)
    ]


def _reasons(good: NDArray[np.bool_], there: NDArray[np.bool_]) -> tuple[str | None, ...]:
    if good.all():
        return (None,) * len(good)
    return tuple(
        None if fine else NO_DURATION if proxies else NO_PROXY
        for fine, proxies in zip(good.tolist(), there.tolist(), strict=True)
    )


def _means(
    model: FactorModel, scripted: FloatCube, is_scripted: NDArray[np.bool_], good: NDArray[np.bool_]
) -> FloatCube:
    """(C, S, F) raw returns: scripted where scripted, else the conditional means Σ_us Σ_ss⁻¹ s_s in the space r_k = b_k m + Z_k; 0 on
    sessions that are not good. Scenarios with the same script are solved together."""
    covariance = model.slopes[:, :, None] * model.slopes[:, None, :] * model.recent[:, :1, :1] + model.recent
    covariance[:, 0, 0] = model.recent[:, 0, 0]
    implied = np.zeros_like(scripted)
    patterns, which = np.unique(is_scripted[:, 0], axis=0, return_inverse=True)
    for p, pattern in enumerate(patterns):
        same, index = np.flatnonzero(which.reshape(-1) == p), np.flatnonzero(pattern)
        weights = _solve(covariance[:, index[:, None], index], scripted[same][:, :, index])
        # Elementwise, factor by factor: no order of addition is left to the number of sessions or scenarios.
        mean = np.zeros((len(same), *scripted.shape[1:]))
        for j, k in enumerate(index.tolist()):
            mean += covariance[:, :, k] * weights[:, :, j, None]
        implied[same] = mean
    return np.where(good[:, :, None], np.where(is_scripted, scripted, implied), scripted)


def _solve(of: FloatCube, given: FloatCube) -> FloatCube:
    """of (S, k, k) covariances, given (C, S, k): what solves each session's equations, by L D L' written out over the sessions.

    Scripted proxies that move as one leave no unique answer; the sessions that have such take the smallest, by the pseudo-inverse. An
    unavailable proxy's row is 0, and with it all of its session's answer that is ever looked at.
    """
    k = of.shape[1]
    lower, pivot = np.zeros_like(of), np.empty(of.shape[:2])
    found = given.copy()
    with np.errstate(invalid="ignore", divide="ignore"):
        for i in range(k):
            for j in range(i):
                dot = of[:, i, j].copy()
                for m in range(j):
                    dot -= lower[:, i, m] * pivot[:, m] * lower[:, j, m]
                lower[:, i, j] = dot / pivot[:, j]
            pivot[:, i] = of[:, i, i]
            for m in range(i):
                pivot[:, i] -= lower[:, i, m] ** 2 * pivot[:, m]
                found[:, :, i] -= lower[:, i, m] * found[:, :, m]
        for i in reversed(range(k)):
            found[:, :, i] /= pivot[:, i]
            for m in range(i + 1, k):
                found[:, :, i] -= lower[:, m, i] * found[:, :, m]
        single = ~(pivot > SMALLEST * np.einsum("sii->si", of)).all(axis=1)
    if single.any():
        inverse = np.linalg.pinv(of[single], rcond=SMALLEST, hermitian=True)
        found[:, single] = np.matmul(inverse, given[:, single, :, None])[..., 0]
    return found


def _cap(
    model: FactorModel, mean: FloatCube, is_scripted: NDArray[np.bool_], good: NDArray[np.bool_]
) -> tuple[FloatCube, FloatCube, NDArray[np.bool_]]:
    """(raw, market and residual shocks, capped): implied shocks within ±3σ√63, scripted ones as scripted."""
    limit = CAP * np.sqrt(np.einsum("sii->si", model.recent))
    implied = mean - model.slopes * mean[:, :, :1]
    implied[:, :, 0] = mean[:, :, 0]
    keep = model.available & good[:, :, None]
    free = ~is_scripted & keep
    bounded = np.clip(implied, -limit, limit)
    capped = free & (np.abs(implied) > limit)
    shock = np.where(free, bounded, implied)
    market = shock[:, :, :1]
    # A scripted proxy keeps its own return whatever the market does: its residual takes up the rest.
    shock = np.where(is_scripted, mean - model.slopes * market, shock)
    shock[:, :, 0] = market[:, :, 0]
    raw = np.where(is_scripted, mean, model.slopes * market + shock)
    raw[:, :, 0] = market[:, :, 0]
    return np.where(keep, raw, 0.0), np.where(keep, shock, 0.0), capped


@dataclass(frozen=True, slots=True)
class Loss:
    """Profit and loss of g portfolios in C scenarios, in money; both attributions sum to the total."""

    money: FloatMatrix
    """(g, C)."""
    by_factor: FloatCube
    """(g, C, F)."""
    by_position: FloatCube
    """(g, C, K); NaN where uncovered."""


def apply(value: FloatMatrix, betas: FloatCube, shock: FloatCube, leverage: FloatMatrix | None = None) -> Loss:
    """Revalue holdings in C scenarios: value and leverage (g, K), betas (g, K, F; NaN uncovered or unavailable), shock (g, C, F).

    What a holding moves with returns β_m s_m + Σ β_k e_k, the holding `leverage` (default 1) times that; both are floored at -100 %,
    factor contributions scaled pro rata: a long, of an option too, loses at most its value, a short gains at most its value. Products are
    (C, F) by (F, K) and (C, K) by (K, F) of one portfolio.
    """
    known = np.isfinite(betas)
    covered = known[:, None, :, 0]
    exposed = np.where(known & known[:, :, :1], betas, 0.0)
    total = np.matmul(shock, exposed.transpose(0, 2, 1))
    scale = np.divide(-1.0, total, out=np.ones_like(total), where=total < -1.0)
    if leverage is not None and (leverage != 1.0).any():
        own = leverage[:, None] * np.maximum(total, -1.0)
        scale *= leverage[:, None] * np.divide(-1.0, own, out=np.ones_like(own), where=own < -1.0)
    scale *= value[:, None]
    by_factor = shock * np.matmul(scale, exposed)
    # An uncovered holding's betas are 0 by now, so it adds nothing.
    total *= scale
    return Loss(total.sum(axis=-1), by_factor, np.where(covered, total, np.nan))
