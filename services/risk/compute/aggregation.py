"""Factor exposures of portfolios from those of their holdings (docs/methods.md §5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.risk.compute.inputs import Book, Panel, PortfolioGroup, has_series
from shared.arrays import FloatCube, FloatMatrix
from shared.market.registry import COVERAGE_GATE


@dataclass(frozen=True, slots=True)
class Exposures:
    """Exposures of g portfolios to m factors. NaN is unknown."""

    beta: FloatMatrix
    """(g, m) Σ weight · beta; unknown where NAV is not positive or too little of the portfolio is covered."""
    money: FloatMatrix
    """(g, m) Σ value · beta; unknown where too little is covered."""
    covered_weight: FloatMatrix
    """(g, m) gross value with a beta over gross value; 1 where nothing is held."""
    limited: NDArray[np.bool_]
    """(g, m) whether a beta that enters rests on a short history."""
    betas: FloatCube
    """(g, K, m) of the holdings; NaN where uncovered."""


def eligible(panel: Panel, book: Book, stack: PortfolioGroup) -> NDArray[np.bool_]:
    """(g, K) holdings that a symbol's betas describe: public ones and options with a delta, at a price that is evidence.

    An option without a delta and a private holding are uncovered, which is not the same as an exposure of zero.
    """
    good: NDArray[np.bool_] = has_series(panel.kinds[stack.source]) & ~book.unpriceable[stack.holdings]
    return good


def aggregate(panel: Panel, book: Book, stack: PortfolioGroup, facts: FloatCube) -> Exposures:
    """Aggregate `facts` (S, N, m) over the holdings of each unit, in the symbols' sorted order."""
    betas = facts[stack.sessions[:, None], stack.source]
    betas = np.where(eligible(panel, book, stack)[:, :, None], betas, np.nan)
    covered = np.isfinite(betas)
    money = _over_holdings(np.where(covered, betas * stack.exposure[:, :, None], 0.0))
    gross = np.ascontiguousarray(stack.gross).sum(axis=-1)[:, None]
    good = _over_holdings(np.where(covered, stack.gross[:, :, None], 0.0))
    covered_weight = np.divide(good, gross, out=np.ones_like(good), where=gross > 0.0)
    money = np.where(covered_weight >= COVERAGE_GATE, money, np.nan)
    limited: NDArray[np.bool_] = np.any(
        covered & panel.limited[stack.sessions[:, None], stack.source][:, :, None], axis=1
    )
    return Exposures(money / stack.nav[:, None], money, covered_weight, limited, betas)


def _over_holdings(values: FloatCube) -> FloatMatrix:
    """Sum (g, K, m) over K as the last contiguous axis, so that its order depends on K alone."""
    total: FloatMatrix = np.ascontiguousarray(values.transpose(0, 2, 1)).sum(axis=-1)
    return total
