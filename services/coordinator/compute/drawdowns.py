"""Drawdowns of a return index: each fall from a high to the next high, and the mean of the worst. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.arrays import BoolMatrix, FloatVector
from shared.market.registry import CDAR_LEVEL


@dataclass(frozen=True, slots=True)
class Fall:
    """From a high to the next one. Positions are of returns; -1 is the index before the first, None is not there yet."""

    depth: float
    """Below zero, decimal."""
    peak: int
    trough: int
    recovered: int | None

    def length(self, last: int) -> int:
        """Sessions from the high to the recovery; to the last return where it has not recovered."""
        return (last if self.recovered is None else self.recovered) - self.peak


@dataclass(frozen=True, slots=True)
class Path:
    """An index that starts at 1 before the first of n returns, looked at where its prices are evidence."""

    positions: np.ndarray[tuple[int], np.dtype[np.int64]]
    """(m,) which of the returns stand behind; -1 first."""
    depths: FloatVector
    """(m,) level over the highest so far, less 1; 0 at a high."""


def path(returns: FloatVector, known: BoolMatrix) -> Path:
    """Of returns (n,) without a hole; `known` (n,): sessions whose value is evidence. Others are looked through."""
    levels = np.concatenate([[1.0], np.cumprod(1.0 + returns)])
    kept = np.flatnonzero(np.concatenate([[True], known]))
    levels = levels[kept]
    return Path(kept - 1, levels / np.maximum.accumulate(levels) - 1.0)


def falls(of: Path) -> list[Fall]:
    """All falls, the deepest first; of equal ones the earlier."""
    under = of.depths < 0.0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], under, [False]]).astype(np.int8)))
    found = []
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        trough = begin + int(of.depths[begin:end].argmin())
        recovered = int(of.positions[end]) if end < len(of.depths) else None
        found.append(Fall(float(of.depths[trough]), int(of.positions[begin - 1]), int(of.positions[trough]), recovered))
    return sorted(found, key=lambda fall: (fall.depth, fall.peak))


def cdar(of: Path, level: float = CDAR_LEVEL) -> float:
    """Conditional drawdown at risk: the mean of the drawdowns at or beyond their `level` quantile (numpy `linear`), a positive fraction.

    Chekhlov, Uryasev and Zabarankin (2005). The starting index is none of the drawdowns.
    """
    lost = -of.depths[1:]
    return float(lost[lost >= np.quantile(lost, level)].mean()) if len(lost) else float("nan")
