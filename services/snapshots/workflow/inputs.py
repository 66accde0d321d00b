"""Rows to arrays: what the computation needs, read from one snapshot of the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from services.snapshots import store
from services.snapshots.compute import (
    AMBIGUOUS,
    ASSIGNMENT,
    GAP_REASONS,
    MISMATCH,
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
from services.snapshots.workflow import expiry
from shared import ledger
from shared.arrays import BoolMatrix, FloatVector, IntVector
from shared.market.calendar import calendar
from shared.market.internal_rate import merge_stretches
from shared.market.registry import EMPTY_BELOW, OPTION_MULTIPLIER, STALE_SESSIONS
from shared.market.symbols import SymbolKind, classify, is_cash_like, parse_occ
from shared.work import Batch, Phase, UnitKey

_EPOCH = date(1970, 1, 1).toordinal()
# By what the comparison of the entry price with the closes of its day found.
_DOUBTS = {"mismatch": MISMATCH, "stated_mismatch": MISMATCH, "ambiguous": AMBIGUOUS}
_BASES = {basis.name.lower(): int(basis) for basis in Basis}


async def load_inputs(conn: AsyncConnection, batch: Batch) -> Inputs:
    """Everything for the batch's portfolios that still exist and whose price bases are settled; the others get no outcome.

    `ChainBroken` where a portfolio that began earlier has no stored row of the session before, or its lots are not those of that row.
    """
    previous = _before(batch.first)
    living = {row.id: row for row in await store.portfolios(conn, batch.portfolios, previous, batch.last)}
    ids = tuple(portfolio for portfolio in batch.portfolios if portfolio in living)
    positions = await expiry.settle(conn, await store.positions(conn, ids, batch.last), batch.last)
    holdings = await store.holdings(conn, ids, previous)
    flows = await store.flows(conn, ids, batch.last)
    portfolios = _portfolios(ids, [living[portfolio] for portfolio in ids], flows, batch.first)
    portfolios = replace(portfolios, empty=await _empty(conn, portfolios, previous))
    # Fifty thousand lots are half a second of Python: off the event loop.
    lots, symbols = await asyncio.to_thread(_lots, ids, positions, batch.first)
    earliest = _earliest(positions, batch.first)
    market = await _market(conn, symbols, (previous, *batch.sessions), earliest)
    market = await _with_history(conn, market, symbols, earliest, batch.last)
    opening = await asyncio.to_thread(_opening_state, lots, holdings, batch.first)
    waits = await ledger.find_provisional(conn, [Phase.INGEST], ids, batch.first, batch.last)
    before = [living[portfolio].provisional and living[portfolio].first_session < batch.first for portfolio in ids]
    return Inputs(portfolios, lots, market, opening, _provisional(ids, batch.sessions, before, waits))


def _provisional(
    ids: Sequence[UUID], sessions: Sequence[date], before: Sequence[bool], waits: Collection[UnitKey]
) -> BoolMatrix | None:
    """(T, P), chained: what goes on from a provisional session is provisional."""
    if not waits and not any(before):
        return None
    own = np.array(
        [[UnitKey(portfolio, session) in waits for portfolio in ids] for session in sessions], dtype=np.bool_
    )
    chained: BoolMatrix = np.logical_or.accumulate(np.vstack([np.array(before, dtype=np.bool_), own]), axis=0)[1:]
    return chained


def _before(first: date) -> date:
    """The session before; of the calendar's first one the day before, on which nothing is stored."""
    days = calendar()
    return first - timedelta(days=1) if first == days.first else days.previous(first)


def _day(day: date) -> int:
    return day.toordinal() - _EPOCH


def _days(days: Sequence[date | None]) -> IntVector:
    return np.array([NEVER if day is None else day.toordinal() - _EPOCH for day in days], dtype=np.int64)


def _earliest(positions: Sequence[Any], first: date) -> date:
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


async def _empty(
    conn: AsyncConnection, portfolios: Portfolios, previous: date
) -> tuple[tuple[tuple[int, int], ...], ...]:
    """By portfolio the stretches up to the session after `previous` on which nothing was in the account."""
    # Only what was taken out or lost whole leaves nothing: the others' past need not be looked through every night.
    drained = [
        portfolio
        for portfolio, flows, total in zip(
            portfolios.portfolio_id, portfolios.flows, portfolios.cumulative_return.tolist(), strict=True
        )
        if np.isnan(total) or any(amount < 0 for _, amount in flows)
    ]
    found: dict[UUID, list[tuple[int, int]]] = {}
    if drained:
        for row in await store.find_empty_sessions(conn, drained, previous, EMPTY_BELOW):
            found.setdefault(row.portfolio_id, []).append((_day(row.session), _day(calendar().next(row.session))))
    return tuple(tuple(merge_stretches(found.get(portfolio, []))) for portfolio in portfolios.portfolio_id)


def _money(amounts: Sequence[Decimal | None]) -> IntVector:
    return np.array([0 if amount is None else stored_units(amount) for amount in amounts], dtype=np.int64)


def _figures(values: Sequence[float | None]) -> FloatVector:
    return np.array(values, dtype=np.float64)  # None becomes NaN


def _lots(ids: tuple[UUID, ...], positions: Sequence[Any], first: date) -> tuple[Lots, list[str]]:
    """The lots, and the symbols whose prices they need, in the order of the market's columns."""
    index = {portfolio: number for number, portfolio in enumerate(ids)}
    rows = sorted(positions, key=lambda row: index[row[0]])
    (
        owner, identity, symbol, stated, quantity, entry_price, exit_price, entry, out, entry_session, exit_session, subtype, basis, _,
    ) = zip(*rows, strict=True) if rows else ((),) * 14  # fmt: skip
    delivered = expiry.find_assigned_lots(rows)
    kinds = {key: classify(*key) for key in set(zip(symbol, stated, strict=True))}
    kind = [kinds[key] for key in zip(symbol, stated, strict=True)]
    cash_like = [is_cash_like(of) for of in subtype]
    columns: dict[str, int] = {}
    column = [
        columns.setdefault(name, len(columns))
        if _has_a_market(name, what) and not cash and (leaves is None or leaves >= first)
        else -1
        for name, what, cash, leaves in zip(symbol, kind, cash_like, exit_session, strict=True)
    ]
    lots = Lots(
        portfolio=np.array([index[portfolio] for portfolio in owner], dtype=np.int64),
        position_id=identity,
        symbol=symbol,
        column=np.array(column, dtype=np.int64),
        private=np.array(
            [what is SymbolKind.PRIVATE or cash for what, cash in zip(kind, cash_like, strict=True)], dtype=np.bool_
        ),
        multiplier=np.array([OPTION_MULTIPLIER if what is SymbolKind.OPTION else 1 for what in kind], dtype=np.int64),
        quantity=quantity,
        entry_price=entry_price,
        exit_price=exit_price,
        entry_day=_days(entry),
        exit_day=_days(out),
        entry_session=_days(entry_session),
        exit_session=_days(exit_session),
        doubt=tuple(
            _DOUBTS.get(reason, ASSIGNMENT if of in delivered else "")
            for of, reason in zip(identity, basis, strict=True)
        ),
    )
    return lots, list(columns)


def _has_a_market(symbol: str, kind: SymbolKind) -> bool:
    """An option filed under its underlying's symbol has none: it must not be valued at the share's price."""
    return kind is SymbolKind.PUBLIC or (kind is SymbolKind.OPTION and parse_occ(symbol) is not None)


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


async def _with_history(
    conn: AsyncConnection, market: Market, symbols: Sequence[str], earliest: date, last: date
) -> Market:
    """The market with what lies between the earliest entry and the sessions: long absences, and splits of options' underlyings."""
    column = {symbol: number for number, symbol in enumerate(symbols)}
    days = calendar()
    absences: list[list[tuple[int, int]]] = [[] for _ in range(len(symbols) + 1)]
    for row in await store.absences(conn, symbols, earliest, last) if symbols else ():
        of_symbol = absences[column[row.symbol]]
        # Ranges that different answers left behind are one absence where no session lies between them.
        if of_symbol and days.next(_date(of_symbol[-1][1])) >= row.first:
            of_symbol[-1] = of_symbol[-1][0], max(of_symbol[-1][1], _day(row.last))
        else:
            of_symbol.append((_day(row.first), _day(row.last)))
    long = tuple(
        tuple((first, end) for first, end in of if len(days.between(_date(first), _date(end))) > STALE_SESSIONS)
        for of in absences
    )
    roots = sorted({contract.underlying for symbol in symbols if (contract := parse_occ(symbol))})
    splits: dict[str, list[int]] = {}
    for row in await store.actions(conn, roots, splits_after=earliest, first=last, last=last) if roots else ():
        if row.type == "split":
            splits.setdefault(row.symbol, []).append(_day(row.ex_session))
    return replace(market, absences=long, underlying_splits={root: tuple(of) for root, of in splits.items()})


def _date(day: int) -> date:
    return date.fromordinal(day + _EPOCH)


def _opening_state(lots: Lots, holdings: Rows, first: date) -> LotState:
    """The holdings rows laid out like the lots. A portfolio that begins now has none, whatever an older edit left behind."""
    place = {
        position: number for number, position in enumerate(chain.from_iterable(row.position_ids for row in holdings))
    }
    entered = np.nonzero(lots.entry_session < _day(first))[0]
    try:
        source = np.array([place[lots.position_id[lot]] for lot in entered.tolist()], dtype=np.int64)
    except KeyError as missing:
        raise ChainBroken(f"position {missing.args[0]} is not in the holdings of the session before {first}") from None

    def whole(name: str, convert: Callable[[Any], Any] | None = None) -> IntVector:
        values = chain.from_iterable(getattr(row, name) for row in holdings)
        stored = np.array(list(map(convert, values) if convert else values), dtype=np.int64)
        state = np.zeros(len(lots), dtype=np.int64)
        state[entered] = stored[source]
        return state

    price = np.zeros(len(lots))
    price[entered] = np.array(list(chain.from_iterable(row.price for row in holdings)), dtype=np.float64)[source]
    return LotState(
        price=price,
        price_day=whole("price_session", _day),
        basis=whole("price_basis", _BASES.__getitem__),
        stale=whole("stale"),
        market_value=whole("market_value"),
        cumulative_pnl=whole("cumulative_pnl"),
        realized_pnl=whole("realized_pnl"),
        dividends=whole("dividends"),
    )
