"""Which price a lot has on each session (docs/methods.md §6, "Which price").

A loop over sessions with vectors over lots: today's price depends on yesterday's (carried, chained), and a loop whose whole state
is the stored row gives the same digits wherever the sessions are cut.
"""

from __future__ import annotations

from dataclasses import dataclass

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
from shared.arrays import BoolMatrix, FloatMatrix, FloatVector
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
    lots, market, state = inputs.lots, inputs.market, inputs.opening
    days = market.days[1:]
    shape = (len(days), len(lots))
    split = split_factors(market, days)[:, lots.column]
    close = market.close[:, lots.column]
    adjusted = market.adj_close[:, lots.column]
    dividend = market.dividend[:, lots.column]
    from_file = market.from_file[:, lots.column]
    gap = market.gap[:, lots.column].astype(np.int64)
    live = (lots.entry_session <= days[:, None]) & (days[:, None] < lots.exit_session)
    highest, highest_adjusted = _highest_prices(inputs, quantities)
    refused = np.zeros(shape, dtype=np.bool_)

    path = PricePath(
        live=live,
        fresh=np.zeros(shape, dtype=np.bool_),
        price=np.zeros(shape),
        price_day=np.zeros(shape, dtype=np.int64),
        basis=np.zeros(shape, dtype=np.int64),
        stale=np.zeros(shape, dtype=np.int64),
        reason=np.zeros(shape, dtype=np.int64),
        gap=np.where(live, gap[1:], 0),
        on_adjusted_exit=np.zeros(len(lots), dtype=np.bool_),
    )
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
        unpriced = basis == _STATED
        has_close = close[row + 1] <= highest[row]
        has_adjusted = adjusted[row + 1] <= highest_adjusted
        priced_today = (begins | now) & ~lots.private
        by_close = priced_today & has_close & ~on_adjusted
        by_adjusted = priced_today & has_adjusted & (on_adjusted | (unpriced & ~has_close))
        # On today's shares: the ratio of adjusted closes has the split in it, and the dividend, which is paid in cash.
        chained = price / split[row] * (adjusted[row + 1] / adjusted[row]) - dividend[row + 1]
        by_chain = priced_today & ~begins & ~has_close & ~on_adjusted & ~unpriced & (stale == 0) & (chained > 0)
        by_chain &= chained <= highest[row]
        fresh = by_close | by_adjusted | by_chain
        refused[row] = ~fresh & ((close[row + 1] > highest[row]) | (adjusted[row + 1] > highest_adjusted))
        # Adjusted closes are continuous through splits; every other carried price is of yesterday's shares.
        carried = np.where(on_adjusted | begins | ~now, price, price / split[row])
        price = np.where(
            by_close, close[row + 1], np.where(by_adjusted, adjusted[row + 1], np.where(by_chain, chained, carried))
        )
        basis = np.where(by_close, np.where(from_file[row + 1], _FILE, _CLOSE), basis)
        basis = np.where(by_adjusted, _ADJ_CLOSE, np.where(by_chain, _CHAINED, basis))
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
    path.reason[:] = _reasons(live & ~lots.private, path, from_file[1:] & (lots.multiplier == 1), refused)
    return path


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
