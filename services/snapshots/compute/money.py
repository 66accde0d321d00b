"""Exact money: whole ten-thousandths in 64-bit integers.

The rounding rule, for every market value and every cash movement: the product of the quantity and the price *as the decimals they
are written as* (a float64 stands for its shortest decimal), rounded half-even to four places. Sums of such amounts are integer
sums: exact, and the same in any order. Rounding the float64 product instead would decide ties by noise in the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal

import numpy as np
from numpy.typing import NDArray

from shared.arrays import FloatMatrix
from shared.errors import PermanentError

UNITS = 10_000
PLACES = 4
# Ten trillion of the currency for one amount, and 4.6e14 for a sum: below them no integer here can overflow.
LARGEST = 10**17
LARGEST_SUM = 2**62
# Quantities have 28 digits, prices and split ratios 17 each; a hundred digits keep products of several of them exact.
EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)
# The float64 product of quantity, multiplier, price and 10^4 is within 3 units in the last place of the decimal one.
_RELATIVE_ERROR = 2.0**-49

IntMatrix = NDArray[np.int64]


class AmountTooLarge(PermanentError):
    """An amount that a ledger in ten-thousandths cannot hold."""

    code = "amount_too_large"


def exact(number: float) -> Decimal:
    """The shortest decimal that stands for the float."""
    return Decimal(repr(float(number)))


def to_units(amount: Decimal) -> int:
    """An amount in ten-thousandths, rounded half-even."""
    value = int(EXACT.scaleb(amount, PLACES).to_integral_value(rounding=ROUND_HALF_EVEN))
    if abs(value) > LARGEST:
        raise AmountTooLarge(f"{amount:.6g} is more than a position can be worth here; correct its quantity or price")
    return value


def stored_units(amount: Decimal) -> int:
    """A sum that is exact to four places already, in ten-thousandths."""
    return int(EXACT.scaleb(amount, PLACES))


def from_units(value: int) -> Decimal:
    """Ten-thousandths as an exact decimal with four places."""
    return Decimal(int(value)).scaleb(-PLACES)


def products(
    quantity: FloatMatrix,
    price: FloatMatrix,
    wanted: NDArray[np.bool_],
    exact_quantity: Callable[[int, int], Decimal],
) -> IntMatrix:
    """`quantity · price` in ten-thousandths where `wanted`, else 0; by the rounding rule above.

    quantity, price, wanted : shape (T, n); quantity with the contract multiplier in it. Finite where wanted.
    exact_quantity          : (row, column) -> the quantity as a decimal; asked only where the float product is too near a tie.
    """
    result = np.zeros(quantity.shape, dtype=np.int64)
    rows, columns = np.nonzero(wanted)
    if not rows.size:
        return result
    scaled = quantity[rows, columns] * price[rows, columns] * UNITS
    if not np.all(np.abs(scaled) <= LARGEST):
        raise AmountTooLarge("a position is worth more than ten trillion; correct its quantity or price")
    near_tie = np.abs(scaled - np.floor(scaled) - 0.5) <= np.abs(scaled) * _RELATIVE_ERROR
    values = np.rint(scaled).astype(np.int64)
    for index in np.nonzero(near_tie)[0]:
        row, column = int(rows[index]), int(columns[index])
        values[index] = to_units(EXACT.multiply(exact_quantity(row, column), exact(price[row, column])))
    result[rows, columns] = values
    return result
