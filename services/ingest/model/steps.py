"""What closes alone say of splits, where no list of them is served."""

from typing import Final

import numpy as np

from services.ingest.model.market import Bars

# Of a close to the one before, either way; a split of five for four is one, on a day that is up by a tenth too.
LARGEST_STEP: Final = 0.88
# A smaller split, or a dividend in shares, is a fall beyond what the symbol does: five standard deviations, and three per cent.
SIGMAS, LEAST_FALL = 5.0, 0.03
# Of a symbol of too few days to tell, and the days that do.
USUAL_SIGMA, ENOUGH = 0.015, 20
# Of a normal distribution, the median of what is left without its sign.
_MEDIAN: Final = 0.6745


def may_hold_split(bars: Bars) -> bool:
    """Whether a close is so far from the one before that a split may lie between; without one, as traded and adjusted are the same."""
    ratio = bars.close[1:] / bars.close[:-1]
    ratio = ratio[np.isfinite(ratio)]
    if not len(ratio):
        return False
    moves = np.abs(ratio - 1.0)
    sigma = float(np.median(moves)) / _MEDIAN if len(moves) >= ENOUGH else USUAL_SIGMA
    fall = 1.0 - max(LEAST_FALL, SIGMAS * sigma)
    return bool((np.minimum(ratio, 1.0 / ratio) <= LARGEST_STEP).any() or (ratio <= fall).any())
