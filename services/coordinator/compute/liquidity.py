"""How long it takes to sell what is held (docs/methods.md §16). Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.arrays import FloatMatrix, FloatVector, IntVector
from shared.market.registry import ADV_MIN_OBS, ADV_WINDOW

HORIZONS = (1, 5, 21)
"""Sessions: a day, a week, a month."""


@dataclass(frozen=True, slots=True)
class DailyVolume:
    """(n,) mean shares a session, in shares of the last session; NaN with fewer than 42 volumes."""

    mean: FloatVector
    n_obs: IntVector


def daily_volume(volumes: FloatMatrix, later_splits: FloatMatrix) -> DailyVolume:
    """volumes, later_splits : (n, 63) as traded, and the new shares per old of all splits after each session up to the last.

    A volume of 0 says no more than an absent one: sources write either for a day without a trade.
    """
    assert volumes.shape[1] <= ADV_WINDOW
    shares = volumes * later_splits
    there = np.isfinite(shares) & (shares > 0.0)
    count = there.sum(axis=1)
    total = np.where(there, shares, 0.0).sum(axis=1)
    return DailyVolume(np.where(count >= ADV_MIN_OBS, total / np.maximum(count, 1), np.nan), count)


def days_to_sell(quantity: FloatVector, volume: FloatVector, share: float) -> FloatVector:
    """(n,) sessions, fractions of one too, when each takes `share` of its mean volume."""
    return np.abs(quantity) / (share * volume)


@dataclass(frozen=True, slots=True)
class Profile:
    """Of gross value, fractions."""

    within: tuple[float, ...]
    """By `HORIZONS`: what can be sold by then, each holding in equal parts a session; NaN where nothing is known."""
    unknown: float
    days: float
    """Until everything that is known is sold."""


def profile(value: FloatVector, days: FloatVector) -> Profile:
    """value, days : (n,), days NaN where unknown. What is unknown is in none of the horizons, and beside them."""
    gross = np.abs(value)
    whole = float(gross.sum())
    known = np.isfinite(days) & (gross > 0.0)
    if whole <= 0.0:
        return Profile(tuple(np.nan for _ in HORIZONS), 0.0, np.nan)
    taken = [np.minimum(1.0, horizon / np.maximum(days[known], 1e-12)) for horizon in HORIZONS]
    return Profile(
        tuple(float((gross[known] * part).sum() / whole) if known.any() else np.nan for part in taken),
        float(gross[~known].sum() / whole),
        float(days[known].max()) if known.any() else np.nan,
    )
