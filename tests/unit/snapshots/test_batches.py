"""However the work is cut, every stored digit is the same."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.snapshots.compute import ChainBroken, LotTable, Snapshots, roll_forward
from tests.support.examples import examples
from tests.support.worlds import Rows, World, only, run
from tests.unit.snapshots.strategies import SESSIONS, worlds

EXAMPLES = settings(max_examples=examples(30), deadline=None)


def same(left: np.ndarray, right: np.ndarray) -> bool:
    """Bit for bit; NaN equals NaN."""
    return left.dtype == right.dtype and bool(np.array_equal(left, right, equal_nan=left.dtype.kind == "f"))


def assert_same_lots(part: Rows, whole: Rows, rows: slice) -> None:
    places = [whole.inputs.lots.position_id.index(position) for position in part.inputs.lots.position_id]
    for field in fields(LotTable):
        assert same(getattr(part.table, field.name), getattr(whole.table, field.name)[rows][:, places]), field.name


def assert_same_snapshots(part: Rows, whole: Rows, rows: slice) -> None:
    places = [whole.inputs.portfolios.portfolio_id.index(p) for p in part.inputs.portfolios.portfolio_id]
    for field in fields(Snapshots):
        assert same(getattr(part.snapshots, field.name), getattr(whole.snapshots, field.name)[rows][:, places]), (
            field.name
        )


@EXAMPLES
@given(worlds(portfolios=2), st.sets(st.integers(1, SESSIONS - 1), max_size=5))
def test_cutting_the_sessions_changes_no_digit(world: World, cuts: set[int]) -> None:
    whole = run(world)
    bounds = [0, *sorted(cuts), SESSIONS]
    part = None
    for first, stop in pairwise(bounds):
        part = run(world, first, stop - 1, after=part)
        assert_same_lots(part, whole, slice(first, stop))
        assert_same_snapshots(part, whole, slice(first, stop))


@EXAMPLES
@given(worlds(portfolios=4, max_lots=3), st.permutations([1, 2, 3, 4]), st.integers(1, 4))
def test_the_company_of_other_portfolios_changes_no_digit(world: World, order: list[int], count: int) -> None:
    whole = run(world)
    part = run(only(world, *order[:count]))
    assert_same_lots(part, whole, slice(None))
    assert_same_snapshots(part, whole, slice(None))


@EXAMPLES
@given(worlds(portfolios=2), st.permutations(["AAA", "BBB", "CCC"]))
def test_the_order_of_symbols_changes_no_digit(world: World, order: list[str]) -> None:
    whole = run(world)
    part = run(replace(world, symbols={name: world.symbols[name] for name in order}))
    assert_same_lots(part, whole, slice(None))
    assert_same_snapshots(part, whole, slice(None))


@settings(max_examples=examples(20), deadline=None)
@given(worlds())
def test_rows_that_do_not_add_up_are_not_gone_on_from(world: World) -> None:
    after = run(world, 0, 4)
    inputs = run(world, 5, 6, after=after).inputs
    broken = replace(inputs, portfolios=replace(inputs.portfolios, cash=inputs.portfolios.cash + 1))
    with pytest.raises(ChainBroken, match="do not add up"):
        roll_forward(broken)
