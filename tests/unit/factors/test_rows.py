"""Rows of facts are made where they are asked for: what a batch holds is arrays."""

from __future__ import annotations

import tracemalloc
from datetime import date, timedelta

import numpy as np

from services.factors.compute.rows import ROWS_AT_ONCE, FactIndex, FactRows
from shared.arrays import BoolMatrix
from shared.market import registry


def facts(needed: BoolMatrix) -> FactRows:
    k, s = needed.shape
    cells = np.arange(k * s, dtype=np.float64).reshape(k, s)
    labels = FactIndex(
        [date(2020, 1, 1) + timedelta(days=n) for n in range(k)],
        [100 + n for n in range(s)],
        needed,
        np.full((k, s), 7, dtype=np.int64),
        lambda _k, _s: None,
    )
    columns = (np.repeat(cells[..., None], 12, axis=2), np.where(cells % 2 == 0, np.nan, cells), cells > 1)
    return FactRows(labels, columns, lambda found: [f"{{{at}}}" for at in found[1].tolist()])


def test_a_row_has_the_keys_the_figures_and_the_reasons_of_its_cell() -> None:
    found = facts(np.array([[True, False], [False, True]]))
    head = (registry.MODEL_VERSION, 7)
    assert list(found) == [
        (100, date(2020, 1, 1), *head, [0.0] * 12, None, False, "{0}"),
        (101, date(2020, 1, 2), *head, [3.0] * 12, 3.0, True, "{1}"),
    ]
    assert list(found) == list(found), "as often as one likes"
    assert (len(found), len(facts(np.zeros((2, 2), dtype=np.bool_)))) == (2, 0)


def test_rows_of_a_whole_batch_are_never_objects_all_at_once() -> None:
    """A quarter of a million rows of forty figures were seven hundred megabytes."""
    found = facts(np.ones((10, ROWS_AT_ONCE), dtype=np.bool_))
    tracemalloc.start()
    try:
        count = sum(1 for _ in found)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == len(found) == 10 * ROWS_AT_ONCE
    assert peak < 3 * ROWS_AT_ONCE * 900
