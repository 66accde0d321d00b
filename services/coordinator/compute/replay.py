"""A stretch of the past once more, with what is held now (docs/methods.md §9): by the factors' returns, and by the holdings' own. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from shared.arrays import BoolMatrix, FloatMatrix, FloatVector
from shared.market.option_terms import Terms
from shared.market.registry import COVERAGE_GATE

NO_OPTIONS: Mapping[int, Terms] = MappingProxyType({})


def compound(returns: FloatMatrix, ends: FloatMatrix) -> FloatVector:
    """(n,) total returns over T sessions; NaN unknown.

    returns : (n, T) daily total returns. ends : (n, 2) adjusted closes on the session before the first and on the last: their ratio
    stands where a daily return is missing.
    """
    whole: BoolMatrix = np.asarray(np.isfinite(returns).all(axis=1))
    product = np.prod(1.0 + np.where(whole[:, None], returns, 0.0), axis=1) - 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = ends[:, 1] / ends[:, 0] - 1.0
    return np.where(whole, product, np.where(np.isfinite(ratio), ratio, np.nan))


def total(value: FloatVector, gross: FloatVector, moved: FloatVector) -> tuple[float, float]:
    """(money, gross value of what is not in it): NaN where less than 0.80 of gross value is in it. All (K,), NaN in `moved` unknown."""
    there = np.isfinite(moved)
    whole, without = float(gross.sum()), float(gross[~there].sum())
    if whole > 0.0 and whole - without < COVERAGE_GATE * whole:
        return float("nan"), without
    return float((value * np.where(there, moved, 0.0)).sum()), without


@dataclass(frozen=True, slots=True)
class ByFactors:
    """Of K holdings; NaN where uncovered."""

    returns: FloatVector
    """(K,) of each holding's own value."""
    money: FloatVector
    """(K,)."""
    factors: FloatVector
    """(F,) money; their sum is the sum of `money`."""


def option_return(terms: Terms, move: float) -> float:
    """What an option returns when its underlying returns `move` at once, at most all lost; NaN of one that is unknown."""
    return float(terms.returns(np.array([move]))[0]) if np.isfinite(move) else float("nan")


def by_factors(
    value: FloatVector,
    exposure: FloatVector,
    betas: FloatMatrix,
    slopes: FloatVector,
    shocks: FloatVector,
    options: Mapping[int, Terms] = NO_OPTIONS,
) -> ByFactors:
    """value, exposure (K,) signed money; betas (K, F) of the joint set, the market first; slopes (F,) of the proxies on the market;
    shocks (F,) raw returns of the proxies, NaN where there is none: its residual is then 0.

    What a holding moves with returns β_m s_m + Σ β_k (s_k - b_k s_m), at worst -1; the holding moves exposure / value times that, at
    worst -1 too: a long option loses at most its value, a short gains at most its value. Factors are scaled pro rata where floored.
    options : by place, those that are revalued in full at what their underlying moves, instead of by their delta
    """
    own = shocks - slopes * shocks[0]
    own[0] = shocks[0]
    own = np.where(np.isfinite(own), own, 0.0)
    covered = np.isfinite(betas[:, 0]) & np.isfinite(exposure)
    parts = np.where(np.isfinite(betas) & covered[:, None], betas, 0.0) * own
    total = parts.sum(axis=1)
    leverage = np.divide(exposure, value, out=np.ones_like(value), where=covered & (value != 0.0))
    moved = np.maximum(leverage * np.maximum(total, -1.0), -1.0)
    for k, terms in options.items():
        moved[k] = option_return(terms, float(total[k]))
    scale = np.divide(moved, total, out=np.zeros_like(total), where=total != 0.0)
    factors = (value * scale) @ parts
    return ByFactors(np.where(covered, moved, np.nan), np.where(covered, value * moved, np.nan), factors)
