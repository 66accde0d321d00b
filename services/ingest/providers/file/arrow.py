"""Columns of Arrow's as arrays of NumPy's, and the other way, without pandas.

Arrow's own conversions load it where it is installed, and so does every value of Python's that Arrow is handed: a third of a second of
a start and some forty megabytes, in a process that has no other use for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from shared.arrays import BoolVector, DateVector, FloatVector

NULL = pa.nulls(1)[0]


def as_floats(column: pa.ChunkedArray | pa.Array) -> FloatVector:
    """float64, NaN for null."""
    return _values(column.cast(pa.float64(), safe=False), np.array([np.nan]), pa.float64())


def as_integers(column: pa.ChunkedArray | pa.Array) -> NDArray[np.int64]:
    """int64, 0 for null."""
    return _values(column.cast(pa.int64()), np.array([0]), pa.int64())


def as_dates(column: pa.ChunkedArray) -> DateVector:
    """NaT for null. The column is of type date32."""
    days = column.cast(pa.int32()).cast(pa.int64())
    return _values(days, np.array(["NaT"], "datetime64[D]").view(np.int64), pa.int64()).view("datetime64[D]")


def are_null(column: pa.ChunkedArray) -> BoolVector:
    return as_integers(column.is_null()).astype(np.bool_)


def of_booleans(mask: BoolVector) -> pa.Array:
    return pa.Array.from_buffers(pa.bool_(), len(mask), [None, pa.py_buffer(np.packbits(mask, bitorder="little"))])


def of_texts(texts: Sequence[str]) -> pa.Array:
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(texts), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])


def _values(column: pa.ChunkedArray | pa.Array, instead: NDArray[Any], type_: pa.DataType) -> NDArray[Any]:
    """instead : what stands for null, one value"""
    filled = pc.coalesce(column, pa.Array.from_buffers(type_, 1, [None, pa.py_buffer(instead)])[0])
    chunks = filled.chunks if isinstance(filled, pa.ChunkedArray) else [filled]
    return np.concatenate([instead[:0], *(np.from_dlpack(chunk) for chunk in chunks)])
