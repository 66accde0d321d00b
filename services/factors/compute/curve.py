"""The yield curve as a proxy of rates: laid out over the grid of prices, and where it counts for want of a fund."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.factors.compute.freshness import price_versions
from services.factors.compute.proxies import WINDOW
from shared.arrays import BoolMatrix, DateVector, FloatVector, IntVector
from shared.market.curve import Curve, long_bond_returns


class CurveColumn(NamedTuple):
    """returns : (T,) decimal daily, NaN where unknown; changes : (T,) highest change number of the curves behind each, else 0."""

    returns: FloatVector
    changes: NDArray[np.int64]


def curve_column(curves: Sequence[Curve], changes: Sequence[int], grid: DateVector) -> CurveColumn:
    """Returns of long bonds on the sessions of the grid. curves: ascending by date, each with its change number."""
    found = long_bond_returns(curves, grid.tolist())
    return CurveColumn(
        np.array([np.nan if of.value is None else of.value for of in found]),
        np.array([max((changes[i] for i in of.curves), default=0) for of in found], dtype=np.int64),
    )


def without_fund(changed: NDArray[np.int64], columns: Sequence[int], at: IntVector) -> NDArray[np.bool_]:
    """(K,) whether none of the funds that stand for rates has all prices of a session's window.

    changed : (T, N) change numbers of prices, 0 where there is none; columns : those of the funds; at : (K,) rows of the sessions
    """
    priced: BoolMatrix = changed[:, list(columns)] > 0
    counts = np.zeros((len(priced) + 1, priced.shape[1]), dtype=np.int64)
    np.cumsum(priced, axis=0, out=counts[1:])
    # A window of returns rests on one price more.
    whole = counts[at + 1] - counts[np.maximum(at - WINDOW, 0)] == WINDOW + 1
    out: NDArray[np.bool_] = ~whole.any(axis=1)
    return out


def curve_versions(column: CurveColumn, counts: NDArray[np.bool_], at: IntVector) -> NDArray[np.int64]:
    """(K,) highest change number of the curves in a session's window, 0 where the curve does not count."""
    return np.where(counts, price_versions(column.changes[:, None], at)[:, 0], 0)
