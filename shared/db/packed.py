"""Numbers that a statement packed into bytes, by `string_agg(float8send(…))` and the like, as arrays: no object a value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.arrays import DateVector, FloatVector

_EPOCH = np.datetime64("2000-01-01", "D")


def ints(packed: bytes, width: int) -> NDArray[np.int64]:
    """Of `int4send` or `int8send`; width in bytes."""
    return np.frombuffer(packed, dtype=f">i{width}").astype(np.int64)


def floats(packed: bytes) -> FloatVector:
    """Of `float8send`."""
    return np.frombuffer(packed, dtype=">f8").astype(np.float64)


def dates(packed: bytes) -> DateVector:
    """Of `int4send` of days since 2000-01-01."""
    days: DateVector = _EPOCH + np.frombuffer(packed, dtype=">i4").astype("timedelta64[D]")
    return days
