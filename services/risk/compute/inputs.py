"""What a risk computation reads: facts of symbols (shared by all portfolios of a batch) and the portfolios' holdings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from shared.arrays import BoolMatrix, DateVector, FloatCube, FloatMatrix, FloatVector, IntVector
from shared.market.curve import Curve
from shared.market.option_greeks import Greeks
from shared.market.option_terms import Terms
from shared.market.registry import COVERAGE_GATE, LOOKBACK


class Kind(IntEnum):
    """How a holding's value moves."""

    PUBLIC = 0
    OPTION = 1
    PRIVATE = 2
    CASH = 3
    """Money: worth its stated price, with returns of 0 that are its own."""


# As plain numbers for loops over holdings: looking up a member costs as much as the rest of the iteration.
PUBLIC, OPTION, PRIVATE, CASH = (int(kind) for kind in Kind)


def has_series(kinds: IntVector) -> NDArray[np.bool_]:
    """Whether a symbol's own returns and betas describe the holding: of what is public and of money, in the shape of `kinds`."""
    found: NDArray[np.bool_] = (kinds == PUBLIC) | (kinds == CASH)
    return found


@dataclass(frozen=True, slots=True)
class Gap:
    """Columns [first, last] of `Panel.returns` in which a symbol has no price, and why."""

    first: int
    last: int
    reason: str


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Sector weights of one date, which sum to 1; they count until the next one's date."""

    code: str
    date: date
    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Panel:
    """Facts of N symbols on S consecutive sessions. NaN is unknown. Symbols are sorted: their order decides the order of every sum."""

    sessions: tuple[date, ...]
    days: DateVector
    """(LOOKBACK - 1 + S,) sessions of the columns of `returns`: they say where running sums begin anew, and nothing else."""
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
    """(S, N, len(layouts.REPORTED)): exposures that are shown but never used in portfolio risk."""
    limited: BoolMatrix
    """(S, N) whether the exposures rest on fewer observations than a full window."""
    fact_reasons: dict[tuple[int, int], str]
    """(s, n) -> why there are no joint betas; only where there are none."""
    proxies: IntVector
    """(S, F) row of each factor's proxy in `returns`, -1 without one."""
    slopes: FloatMatrix
    """(S, F) b_k of each factor's proxy on the market; 1 for the market."""
    gaps: dict[int, tuple[Gap, ...]]
    closes: dict[int, FloatVector] = field(default_factory=dict)
    """By row, of options and their underlyings only: closes as traded, NaN unknown, on each of `close_days`."""
    close_days: tuple[date, ...] = ()
    """(S + 1,) the session before the first, and the sessions."""
    benchmarks: tuple[Benchmark, ...] = ()
    """By date, at most one a date: of the sessions each has the newest that is not dated after it."""

    curves: tuple[Curve, ...] = ()
    """Yield curves by date, ascending, from a month before the first session on."""

    def benchmark_of(self) -> IntVector:
        """(S,) index into `benchmarks`, -1 without one."""
        dates = np.array([of.date for of in self.benchmarks], dtype="datetime64[D]")
        found: IntVector = np.searchsorted(dates, np.array(self.sessions, dtype="datetime64[D]"), side="right") - 1
        return found

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
    underlying_rows: dict[int, int] = field(default_factory=dict)
    """By holding, of options whose underlying is in the panel: its row."""
    before: Before | None = None
    """What the portfolios held at the close of the session before each unit's."""
    deltas: Deltas | None = None
    """Filled in by `greeks.with_deltas`; without it every holding is described by its own row."""

    @property
    def source(self) -> IntVector:
        """(H,) row whose returns and betas describe the holding: of an option with a delta its underlying's, else its own."""
        return self.rows if self.deltas is None else self.deltas.source

    @property
    def leverage(self) -> FloatVector:
        """(H,) money exposed to the source for each unit of market value: delta S / P of an option, else 1."""
        return np.ones(len(self.rows)) if self.deltas is None else self.deltas.leverage


@dataclass(frozen=True, slots=True)
class Deltas:
    """How holdings move, with options' deltas. `greeks` by holding, of the options that have them."""

    source: IntVector
    leverage: FloatVector
    greeks: dict[int, Greeks]
    terms: dict[int, Terms] = field(default_factory=dict)
    """By holding too: what it takes to revalue them."""


@dataclass(frozen=True, slots=True)
class Before:
    """Holdings at the close of the session before that of each of U units, flat: unit u owns [starts[u], starts[u+1])."""

    starts: IntVector
    """(U + 1,)."""
    nav: FloatVector
    """(U,); NaN where there was no snapshot."""
    rows: IntVector
    value: FloatVector
    """(H,) net signed value."""
    gross: FloatVector
    unpriceable: NDArray[np.bool_]
    underlying_rows: dict[int, int]


@dataclass(frozen=True, slots=True)
class History:
    """A portfolio's snapshots from its first session to the last of the batch, oldest first. NaN: no return."""

    sessions: DateVector
    daily_return: FloatVector
    drawdown: FloatVector
    coverage: FloatVector
    """Share of each session's gross value at a price that is evidence."""

    def well_priced(self) -> NDArray[np.bool_]:
        """Sessions with enough of it: what a session below is worth is not known well enough to measure anything by."""
        good: NDArray[np.bool_] = self.coverage >= COVERAGE_GATE
        return good

    def between_well_priced(self) -> NDArray[np.bool_]:
        """Sessions whose return is from such a session to such a session; a price that comes back moves all it missed at once."""
        good = self.well_priced()
        both: NDArray[np.bool_] = good & np.concatenate([[True], good[:-1]])
        return both


@dataclass(frozen=True, slots=True)
class PortfolioGroup:
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
    """(g, K) of the holding's own symbol: names, kinds."""
    source: IntVector
    """(g, K) row that describes how the holding moves."""
    value: FloatMatrix
    """(g, K) net signed value."""
    gross: FloatMatrix
    """(g, K) long value less short value."""
    leverage: FloatMatrix
    """(g, K) exposure for each unit of value."""

    @property
    def weight(self) -> FloatMatrix:
        """(g, K) signed value over NAV."""
        return self.value / self.nav[:, None]

    @property
    def exposure(self) -> FloatMatrix:
        """(g, K) signed money that moves with the source: of an option delta times quantity times 100 times underlying."""
        return self.value * self.leverage

    @property
    def exposure_weight(self) -> FloatMatrix:
        """(g, K) exposure over NAV."""
        return self.exposure / self.nav[:, None]

    def net_weights(self, covered: BoolMatrix) -> FloatMatrix:
        """(g, K) `exposure_weight` with covered holdings of one source together, at the place of the first; 0 at the others'.

        What is not covered stands for itself: a share at a price that is no evidence does not take an option on it with it.
        """
        net = self.exposure_weight
        ordered = np.sort(self.source, axis=1)
        for i in np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1)).tolist():
            first: dict[int, int] = {}
            for j, source in enumerate(self.source[i].tolist()):
                at = first.setdefault(source, j) if covered[i, j] else j
                if at != j:
                    net[i, at] += net[i, j]
                    net[i, j] = 0.0
        return net


def flatten_holdings(book: Book, units: IntVector) -> tuple[IntVector, IntVector]:
    """(holdings, owners) of the units, flat: indices into the book's arrays and into `units`, in order."""
    counts = np.diff(book.starts)[units]
    owner = np.repeat(np.arange(len(units)), counts)
    before = np.concatenate([[0], np.cumsum(counts)])[:-1]
    return book.starts[units][owner] + np.arange(len(owner)) - before[owner], owner


def portfolio_groups(book: Book, units: IntVector, *, most: int) -> Iterator[PortfolioGroup]:
    """Cut units into stacks of equal K, each of at most `most` holdings (or one unit)."""
    counts = np.diff(book.starts)[units]
    for count in np.unique(counts):
        same = units[counts == count]
        step = max(1, most // max(1, int(count)))
        for low in range(0, len(same), step):
            yield portfolio_group(
                book, same[low : low + step], book.starts[same[low : low + step], None] + np.arange(count)[None, :]
            )


def portfolio_group(book: Book, units: IntVector, holdings: IntVector) -> PortfolioGroup:
    """The stack of `units` (g,) with the chosen `holdings` (g, K) of each."""
    nav = book.nav[units]
    return PortfolioGroup(
        units=units,
        sessions=book.session[units],
        nav=np.where(nav > 0.0, nav, np.nan),
        holdings=holdings,
        rows=book.rows[holdings],
        source=book.source[holdings],
        value=book.long[holdings] + book.short[holdings],
        gross=book.long[holdings] - book.short[holdings],
        leverage=book.leverage[holdings],
    )
