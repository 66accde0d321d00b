"""From database values to JSON: dates as text, money as numbers, what is not finite as null."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

UNKNOWN_CURSOR = "The cursor is not one of this list. Use `next` of the page before, unchanged; without a cursor the list begins anew."


def to_json(value: Any) -> Any:
    """One value as JSON knows it. NaN and infinity mean unknown, and JSON has neither."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return to_json(float(value))
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no JSON form")


def document(value: Any) -> Any:
    """A jsonb column, which a driver may give as text."""
    return json.loads(value) if isinstance(value, str) else value


def name_values(names: Sequence[str], values: Sequence[float]) -> dict[str, float | None]:
    """An array of figures under its names, NaN as null."""
    return dict(zip(names, (to_json(value) for value in values), strict=True))
