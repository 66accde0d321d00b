"""Which portfolios a statement is about: a range of ids, and only some of it where they are few.

The planner looks at each of a thousand ids in an array before it begins, which takes longer than to read what is known of them. A page
of a list is a range: what lies between and is asked for by nobody is deleted, or is left out by who asked.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

FEW: Final = 250
AMONG: Final = """
    portfolio_id BETWEEN :low AND :high AND (CAST(:few AS uuid[]) IS NULL OR portfolio_id = ANY (CAST(:few AS uuid[])))
"""
_NOBODY = UUID(int=0)


def among(portfolios: Collection[UUID]) -> dict[str, Any]:
    """The parameters of `AMONG`. Of more than `FEW` rows of others may come that lie between."""
    few = list(portfolios) if len(portfolios) <= FEW else None
    return {"low": min(portfolios, default=_NOBODY), "high": max(portfolios, default=_NOBODY), "few": few}
