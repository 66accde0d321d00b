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


# What `array_send` puts before the elements of an array of one dimension, of which an empty one has less; and before each of them.
ARRAY_HEAD, ITEM_HEAD = 20, 4
_DOUBLE = np.dtype([("length", ">i4"), ("value", ">f8")])
_WHOLE = np.dtype([("length", ">i4"), ("value", ">i8")])


def float_array(packed: bytes) -> FloatVector:
    """Of `array_send` of a float8[] of one dimension without nulls."""
    return np.frombuffer(packed[ARRAY_HEAD:], dtype=_DOUBLE)["value"].astype(np.float64)


def int_array(packed: bytes) -> NDArray[np.int64]:
    """Of `array_send` of a bigint[] of one dimension without nulls."""
    return np.frombuffer(packed[ARRAY_HEAD:], dtype=_WHOLE)["value"].astype(np.int64)
