"""The ratio of a split as the fraction of whole shares that was announced."""

from __future__ import annotations

from fractions import Fraction

# A ratio of whole shares, as splits are announced, if it is one within the digits that sources give.
_MOST_SHARES = 1000
_RATIO_ERROR = 1e-9


def ratio(number: float) -> Fraction:
    """The split ratio that a number stands for: 0.3333333333333333 is one for three, whatever digits a source cut off."""
    value = float(number)
    simple = Fraction(value).limit_denominator(_MOST_SHARES)
    return simple if abs(float(simple) / value - 1.0) <= _RATIO_ERROR else Fraction(repr(value))
