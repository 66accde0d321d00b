"""From rows to the arrays that the computation reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from services.risk.compute.inputs import Benchmark, Book, Gap, Kind, Panel
from services.risk.compute.reasons import NO_PROXY, SHORT_HISTORY, ZERO_VARIANCE
from services.risk.compute.scenarios import Scenarios
from services.risk.compute.sectors import VendorSector
from services.risk.store import curves
from services.risk.store import inputs as store
from services.risk.store.inputs import DatedValues, Facts
from services.risk.workflow.book import build_book
from services.risk.workflow.lots import Row, read_held
from shared import ledger
from shared.arrays import BoolMatrix, DateVector, FloatCube, FloatVector
from shared.db.kept_prices import KeptPrices
from shared.market.calendar import calendar
from shared.market.curve import long_bond_returns
from shared.market.registry import AXIS_PROXIES, BETA_WINDOW, CURVE_PROXY, FACTOR_NAMES, LOOKBACK, proxy_legs
from shared.work import Batch, Phase, UnitKey


@dataclass(frozen=True, slots=True)
class Inputs:
    panel: Panel
    book: Book
    provisional: frozenset[UnitKey] = frozenset()
    """Units of which something they are computed from was completed while a price was waited for."""
    scenarios: Scenarios | None = None
    """Those in force in the snapshot; None: the worker's own."""


async def read(conn: AsyncConnection, batch: Batch, kept: KeptPrices[DatedValues] | None = None) -> Inputs:
    """Everything the batch's computation reads, in a dozen set-based queries on one snapshot.

    kept : returns that the batches before it read; without them all are read
    """
    first, last, days = batch.first, batch.last, calendar()
    window = days.between(days.back(first, LOOKBACK - 1), last)
    # What was held the session before is what this session's return comes of.
    previous_session = days.back(first, 1)
    held = await read_held(conn, batch.portfolios, previous_session, last)
    proxies = await store.proxies(conn, first, last)
    proxy_names = {name for names, _ in proxies.values() for name in names if name is not None}
    axes = proxy_names & set(AXIS_PROXIES)
    proxy_names |= {leg for axis in axes for leg in proxy_legs(axis) if leg is not None}
    lots = {(lot.row, lot.root) for unit in held for lot in unit.lots}
    options = {symbol for (symbol, kind), _ in lots if kind == Kind.OPTION}
    roots = {root for (_, kind), root in lots if kind == Kind.OPTION}
    rows = sorted({row for row, _ in lots} | {(name, Kind.PUBLIC) for name in proxy_names | roots})
    known = await store.find_symbol_ids(conn, {symbol for symbol, _ in rows})
    ids = sorted({known[symbol] for symbol, kind in rows if kind == Kind.PUBLIC and symbol in known})
    panel = build_panel(
        tuple(batch.sessions),
        np.array(window, dtype="datetime64[D]"),
        rows,
        known,
        proxies,
        returns=await _read_returns(conn, kept or KeptPrices(), ids, window[0], last),
        facts=await store.facts(conn, ids, first, last),
        missing=await store.missing_facts(conn, ids, first, last),
        gaps=await store.gaps(conn, ids, window[0], last),
    )
    if options:
        names = {known[symbol]: symbol for symbol in options | roots if symbol in known}
        found = await store.prices(conn, "close", sorted(names), previous_session, last)
        panel = with_closes(panel, {names[symbol_id]: of for symbol_id, of in found.items()}, previous_session)
    benchmarks = [
        Benchmark(row.code, row.date, dict(zip(row.sectors, row.weights, strict=True)))
        for row in await store.benchmarks(conn, first, last)
    ]
    on_curve = CURVE_PROXY in proxy_names
    # Closes of options stand from the session before the first on; returns from the window's first.
    known_curves = await curves.read(conn, window[0] if on_curve else previous_session, last)
    panel = replace(panel, benchmarks=tuple(benchmarks), curves=known_curves)
    if on_curve:
        panel = with_curve_returns(panel, window)
    if axes:
        panel = with_axis_returns(panel, axes)
    return_histories = await store.return_histories(conn, batch.portfolios, last)
    units = [of for of in held if of.session >= first]
    previous_snapshots = [of for of in held if of.session < first]
    vendor_rows = await store.vendor_sectors(conn, ids, last)
    vendor_sectors = {
        symbol: [VendorSector(*row) for row in vendor_rows.get(symbol_id, ())] for symbol, symbol_id in known.items()
    }
    # The snapshot's says it of all sessions before: it is chained.
    upstream = (Phase.INGEST, Phase.FACTORS, Phase.SNAPSHOTS)
    provisional = await ledger.find_provisional(conn, upstream, batch.portfolios, first, last)
    book = build_book(panel, batch.portfolios, units, previous_snapshots, vendor_sectors, return_histories)
    return Inputs(panel, book, frozenset(provisional))


async def _read_returns(
    conn: AsyncConnection, kept: KeptPrices[DatedValues], ids: Sequence[int], first: date, last: date
) -> dict[int, DatedValues]:
    return await kept.read(conn, ids, first, last, lambda of: store.prices(conn, "total_return", of, first, last))


def build_panel(
    sessions: tuple[date, ...],
    window: DateVector,
    rows: Sequence[Row],
    known: dict[str, int],
    proxies: dict[date, tuple[list[str | None], list[float]]],
    *,
    returns: dict[int, tuple[DateVector, FloatVector]],
    facts: dict[int, Facts],
    missing: Sequence[tuple[int, date, str]],
    gaps: Sequence[tuple[int, date, date, str]],
) -> Panel:
    """The panel of the sorted rows. `window` are the sessions of the returns; the calendar's beginning may cut it short."""
    n, s = len(rows), len(sessions)
    width = LOOKBACK - 1 + s
    offset = width - len(window)
    days = np.array(sessions, dtype="datetime64[D]")
    row_of = {known[symbol]: i for i, (symbol, kind) in enumerate(rows) if kind == Kind.PUBLIC and symbol in known}
    grid = np.full((n, width), np.nan)
    for symbol_id, (at, values) in returns.items():
        grid[row_of[symbol_id], offset + np.searchsorted(window, at)] = values
    for i, (_, kind) in enumerate(rows):
        if kind == Kind.CASH:
            grid[i] = 0.0
    position = {session: k for k, session in enumerate(sessions)}
    number = {symbol: i for i, (symbol, kind) in enumerate(rows) if kind == Kind.PUBLIC}
    stand_in = np.full((s, len(FACTOR_NAMES)), -1, dtype=np.int64)
    slopes = np.full((s, len(FACTOR_NAMES)), np.nan)
    for session, (names, slope) in proxies.items():
        stand_in[position[session]] = [-1 if name is None else number[name] for name in names]
        slopes[position[session]] = slope
    stretches: dict[int, list[Gap]] = {}
    for symbol_id, start, end, reason in gaps:
        low = offset + int(np.searchsorted(window, np.datetime64(start, "D")))
        high = offset + int(np.searchsorted(window, np.datetime64(end, "D"), side="right")) - 1
        stretches.setdefault(row_of[symbol_id], []).append(Gap(low, high, reason))
    table, with_facts = _fact_table(rows, row_of, facts, days)
    reasons = {(position[session], row_of[symbol_id]): reason for symbol_id, session, reason in missing}
    for row in row_of.values():
        for k in np.flatnonzero(~with_facts[:, row]).tolist():
            if not np.isfinite(grid[row, k + LOOKBACK - BETA_WINDOW : k + LOOKBACK]).any():
                why = _without_price(k + LOOKBACK - 1, stretches.get(row, ()), stand_in[k, 0], slopes[k, 0])
                reasons.setdefault((k, row), why)
    return Panel(
        sessions=sessions,
        # Columns before the calendar's beginning have no returns, and any dates will do.
        days=np.concatenate([window[0] - np.arange(offset, 0, -1), window]),
        symbols=tuple(symbol for symbol, _ in rows),
        kinds=np.array([kind for _, kind in rows], dtype=np.int64),
        returns=grid,
        shrunk=np.ascontiguousarray(table[:, :, 1]),
        joint=np.ascontiguousarray(table[:, :, store.JOINT]),
        resid_sd=np.ascontiguousarray(table[:, :, store.RESIDUAL_SD]),
        reported=np.ascontiguousarray(table[:, :, store.REPORTED]),
        limited=table[:, :, store.LIMITED] > 0.0,
        fact_reasons=reasons,
        proxies=stand_in,
        slopes=slopes,
        gaps={row: tuple(stretch) for row, stretch in stretches.items()},
    )


def _fact_table(
    rows: Sequence[Row], row_of: Mapping[int, int], facts: Mapping[int, Facts], days: DateVector
) -> tuple[FloatCube, BoolMatrix]:
    """(S, N, columns of the store) facts, NaN where there are none; (S, N) whether there are any.

    Returns, betas and residual of money are all 0, none limited.
    """
    table = np.full((len(days), len(rows), store.LIMITED + 1), np.nan)
    with_facts = np.zeros(table.shape[:2], dtype=np.bool_)
    for i, (_, kind) in enumerate(rows):
        if kind == Kind.CASH:
            table[:, i] = 0.0
    for symbol_id, fact in facts.items():
        at = np.searchsorted(days, fact.sessions)
        table[at, row_of[symbol_id]] = fact.values
        with_facts[at, row_of[symbol_id]] = True
    return table, with_facts


def _without_price(at: int, gaps: Sequence[Gap], market: int, slope: float) -> str:
    """Why a symbol without any price in the window has no betas: it has no facts that would say so. In the order in which they
    would: no market, then why it has no price.

    at : column of the session
    """
    if market < 0:
        return NO_PROXY
    if np.isnan(slope):
        return ZERO_VARIANCE
    return next((gap.reason for gap in gaps if gap.first <= at <= gap.last), SHORT_HISTORY)


def with_curve_returns(panel: Panel, window: Sequence[date]) -> Panel:
    """The panel with the returns of the row that stands for rates on the yield curve; `window` are the sessions of the returns."""
    returns = panel.returns.copy()
    found = [np.nan if of.value is None else of.value for of in long_bond_returns(panel.curves, window)]
    returns[panel.symbols.index(CURVE_PROXY), returns.shape[1] - len(window) :] = found
    return replace(panel, returns=returns)


def with_axis_returns(panel: Panel, axes: Iterable[str]) -> Panel:
    """The panel with the returns of rows that are the difference of two funds, both of which it has."""
    returns = panel.returns.copy()
    row = {symbol: n for n, symbol in enumerate(panel.symbols) if panel.kinds[n] == Kind.PUBLIC}
    for axis in axes:
        long, short = proxy_legs(axis)
        returns[row[axis]] = panel.returns[row[long]] - panel.returns[row[str(short)]]
    return replace(panel, returns=returns)


def with_closes(panel: Panel, closes: Mapping[str, tuple[DateVector, FloatVector]], previous_session: date) -> Panel:
    """The panel with closes by symbol (of options and their underlyings), from the session before the first on."""
    days = np.array((previous_session, *panel.sessions), dtype="datetime64[D]")
    rows: dict[int, FloatVector] = {}
    for row, symbol in enumerate(panel.symbols):
        if symbol in closes:
            at, values = closes[symbol]
            rows[row] = np.full(len(days), np.nan)
            rows[row][np.searchsorted(days, at)] = values
    return replace(panel, closes=rows, close_days=(previous_session, *panel.sessions))
