"""Small worlds for tests of the ledger: what happened to some lots, as plain values, and the same as arrays."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

import numpy as np

from services.snapshots.compute import (
    GAP_REASONS,
    NEVER,
    Inputs,
    Lots,
    LotState,
    LotTable,
    Market,
    Portfolios,
    Snapshots,
    roll_forward,
    to_units,
)
from shared.market.internal_rate import empty_stretches, merge_stretches

EPOCH = date(1970, 1, 1)


def day_number(day: date) -> int:
    return (day - EPOCH).days


@dataclass(frozen=True)
class Symbol:
    """Everything by session. Prices as traded; dividends per share of that session; splits new shares per old."""

    name: str
    close: dict[date, float] = field(default_factory=dict)
    adj_close: dict[date, float] = field(default_factory=dict)
    dividends: dict[date, float] = field(default_factory=dict)
    splits: dict[date, float] = field(default_factory=dict)
    gaps: dict[date, str] = field(default_factory=dict)
    from_file: bool = False


@dataclass(frozen=True)
class Lot:
    symbol: str
    quantity: Decimal
    entry_date: date
    entry_price: Decimal
    exit_date: date | None = None
    exit_price: Decimal | None = None
    private: bool = False
    multiplier: int = 1
    number: int = 0


@dataclass(frozen=True)
class Portfolio:
    equity: Decimal
    lots: tuple[Lot, ...]
    flows: dict[date, Decimal] = field(default_factory=dict)
    number: int = 0


@dataclass(frozen=True)
class World:
    """`sessions` are consecutive; the first one is a portfolio's first session if a lot enters by then."""

    sessions: tuple[date, ...]
    symbols: dict[str, Symbol]
    portfolios: tuple[Portfolio, ...]

    def on_or_after(self, day: date) -> date:
        return next((session for session in self.sessions if session >= day), date(2100, 1, 1))


def weekdays(first: date, count: int) -> tuple[date, ...]:
    """Sessions of an exchange that knows weekends only."""
    days = (first + timedelta(days=offset) for offset in range(count * 2))
    return tuple(day for day in days if day.weekday() < 5)[:count]


@dataclass(frozen=True)
class Rows:
    """What is stored after a run of sessions."""

    inputs: Inputs
    table: LotTable
    snapshots: Snapshots


def run(world: World, first: int = 0, last: int | None = None, *, after: Rows | None = None) -> Rows:
    """Compute sessions [first, last] of the world (indices), going on from the last session of `after`."""
    stop = len(world.sessions) if last is None else last + 1
    inputs = arrays(world, first, stop, after)
    return Rows(inputs, *roll_forward(inputs))


def arrays(world: World, first: int, stop: int, after: Rows | None) -> Inputs:
    sessions = world.sessions[first:stop]
    before = world.sessions[first - 1] if first else sessions[0] - timedelta(days=3)
    names = list(world.symbols)
    rows = sorted(
        (portfolio.number, world.on_or_after(lot.entry_date), lot.number, lot)
        for portfolio in world.portfolios
        for lot in portfolio.lots
        if world.on_or_after(lot.entry_date) <= sessions[-1]
    )
    index = {portfolio.number: place for place, portfolio in enumerate(world.portfolios)}
    rows.sort(key=lambda row: index[row[0]])
    lots = Lots(
        portfolio=np.array([index[row[0]] for row in rows], dtype=np.int64),
        position_id=tuple(UUID(int=row[2]) for row in rows),
        symbol=tuple(row[3].symbol for row in rows),
        column=np.array([names.index(row[3].symbol) if row[3].symbol in names else -1 for row in rows], dtype=np.int64),
        private=np.array([row[3].private for row in rows], dtype=np.bool_),
        multiplier=np.array([row[3].multiplier for row in rows], dtype=np.int64),
        quantity=tuple(row[3].quantity for row in rows),
        entry_price=tuple(row[3].entry_price for row in rows),
        exit_price=tuple(row[3].exit_price for row in rows),
        entry_day=np.array([day_number(row[3].entry_date) for row in rows], dtype=np.int64),
        exit_day=np.array(
            [NEVER if row[3].exit_date is None else day_number(row[3].exit_date) for row in rows], dtype=np.int64
        ),
        entry_session=np.array([day_number(row[1]) for row in rows], dtype=np.int64),
        exit_session=np.array(
            [NEVER if row[3].exit_date is None else day_number(world.on_or_after(row[3].exit_date)) for row in rows],
            dtype=np.int64,
        ),
    )
    portfolios = _portfolios(world, after)
    if after is not None:
        portfolios = replace(portfolios, empty=_empty(after, day_number(sessions[0])))
    return Inputs(portfolios, lots, _market(world, (before, *sessions)), _opening(lots, after))


def _market(world: World, days: tuple[date, ...]) -> Market:
    shape = (len(days), len(world.symbols) + 1)
    close, adjusted, dividend = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape)
    from_file, gap = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.int8)
    splits = []
    for column, symbol in enumerate(world.symbols.values()):
        for row, day in enumerate(days):
            close[row, column] = symbol.close.get(day, np.nan)
            adjusted[row, column] = symbol.adj_close.get(day, np.nan)
            from_file[row, column] = symbol.from_file and (day in symbol.close or day in symbol.adj_close)
            dividend[row, column] = symbol.dividends.get(day, 0.0)
            gap[row, column] = GAP_REASONS.index(symbol.gaps.get(day, ""))
        splits.append(
            tuple((day_number(day), ratio) for day, ratio in sorted(symbol.splits.items()) if day <= days[-1])
        )
    numbers = np.array([day_number(day) for day in days], dtype=np.int64)
    return Market(numbers, close, adjusted, from_file, dividend, gap, (*splits, ()))


def _portfolios(world: World, after: Rows | None) -> Portfolios:
    equity = np.array([to_units(portfolio.equity) for portfolio in world.portfolios], dtype=np.int64)
    zeros = np.zeros(len(equity))
    state = (equity, equity, zeros.astype(np.int64), zeros, zeros, zeros, zeros + 1.0)
    if after is not None:
        s = after.snapshots
        stored = (s.nav, s.cash, s.cumulative_flow, s.mtd_return, s.ytd_return, s.cumulative_return, s.peak_index)
        state = tuple(figure[-1] for figure in stored)
    first_day = [min(day_number(world.on_or_after(lot.entry_date)) for lot in p.lots) for p in world.portfolios]
    flows = []
    for portfolio in world.portfolios:
        by_session: dict[int, int] = {}
        for day, amount in sorted(portfolio.flows.items()):
            session = day_number(world.on_or_after(day))
            by_session[session] = by_session.get(session, 0) + to_units(amount)
        flows.append(tuple(by_session.items()))
    ids = tuple(UUID(int=portfolio.number) for portfolio in world.portfolios)
    return Portfolios(ids, equity, np.array(first_day, dtype=np.int64), *state, tuple(flows))


def _empty(after: Rows, next_day: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    """What the stored rows say of it, as the service reads them."""
    own, days = after.snapshots, [*after.inputs.market.days[1:].tolist(), next_day]
    nothing = np.maximum(np.abs(own.nav), own.long_value - own.short_value) < to_units(Decimal("0.01"))
    earlier = after.inputs.portfolios.empty or ((),) * nothing.shape[1]
    return tuple(
        tuple(merge_stretches([*earlier[column], *empty_stretches(days, nothing[:, column].tolist())]))
        for column in range(nothing.shape[1])
    )


def _opening(lots: Lots, after: Rows | None) -> LotState:
    state = LotState(np.zeros(len(lots)), *(np.zeros(len(lots), dtype=np.int64) for _ in range(7)))
    if after is None:
        return state
    stored = {position: place for place, position in enumerate(after.inputs.lots.position_id)}
    for place, position in enumerate(lots.position_id):
        if position not in stored:
            continue
        at = (-1, stored[position])
        state.price[place], state.price_day[place] = after.table.price[at], after.table.price_day[at]
        state.basis[place], state.stale[place] = after.table.basis[at], after.table.stale[at]
        state.market_value[place], state.cumulative_pnl[place] = (
            after.table.market_value[at],
            after.table.cumulative_pnl[at],
        )
        state.realized_pnl[place], state.dividends[place] = after.table.realized_pnl[at], after.table.dividends[at]
    return state


def only(world: World, *numbers: int) -> World:
    """The same world with these portfolios, in this order."""
    by_number = {portfolio.number: portfolio for portfolio in world.portfolios}
    return replace(world, portfolios=tuple(by_number[number] for number in numbers))
