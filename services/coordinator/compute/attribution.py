"""Where the return of a range came from (docs/methods.md §16): by position, by factor, against a benchmark's sectors. Pure.

A session's parts are money over the session's capital, so that they add up to its return. Over a range they are linked by Carino's
(1999) logarithmic factors, and add up to the time-weighted return of the range.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.arrays import BoolMatrix, FloatMatrix, FloatVector


def linking_coefficients(returns: FloatVector) -> FloatVector:
    """(T,) by what each session's parts are multiplied: (ln(1+r)/r) / (ln(1+R)/R); NaN throughout where R is unknown or -1."""
    total = float(np.prod(1.0 + returns) - 1.0)
    if not np.isfinite(total) or (returns <= -1.0).any():
        return np.full(len(returns), np.nan)
    return _logarithmic(returns, np.zeros_like(returns)) / float(_logarithmic(np.array([total]), np.zeros(1))[0])


def linking_active(own: FloatVector, other: FloatVector) -> FloatVector:
    """The same for differences of returns own - other, which then add up to the difference of the returns over the range."""
    totals = [np.array([float(np.prod(1.0 + of) - 1.0)]) for of in (own, other)]
    if not np.isfinite(totals).all() or (own <= -1.0).any() or (other <= -1.0).any():
        return np.full(len(own), np.nan)
    return _logarithmic(own, other) / float(_logarithmic(*totals)[0])


def _logarithmic(own: FloatVector, other: FloatVector) -> FloatVector:
    """(ln(1+own) - ln(1+other)) / (own - other), at equality its limit 1/(1+own)."""
    apart = own - other
    same = np.abs(apart) < 1e-12
    safe = np.where(same, 1.0, apart)
    return np.where(same, 1.0 / (1.0 + own), (np.log1p(own) - np.log1p(other)) / safe)


@dataclass(frozen=True, slots=True)
class Parts:
    """M parts of the P&L of T sessions."""

    money: FloatVector
    """(M,) over the range."""
    contribution: FloatVector
    """(M,) linked; NaN where the return of the range is unknown."""


def add_up(pnl: FloatMatrix, base: FloatVector, link: FloatVector) -> Parts:
    """pnl (T, M) money; base (T,) each session's capital, whose 0 is only beside a P&L of 0; link (T,) of `linking_coefficients`."""
    capital = np.where(base == 0.0, 1.0, base)
    return Parts(pnl.sum(axis=0), (pnl / capital[:, None] * link[:, None]).sum(axis=0))


@dataclass(frozen=True, slots=True)
class ByFactor:
    """P&L of T sessions, money: by F factors, the rest, and what could not be told apart; together the whole."""

    factors: FloatMatrix
    """(T, F) exposure at the close before times the factor's return; 0 where unknown."""
    known: BoolMatrix
    """(T, F) whether it is."""
    rest: FloatVector
    """(T,) of single names and of trades, on sessions whose market exposure and market return are known."""
    untold: FloatVector
    """(T,) the whole P&L of the other sessions."""


def by_factor(pnl: FloatVector, exposure: FloatMatrix, slopes: FloatMatrix, returns: FloatMatrix) -> ByFactor:
    """pnl (T,); exposure (T, F) money at the close before, slopes (T, F) of each proxy on the market as of then, returns (T, F) of the
    proxies on the session; the market first, NaN unknown.

    A style's own return is its proxy's less slope times the market's, as the joint set's betas have it.
    """
    own = returns - np.where(np.isfinite(slopes), slopes, np.nan) * returns[:, :1]
    own[:, 0] = returns[:, 0]
    parts = exposure * own
    known = np.isfinite(parts) & np.isfinite(parts[:, :1])
    parts = np.where(known, parts, 0.0)
    told = known[:, 0]
    return ByFactor(parts, known, np.where(told, pnl - parts.sum(axis=1), 0.0), np.where(told, 0.0, pnl))


@dataclass(frozen=True, slots=True)
class Brinson:
    """Against a benchmark of sectors: S sectors and, last, cash. Effects are linked and add up to `active`."""

    allocation: FloatVector
    """(S + 1,) for holding more or less of a sector than the benchmark."""
    selection: FloatVector
    """(S + 1,) for holding other things in it than the sector's fund, trades and the interaction of both included."""
    own: float
    other: float

    @property
    def active(self) -> float:
        return self.own - self.other


def brinson_fachler(
    weight: FloatMatrix, contribution: FloatMatrix, benchmark: FloatMatrix, sector_return: FloatMatrix, own: FloatVector
) -> Brinson:
    """All (T, S): weights at the close before over the session's capital, P&L over it, the benchmark's weights (summing to 1), returns
    of the sectors (NaN where nothing stands for a sector: then the benchmark's whole return does); own (T,) the book's return.

    Brinson and Fachler (1985): allocation (w - b)(r_s - r), selection c - w·r_s; cash is a sector that returns nothing.
    """
    other = (benchmark * np.where(benchmark > 0.0, sector_return, 0.0)).sum(axis=1)
    returns = np.where(np.isfinite(sector_return), sector_return, other[:, None])
    weight = np.column_stack([weight, 1.0 - weight.sum(axis=1)])
    benchmark = np.column_stack([benchmark, np.zeros(len(own))])
    returns = np.column_stack([returns, np.zeros(len(own))])
    contribution = np.column_stack([contribution, np.zeros(len(own))])
    link = linking_active(own, other)[:, None]
    allocation = ((weight - benchmark) * (returns - other[:, None]) * link).sum(axis=0)
    selection = ((contribution - weight * returns) * link).sum(axis=0)
    return Brinson(allocation, selection, float(np.prod(1.0 + own) - 1.0), float(np.prod(1.0 + other) - 1.0))
