"""From the lots of snapshots and what users say of them to the book."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import numpy as np

from services.risk.compute.inputs import Before, Book, History, Kind, Panel
from services.risk.compute.sectors import SymbolSector, sector_on
from services.risk.store.inputs import HeldRow, Known, Stated, Track
from shared.arrays import IntVector
from shared.market.symbols import parse_occ

MONEY = 10_000.0  # ten-thousandths of the currency
_KINDS = {"OPTIONS": Kind.OPTION, "PRIVATE": Kind.PRIVATE}
_UNPRICEABLE = "unpriceable"
# A symbol that is private in one portfolio and public in another is two rows, so that neither changes the other's digits.
Row = tuple[str, Kind]


@dataclass(frozen=True, slots=True)
class Statements:
    """What the users say, by portfolio and symbol; several lots of one symbol merged."""

    kind: dict[tuple[UUID, str], Kind]
    sector: dict[tuple[UUID, str], str]
    underlying: dict[tuple[UUID, str], str]

    def root(self, portfolio: UUID, row: Row) -> str:
        """What a holding stands on: of an option the underlying as stated, else as the contract names it."""
        symbol, kind = row
        if kind != Kind.OPTION:
            return symbol
        contract = parse_occ(symbol)
        return self.underlying.get((portfolio, symbol)) or (symbol if contract is None else contract.underlying)


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


@dataclass(frozen=True, slots=True)
class Held:
    """A snapshot's lots, merged by symbol."""

    row: HeldRow
    lots: list[Merged]


def build_book(
    panel: Panel,
    portfolios: Sequence[UUID],
    units: Sequence[Held],
    eves: Sequence[Held],
    statements: Statements,
    known: dict[str, Known],
    tracks: dict[UUID, Track],
) -> Book:
    """The flat book of the units that have a snapshot, in their order; `eves` are the snapshots of the session before the first."""
    index = {
        (symbol, Kind(kind)): i
        for i, (symbol, kind) in enumerate(zip(panel.symbols, panel.kinds.tolist(), strict=True))
    }
    number = {portfolio: p for p, portfolio in enumerate(portfolios)}
    position = {session: k for k, session in enumerate(panel.sessions)}
    sectors = {symbol: SymbolSector(row.asset_type, row.sector, row.sector_as_of) for symbol, row in known.items()}

    def sector(unit: HeldRow, lot: Merged) -> str:
        own = statements.sector.get((unit.portfolio_id, lot.row[0]))
        root = statements.root(unit.portfolio_id, lot.row)
        return sector_on(unit.session, lot.row[1], sectors.get(root), own)

    owned = [(unit.row, lot) for unit in units for lot in unit.lots]
    flat = [lot for _, lot in owned]
    return Book(
        portfolios=tuple(portfolios),
        portfolio=np.array([number[unit.row.portfolio_id] for unit in units], dtype=np.int64),
        session=np.array([position[unit.row.session] for unit in units], dtype=np.int64),
        nav=np.array([unit.row.nav for unit in units], dtype=np.float64),
        starts=_starts(units),
        rows=np.array([index[lot.row] for lot in flat], dtype=np.int64),
        long=np.array([lot.long for lot in flat], dtype=np.float64) / MONEY,
        short=np.array([lot.short for lot in flat], dtype=np.float64) / MONEY,
        unpriceable=np.array([lot.unpriceable for lot in flat], dtype=np.bool_),
        sectors=tuple(sector(unit, lot) for unit, lot in owned),
        underlyings=tuple(statements.root(unit.portfolio_id, lot.row) for unit, lot in owned),
        history={
            number[portfolio]: History(track.sessions, track.daily_return, track.drawdown)
            for portfolio, track in tracks.items()
        },
        underlying_rows=_underlying_rows(index, units, statements),
        before=_before(index, panel, units, eves, statements),
    )


def _before(
    index: dict[Row, int], panel: Panel, units: Sequence[Held], eves: Sequence[Held], statements: Statements
) -> Before:
    snapshots: dict[tuple[UUID, date | None], Held] = {(of.row.portfolio_id, None): of for of in eves}
    snapshots |= {(of.row.portfolio_id, of.row.session): of for of in units}
    eve = dict(zip(panel.sessions, (None, *panel.sessions), strict=False))
    nothing = [Held(unit.row, []) for unit in units]
    there = [snapshots.get((unit.row.portfolio_id, eve[unit.row.session])) for unit in units]
    prior = [none if of is None else of for of, none in zip(there, nothing, strict=True)]
    flat = [lot for of in prior for lot in of.lots]
    long = np.array([lot.long for lot in flat], dtype=np.float64) / MONEY
    short = np.array([lot.short for lot in flat], dtype=np.float64) / MONEY
    return Before(
        starts=_starts(prior),
        nav=np.array([np.nan if of is None else of.row.nav for of in there], dtype=np.float64),
        rows=np.array([index[lot.row] for lot in flat], dtype=np.int64),
        value=long + short,
        gross=long - short,
        unpriceable=np.array([lot.unpriceable for lot in flat], dtype=np.bool_),
        underlying_rows=_underlying_rows(index, prior, statements),
    )


def _starts(units: Sequence[Held]) -> IntVector:
    return np.concatenate([[0], np.cumsum([len(unit.lots) for unit in units])]).astype(np.int64)


def _underlying_rows(index: dict[Row, int], units: Sequence[Held], statements: Statements) -> dict[int, int]:
    """By holding, of the options whose underlying is in the panel: its row."""
    owned = ((unit.row.portfolio_id, lot.row) for unit in units for lot in unit.lots)
    return {
        holding: index[root]
        for holding, (portfolio, row) in enumerate(owned)
        if row[1] == Kind.OPTION and (root := (statements.root(portfolio, row), Kind.PUBLIC)) in index
    }
