"""Rows of `risk.results` and what they refer to; figures that are worked out from others of their row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from services.coordinator.results.values import document, to_json
from shared.arrays import FloatVector
from shared.market import layouts
from shared.market.registry import FACTOR_NAMES
from shared.market.stress_losses import legs_of, shown_of

REFERENCES = "LEFT JOIN risk.scenario_sets ON digest = scenario_set LEFT JOIN risk.stress_shocks USING (shocks_id)"
"""What a row refers to, stored once for many."""
SOURCE = f"risk.results {REFERENCES}"
"""What the columns of all answers are of."""


Row = Mapping[str, Any]


def read_shown(row: Row) -> Sequence[float]:
    """C × F returns that the scenarios give to the factors' proxies: the session's, or as rows had them themselves."""
    return shown_of(row["shocks"]) if row["stress_shocks"] is None else row["stress_shocks"]


def read_legs(row: Row) -> tuple[Sequence[float], Sequence[float]]:
    """(direct, propagated) losses as they are stored, or, of a portfolio without options, from what they follow of."""
    if row["stress_direct"] is not None:
        return row["stress_direct"], row["stress_propagated"]
    value, betas = (_array(row[name]) for name in ("exposure_values", "betas"))
    return legs_of(value, betas, row["shocks"], row["nav"], [reason is not None for reason in read_reasons(row)])


def read_reasons(row: Row) -> Sequence[str | None]:
    """By scenario, why it is withheld; nothing is stored where none is."""
    known: Sequence[str | None] | None = row["stress_reasons"]
    return [None] * (len(shown_of(row["shocks"])) // len(FACTOR_NAMES)) if known is None else known


def read_texts(row: Row, column: str, count: int) -> Sequence[str | None]:
    """A reason for each of so many; nothing is stored where there is none."""
    return [None] * count if row[column] is None else row[column]


def read_weights(row: Row) -> Sequence[float]:
    """Of each holding, over NAV: as they are stored, or, of a portfolio without options, what its exposure is of it."""
    stored: Sequence[float] | None = row["weights"]
    return _to_floats(_over_nav(row)) if stored is None else stored


def read_tilts(row: Row) -> Sequence[float]:
    """Of each holding in the matrix, what moves over NAV. Without options that is its weight; results from before it was stored are
    answered with the weights by value, too."""
    stored: Sequence[float] | None = row["tilts"]
    if stored is not None:
        return stored
    weights = read_weights(row)
    return [of for of, reason in zip(weights, read_texts(row, "excluded", len(weights)), strict=True) if reason is None]


def read_shares(row: Row) -> Sequence[float]:
    """Of each holding in the matrix, its contribution over the volatility that they sum to."""
    stored: Sequence[float] | None = row["contribution_shares"]
    if stored is not None:
        return stored
    parts, whole = _array(row["contributions"]), document(row["risk"])["decomposition"]["volatility"]
    return _to_floats(parts / whole) if whole else [math.nan] * len(parts)


def read_tails(row: Row) -> Sequence[float]:
    """K × the parts of the expected shortfall. Without options the component is the weight times the marginal, which are stored."""
    count, width = len(row["symbols"]), len(layouts.TAIL_PARTS)
    stored: Sequence[float] | None = row["tail_parts"]
    if not stored:
        return [math.nan] * (width * count)
    if len(stored) == width * count:
        return stored
    others = _array(stored).reshape(count, width - 1)
    component = _over_nav(row) * others[:, 0]
    return _to_floats(np.concatenate([component[:, None], others], axis=1).ravel())


def read_observations(row: Row, count: int) -> Sequence[int]:
    """The triangle of sessions behind each pair of so many holdings; one number where it is the same of all."""
    stored: Sequence[int] = row["correlation_n_obs"]
    return list(stored) * (count * (count + 1) // 2) if len(stored) == 1 else stored


def read_model(row: Row) -> tuple[Sequence[str], Sequence[float]]:
    """The factors that are available, and the triangle of their correlations: the session's, or as rows had them themselves."""
    if row["model_factors"] is None:
        return row["factor_names"], row["factor_matrix"]
    return row["model_factors"], row["factor_correlations"]


def read_square(triangle: Sequence[float], size: int, own: float | None = None) -> list[list[Any]]:
    """The symmetric matrix of an upper triangle, row by row; `own` is the diagonal of one that is stored without it."""
    square: list[list[Any]] = [[own] * size for _ in range(size)]
    values = iter(triangle)
    for i in range(size):
        for j in range(i if own is None else i + 1, size):
            square[i][j] = square[j][i] = to_json(next(values))
    return square


def _over_nav(row: Row) -> FloatVector:
    found: FloatVector = _array(row["exposure_values"]) / np.float64(row["nav"])
    return found


def _array(values: Sequence[float]) -> FloatVector:
    return np.asarray(values, dtype=np.float64)


def _to_floats(values: FloatVector) -> list[float]:
    """As risk stores what it has computed: NaN where it is not finite; a negative zero is a zero."""
    found: list[float] = np.where(np.isfinite(values), values + 0.0, np.nan).tolist()
    return found
