"""Stress: what a scenario does to the factors, and what that does to portfolios (docs/methods.md §9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from services.risk.compute.factor_model import FactorModel
from services.risk.compute.scenarios import Scenario, Scenarios
from services.risk.compute.scripts import QUARTER, Scripts, scripts
from shared.arrays import BoolCube, BoolMatrix, FloatCube, FloatMatrix
from shared.market.registry import IMPLAUSIBLE_SIGMAS, STRESS_CAP_SIGMAS

SMALLEST = 1e-12  # of a variance: what of it the other factors do not explain is nothing but rounding below that


@dataclass(frozen=True, slots=True)
class Shocks:
    """One scenario on S sessions, F factors. Unavailable factors are 0; the rows of withheld sessions are 0 too."""

    scenario: Scenario
    reasons: tuple[str | None, ...]
    """(S,) why the scenario is withheld on that session."""
    scripted: FloatMatrix
    """(S, F) as scripted, 0 elsewhere: raw returns, or residual shocks where the script is relative."""
    direct: FloatMatrix
    """(S, F) market shock and residual shocks e_k = s_k - b_k s_m; an unscripted market is 0, an unscripted residual 0."""
    raw: FloatMatrix
    """(S, F) propagated returns of the raw proxies."""
    propagated: FloatMatrix
    """(S, F) the same as market and residual shocks."""
    capped: BoolMatrix
    """(S, F)."""
    implausible: BoolMatrix
    """(S, F) scripted residuals beyond what a quarter brings."""
    not_replayed: BoolMatrix
    """(S, F) factors of a replay without a proxy, or whose proxy it has no return of."""


def all_shocks(scenarios: Scenarios, model: FactorModel, sessions: Sequence[date]) -> list[Shocks]:
    """Direct and propagated factor shocks of every scenario on every session."""
    return _shocks(scenarios, scenarios.scenarios, model, sessions)


def shocks(scenarios: Scenarios, scenario: Scenario, model: FactorModel, sessions: Sequence[date]) -> Shocks:
    """The shocks of one scenario."""
    return _shocks(scenarios, (scenario,), model, sessions)[0]


def _shocks(
    scenarios: Scenarios, asked: Sequence[Scenario], model: FactorModel, sessions: Sequence[date]
) -> list[Shocks]:
    script = scripts(scenarios, asked, model, sessions)
    of, value, stated = script.scripted, script.value, script.scripted & ~script.relative
    direct = np.where(stated, value - model.slopes * value[:, :, :1], np.where(of, value, 0.0))
    direct[:, :, 0] = value[:, :, 0]
    mean = _means(model, script)
    raw, propagated, capped, implausible = _cap(model, mean, script)
    return [
        Shocks(
            scenario, script.reasons[c], value[c], direct[c], raw[c], propagated[c], capped[c], implausible[c],
            script.not_replayed[c],
        )
        for c, scenario in enumerate(asked)
    ]  # fmt: skip


def _means(model: FactorModel, script: Scripts) -> FloatCube:
    """(C, S, F) raw returns: scripted where scripted, else the conditional means Σ_us Σ_ss⁻¹ s_s; 0 on sessions that are not good.

    What is scripted is a return r_k = a_k m + Z_k with a_k = b_k, or, where the script is relative, the residual alone: a_k = 0. Cells
    (scenario, session) with the same factors scripted in the same way are solved together.
    """
    factors = model.slopes.shape[1]
    loading = np.where(script.relative, 0.0, model.slopes)
    variance = model.recent[:, 0, 0]
    bits = 1 << np.arange(factors)
    pattern = script.scripted @ bits + ((script.scripted & script.relative) @ bits << factors)
    implied = np.zeros_like(script.value)
    for each in np.unique(pattern[script.good]).tolist():
        c, s = np.nonzero((pattern == each) & script.good)
        index = np.flatnonzero(script.scripted[c[0], s[0]])
        load, recent, market = loading[c, s][:, index], model.recent[s], variance[s]
        given = load[:, :, None] * load[:, None, :] * market[:, None, None] + recent[:, index[:, None], index]
        if index[0] == 0:
            given[:, 0, 0] = market
        weights = _solve(given, script.value[c, s][:, index])
        # Elementwise, factor by factor: no order of addition is left to the number of sessions or scenarios.
        mean = np.zeros((len(c), factors))
        for j, k in enumerate(index.tolist()):
            covariance = model.slopes[s] * load[:, j, None] * market[:, None] + recent[:, :, k]
            if k == 0:
                covariance[:, 0] = market
            mean += covariance * weights[:, j, None]
        implied[c, s] = mean
    stated = script.scripted & ~script.relative
    return np.where(
        script.good[:, :, None], np.where(stated, script.value, implied), np.where(stated, script.value, 0.0)
    )


def _solve(of: FloatCube, given: FloatMatrix) -> FloatMatrix:
    """of (n, k, k) covariances, given (n, k): what solves each cell's equations, by L D L' written out over the cells.

    Scripted proxies that move as one leave no unique answer; the cells that have such take the smallest, by the pseudo-inverse. An
    unavailable proxy's row is 0, and with it all of its cell's answer that is ever looked at.
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
                found[:, i] -= lower[:, i, m] * found[:, m]
        for i in reversed(range(k)):
            found[:, i] /= pivot[:, i]
            for m in range(i + 1, k):
                found[:, i] -= lower[:, m, i] * found[:, m]
        single = ~(pivot > SMALLEST * np.einsum("sii->si", of)).all(axis=1)
    if single.any():
        inverse = np.linalg.pinv(of[single], rcond=SMALLEST, hermitian=True)
        found[single] = np.matmul(inverse, given[single, :, None])[..., 0]
    return found


def _cap(model: FactorModel, mean: FloatCube, script: Scripts) -> tuple[FloatCube, FloatCube, BoolCube, BoolCube]:
    """(raw, market and residual shocks, capped, implausible): implied shocks within ±3σ√63, scripted ones as scripted."""
    quarter = QUARTER * np.sqrt(np.einsum("sii->si", model.recent))
    limit = STRESS_CAP_SIGMAS * quarter
    implied = mean - model.slopes * mean[:, :, :1]
    implied[:, :, 0] = mean[:, :, 0]
    keep = model.available & script.good[:, :, None]
    free = ~script.scripted & keep
    stated = script.scripted & ~script.relative
    bounded = np.clip(implied, -limit, limit)
    capped = free & (np.abs(implied) > limit)
    shock = np.where(free, bounded, implied)
    market = shock[:, :, :1]
    # A scripted proxy keeps its own return whatever the market does: its residual takes up the rest.
    shock = np.where(stated, mean - model.slopes * market, np.where(script.scripted, script.value, shock))
    shock[:, :, 0] = market[:, :, 0]
    raw = np.where(stated, mean, model.slopes * market + shock)
    raw[:, :, 0] = market[:, :, 0]
    implausible = script.scripted & keep & (np.abs(shock) > IMPLAUSIBLE_SIGMAS * quarter)
    implausible[:, :, 0] = False
    return np.where(keep, raw, 0.0), np.where(keep, shock, 0.0), capped, implausible
