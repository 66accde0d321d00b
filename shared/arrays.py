"""Array types, and the edge between NaN inside and null outside."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatVector: TypeAlias = NDArray[np.float64]
"""Shape (n,)."""
FloatMatrix: TypeAlias = NDArray[np.float64]
"""Shape (n, m)."""
FloatCube: TypeAlias = NDArray[np.float64]
"""Shape (n, m, k)."""
IntVector: TypeAlias = NDArray[np.int64]
BoolVector: TypeAlias = NDArray[np.bool_]
BoolMatrix: TypeAlias = NDArray[np.bool_]
BoolCube: TypeAlias = NDArray[np.bool_]
DateVector: TypeAlias = NDArray[np.datetime64]
"""Shape (n,), dtype datetime64[D]."""


def none_if_nan(value: float | np.floating[Any] | None) -> float | None:
    """A Python float, or None where the figure is unknown (NaN or infinite): JSON has no NaN."""
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None
