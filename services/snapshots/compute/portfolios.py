"""Lots added up to snapshots: NAV, exposures, the return chains, coverage."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.snapshots.compute.model import BoolVector, ChainBroken, Inputs, LotTable, Reason, Snapshots
from services.snapshots.compute.money import LARGEST_SUM, UNITS, AmountTooLarge, IntMatrix
from shared.arrays import FloatMatrix, IntVector
from shared.market.internal_rate import days_at_work, empty_stretches, xirr
from shared.market.registry import EMPTY_BELOW, XIRR_YEAR_DAYS

# Carried for at most five sessions, or priced: what a good input backs.
_COVERED = (Reason.NONE, Reason.STALE, Reason.NO_DIVIDENDS)


def snapshots(inputs: Inputs, table: LotTable) -> Snapshots:
    """All figures of all portfolios. NAV_t = NAV_{t-1} + pnl_t + flow_t and NAV_t = cash_t + Σ market value, in integers.

    `ChainBroken` if the stored row before the first session and the lots do not add up to its NAV.
    """
    portfolios, days = inputs.portfolios, inputs.market.days[1:]
    add_up = _Sums(inputs.lots.portfolio, len(portfolios.portfolio_id))
    if not np.array_equal(portfolios.cash + add_up(inputs.opening.market_value[None, :])[0], portfolios.nav):
        raise ChainBroken(f"lots and cash before {np.datetime64(int(days[0]), 'D')} do not add up to the stored NAV")
    value = table.market_value
    # In millions of units: the sum that is too large for a 64-bit integer must not be the one that is looked at.
    if add_up(np.abs(value) >> 20).max(initial=0) > LARGEST_SUM >> 20:
        raise AmountTooLarge("the positions of a portfolio are worth more than a ledger in ten-thousandths can hold")

    long_value, short_value = add_up(np.maximum(value, 0)), add_up(np.minimum(value, 0))
    flow = _flows(inputs)
    cash = portfolios.cash + np.cumsum(flow + add_up(table.cash), axis=0)
    nav = cash + long_value + short_value
    pnl = add_up(table.daily_pnl)
    before = np.vstack([portfolios.nav[None, :], nav[:-1]])
    if not np.array_equal(nav, before + pnl + flow):
        raise ArithmeticError(f"the NAV identity fails from {np.datetime64(int(days[0]), 'D')}")
    cumulative_flow = portfolios.cumulative_flow + np.cumsum(flow, axis=0)
    cumulative, realized, dividends = add_up(table.cumulative_pnl), add_up(table.realized_pnl), add_up(table.dividends)

    base = before + np.maximum(flow, 0)
    daily = _daily_returns(pnl, base)
    chains = _chains(inputs, daily)
    held_long, held_short = table.live & (table.quantity > 0), table.live & (table.quantity < 0)
    gross = add_up(np.abs(value))
    covered = add_up(np.where(np.isin(table.reason, _COVERED), np.abs(value), 0))
    rates, worked = _xirr(inputs, nav, gross)
    return Snapshots(
        nav=nav,
        cash=cash,
        long_value=long_value,
        short_value=short_value,
        daily_pnl=pnl,
        cumulative_pnl=cumulative,
        realized_pnl=realized,
        unrealized_pnl=cumulative - realized - dividends,
        dividends=dividends,
        flow=flow,
        cumulative_flow=cumulative_flow,
        daily_return=daily,
        mtd_return=chains[0],
        ytd_return=chains[1],
        cumulative_return=chains[2],
        peak_index=chains[3],
        drawdown=(1.0 + chains[2]) / chains[3] - 1.0,
        xirr=rates,
        days_at_work=worked,
        positions=add_up(table.live.astype(np.int64)),
        long_positions=add_up(held_long.astype(np.int64)),
        short_positions=add_up(held_short.astype(np.int64)),
        coverage=np.where(gross > 0, covered / np.maximum(gross, 1), 1.0),
    )


def _daily_returns(pnl: IntMatrix, base: IntMatrix) -> FloatMatrix:
    """P&L over the capital behind it, (T, P) decimal; NaN where no return describes the session.

    A base below zero has no return, and a loss of all of it or more ends every product of returns: after a factor at or below zero
    the sign of each later one would be turned. An emptied account is no bankruptcy: nothing on nothing is 0, and nothing is what is less
    than a cent, on either side: who pays out all is left with what a cent is rounded by.
    """
    empty = np.abs(base) < EMPTY_BELOW * UNITS
    with np.errstate(divide="ignore", invalid="ignore"):
        daily = np.where((base > 0) & ~empty, pnl / base, np.where(empty & (pnl == 0), 0.0, np.nan))
    return np.where(1.0 + daily > 0.0, daily, np.nan)


class _Sums:
    """Integer sums over each portfolio's lots, (T, n) -> (T, P); exact, so the order is of no account."""

    def __init__(self, portfolio: IntVector, count: int) -> None:
        self._first = np.searchsorted(portfolio, np.arange(count), side="left")
        self._end = np.searchsorted(portfolio, np.arange(count), side="right")

    def __call__(self, values: IntMatrix) -> IntMatrix:
        running = np.zeros((values.shape[0], values.shape[1] + 1), dtype=np.int64)
        np.cumsum(values, axis=1, out=running[:, 1:])
        difference: NDArray[np.int64] = running[:, self._end] - running[:, self._first]
        return difference


def _flows(inputs: Inputs) -> IntMatrix:
    days = inputs.market.days[1:]
    result = np.zeros((len(days), len(inputs.portfolios.portfolio_id)), dtype=np.int64)
    for portfolio, flows in enumerate(inputs.portfolios.flows):
        for day, amount in flows:
            row = int(np.searchsorted(days, day))
            if row < len(days) and days[row] == day:
                result[row, portfolio] += amount
    return result


def _chains(inputs: Inputs, daily: FloatMatrix) -> tuple[FloatMatrix, FloatMatrix, FloatMatrix, FloatMatrix]:
    """Month, year and all to date, and the peak of the index, each from the *stored* figure of the session before.

    Going on from an index held in memory would give other last digits than going on from the row. A null return (`_daily_returns`) is
    null for as long as it is in the product: in the month and year until the next begins, in the whole for good.
    """
    portfolios, days = inputs.portfolios, inputs.market.days
    dates = days.astype("datetime64[D]")
    months, years = dates.astype("datetime64[M]"), dates.astype("datetime64[Y]")
    month_begins, year_begins = months[1:] != months[:-1], years[1:] != years[:-1]
    mtd, ytd, total, peak = (np.empty_like(daily) for _ in range(4))
    state = [portfolios.mtd_return, portfolios.ytd_return, portfolios.cumulative_return, portfolios.peak_index]
    for row in range(len(daily)):
        first: BoolVector = portfolios.first_day == days[row + 1]
        since = (first | month_begins[row], first | year_begins[row], first)
        for k, begins in enumerate(since):
            state[k] = (1.0 + np.where(begins, 0.0, state[k])) * (1.0 + daily[row]) - 1.0
        state[3] = np.maximum(np.where(first, 1.0, state[3]), 1.0 + state[2])
        mtd[row], ytd[row], total[row], peak[row] = state
    return mtd, ytd, total, peak


def _xirr(inputs: Inputs, nav: IntMatrix, gross: IntMatrix) -> tuple[FloatMatrix, IntMatrix]:
    """(rates, days on which money was at work), (T, P) each."""
    portfolios, days = inputs.portfolios, inputs.market.days[1:].tolist()
    result, worked = np.full(nav.shape, np.nan), np.zeros(nav.shape, dtype=np.int64)
    empty = (np.maximum(np.abs(nav), gross) < EMPTY_BELOW * UNITS).T.tolist()
    earlier = portfolios.empty or ((),) * len(portfolios.flows)
    for column, flows in enumerate(portfolios.flows):
        dated = [(int(portfolios.first_day[column]), float(portfolios.equity[column]) / UNITS)]
        dated += [(day, amount / UNITS) for day, amount in flows]
        stretches = [*earlier[column], *empty_stretches(days, empty[column])]
        for row, day in enumerate(days):
            worked[row, column] = days_at_work(dated, day, stretches)
            # By the days of the calendar, as every spreadsheet: that money was away for years says only when a rate means something.
            if worked[row, column] >= XIRR_YEAR_DAYS:
                result[row, column] = xirr(dated, day, float(nav[row, column]) / UNITS)
    return result, worked
