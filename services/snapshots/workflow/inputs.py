"""Rows to arrays: what the computation needs, read from one snapshot of the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from services.snapshots import store
from services.snapshots.compute import (
    GAP_REASONS,
    NEVER,
    Basis,
    ChainBroken,
    Inputs,
    Lots,
    LotState,
    Market,
    Portfolios,
    stored_units,
)
from services.snapshots.store import Rows
from shared.arrays import FloatVector, IntVector
from shared.market.calendar import calendar
from shared.market.symbols import SymbolKind, classify, parse_occ
from shared.work import Batch

_EPOCH = date(1970, 1, 1).toordinal()
_CONTRACT = 100
_BASES = {basis.name.lower(): int(basis) for basis in Basis}


async def load_inputs(conn: AsyncConnection, batch: Batch) -> Inputs:
    """Everything for the batch's portfolios that still exist.

    `ChainBroken` where a portfolio that began earlier has no stored row of the session before, or its lots are not those of that row.
    """
    previous = calendar().previous(batch.first)
    living = {row.id: row for row in await store.portfolios(conn, batch.portfolios, previous)}
    ids = tuple(portfolio for portfolio in batch.portfolios if portfolio in living)
    positions = await store.positions(conn, ids, batch.last)
    holdings = await store.holdings(conn, ids, previous)
    flows = await store.flows(conn, ids, batch.last)
    portfolios = _portfolios(ids, [living[portfolio] for portfolio in ids], flows, batch.first)
    lots, symbols = _lots(ids, positions, batch.first)
    market = await _market(conn, symbols, (previous, *batch.sessions), _earliest(positions, batch.first))
    return Inputs(portfolios, lots, market, _opening(portfolios, lots, holdings, batch.first))


def _day(day: date) -> int:
    return day.toordinal() - _EPOCH


def _days(days: Sequence[date | None]) -> IntVector:
    return np.array([NEVER if day is None else _day(day) for day in days], dtype=np.int64)


def _earliest(positions: Rows, first: date) -> date:
    return min((row.entry_date for row in positions), default=first)


def _portfolios(ids: tuple[UUID, ...], rows: Rows, flows: Rows, first: date) -> Portfolios:
    by_portfolio: dict[UUID, list[tuple[int, int]]] = {portfolio: [] for portfolio in ids}
    for flow in flows:
        by_portfolio[flow.portfolio_id].append((_day(flow.session), stored_units(flow.amount)))
    for row in rows:
        if row.first_session > first:
            raise ChainBroken(f"portfolio {row.id} begins on {row.first_session}, after {first}")
        if row.first_session < first and row.nav is None:
            raise ChainBroken(f"portfolio {row.id} has no snapshot of the session before {first}")
    begins = np.array([row.first_session == first for row in rows], dtype=np.bool_)
    equity = _money([row.equity_balance for row in rows])
    return Portfolios(
        portfolio_id=ids,
        equity=equity,
        first_day=_days([row.first_session for row in rows]),
        nav=np.where(begins, equity, _money([row.nav for row in rows])),
        cash=np.where(begins, equity, _money([row.cash for row in rows])),
        cumulative_flow=np.where(begins, 0, _money([row.cumulative_flow for row in rows])),
        mtd_return=np.where(begins, 0.0, _figures([row.mtd_return for row in rows])),
        ytd_return=np.where(begins, 0.0, _figures([row.ytd_return for row in rows])),
        cumulative_return=np.where(begins, 0.0, _figures([row.cumulative_return for row in rows])),
        peak_index=np.where(begins, 1.0, _figures([row.peak_index for row in rows])),
        flows=tuple(tuple(by_portfolio[portfolio]) for portfolio in ids),
    )


def _money(amounts: Sequence[Decimal | None]) -> IntVector:
    return np.array([0 if amount is None else stored_units(amount) for amount in amounts], dtype=np.int64)


def _figures(values: Sequence[float | None]) -> FloatVector:
    return np.array(values, dtype=np.float64)  # None becomes NaN


def _lots(ids: tuple[UUID, ...], positions: Rows, first: date) -> tuple[Lots, list[str]]:
    """The lots, and the symbols whose prices they need, in the order of the market's columns."""
    index = {portfolio: number for number, portfolio in enumerate(ids)}
    rows = sorted(positions, key=lambda row: index[row.portfolio_id])
    kinds = [classify(row.symbol, row.investment_class) for row in rows]
    columns: dict[str, int] = {}
    column = []
    for row, kind in zip(rows, kinds, strict=True):
        priced = kind is SymbolKind.PUBLIC or (kind is SymbolKind.OPTION and parse_occ(row.symbol) is not None)
        # An option filed under its underlying's symbol must not be valued at the share's price.
        wanted = priced and (row.exit_session is None or row.exit_session >= first)
        column.append(columns.setdefault(row.symbol, len(columns)) if wanted else -1)
    lots = Lots(
        portfolio=np.array([index[row.portfolio_id] for row in rows], dtype=np.int64),
        position_id=tuple(row.id for row in rows),
        symbol=tuple(row.symbol for row in rows),
        column=np.array(column, dtype=np.int64),
        private=np.array([kind is SymbolKind.PRIVATE for kind in kinds], dtype=np.bool_),
        multiplier=np.array([_CONTRACT if kind is SymbolKind.OPTION else 1 for kind in kinds], dtype=np.int64),
        quantity=tuple(row.quantity for row in rows),
        entry_price=tuple(row.entry_price for row in rows),
        exit_price=tuple(row.exit_price for row in rows),
        entry_day=_days([row.entry_date for row in rows]),
        exit_day=_days([row.exit_date for row in rows]),
        entry_session=_days([row.entry_session for row in rows]),
        exit_session=_days([row.exit_session for row in rows]),
    )
    return lots, list(columns)


async def _market(conn: AsyncConnection, symbols: Sequence[str], sessions: Sequence[date], earliest: date) -> Market:
    first, last = sessions[0], sessions[-1]
    days = _days(sessions)
    shape = (len(days), len(symbols) + 1)
    column = {symbol: number for number, symbol in enumerate(symbols)}
    close, adjusted, dividend = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape)
    from_file, gap = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.int8)
    splits: list[list[tuple[int, float]]] = [[] for _ in range(shape[1])]
    if symbols:
        for row in await store.prices(conn, symbols, first, last):
            at = np.searchsorted(days, np.array(row.days, dtype=np.int64)), column[row.symbol]
            close[at], adjusted[at], from_file[at] = row.close, row.adj_close, row.from_file
        for row in await store.actions(conn, symbols, splits_after=earliest, first=sessions[1], last=last):
            if row.type == "split":
                splits[column[row.symbol]].append((_day(row.ex_session), row.value))
            else:
                dividend[np.searchsorted(days, _day(row.ex_session)), column[row.symbol]] = row.value
        for row in await store.gaps(conn, symbols, first, last):
            inside = slice(np.searchsorted(days, _day(row.first)), np.searchsorted(days, _day(row.last), side="right"))
            gap[inside, column[row.symbol]] = GAP_REASONS.index(row.reason)
    # A price of zero is no price: it would be a total loss that nobody announced.
    close[~(close > 0)] = np.nan
    adjusted[~(adjusted > 0)] = np.nan
    return Market(days, close, adjusted, from_file, dividend, gap, tuple(tuple(of_symbol) for of_symbol in splits))


def _opening(portfolios: Portfolios, lots: Lots, holdings: Rows, first: date) -> LotState:
    """The holdings rows laid out like the lots. A portfolio that begins now has none, whatever an older edit left behind."""
    stored = {}
    for row in holdings:
        for number, position in enumerate(row.position_ids):
            stored[row.portfolio_id, position] = row, number
    state = LotState(
        price=np.zeros(len(lots)),
        price_day=np.zeros(len(lots), dtype=np.int64),
        basis=np.zeros(len(lots), dtype=np.int64),
        stale=np.zeros(len(lots), dtype=np.int64),
        market_value=np.zeros(len(lots), dtype=np.int64),
        cumulative_pnl=np.zeros(len(lots), dtype=np.int64),
        realized_pnl=np.zeros(len(lots), dtype=np.int64),
        dividends=np.zeros(len(lots), dtype=np.int64),
    )
    for lot in np.nonzero(lots.entry_session < _day(first))[0].tolist():
        portfolio = portfolios.portfolio_id[lots.portfolio[lot]]
        found = stored.get((portfolio, lots.position_id[lot]))
        if found is None:
            raise ChainBroken(
                f"position {lots.position_id[lot]} of portfolio {portfolio} is not in the holdings before {first}"
            )
        row, number = found
        state.price[lot], state.price_day[lot] = row.price[number], _day(row.price_session[number])
        state.basis[lot], state.stale[lot] = _BASES[row.price_basis[number]], row.stale[number]
        state.market_value[lot], state.cumulative_pnl[lot] = row.market_value[number], row.cumulative_pnl[number]
        state.realized_pnl[lot], state.dividends[lot] = row.realized_pnl[number], row.dividends[number]
    return state
