"""Concentration by underlying (ANALYTICS §10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.arrays import FloatMatrix, FloatVector

HHI_SCALE = 10_000.0  # Herfindahl-Hirschman index of percentages: 10,000 is one holding


@dataclass(frozen=True, slots=True)
class Concentration:
    """None where nothing is held."""

    hhi: float | None
    effective: float | None
    top_3: float | None
    top_10: float | None


def concentration(underlyings: Sequence[str], gross: Sequence[float]) -> Concentration:
    """Shares of gross value by underlying: HHI (0 to 10,000), effective number 10,000/HHI, largest three and ten."""
    totals: dict[str, float] = {}
    for underlying, value in zip(underlyings, gross, strict=True):
        totals[underlying] = totals.get(underlying, 0.0) + value
    # Sorted by size, then name: a sum in this order is the same whatever order the lots came in.
    values = [value for _, value in sorted(totals.items(), key=lambda item: (-item[1], item[0]))]
    total = sum(values)
    if not total > 0.0:
        return Concentration(None, None, None, None)
    shares = [value / total for value in values]
    hhi = HHI_SCALE * sum(share * share for share in shares)
    return Concentration(hhi, HHI_SCALE / hhi, sum(shares[:3]), sum(shares[:10]))


def risk_hhi(contributions: FloatMatrix) -> FloatVector:
    """(g,) HHI of |RC| / Σ|RC| over the last axis, 0 to 10,000; NaN without risk."""
    size = np.abs(np.ascontiguousarray(contributions))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = size / size.sum(axis=-1, keepdims=True)
        return np.where(size.sum(axis=-1) > 0.0, HHI_SCALE * (share * share).sum(axis=-1), np.nan)
