"""Sectors of holdings and of portfolios, beside a benchmark's (docs/methods.md §10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from services.risk.compute.inputs import Benchmark, Kind
from shared.arrays import BoolMatrix, FloatMatrix, FloatVector, IntVector
from shared.market.sectors import ETF, UNCLASSIFIED, gics

FUND_TYPES = frozenset({"etf", "etn", "fund", "mutual_fund", "mutualfund"})


@dataclass(frozen=True, slots=True)
class VendorSector:
    """What a provider said of a symbol on a day; None is nothing, which takes back nothing."""

    as_of: date
    asset_type: str | None
    sector: str | None


def sector_on(session: date, kind: Kind, vendor_sectors: Sequence[VendorSector], user_sector: str | None) -> str:
    """Sector of a holding as known on `session`: a fund is `ETF`, else the symbol's, else the user's, else `Unclassified`.

    told : of the symbol, oldest first; for an option of its underlying, since a sector's money is where the risk is
    """
    if kind not in (Kind.PRIVATE, Kind.CASH):
        known = [of for of in vendor_sectors if of.as_of <= session]
        asset_type = next((of.asset_type for of in reversed(known) if of.asset_type), "")
        if asset_type.lower() in FUND_TYPES:
            return ETF
        sector = gics(next((of.sector for of in reversed(known) if of.sector), None))
        if sector is not None:
            return sector
    return gics(user_sector) or UNCLASSIFIED


@dataclass(frozen=True, slots=True)
class SectorWeights:
    """g units by N sectors, fractions of NAV; NaN is unknown."""

    names: tuple[str, ...]
    """Sorted."""
    listed: BoolMatrix
    """(g, N) whether the sector is the unit's: held there, or in its benchmark."""
    long: FloatMatrix
    short: FloatMatrix
    net: FloatMatrix
    gross: FloatMatrix
    benchmark: FloatMatrix
    """NaN without a benchmark; 0 where the benchmark has nothing of the sector."""
    active: FloatMatrix
    """Net less benchmark."""


def sector_weights(
    sectors: Sequence[Sequence[str]],
    long: FloatMatrix,
    short: FloatMatrix,
    nav: FloatVector,
    benchmarks: Sequence[Benchmark] = (),
    chosen: IntVector | None = None,
) -> SectorWeights:
    """Long, short (<= 0), net and gross of each sector over NAV, and what that is beside the benchmark.

    sectors : g lists of K names. long, short : (g, K), the holdings in their sorted order. nav : (g,), NaN where not positive.
    chosen  : (g,) index of each unit's benchmark in `benchmarks`, -1 without one; none at all by default
    """
    units = len(sectors)
    chosen = np.full(units, -1) if chosen is None else chosen
    compared = (benchmarks[b].weights for b in np.unique(chosen[chosen >= 0]).tolist())
    names = tuple(sorted({name for held in sectors for name in held}.union(*compared)))
    place = {name: n for n, name in enumerate(names)}
    own = np.array([place[name] for held in sectors for name in held], dtype=np.int64).reshape(long.shape)
    at = (own + len(names) * np.arange(units)[:, None]).ravel()
    listed = np.zeros(units * len(names), dtype=np.bool_)
    listed[at] = True

    def money(values: FloatMatrix) -> FloatMatrix:
        # Added up holding by holding in their order: the sum is the unit's alone, whatever stands beside it.
        sums: FloatVector = np.bincount(at, weights=values.ravel(), minlength=units * len(names)).astype(np.float64)
        return sums.reshape(units, len(names))

    up, down, over = money(long), money(short), nav[:, None]
    net = (up + down) / over
    benchmark = _side_by_side(benchmarks, chosen, names)
    return SectorWeights(
        names=names,
        listed=listed.reshape(units, len(names)) | (benchmark > 0.0),
        long=up / over,
        short=down / over,
        net=net,
        gross=(up - down) / over,
        benchmark=benchmark,
        active=net - benchmark,
    )


def _side_by_side(benchmarks: Sequence[Benchmark], chosen: IntVector, names: Sequence[str]) -> FloatMatrix:
    """(g, N) weights of each unit's benchmark; a sector that it does not list has none of it."""
    table = np.full((len(benchmarks) + 1, len(names)), np.nan)  # the last row is that of no benchmark
    for row, of in enumerate(benchmarks):
        table[row] = [of.weights.get(name, 0.0) for name in names]
    return table[chosen]
