"""What an option contract is worth after its underlying has moved (docs/methods.md §5).

Black and Scholes at the session's implied volatility, rate and time to expiry, as the greeks have them. A delta alone understates what a
short option loses in a large move, by more than half in a crash.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shared.arrays import FloatVector

_normal = np.frompyfunc(lambda x: 0.5 * math.erfc(-x / math.sqrt(2.0)), 1, 1)


@dataclass(frozen=True, slots=True)
class Terms:
    """One share of a contract on a session."""

    sign: int
    """1 for a call, -1 for a put."""
    spot: float
    strike: float
    years: float
    rate: float
    volatility: float
    price: float

    @property
    def leverage(self) -> float:
        """Money exposed to the underlying for each unit of the option's value: delta · S / P."""
        root = self.volatility * math.sqrt(self.years)
        d1 = (math.log(self.spot / self.strike) + (self.rate + 0.5 * self.volatility**2) * self.years) / root
        return self.sign * float(_normal(self.sign * d1)) * self.spot / self.price

    def returns(self, moves: FloatVector, volatility: FloatVector | None = None) -> FloatVector:
        """Return of the option when its underlying returns `moves` (decimal, at least -1) at once; 0 where nothing moves.

        What it is worth by the formula then, less what it is worth by it now, over the price: a price without time value may lie a little
        beside the formula, and no more than all of it is lost. volatility : of each move, a year; by default the session's own
        """
        sigma = self.volatility if volatility is None else volatility
        spot = self.spot * (1.0 + np.maximum(moves, -1.0))
        change = self._worth(spot, sigma) - self._worth(np.array([self.spot]), self.volatility)[0]
        return np.where((moves == 0.0) & (sigma == self.volatility), 0.0, np.maximum(change / self.price, -1.0))

    def _worth(self, spot: FloatVector, sigma: FloatVector | float) -> FloatVector:
        """Of one share by the formula at each spot."""
        bond = self.strike * math.exp(-self.rate * self.years)
        root = sigma * math.sqrt(self.years)
        with np.errstate(divide="ignore"):
            d1 = (np.log(spot / self.strike) + (self.rate + 0.5 * sigma**2) * self.years) / root
        up = _normal(self.sign * d1).astype(np.float64)
        down = _normal(self.sign * (d1 - root)).astype(np.float64)
        return np.where(spot > 0.0, self.sign * (spot * up - bond * down), max(0.0, -self.sign * bond))

    def shock_volatility(self, relative: FloatVector, points: FloatVector) -> FloatVector:
        """Volatility times (1 + relative) plus points (0.10: ten points), at least a thousandth."""
        found: FloatVector = np.maximum(self.volatility * (1.0 + relative) + points, 1e-3)
        return found
