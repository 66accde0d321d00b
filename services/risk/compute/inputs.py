"""What a risk computation reads: facts of symbols (shared by all portfolios of a batch) and the portfolios' holdings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from shared.arrays import BoolMatrix, DateVector, FloatCube, FloatMatrix, FloatVector, IntVector
from shared.market.registry import LOOKBACK, SPREAD_NAMES

REPORTED: tuple[str, ...] = (
    "market_beta",
    "market_beta_shrunk",
    "ir_beta",
    *(f"spread_{name}" for name in SPREAD_NAMES),
)
"""The exposures that are shown but never used in portfolio risk, in the order of `Panel.reported`."""


class Kind(IntEnum):
    """How a holding's value moves."""

    PUBLIC = 0
    OPTION = 1
    PRIVATE = 2


# As plain numbers for loops over holdings: looking up a member costs as much as the rest of the iteration.
PUBLIC, OPTION, PRIVATE = int(Kind.PUBLIC), int(Kind.OPTION), int(Kind.PRIVATE)


@dataclass(frozen=True, slots=True)
class Gap:
    """Columns [first, last] of `Panel.returns` in which a symbol has no price, and why."""

    first: int
    last: int
    reason: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Facts of N symbols on S consecutive sessions. NaN is unknown. Symbols are sorted: their order decides the order of every sum."""

    sessions: tuple[date, ...]
    symbols: tuple[str, ...]
    kinds: IntVector
    """(N,) of `Kind`."""
    returns: FloatMatrix
    """(N, LOOKBACK - 1 + S) simple daily total returns; the window of session s is the columns [s, s + LOOKBACK)."""
    shrunk: FloatMatrix
    """(S, N) Vasicek-shrunk market betas."""
    joint: FloatCube
    """(S, N, F) betas of the joint set, in the registry's order of factors."""
    resid_sd: FloatMatrix
    """(S, N) daily residual sd of the joint fit."""
    reported: FloatCube
    """(S, N, len(REPORTED))."""
    limited: BoolMatrix
    """(S, N) whether the exposures rest on fewer observations than a full window."""
    fact_reasons: dict[tuple[int, int], str]
    """(s, n) -> why there are no joint betas; only where there are none."""
    proxies: IntVector
    """(S, F) row of each factor's proxy in `returns`, -1 without one."""
    slopes: FloatMatrix
    """(S, F) b_k of each factor's proxy on the market; 1 for the market."""
    gaps: dict[int, tuple[Gap, ...]]

    def windows(self) -> FloatCube:
        """(N, S, LOOKBACK) view of the returns."""
        return np.lib.stride_tricks.sliding_window_view(self.returns, LOOKBACK, axis=1)


@dataclass(frozen=True, slots=True)
class Book:
    """U units (portfolio, session) with their holdings merged by symbol, as flat arrays: unit u owns [starts[u], starts[u+1])."""

    portfolios: tuple[UUID, ...]
    portfolio: IntVector
    """(U,) index into `portfolios`."""
    session: IntVector
    """(U,) index into `Panel.sessions`."""
    nav: FloatVector
    starts: IntVector
    """(U + 1,)."""
    rows: IntVector
    """(H,) row of the symbol in the panel, ascending within a unit."""
    long: FloatVector
    """(H,) value of the long lots, >= 0."""
    short: FloatVector
    """(H,) value of the short lots, <= 0."""
    unpriceable: NDArray[np.bool_]
    """(H,) whether a lot's price is too old to be evidence."""
    sectors: tuple[str, ...]
    """(H,) sector as known on the session."""
    underlyings: tuple[str, ...]
    """(H,) the symbol itself, or an option's underlying."""
    history: dict[int, History]
    """By index of the portfolio."""


@dataclass(frozen=True, slots=True)
class History:
    """A portfolio's snapshots from its first session to the last of the batch, oldest first. NaN: no return."""

    sessions: DateVector
    daily_return: FloatVector
    drawdown: FloatVector


@dataclass(frozen=True, slots=True)
class Stack:
    """g units with the same number K of holdings: every array operation on them has a shape that depends on no other unit."""

    units: IntVector
    """(g,) index into the book."""
    sessions: IntVector
    """(g,)."""
    nav: FloatVector
    """(g,); NaN where it is not positive, so that whatever is divided by it is unknown."""
    holdings: IntVector
    """(g, K) index into the book's flat arrays."""
    rows: IntVector
    """(g, K)."""
    value: FloatMatrix
    """(g, K) net signed value."""
    gross: FloatMatrix
    """(g, K) long value less short value."""

    @property
    def weight(self) -> FloatMatrix:
        """(g, K) signed value over NAV."""
        return self.value / self.nav[:, None]


def held(book: Book, units: IntVector) -> tuple[IntVector, IntVector]:
    """(holdings, owners) of the units, flat: indices into the book's arrays and into `units`, in order."""
    counts = np.diff(book.starts)[units]
    owner = np.repeat(np.arange(len(units)), counts)
    before = np.concatenate([[0], np.cumsum(counts)])[:-1]
    return book.starts[units][owner] + np.arange(len(owner)) - before[owner], owner


def stacks(book: Book, units: IntVector, *, most: int) -> Iterator[Stack]:
    """Cut units into stacks of equal K, each of at most `most` holdings (or one unit)."""
    counts = np.diff(book.starts)[units]
    for count in np.unique(counts):
        same = units[counts == count]
        step = max(1, most // max(1, int(count)))
        for low in range(0, len(same), step):
            yield stack(
                book, same[low : low + step], book.starts[same[low : low + step], None] + np.arange(count)[None, :]
            )


def stack(book: Book, units: IntVector, holdings: IntVector) -> Stack:
    """The stack of `units` (g,) with the chosen `holdings` (g, K) of each."""
    nav = book.nav[units]
    return Stack(
        units=units,
        sessions=book.session[units],
        nav=np.where(nav > 0.0, nav, np.nan),
        holdings=holdings,
        rows=book.rows[holdings],
        value=book.long[holdings] + book.short[holdings],
        gross=book.long[holdings] - book.short[holdings],
    )
