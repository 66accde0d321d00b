"""Which holdings stand in their unit's correlation matrix, and why the others do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.risk.compute.inputs import Book, Panel, flatten_holdings
from services.risk.compute.reasons import SHORT_HISTORY, TOO_MANY, WITH_UNDERLYING, ZERO_VARIANCE, symbol_reason
from shared.arrays import BoolVector, FloatVector, IntVector
from shared.market.registry import CORRELATION_WINDOW
from shared.work import MAX_MATRIX


@dataclass(frozen=True, slots=True)
class Members:
    """Of the holdings of all units, one unit after another: who stands in its unit's matrix, and with what.

    good     : (H,) in the matrix
    crowded  : (H,) beyond the largest
    exposure : (H,) in money; that of an option stands with its underlying's
    excluded : by unit, for each holding the reason why it is not in the matrix
    """

    good: BoolVector
    crowded: BoolVector
    exposure: FloatVector
    excluded: list[list[str | None]]


def matrix_members(panel: Panel, book: Book, units: IntVector, long_enough: BoolVector, good: BoolVector) -> Members:
    """An option joins its underlying, and beyond the `MAX_MATRIX` largest nobody is in.

    good : (H,) holdings with a series that can be correlated
    """
    holdings, owner = flatten_holdings(book, units)
    rows, source = book.rows[holdings], book.source[holdings]
    sessions, begins = book.session[units][owner], book.starts[units]
    excluded: list[list[str | None]] = [[None] * count for count in np.diff(book.starts)[units].tolist()]

    def leave_out(h: int, reason: str) -> None:
        u = int(owner[h])
        excluded[u][int(holdings[h] - begins[u])] = reason

    good = good.copy()
    for h in np.flatnonzero(~good).tolist():
        leave_out(
            h, _exclusion_reason(panel, int(sessions[h]), int(source[h]), book, int(holdings[h]), bool(long_enough[h]))
        )
    exposure = (book.long[holdings] + book.short[holdings]) * book.leverage[holdings]
    joined = _beside_underlying(owner, rows, source, good)
    for h, first in joined.items():
        # One series cannot stand in a matrix twice: an option's exposure is its underlying's there.
        exposure[first] += exposure[h]
        good[h] = False
        leave_out(h, WITH_UNDERLYING)
    crowded = _beyond_largest(owner, np.abs(exposure), good)
    # With its underlying goes the option whose exposure stands there.
    beside = [index for index, first in joined.items() if crowded[first]]
    crowded[beside] = True
    good &= ~crowded
    for h in np.flatnonzero(crowded).tolist():
        leave_out(h, TOO_MANY)
    return Members(good, crowded, exposure, excluded)


def _beside_underlying(owner: IntVector, rows: IntVector, source: IntVector, good: BoolVector) -> dict[int, int]:
    """Option -> the holding that stands for its underlying in the same unit: the underlying itself, else its first option."""
    options = np.flatnonzero(good & (rows != source)).tolist()
    if not options:
        return {}
    own = np.flatnonzero(good & (rows == source)).tolist()
    # Written in reverse, so that the underlying wins, and of several options the first.
    stands = {(int(owner[h]), int(source[h])): h for h in (*reversed(options), *own)}
    found = {h: stands[int(owner[h]), int(source[h])] for h in options}
    return {h: first for h, first in found.items() if first != h}


def _beyond_largest(owner: IntVector, size: FloatVector, good: BoolVector) -> BoolVector:
    """Which of the good holdings are not among their unit's `MAX_MATRIX` of largest size; of equal ones the later."""
    beyond = np.zeros(len(owner), dtype=np.bool_)
    for unit in np.flatnonzero(np.bincount(owner[good]) > MAX_MATRIX).tolist():
        mine = np.flatnonzero(good & (owner == unit))
        beyond[mine[np.argsort(-size[mine], kind="stable")[MAX_MATRIX:]]] = True
    return beyond


def _exclusion_reason(panel: Panel, s: int, row: int, book: Book, holding: int, long_enough: bool) -> str:  # noqa: FBT001 (private)
    reason = symbol_reason(panel, s, row, CORRELATION_WINDOW, unpriceable=bool(book.unpriceable[holding]))
    return ZERO_VARIANCE if reason == SHORT_HISTORY and long_enough else reason
