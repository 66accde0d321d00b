"""From rows to the arrays that the computation reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from services.risk import store
from services.risk.compute.inputs import Book, Gap, History, Kind, Panel
from services.risk.compute.sectors import SymbolSector, sector_on
from services.risk.store import Facts, HeldRow, Known, Stated, Track
from shared.arrays import DateVector, FloatVector
from shared.market.calendar import calendar
from shared.market.registry import FACTOR_NAMES, LOOKBACK
from shared.work import Batch

MONEY = 10_000.0  # ten-thousandths of the currency
_KINDS = {"OPTIONS": Kind.OPTION, "PRIVATE": Kind.PRIVATE}
_UNPRICEABLE = "unpriceable"
# A symbol that is private in one portfolio and public in another is two rows, so that neither changes the other's digits.
Row = tuple[str, Kind]


@dataclass(frozen=True, slots=True)
class Inputs:
    panel: Panel
    book: Book


@dataclass(frozen=True, slots=True)
class Statements:
    """What the users say, by portfolio and symbol; several lots of one symbol merged."""

    kind: dict[tuple[UUID, str], Kind]
    sector: dict[tuple[UUID, str], str]
    underlying: dict[tuple[UUID, str], str]


def merge_statements(rows: Sequence[Stated]) -> Statements:
    """Merge lots: the least public class stands, and of differing sectors the first by name."""
    kind: dict[tuple[UUID, str], Kind] = {}
    sector: dict[tuple[UUID, str], str] = {}
    underlying: dict[tuple[UUID, str], str] = {}
    for row in rows:
        key = row.portfolio_id, row.symbol
        kind[key] = max(kind.get(key, Kind.PUBLIC), _KINDS.get(row.investment_class, Kind.PUBLIC))
        if row.sector:
            sector[key] = min(sector.get(key, row.sector), row.sector)
        if row.underlying:
            underlying[key] = min(underlying.get(key, row.underlying), row.underlying)
    return Statements(kind, sector, underlying)


@dataclass(frozen=True, slots=True)
class Merged:
    """The lots of one symbol in one unit."""

    row: Row
    long: int
    short: int
    unpriceable: bool


def merge_lots(held: HeldRow, kind: dict[tuple[UUID, str], Kind]) -> list[Merged]:
    """Lots merged by symbol, sorted; closed lots are left out. Money stays whole, so the order of lots changes nothing."""
    merged: dict[Row, list[int]] = {}
    for symbol, quantity, value, reason in zip(
        held.symbols, held.quantity, held.market_value, held.reason, strict=True
    ):
        if quantity == 0.0:
            continue
        lots = merged.setdefault((symbol, kind.get((held.portfolio_id, symbol), Kind.PUBLIC)), [0, 0, 0])
        lots[0 if value >= 0 else 1] += value
        lots[2] |= reason == _UNPRICEABLE
    return [Merged(row, long, short, bool(old)) for row, (long, short, old) in sorted(merged.items())]


async def read(conn: AsyncConnection, batch: Batch) -> Inputs:
    """Everything the batch's computation reads, in a dozen set-based queries on one snapshot."""
    first, last, days = batch.first, batch.last, calendar()
    window = days.between(days.back(first, LOOKBACK - 1), last)
    held = await store.held(conn, batch.portfolios, first, last)
    statements = merge_statements(await store.stated(conn, batch.portfolios))
    lots = [merge_lots(row, statements.kind) for row in held]
    proxies = await store.proxies(conn, first, last)
    stand_ins = {name for names, _ in proxies.values() for name in names if name is not None}
    rows = sorted({lot.row for unit in lots for lot in unit} | {(name, Kind.PUBLIC) for name in stand_ins})
    underlyings = set(statements.underlying.values())
    known = await store.known(conn, {symbol for symbol, _ in rows} | underlyings)
    ids = sorted({known[symbol].id for symbol, kind in rows if kind == Kind.PUBLIC and symbol in known})
    panel = build_panel(
        tuple(batch.sessions),
        np.array(window, dtype="datetime64[D]"),
        rows,
        known,
        proxies,
        returns=await store.returns(conn, ids, window[0], last),
        facts=await store.facts(conn, ids, first, last),
        missing=await store.missing_facts(conn, ids, first, last),
        gaps=await store.gaps(conn, ids, window[0], last),
    )
    tracks = await store.tracks(conn, batch.portfolios, last)
    return Inputs(panel, build_book(panel, batch.portfolios, held, lots, statements, known, tracks))


def build_panel(
    sessions: tuple[date, ...],
    window: DateVector,
    rows: Sequence[Row],
    known: dict[str, Known],
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
    row_of = {known[symbol].id: i for i, (symbol, kind) in enumerate(rows) if kind == Kind.PUBLIC and symbol in known}
    grid = np.full((n, width), np.nan)
    for symbol_id, (at, values) in returns.items():
        grid[row_of[symbol_id], offset + np.searchsorted(window, at)] = values
    table = np.full((s, n, store.LIMITED + 1), np.nan)
    for symbol_id, fact in facts.items():
        table[np.searchsorted(days, fact.sessions), row_of[symbol_id]] = fact.values
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
    return Panel(
        sessions=sessions,
        symbols=tuple(symbol for symbol, _ in rows),
        kinds=np.array([kind for _, kind in rows], dtype=np.int64),
        returns=grid,
        shrunk=np.ascontiguousarray(table[:, :, 1]),
        joint=np.ascontiguousarray(table[:, :, store.JOINT]),
        resid_sd=np.ascontiguousarray(table[:, :, store.RESIDUAL_SD]),
        reported=np.ascontiguousarray(table[:, :, store.REPORTED]),
        limited=table[:, :, store.LIMITED] > 0.0,
        fact_reasons={(position[session], row_of[symbol_id]): reason for symbol_id, session, reason in missing},
        proxies=stand_in,
        slopes=slopes,
        gaps={row: tuple(stretch) for row, stretch in stretches.items()},
    )


def build_book(
    panel: Panel,
    portfolios: Sequence[UUID],
    held: Sequence[HeldRow],
    lots: Sequence[Sequence[Merged]],
    statements: Statements,
    known: dict[str, Known],
    tracks: dict[UUID, Track],
) -> Book:
    """The flat book of the units that have a snapshot, in the order of `held`."""
    index = {
        (symbol, Kind(kind)): i
        for i, (symbol, kind) in enumerate(zip(panel.symbols, panel.kinds.tolist(), strict=True))
    }
    number = {portfolio: p for p, portfolio in enumerate(portfolios)}
    position = {session: k for k, session in enumerate(panel.sessions)}
    sectors = {symbol: SymbolSector(row.asset_type, row.sector, row.sector_as_of) for symbol, row in known.items()}

    def root(unit: HeldRow, lot: Merged) -> str:
        symbol, kind = lot.row
        return statements.underlying.get((unit.portfolio_id, symbol), symbol) if kind == Kind.OPTION else symbol

    def sector(unit: HeldRow, lot: Merged) -> str:
        symbol, kind = lot.row
        own = statements.sector.get((unit.portfolio_id, symbol))
        return sector_on(unit.session, kind, sectors.get(root(unit, lot)), own)

    owned = [(unit, lot) for unit, own in zip(held, lots, strict=True) for lot in own]
    flat = [lot for _, lot in owned]
    return Book(
        portfolios=tuple(portfolios),
        portfolio=np.array([number[unit.portfolio_id] for unit in held], dtype=np.int64),
        session=np.array([position[unit.session] for unit in held], dtype=np.int64),
        nav=np.array([unit.nav for unit in held], dtype=np.float64),
        starts=np.concatenate([[0], np.cumsum([len(unit) for unit in lots])]).astype(np.int64),
        rows=np.array([index[lot.row] for lot in flat], dtype=np.int64),
        long=np.array([lot.long for lot in flat], dtype=np.float64) / MONEY,
        short=np.array([lot.short for lot in flat], dtype=np.float64) / MONEY,
        unpriceable=np.array([lot.unpriceable for lot in flat], dtype=np.bool_),
        sectors=tuple(sector(unit, lot) for unit, lot in owned),
        underlyings=tuple(root(unit, lot) for unit, lot in owned),
        history={
            number[portfolio]: History(track.sessions, track.daily_return, track.drawdown)
            for portfolio, track in tracks.items()
        },
    )
