"""Arrow's columns as NumPy's: the values and nulls that Arrow's own conversions give, in however many chunks they lie."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from services.ingest.providers.file import arrow

CUTS = [[[1.5, None, -0.0], [], [1e300]], [[]], [], [[None]], [[2.5, 3.5]]]


@pytest.mark.parametrize("parts", CUTS)
@pytest.mark.parametrize("type_", [pa.float64(), pa.float32()])
def test_numbers_are_arrows_own(parts: list[list[float | None]], type_: pa.DataType) -> None:
    column = pa.chunked_array([pa.array(part, type_) for part in parts], type_)
    theirs = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
    ours = arrow.as_floats(column)
    assert ours.dtype == np.float64
    assert np.array_equal(ours, theirs, equal_nan=True)
    assert np.array_equal(np.signbit(ours), np.signbit(theirs))
    assert arrow.are_null(column).tolist() == [value is None for part in parts for value in part]


@pytest.mark.parametrize("parts", [[[date(2020, 8, 28), None], [date(1969, 12, 31)]], [[]], []])
def test_dates_are_arrows_own(parts: list[list[date | None]]) -> None:
    column = pa.chunked_array([pa.array(part, pa.date32()) for part in parts], pa.date32())
    ours = arrow.as_dates(column)
    assert ours.dtype == np.dtype("datetime64[D]")
    assert ours.tolist() == [value for part in parts for value in part]


def test_a_slice_of_a_column_is_that_slice() -> None:
    column = pa.chunked_array([pa.array([1.0, None, 3.0, 4.0])])[1:3]
    assert np.array_equal(arrow.as_floats(column), [np.nan, 3.0], equal_nan=True)


@pytest.mark.parametrize("texts", [[], [""], ["", "N/A", "Größe", "-"]])
def test_texts_and_truths_are_handed_over(texts: list[str]) -> None:
    handed = arrow.of_texts(texts)
    handed.validate(full=True)
    assert handed.to_pylist() == texts
    mask = np.arange(19) % 3 == 0
    assert arrow.of_booleans(mask).to_pylist() == mask.tolist()


def test_whole_numbers_are_kept_exactly() -> None:
    assert arrow.as_integers(pa.array([2**31 - 1, None, 7], pa.int32())).tolist() == [2**31 - 1, 0, 7]
