"""Concentration by underlying (docs/methods.md §10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.arrays import FloatMatrix, FloatVector

HHI_SCALE = 10_000.0  # Herfindahl-Hirschman index of percentages: 10,000 is one holding


@dataclass(frozen=True, slots=True)
class Concentration:
    """(g,) each; NaN where nothing is held."""

    hhi: FloatVector
    effective: FloatVector
    top_3: FloatVector
    top_10: FloatVector


def concentration(underlyings: Sequence[Sequence[str]], gross: FloatMatrix) -> Concentration:
    """Shares of gross value by underlying: HHI (0 to 10,000), effective number 10,000/HHI, largest three and ten.

    underlyings : g lists of K names. gross : (g, K), the holdings in their sorted order.
    """
    merged = _merge_underlyings(underlyings, gross)
    # Largest first, added up one by one: the same whatever order the lots came in, and whatever other units hold.
    ordered = -np.sort(-merged, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = _running_sum(ordered)
        shares = ordered / np.where(total > 0.0, total, np.nan)[:, None]
        hhi = HHI_SCALE * _running_sum(shares * shares)
        return Concentration(hhi, HHI_SCALE / hhi, _running_sum(shares[:, :3]), _running_sum(shares[:, :10]))


def _merge_underlyings(underlyings: Sequence[Sequence[str]], gross: FloatMatrix) -> FloatMatrix:
    """Holdings of one underlying together, at the place of the first; zeros stand in the others' and add nothing."""
    merged = gross
    for i, names in enumerate(underlyings):
        if len(set(names)) < len(names):
            if merged is gross:
                merged = gross.copy()
            first: dict[str, int] = {}
            for j, name in enumerate(names):
                at = first.setdefault(name, j)
                if at != j:
                    merged[i, at] += merged[i, j]
                    merged[i, j] = 0.0
    return merged


def _running_sum(values: FloatMatrix) -> FloatVector:
    """(g,) sums over the last axis, strictly from left to right."""
    return np.cumsum(values, axis=1)[:, -1] if values.shape[1] else np.full(len(values), np.nan)


def risk_hhi(contributions: FloatMatrix) -> FloatVector:
    """(g,) HHI of |RC| / Σ|RC| over the last axis, 0 to 10,000; NaN without risk."""
    size = np.abs(np.ascontiguousarray(contributions))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = size / size.sum(axis=-1, keepdims=True)
        return np.where(size.sum(axis=-1) > 0.0, HHI_SCALE * (share * share).sum(axis=-1), np.nan)
