"""Quantities through splits, from the position's own record and never from yesterday's float."""

from __future__ import annotations

import bisect
from decimal import Decimal

import numpy as np

from services.snapshots.compute.model import Lots, Market
from services.snapshots.compute.money import EXACT
from shared.arrays import FloatMatrix, IntVector
from shared.market.split_ratio import ratio


class Quantities:
    """q_t = q · F(entry_date, t], exactly; F the product of the splits with entry_date < ex session <= t."""

    def __init__(self, lots: Lots, market: Market) -> None:
        self._lots = lots
        self._changes: dict[int, tuple[list[int], list[Decimal]]] = {}
        for lot in np.nonzero([bool(market.splits[column]) for column in lots.column])[0].tolist():
            days: list[int] = []
            quantities: list[Decimal] = []
            quantity = lots.quantity[lot]
            for ex, value in market.splits[lots.column[lot]]:
                if ex > lots.entry_day[lot]:
                    new = ratio(value)
                    quantity = EXACT.divide(EXACT.multiply(quantity, Decimal(new.numerator)), Decimal(new.denominator))
                    days.append(ex)
                    quantities.append(quantity)
            if days:
                self._changes[lot] = days, quantities

    def at(self, lot: int, day: int) -> Decimal:
        """Signed quantity at the end of a day, exact; without the multiplier."""
        days, quantities = self._changes.get(lot, ((), ()))
        index = bisect.bisect_right(days, day)
        return quantities[index - 1] if index else self._lots.quantity[lot]

    def factor(self, lot: int, day: int) -> float:
        """F(entry_date, day] as a float."""
        return float(EXACT.divide(self.at(lot, day), self._lots.quantity[lot]))

    def matrix(self, days: IntVector) -> FloatMatrix:
        """Shape (T, n), signed, whether or not the lot is open."""
        result = np.tile(np.array([float(q) for q in self._lots.quantity], dtype=np.float64), (len(days), 1))
        for lot, (changes, quantities) in self._changes.items():
            for ex, quantity in zip(changes, quantities, strict=True):
                result[np.searchsorted(days, ex) :, lot] = float(quantity)
        return result


def split_factors(market: Market, days: IntVector) -> FloatMatrix:
    """Shape (T, S + 1): new shares per old on the session, 1 where there is no split."""
    result = np.ones((len(days), len(market.splits)), dtype=np.float64)
    for column, splits in enumerate(market.splits):
        for ex, new_per_old in splits:
            row = int(np.searchsorted(days, ex))
            if row < len(days) and days[row] == ex:
                result[row, column] = new_per_old
    return result
