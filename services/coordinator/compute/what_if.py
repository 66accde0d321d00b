"""Risk of a book from its values, exposures and past returns (docs/methods.md §5, §7, §8, §10): before trades and after. Pure.

The definitions are those of stored risk, for one book at a time, so that what is said before equals what was stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from shared.arrays import BoolMatrix, FloatMatrix, FloatVector
from shared.market.registry import (
    COVERAGE_GATE,
    SESSIONS_A_YEAR,
    VAR_LEVELS,
    VAR_MIN_OBS,
    VOLATILITY_MIN_SHARE,
    VOLATILITY_WINDOWS,
)

NAN = math.nan
HHI_SCALE = 10_000.0


@dataclass(frozen=True, slots=True)
class Series:
    """Past returns of K symbols on T sessions that end with the book's."""

    filled: FloatMatrix
    """(K, T) finite; 0 on sessions without a market return."""
    real: BoolMatrix
    """(K, T) whether the return is the symbol's own."""
    valid: BoolMatrix
    """(T,) whether the market has a return: other sessions are dropped."""


def fill(own: FloatMatrix, market: FloatVector, shrunk: FloatVector, still: BoolMatrix) -> Series:
    """own (K, T) and market (T,) with NaN for none; shrunk (K,) the market betas that stand in, NaN 1.0; still (K,): symbols without a
    market of their own, which contribute 0 and are not real."""
    valid = np.isfinite(market)
    real = np.isfinite(own) & ~still[:, None]
    beta = np.where(np.isfinite(shrunk), shrunk, 1.0)
    filled = np.where(real, own, beta[:, None] * np.where(valid, market, 0.0))
    filled = np.where(still[:, None] | ~valid, 0.0, filled)
    return Series(filled, real, valid)


@dataclass(frozen=True, slots=True)
class Tail:
    level: float
    var: float
    es: float
    n_obs: int


@dataclass(frozen=True, slots=True)
class Figures:
    """NaN where unknown. Money as it is, volatilities a year, VaR and ES positive fractions of NAV of one day."""

    volatility: dict[int, float]
    tails: list[Tail]
    betas: FloatVector
    """(F,)."""
    covered_weight: float
    """Gross value with betas over gross value."""
    coverage: float
    """Share of gross value backed by real returns over the longest volatility window."""
    hhi: float
    effective: float
    top_3: float
    top_10: float


@dataclass(frozen=True, slots=True)
class Quantities:
    """Of K symbols: long lots (>= 0) and short ones (<= 0), which do not net in gross value."""

    long: FloatVector
    short: FloatVector

    @property
    def net(self) -> FloatVector:
        return self.long + self.short

    @property
    def held(self) -> BoolMatrix:
        there: BoolMatrix = (self.long != 0.0) | (self.short != 0.0)
        return there

    def apply_trade(self, quantity: FloatVector) -> Quantities:
        """What is bought covers short lots first, what is sold is taken of long ones first; the rest is new."""
        covered = np.clip(quantity, 0.0, -self.short)
        sold = np.clip(-quantity, 0.0, self.long)
        return Quantities(
            self.long - sold + np.maximum(quantity - covered, 0.0),
            self.short + covered + np.minimum(quantity + sold, 0.0),
        )


def figures(
    nav: float,
    gross: FloatVector,
    exposure: FloatVector,
    betas: FloatMatrix,
    series: Series,
    groups: list[str],
    full: FloatMatrix | None = None,
) -> Figures:
    """gross (K,) value of the long lots less that of the short ones, exposure (K,) what moves (NaN uncovered), betas (K, F) of the
    joint set (NaN uncovered or no proxy), groups : the underlying of each symbol, full (K, T) : returns as value at risk has them, of an
    option over its leverage."""
    moves = np.where(np.isfinite(exposure), exposure, 0.0)
    weight = moves / nav if nav > 0.0 else np.full_like(moves, np.nan)
    # Without holdings nothing moves, as stored risk has it; without a positive NAV there is no share of it that could.
    nothing = 0.0 if nav > 0.0 else NAN
    path = weight @ series.filled if len(weight) else np.full(series.filled.shape[1], nothing)
    path_in_full = path if full is None or not len(weight) else weight @ full
    real = series.real & np.isfinite(exposure)[:, None]
    share = _share(gross, real)
    largest = VOLATILITY_WINDOWS[-1]
    covered = np.isfinite(exposure) & np.isfinite(betas[:, 0])
    of_betas = _covered_share(gross, covered)
    exposed = np.where(np.isfinite(betas) & covered[:, None], betas, 0.0)
    known = np.isfinite(betas[covered]).any(axis=0) | (len(gross) == 0)
    total = weight @ exposed if len(weight) else np.full(betas.shape[1], nothing)
    hhi, top_3, top_10 = concentration(gross, groups)
    return Figures(
        {window: _volatility(path, series.valid, share, window) for window in VOLATILITY_WINDOWS},
        [_tail(path_in_full, series.valid, share, level) for level in VAR_LEVELS],
        np.where(known & (of_betas >= COVERAGE_GATE), total, np.nan),
        of_betas,
        float(share[-largest:].mean()),
        hhi,
        HHI_SCALE / hhi if hhi > 0.0 else NAN,
        top_3,
        top_10,
    )


def withhold(of: Figures, *, series: bool) -> Figures:
    """The figures without betas, and with `series` without volatility and tails too."""
    unknown = replace(of, betas=np.full_like(of.betas, np.nan))
    if not series:
        return unknown
    tails = [replace(tail, var=NAN, es=NAN) for tail in of.tails]
    return replace(unknown, volatility=dict.fromkeys(of.volatility, NAN), tails=tails)


def hedge(beta: float, nav: float, price: float) -> tuple[float, float]:
    """(shares, money) of the market's proxy, whose own market beta is 1, that would bring a book's beta to 0; NaN unknown."""
    # Less a zero: a book without beta needs nothing, not its negative.
    money = 0.0 - beta * nav
    return money / price, money


def _share(gross: FloatVector, real: BoolMatrix) -> FloatVector:
    """(T,) share of gross value with a real return on each session; 1 where nothing is held, since nothing is missing."""
    whole = float(gross.sum())
    return (gross @ real) / whole if whole > 0.0 else np.ones(real.shape[1])


def _covered_share(gross: FloatVector, covered: BoolMatrix) -> float:
    whole = float(gross.sum())
    return float(gross[covered].sum()) / whole if whole > 0.0 else 1.0


def _volatility(path: FloatVector, valid: BoolMatrix, share: FloatVector, window: int) -> float:
    part, use = path[-window:], valid[-window:]
    if use.sum() < VOLATILITY_MIN_SHARE * window or share[-window:].mean() < COVERAGE_GATE:
        return NAN
    return math.sqrt(SESSIONS_A_YEAR) * float(part[use].std(ddof=1))


def _tail(path: FloatVector, valid: BoolMatrix, share: FloatVector, level: float) -> Tail:
    """Over the sessions since the first on which at least 80 % of gross value had real returns."""
    backed = np.flatnonzero(share >= COVERAGE_GATE)
    since = int(backed[0]) if len(backed) else len(share)
    losses = path[since:][valid[since:]]
    n = len(losses)
    if n < VAR_MIN_OBS or share[since:].mean() < COVERAGE_GATE or not np.isfinite(losses).all():
        return Tail(level, NAN, NAN, n)
    quantile = float(np.quantile(losses, 1.0 - level))
    # Less a zero, not its negative: nothing held loses 0.0.
    return Tail(level, 0.0 - quantile, 0.0 - float(losses[losses <= quantile].mean()), n)


def concentration(gross: FloatVector, groups: list[str]) -> tuple[float, float, float]:
    """(HHI from 0 to 10,000, largest three, largest ten) of gross value by underlying; NaN where nothing is held."""
    sums: dict[str, float] = {}
    for name, size in zip(groups, gross.tolist(), strict=True):
        sums[name] = sums.get(name, 0.0) + size
    shares = np.sort(np.array(list(sums.values())))[::-1]
    if shares.sum() <= 0.0:
        return NAN, NAN, NAN
    shares = shares / shares.sum()
    return HHI_SCALE * float((shares * shares).sum()), float(shares[:3].sum()), float(shares[:10].sum())
