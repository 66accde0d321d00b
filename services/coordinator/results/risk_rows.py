"""Rows of `risk.results` and what they refer to; figures that are worked out from others of their row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shared.market.stress_losses import legs_of, shown_of

REFERENCES = "LEFT JOIN risk.scenario_sets ON digest = scenario_set LEFT JOIN risk.stress_shocks USING (shocks_id)"
"""What a row refers to, stored once for many."""
SOURCE = f"risk.results {REFERENCES}"
"""What the columns of all answers are of."""


def read_shown(row: Mapping[str, Any]) -> Sequence[float]:
    """C × F returns that the scenarios give to the factors' proxies: the session's, or as rows had them themselves."""
    return shown_of(row["shocks"]) if row["stress_shocks"] is None else row["stress_shocks"]


def read_legs(row: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]]:
    """(direct, propagated) losses as they are stored, or, of a portfolio without options, from what they follow of."""
    if row["stress_direct"] is not None:
        return row["stress_direct"], row["stress_propagated"]
    value, betas = (np.asarray(row[name], dtype=np.float64) for name in ("exposure_values", "betas"))
    return legs_of(value, betas, row["shocks"], row["nav"], [reason is not None for reason in row["stress_reasons"]])
