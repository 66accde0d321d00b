"""What stands behind a book's funds (docs/methods.md §16): money by name and sector, of funds whose holdings the user gives. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from services.coordinator.compute.what_if import NAN, concentration
from shared.arrays import FloatVector

_ROUNDING = 1e-12  # of a fund: weights that are told as 1 sum to it but for this


@dataclass(frozen=True, slots=True)
class Told:
    """What a fund holds: weights of its value, whose sum is at most 1; what is missing to 1 stays the fund's own."""

    names: tuple[str, ...]
    weights: FloatVector
    """(n,)."""
    sectors: tuple[str, ...] = ()
    """GICS names; empty where none is said."""
    as_of: date | None = None

    @property
    def share(self) -> float:
        """Of the fund's value that is told."""
        whole = float(self.weights.sum())
        return 1.0 if abs(whole - 1.0) <= _ROUNDING else whole


@dataclass(frozen=True, slots=True)
class Line:
    """A holding: long >= 0, short <= 0, in money."""

    name: str
    """Of an option with a delta its underlying."""
    long: float
    short: float

    @classmethod
    def of(cls, name: str, long: float, short: float, leverage: float = 1.0) -> Line:
        """long, short : values of the long and short lots; leverage : money exposed to the name for each unit of value. Of a put it is
        negative: a long one is short of what stands behind it."""
        up, down = sorted((long * leverage, short * leverage), reverse=True)
        return cls(name, max(up, 0.0), min(down, 0.0))


@dataclass(slots=True)
class Behind:
    """What a name comes to, in money: held itself, and through funds."""

    direct: float = 0.0
    through: float = 0.0
    long: float = 0.0
    short: float = 0.0

    @property
    def net(self) -> float:
        return self.direct + self.through

    @property
    def gross(self) -> float:
        """Long less short: what is held long and short alike does not net."""
        return self.long - self.short


def behind(lines: Sequence[Line], funds: Mapping[str, Told]) -> dict[str, Behind]:
    """By name. One level: a fund within a fund is a name. Their gross values sum to that of the lines, and their net values too."""
    found: dict[str, Behind] = {}
    for line in lines:
        told = funds.get(line.name)
        rest = 1.0
        if told is not None:
            for name, weight in zip(told.names, told.weights.tolist(), strict=True):
                of = found.setdefault(name, Behind())
                of.through += weight * (line.long + line.short)
                of.long += weight * line.long
                of.short += weight * line.short
            rest = 1.0 - told.share
        if rest > _ROUNDING:
            of = found.setdefault(line.name, Behind())
            of.direct += rest * (line.long + line.short)
            of.long += rest * line.long
            of.short += rest * line.short
    return found


@dataclass(frozen=True, slots=True)
class Concentration:
    """Of gross value by name; NaN where nothing is held."""

    hhi: float
    effective: float
    top_3: float
    top_10: float


def concentration_of(names: Mapping[str, Behind]) -> Concentration:
    gross = np.array([of.gross for of in names.values()], dtype=np.float64)
    hhi, top_3, top_10 = concentration(gross, list(names))
    return Concentration(hhi, 10_000.0 / hhi if hhi > 0.0 else NAN, top_3, top_10)
