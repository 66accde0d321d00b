"""Answers as pandas DataFrames. pandas is the user's: nothing else here needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from leadline.models import Series


def _pandas() -> Any:
    try:
        return import_module("pandas")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("DataFrames need pandas: pip install pandas", name="pandas") from error


def of_series(series: Series) -> Any:
    """A row a session (DatetimeIndex `session`), a column a figure; what is not known is NaN."""
    pandas = _pandas()
    index = pandas.DatetimeIndex(series["sessions"], name="session")
    return pandas.DataFrame(series["figures"], index=index)


def of_items(items: Sequence[Mapping[str, Any]]) -> Any:
    """A row an item, a column a field."""
    return _pandas().DataFrame(list(items))
