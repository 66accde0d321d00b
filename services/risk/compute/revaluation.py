"""The options of a stack that can be revalued in full, and what that adds to its series (docs/methods.md §5, §8)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from services.risk.compute.inputs import Book, PortfolioGroup
from services.risk.compute.tail_parts import ReturnsOf
from shared.arrays import FloatCube, FloatMatrix, FloatVector, IntVector
from shared.market.option_terms import Terms


def full_returns(
    book: Book, stack: PortfolioGroup, series: FloatMatrix, returns: ReturnsOf
) -> tuple[FloatMatrix, ReturnsOf]:
    """(the portfolio's series, the returns of a unit's holdings) with options revalued in full instead of by their deltas.

    series : (g, LOOKBACK) with deltas. returns : of the underlyings. Without options both come back as they are; else the holdings'
    returns are a unit's of *value*, to be weighted by exposure: what the option returned over its leverage.
    """
    options = list(find_revalued_options(book, stack))
    if not options:
        return series, returns
    corrected, weight = series.copy(), stack.exposure_weight
    own: dict[int, dict[int, FloatVector]] = {}
    for i, j, terms in options:
        if stack.leverage[i, j] == 0.0:
            continue
        moves = returns(np.array([i]))[0, j]
        own.setdefault(i, {})[j] = terms.returns(moves) / stack.leverage[i, j]
        corrected[i] += weight[i, j] * (own[i][j] - moves)

    def of(units: IntVector) -> FloatCube:
        found = np.array(returns(units))
        for place, unit in enumerate(units.tolist()):
            for j, values in own.get(unit, {}).items():
                found[place, j] = values
        return found

    return corrected, of


def find_revalued_options(book: Book, stack: PortfolioGroup) -> Iterator[tuple[int, int, Terms]]:
    """(unit, holding, terms) of the stack's options that have a volatility."""
    if book.deltas is None or not book.deltas.terms:
        return
    known = book.deltas.terms
    for i, holdings in enumerate(stack.holdings.tolist()):
        for j, holding in enumerate(holdings):
            if (terms := known.get(holding)) is not None:
                yield i, j, terms
