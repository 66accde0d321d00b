"""Which price a lot has on each session (docs/methods.md §6, "Which price").

A loop over sessions with vectors over lots: today's price depends on yesterday's (carried, chained), and a loop whose whole state
is the stored row gives the same digits wherever the sessions are cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from services.snapshots.compute.model import (
    DELISTED_GAP,
    Basis,
    BoolVector,
    Inputs,
    Reason,
)
from services.snapshots.compute.money import LARGEST, UNITS, IntMatrix
from services.snapshots.compute.quantities import Quantities, split_factors
from shared.arrays import BoolMatrix, FloatMatrix, FloatVector, IntVector
from shared.market.registry import STALE_SESSIONS

# As plain integers: looking a member up in its enumeration, some ten times a session, took a third of the loop.
_STATED, _CLOSE, _FILE, _CHAINED, _ADJ_CLOSE = map(int, Basis)
MAX_STALE = int(np.iinfo(np.int16).max)


@dataclass(frozen=True, slots=True)
class PricePath:
    """Shape (T, n) each.

    live   : open at the session's close (entered on or before it, not out by it)
    fresh  : the price is of that session; otherwise the market value is carried, or is the cost on the first session
    on_adjusted_exit : (n,) the lot is, or on its exit was, on adjusted closes
    """

    live: BoolMatrix
    fresh: BoolMatrix
    price: FloatMatrix
    price_day: IntMatrix
    basis: IntMatrix
    stale: IntMatrix
    reason: IntMatrix
    gap: IntMatrix
    on_adjusted_exit: BoolVector


def price_path(inputs: Inputs, quantities: Quantities) -> PricePath:
    """Prices, their sessions, bases and shortfalls.

    The basis is the memory of what a lot is: STATED until its first price; ADJ_CLOSE for life if that first price was only an
    adjusted one. A chained price needs yesterday's price fresh and both adjusted closes: like a return, it never spans a hole.
    """
    lots, state = inputs.lots, inputs.opening
    days = inputs.market.days[1:]
    quotes = _quotes(inputs, quantities)
    live = (lots.entry_session <= days[:, None]) & (days[:, None] < lots.exit_session)
    path = _empty_path(live, gap=np.where(live, inputs.market.gap[1:, lots.column].astype(np.int64), 0))
    refused = np.zeros(live.shape, dtype=np.bool_)
    entry_price = _entry_prices(inputs, quantities)
    exit_price = np.array([np.nan if p is None else float(p) for p in lots.exit_price], dtype=np.float64)
    price, price_day = state.price.copy(), state.price_day.copy()
    basis, stale = state.basis.copy(), state.stale.copy()

    for row, day in enumerate(days.tolist()):
        now = live[row]
        begins = lots.entry_session == day
        price = np.where(begins, entry_price, price)
        price_day[begins], basis[begins], stale[begins] = day, _STATED, 0

        on_adjusted = basis == _ADJ_CLOSE
        of = _sources(quotes, row, price, basis, stale, priced_today=(begins | now) & ~lots.private, begins=begins)
        fresh = of.by_close | of.by_adjusted | of.by_chain
        close, adjusted = quotes.close[row + 1], quotes.adjusted[row + 1]
        refused[row] = ~fresh & ((close > quotes.highest[row]) | (adjusted > quotes.highest_adjusted))
        # Adjusted closes are continuous through splits; every other carried price is of yesterday's shares.
        carried = np.where(on_adjusted | begins | ~now, price, price / quotes.split[row])
        price = np.where(
            of.by_close, close, np.where(of.by_adjusted, adjusted, np.where(of.by_chain, of.chained, carried))
        )
        basis = np.where(of.by_close, np.where(quotes.from_file[row + 1], _FILE, _CLOSE), basis)
        basis = np.where(of.by_adjusted, _ADJ_CLOSE, np.where(of.by_chain, _CHAINED, basis))
        price_day = np.where(fresh, day, price_day)
        stale = np.where(fresh | begins | lots.private | ~now, 0, np.minimum(stale + 1, MAX_STALE))

        ends = lots.exit_session == day
        path.on_adjusted_exit[ends] = basis[ends] == _ADJ_CLOSE
        price = np.where(ends, exit_price, price)
        price_day[ends], basis[ends], stale[ends] = day, _STATED, 0

        path.fresh[row] = fresh & now
        path.price[row], path.price_day[row] = price, price_day
        path.basis[row], path.stale[row] = basis, stale
    # A contract pays no dividends: nothing is missing where its source lists none.
    path.reason[:] = _reasons(live & ~lots.private, path, quotes.from_file[1:] & (lots.multiplier == 1), refused)
    return path


@dataclass(frozen=True, slots=True)
class _Quotes:
    """What the market says of each lot. T sessions, n lots; arrays of T + 1 rows begin with the session of the opening.

    close, adjusted, dividend : (T + 1, n)
    from_file        : (T + 1, n) the close is of a price file
    split            : (T, n) factor of the session
    highest          : (T, n) the highest price of a session that fits the ledger; highest_adjusted (n,) the same of adjusted closes
    """

    close: FloatMatrix
    adjusted: FloatMatrix
    dividend: FloatMatrix
    from_file: BoolMatrix
    split: FloatMatrix
    highest: FloatMatrix
    highest_adjusted: FloatVector


def _quotes(inputs: Inputs, quantities: Quantities) -> _Quotes:
    market, column = inputs.market, inputs.lots.column
    highest, highest_adjusted = _highest_prices(inputs, quantities)
    return _Quotes(
        close=market.close[:, column],
        adjusted=market.adj_close[:, column],
        dividend=market.dividend[:, column],
        from_file=market.from_file[:, column],
        split=split_factors(market, market.days[1:])[:, column],
        highest=highest,
        highest_adjusted=highest_adjusted,
    )


class _Sources(NamedTuple):
    """(n,) each: which lots get the session's close, its adjusted close or a chained price, and what that would be."""

    by_close: BoolVector
    by_adjusted: BoolVector
    by_chain: BoolVector
    chained: FloatVector


def _sources(
    quotes: _Quotes,
    row: int,
    price: FloatVector,
    basis: IntVector,
    stale: IntVector,
    *,
    priced_today: BoolVector,
    begins: BoolVector,
) -> _Sources:
    """price, basis, stale : of the session before, or the cost where the lot begins"""
    on_adjusted, unpriced = basis == _ADJ_CLOSE, basis == _STATED
    has_close = quotes.close[row + 1] <= quotes.highest[row]
    has_adjusted = quotes.adjusted[row + 1] <= quotes.highest_adjusted
    by_close = priced_today & has_close & ~on_adjusted
    by_adjusted = priced_today & has_adjusted & (on_adjusted | (unpriced & ~has_close))
    # On today's shares: the ratio of adjusted closes has the split in it, and the dividend, which is paid in cash.
    chained = price / quotes.split[row] * (quotes.adjusted[row + 1] / quotes.adjusted[row]) - quotes.dividend[row + 1]
    by_chain = priced_today & ~begins & ~has_close & ~on_adjusted & ~unpriced & (stale == 0) & (chained > 0)
    by_chain &= chained <= quotes.highest[row]
    return _Sources(by_close, by_adjusted, by_chain, chained)


def _empty_path(live: BoolMatrix, *, gap: IntMatrix) -> PricePath:
    return PricePath(
        live=live,
        fresh=np.zeros(live.shape, dtype=np.bool_),
        price=np.zeros(live.shape),
        price_day=np.zeros(live.shape, dtype=np.int64),
        basis=np.zeros(live.shape, dtype=np.int64),
        stale=np.zeros(live.shape, dtype=np.int64),
        reason=np.zeros(live.shape, dtype=np.int64),
        gap=gap,
        on_adjusted_exit=np.zeros(live.shape[1], dtype=np.bool_),
    )


def _highest_prices(inputs: Inputs, quantities: Quantities) -> tuple[FloatMatrix, FloatVector]:
    """The price up to which a lot's value fits the ledger: (T, n) on the shares of the session, (n,) on those of the entry.

    A price beyond it is left aside for that lot, with a reason: an amount that nobody can hold must not end the whole portfolio.
    """
    lots = inputs.lots
    stated = np.abs(np.array([float(q) for q in lots.quantity], dtype=np.float64))
    # A little less than fits: the product is rounded too.
    most = LARGEST / UNITS * (1.0 - 1e-12) / lots.multiplier
    return most / np.abs(quantities.matrix(inputs.market.days[1:])), most / stated


def _entry_prices(inputs: Inputs, quantities: Quantities) -> FloatVector:
    """The entry price on the shares of the entry session: what a lot without a price is worth."""
    lots = inputs.lots
    result = np.array([float(p) for p in lots.entry_price], dtype=np.float64)
    for lot in np.nonzero(lots.entry_day < lots.entry_session)[0].tolist():
        result[lot] /= quantities.factor(lot, int(lots.entry_session[lot]))
    return result


def _reasons(market_lot: BoolMatrix, path: PricePath, from_file: BoolMatrix, refused: BoolMatrix) -> IntMatrix:
    missing = np.where((path.basis == _STATED) | (path.stale > STALE_SESSIONS), Reason.UNPRICEABLE, Reason.STALE)
    missing = np.where(path.gap == DELISTED_GAP, Reason.DELISTED, missing)
    missing = np.where(refused, Reason.AMOUNT_TOO_LARGE, missing)
    priced = np.where(from_file & (path.basis != _ADJ_CLOSE), Reason.NO_DIVIDENDS, Reason.NONE)
    return np.where(market_lot, np.where(path.fresh, priced, missing), Reason.NONE)
