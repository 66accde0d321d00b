"""What closes alone say of splits, where no list of them is served."""

import numpy as np

from services.ingest.model.market import Bars

# Of a close to the one before; a split of five for four is one.
LARGEST_STEP = 0.8


def may_hold_split(bars: Bars) -> bool:
    """Whether a close is so far from the one before that a split may lie between; without one, as traded and adjusted are the same."""
    ratio = bars.close[1:] / bars.close[:-1]
    return bool((np.minimum(ratio, 1.0 / ratio) <= LARGEST_STEP).any())
