"""Which price version a fact stands on, and therefore whether it still stands."""

import numpy as np
from numpy.typing import NDArray

from shared.arrays import BoolMatrix, IntVector
from shared.market import registry


def price_versions(changes: NDArray[np.int64], at: IntVector) -> NDArray[np.int64]:
    """Highest change number among the last `FACT_LOOKBACK` + 1 rows up to each asked for, (K, S).

    changes : (T, S) change numbers of the sessions' prices and actions, 0 where there is none
    at      : (K,) rows of the sessions asked for
    """
    length = registry.FACT_LOOKBACK + 1
    padded = np.zeros((changes.shape[1], changes.shape[0] + length - 1), dtype=np.int64)
    padded[:, length - 1 :] = changes.T
    spans = np.lib.stride_tricks.sliding_window_view(padded, length, axis=1)
    out: NDArray[np.int64] = spans[:, at].max(axis=-1, initial=0).T
    return out


def stale(versions: NDArray[np.int64], stored: NDArray[np.int64], needed: BoolMatrix) -> BoolMatrix:
    """(K, S) facts that are needed and were computed from older prices, or (stored -1) not at all."""
    out: BoolMatrix = needed & (stored < versions)
    return out
