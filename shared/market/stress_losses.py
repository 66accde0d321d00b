"""What shocks of the factors do to holdings, and the arrays that say it.

Here because two read it: risk, which stores the arrays where they cannot be had again, and who answers, which works them out from
what is stored beside them (docs/decisions/0081-losses-worked-out-when-read.md). To the last digit both do the same operations on
arrays of the same shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.arrays import BoolMatrix, FloatCube, FloatMatrix, FloatVector
from shared.market.option_terms import Terms
from shared.market.registry import FACTOR_NAMES


@dataclass(frozen=True, slots=True)
class Loss:
    """Profit and loss of g portfolios in C scenarios, in money; both attributions sum to the total, but that what a move of volatility
    adds is in no factor."""

    money: FloatMatrix
    """(g, C)."""
    by_factor: FloatCube
    """(g, C, F)."""
    by_position: FloatCube
    """(g, C, K); NaN where uncovered."""


def apply(
    value: FloatMatrix,
    betas: FloatCube,
    shock: FloatCube,
    leverage: FloatMatrix | None = None,
    options: Sequence[tuple[int, int, Terms]] = (),
    volatility: FloatMatrix | None = None,
) -> Loss:
    """Revalue holdings in C scenarios: value and leverage (g, K), betas (g, K, F; NaN uncovered or unavailable), shock (g, C, F).

    What a holding moves with returns β_m s_m + Σ β_k e_k, the holding `leverage` (default 1) times that; both are floored at -100 %,
    factor contributions scaled pro rata: a long, of an option too, loses at most its value, a short gains at most its value. `options` by
    (portfolio, holding) are worth in full what their underlying's move makes of them; `volatility` (2, C) is what becomes of implied ones,
    times (1 + the first) plus the second. What that adds is in no factor. Products are (C, F) by (F, K) and (C, K) by (K, F) of one
    portfolio.
    """
    known = np.isfinite(betas)
    covered = known[:, None, :, 0]
    exposed = np.where(known & known[:, :, :1], betas, 0.0)
    total = np.matmul(shock, exposed.transpose(0, 2, 1))
    scale = np.divide(-1.0, total, out=np.ones_like(total), where=total < -1.0)
    if leverage is not None and (leverage != 1.0).any():
        own = leverage[:, None] * np.maximum(total, -1.0)
        scale *= leverage[:, None] * np.divide(-1.0, own, out=np.ones_like(own), where=own < -1.0)
    more: dict[tuple[int, int], FloatVector] = {}
    for i, j, terms in options:
        moved = total[i, :, j]
        whole = np.maximum(terms.returns(np.maximum(moved, -1.0)), -1.0)
        # Where the underlying stands still factors have nothing to share, and the option stands still too.
        scale[i, :, j] = np.divide(whole, moved, out=np.zeros_like(moved), where=moved != 0.0)
        if volatility is not None and covered[i, 0, j]:
            shocked = terms.returns(np.maximum(moved, -1.0), terms.shock_volatility(*volatility))
            more[i, j] = value[i, j] * (np.maximum(shocked, -1.0) - whole)
    scale *= value[:, None]
    by_factor = shock * np.matmul(scale, exposed)
    # An uncovered holding's betas are 0 by now, so it adds nothing.
    total *= scale
    for (i, j), money in more.items():
        total[i, :, j] += money
    return Loss(total.sum(axis=-1), by_factor, np.where(covered, total, np.nan))


def legs(loss: Loss, nav: FloatVector, withheld: BoolMatrix) -> FloatMatrix:
    """(2 g, C × (2 + F + K)) of `loss` in 2 C scenarios, the direct ones first: a row for the direct leg of each portfolio, and one
    for the propagated. Of each scenario money, fraction of NAV, by factor, by position; NaN where it is unknown or withheld.

    nav : (g,). withheld : (g, C).
    """
    fraction = loss.money / nav[:, None]
    table = np.concatenate([loss.money[:, :, None], fraction[:, :, None], loss.by_factor, loss.by_position], axis=-1)
    table[np.tile(withheld, 2)] = np.nan
    rows = table.reshape(2 * len(table), -1)
    # A negative zero is a zero.
    found: FloatMatrix = np.where(np.isfinite(rows), rows + 0.0, np.nan)
    return found


def legs_of(
    value: FloatVector, betas: FloatVector, shocks: bytes, nav: float, withheld: Sequence[bool]
) -> tuple[list[float], list[float]]:
    """(direct, propagated) of one portfolio without options, from what is stored of it: the rows that `legs` makes.

    value : (K,). betas : K × F, NaN unknown. shocks : of `pack_shocks`. withheld : (C,).
    """
    factors = len(FACTOR_NAMES)
    moved = _unpack(shocks).reshape(1, -1, factors)[:, : 2 * len(withheld)]
    loss = apply(value[None], betas.reshape(1, len(value), factors), np.ascontiguousarray(moved))
    direct, propagated = legs(loss, np.array([nav]), np.array([withheld], dtype=np.bool_)).tolist()
    return direct, propagated


def shown_of(shocks: bytes) -> list[float]:
    """C × F returns of the raw proxies; shocks : of `pack_shocks`."""
    packed = _unpack(shocks)
    shown: list[float] = packed[2 * len(packed) // 3 :].tolist()
    return shown


def pack_shocks(shocks: FloatMatrix, shown: FloatVector) -> bytes:
    """(2 C, F) shocks and the C × F returns that are shown, as they are stored: doubles, the lowest byte first, row by row."""
    return np.concatenate([shocks.ravel(), shown]).astype("<f8").tobytes()


def _unpack(shocks: bytes) -> FloatVector:
    return np.frombuffer(shocks, dtype="<f8").astype(np.float64)
