"""Which closes may hold a split, told by their steps alone."""

from __future__ import annotations

import numpy as np
import pytest

from services.ingest.model.market import Bars
from services.ingest.model.steps import may_hold_split


def bars(*moves: float, calm: int = 60) -> Bars:
    """As many days of a per cent up and down, and then the moves."""
    daily = [0.01 * (-1) ** day for day in range(calm)]
    close = np.cumprod(1.0 + np.array([0.0, *daily, *moves])).astype(np.float64)
    sessions = np.datetime64("2020-01-01") + np.arange(len(close))
    return Bars(sessions, close, close, close, close, close, close, split_adjusted=False)


@pytest.mark.parametrize(
    "move",
    [
        1 / 4 - 1,
        4.0 - 1,
        1.02 * 4 / 5 - 1,  # five for four on a day that is up
        1.09 * 4 / 5 - 1,
        1.01 * 10 / 11 - 1,  # a tenth in shares
        1.15 * 10 / 9 - 1,
    ],
)
def test_a_step_as_of_a_split_is_one(move: float) -> None:
    assert may_hold_split(bars(move))
    assert may_hold_split(bars(move, calm=0))


@pytest.mark.parametrize("move", [-0.03, 0.09, -0.06, 0.0])
def test_what_the_symbol_does_anyway_is_none(move: float) -> None:
    assert not may_hold_split(bars(move))


def test_few_closes_or_none_tell_nothing() -> None:
    assert not may_hold_split(bars(calm=0))
    assert not may_hold_split(bars(float("nan"), calm=0))
