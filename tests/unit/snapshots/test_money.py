"""The rounding rule, and what money cannot hold."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.snapshots.compute import AmountTooLarge, from_units, stored_units, to_units
from services.snapshots.compute.money import products

quantities = st.integers(-(10**14), 10**14).filter(bool).map(lambda n: Decimal(n).scaleb(-10))
prices = st.one_of(st.integers(1, 10**7).map(lambda n: n / 1000), st.floats(1e-4, 1e5))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(quantities, prices), min_size=1, max_size=20))
def test_products_are_the_rounded_decimal_products(pairs: list[tuple[Decimal, float]]) -> None:
    quantity = np.array([[float(q) for q, _ in pairs]])
    price = np.array([[p for _, p in pairs]])
    found = products(quantity, price, np.ones_like(price, dtype=np.bool_), lambda _, column: pairs[column][0])
    for value, (q, p) in zip(found[0].tolist(), pairs, strict=True):
        assert from_units(value) == (q * Decimal(repr(p))).quantize(Decimal("0.0001"), rounding=ROUND_HALF_EVEN)


def test_ties_go_to_the_even_digit_and_not_to_the_noise_of_a_float() -> None:
    quantities = [Decimal("0.5"), Decimal("1.5"), Decimal("-2.5"), Decimal("10.00005"), Decimal("1.00015")]
    price = np.array([[0.0001, 0.0001, 0.0001, 1.0, 1.0]])
    quantity = np.array([[float(q) for q in quantities]])
    found = products(quantity, price, np.ones_like(price, dtype=np.bool_), lambda _, column: quantities[column])
    assert found.tolist() == [[0, 2, -2, 100_000, 10_002]]


def test_what_is_not_wanted_is_zero_and_may_be_unknown() -> None:
    nan = np.array([[np.nan, 2.0]])
    found = products(np.ones((1, 2)), nan, np.array([[False, True]]), lambda *_: Decimal(1))
    assert found.tolist() == [[0, 20_000]]


def test_amounts_go_there_and_back() -> None:
    assert to_units(Decimal("12.34565")) == 123_456
    assert to_units(Decimal("-12.34575")) == -123_458
    assert from_units(stored_units(Decimal("98765432109876.5432"))) == Decimal("98765432109876.5432")


def test_an_absurd_amount_is_refused() -> None:
    with pytest.raises(AmountTooLarge, match="correct its quantity or price"):
        to_units(Decimal(10) ** 17)
    with pytest.raises(AmountTooLarge):
        products(
            np.full((1, 1), 1e12), np.full((1, 1), 1e12), np.ones((1, 1), dtype=np.bool_), lambda *_: Decimal(10) ** 12
        )
