"""The P&L table of docs/methods.md §6, per lot.

Every line of that table is one identity: P&L = change of market value + cash the lot paid or received, each rounded by itself.
So the table is not spelled out case by case; what differs is which cash moves and whether there is a market value.

    t = e < x        mv_t - cost                             cost     = m q entry_price
    e < t < x        mv_t - mv_{t-1} + dividend_t            mv       = m q_t P_t
    t = x > e        proceeds - mv_{t-1} + dividend_t        proceeds = m Q exit_price
    e = x            proceeds - cost                         dividend = m q_t D_t, at x only if exit_date >= ex
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from services.snapshots.compute.model import Basis, Inputs, LotTable
from services.snapshots.compute.money import EXACT, IntMatrix, products, to_units
from services.snapshots.compute.prices import PricePath, price_path
from services.snapshots.compute.quantities import Quantities
from shared.arrays import BoolMatrix, FloatMatrix, IntVector


def lot_table(inputs: Inputs) -> LotTable:
    """Every lot on every session. Exact: cumulative P&L = realised + unrealised + dividends, and its changes are the daily P&L."""
    lots, days = inputs.lots, inputs.market.days[1:]
    quantities = Quantities(lots, inputs.market)
    path = price_path(inputs, quantities)
    quantity = _quantity(inputs, quantities, path)
    cost = np.array(
        [_cash(*terms) for terms in zip(lots.quantity, lots.multiplier, lots.entry_price, strict=True)], dtype=np.int64
    )
    begins, ends = days[:, None] == lots.entry_session, days[:, None] == lots.exit_session
    gain = _realised_gains(inputs, quantities, path, cost)
    market_value = _market_values(inputs, quantities, path, quantity, cost)
    income = _dividends(inputs, quantities, path, quantity)

    dividends = np.cumsum(income, axis=0) + inputs.opening.dividends
    # What closed before these sessions stands in the stored row; before its entry a lot has neither value nor income.
    closed = lots.exit_session <= days[:, None]
    realized = np.where(closed, np.where(lots.exit_session < days[0], inputs.opening.realized_pnl, gain), 0)
    cumulative = np.where(path.live, market_value - cost, realized) + dividends
    before = np.vstack([inputs.opening.cumulative_pnl[None, :], cumulative[:-1]])
    return LotTable(
        live=path.live,
        quantity=np.where(path.live, quantity, 0.0),
        price=path.price,
        price_day=path.price_day,
        basis=path.basis,
        stale=path.stale,
        reason=path.reason,
        gap=path.gap,
        market_value=market_value,
        cash=income + np.where(ends, gain + cost, 0) - np.where(begins, cost, 0),
        daily_pnl=cumulative - before,
        cumulative_pnl=cumulative,
        realized_pnl=realized,
        dividends=dividends,
    )


def _cash(quantity: Decimal, multiplier: np.int64, price: Decimal) -> int:
    return to_units(EXACT.multiply(EXACT.multiply(quantity, Decimal(int(multiplier))), price))


def _quantity(inputs: Inputs, quantities: Quantities, path: PricePath) -> FloatMatrix:
    """Signed shares, as traded; on adjusted closes the shares of the entry, for the price has the splits in it."""
    stated = np.array([float(q) for q in inputs.lots.quantity], dtype=np.float64)
    return np.where(path.basis == Basis.ADJ_CLOSE, stated, quantities.matrix(inputs.market.days[1:]))


def _realised_gains(inputs: Inputs, quantities: Quantities, path: PricePath, cost: IntVector) -> IntVector:
    """Proceeds less cost of the lots that close in these sessions, else 0."""
    lots, days = inputs.lots, inputs.market.days[1:]
    result = np.zeros(len(lots), dtype=np.int64)
    for lot in np.nonzero((lots.exit_session >= days[0]) & (lots.exit_session <= days[-1]))[0].tolist():
        price = lots.exit_price[lot]
        if price is None:
            raise ValueError(f"position {lots.position_id[lot]} has an exit date and no exit price")
        sold = lots.quantity[lot] if path.on_adjusted_exit[lot] else quantities.at(lot, int(lots.exit_day[lot]))
        result[lot] = _cash(sold, lots.multiplier[lot], price) - cost[lot]
    return result


def _market_values(
    inputs: Inputs, quantities: Quantities, path: PricePath, quantity: FloatMatrix, cost: IntVector
) -> IntMatrix:
    """Fresh prices are multiplied; a lot without one keeps its value to the last digit, so its P&L is 0."""
    lots, days = inputs.lots, inputs.market.days[1:]

    def shares(row: int, lot: int) -> Decimal:
        held = lots.quantity[lot] if path.basis[row, lot] == Basis.ADJ_CLOSE else quantities.at(lot, int(days[row]))
        return EXACT.multiply(held, Decimal(int(lots.multiplier[lot])))

    fresh = products(quantity * lots.multiplier, path.price, path.fresh, shares)
    unpriced_entry = path.live & ~path.fresh & (days[:, None] == lots.entry_session)
    known = np.vstack([np.ones((1, len(lots)), dtype=np.bool_), path.fresh | unpriced_entry])
    values = np.vstack([inputs.opening.market_value[None, :], np.where(unpriced_entry, cost, fresh)])
    newest = np.maximum.accumulate(np.where(known, np.arange(len(known))[:, None], 0), axis=0)
    carried = np.take_along_axis(values, newest, axis=0)[1:]
    return np.where(path.live, carried, 0)


def _dividends(inputs: Inputs, quantities: Quantities, path: PricePath, quantity: FloatMatrix) -> IntMatrix:
    """Cash dividends on the shares of the session; shorts pay. Not on the entry session, nor where the price has them in it."""
    lots, days = inputs.lots, inputs.market.days[1:, None]
    per_share = inputs.market.dividend[1:, lots.column]
    # Out by the exit session, but the holder of the ex-date is who held on its morning: exit_date >= ex.
    on_exit = (days == lots.exit_session) & (lots.exit_day >= days) & ~path.on_adjusted_exit
    entitled: BoolMatrix = (lots.entry_session < days) & ((path.live & (path.basis != Basis.ADJ_CLOSE)) | on_exit)

    def shares(row: int, lot: int) -> Decimal:
        return EXACT.multiply(quantities.at(lot, int(days[row, 0])), Decimal(int(lots.multiplier[lot])))

    return products(quantity * lots.multiplier, per_share, entitled & (per_share > 0), shares)
