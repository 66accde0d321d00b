"""Rows of facts are made where they are asked for: what a batch holds is arrays."""

from __future__ import annotations

import tracemalloc
from datetime import date, timedelta

import numpy as np

from services.factors.compute.rows import ROWS_AT_ONCE, FactIndex, FactRows
from shared.arrays import BoolMatrix


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
    columns = {"market": np.repeat(cells[..., None], 12, axis=2), "price": cells, "flagged": cells > 1}
    return FactRows(labels, columns, lambda found: [f"{{{at}}}" for at in found[1].tolist()])


def test_a_row_has_the_keys_the_figures_and_the_reasons_of_its_cell() -> None:
    found = facts(np.array([[True, False], [True, True]]))
    (piece,) = found.pieces()
    assert piece.ids.tolist() == [100, 100, 101], "by symbol and session, as they are stored"
    assert piece.sessions.tolist() == [date(2020, 1, 1), date(2020, 1, 2), date(2020, 1, 2)]
    assert piece.versions.tolist() == [7, 7, 7]
    assert {name: column.tolist() for name, column in piece.columns.items()} == {
        "market": [[0.0] * 12, [2.0] * 12, [3.0] * 12],
        "price": [0.0, 2.0, 3.0],
        "flagged": [False, True, True],
    }
    assert piece.reasons == ["{0}", "{0}", "{1}"]
    assert (len(found), len(facts(np.zeros((2, 2), dtype=np.bool_)))) == (3, 0)


def test_rows_of_a_whole_batch_are_never_encoded_all_at_once() -> None:
    """A quarter of a million rows of forty figures were seven hundred megabytes."""
    found = facts(np.ones((10, ROWS_AT_ONCE), dtype=np.bool_))
    cells = 10 * ROWS_AT_ONCE * 8
    tracemalloc.start()
    try:
        count = sum(len(piece.ids) for piece in found.pieces())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == len(found) == 10 * ROWS_AT_ONCE
    # The places of all, and the figures of some.
    assert peak < 8 * cells + 3 * ROWS_AT_ONCE * 300
