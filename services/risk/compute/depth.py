"""How far back the series of a portfolio rests on returns that were (docs/methods.md §7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.risk.compute.inputs import PortfolioGroup
from services.risk.compute.series import Filled, coverage
from shared.arrays import BoolMatrix, FloatMatrix, FloatVector, IntVector
from shared.market.registry import COVERAGE_GATE, LOOKBACK


@dataclass(frozen=True, slots=True)
class Depth:
    """Of g series. W is LOOKBACK less `first`: 0 where no session has enough behind it."""

    first: IntVector
    """(g,) column of the first session on which at least 80 % of gross value had returns of its own."""
    covered: FloatVector
    """(g,) share of gross value with returns of its own, over the sessions from there on; 0 without one."""

    def of(self, valid: BoolMatrix) -> BoolMatrix:
        """(g, LOOKBACK) the valid sessions from the first on."""
        since: BoolMatrix = valid & (np.arange(valid.shape[1]) >= self.first[:, None])
        return since


def depth_without_holes(stack: PortfolioGroup, counted: FloatMatrix) -> Depth:
    """Of units whose holdings have every return of the lookback. counted : (g, K) 0 where a price is no evidence, else 1."""
    covered = coverage(stack.gross, counted)
    good = covered >= COVERAGE_GATE
    return Depth(np.where(good, 0, LOOKBACK), np.where(good, covered, 0.0))


def depth_with_holes(filled: Filled, stack: PortfolioGroup, counted: FloatMatrix) -> Depth:
    """Of units with holes: session by session, an accumulation over holdings in their sorted order. Arguments as in
    `depth_without_holes`."""
    index = filled.find(stack.sessions[:, None], stack.source)
    gross = np.ascontiguousarray(stack.gross).sum(axis=-1)
    backed = np.zeros((len(stack.units), LOOKBACK))
    for holding in range(index.shape[1]):
        backed += (stack.gross[:, holding] * counted[:, holding])[:, None] * filled.real[index[:, holding]]
    share = np.divide(backed, gross[:, None], out=np.ones_like(backed), where=gross[:, None] > 0.0)
    return of_shares(share)


def of_shares(share: FloatMatrix) -> Depth:
    """From the share of value with returns of its own, (g, LOOKBACK) by session."""
    good = share >= COVERAGE_GATE
    first = np.where(good.any(axis=1), good.argmax(axis=1), LOOKBACK)
    within = np.arange(LOOKBACK) >= first[:, None]
    total = np.where(within, share, 0.0).sum(axis=1)
    return Depth(first, np.divide(total, LOOKBACK - first, out=np.zeros_like(total), where=first < LOOKBACK))
