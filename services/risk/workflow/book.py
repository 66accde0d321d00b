"""From the lots of snapshots and what users say of them to the book."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from uuid import UUID

import numpy as np

from services.risk.compute.inputs import Before, Book, History, Kind, Panel
from services.risk.compute.sectors import VendorSector, sector_on
from services.risk.store.inputs import HeldRow, ReturnHistory, UserClassification
from shared.arrays import IntVector
from shared.market.reasons import ReasonCode
from shared.market.symbols import classify, is_cash_like, parse_occ

MONEY = 10_000.0  # ten-thousandths of the currency
_KINDS = {"OPTIONS": Kind.OPTION, "OPTION": Kind.OPTION, "PRIVATE": Kind.PRIVATE}
# A price that is too old to be evidence, and one at which nobody could hold the lot.
_NO_EVIDENCE = (ReasonCode.UNPRICEABLE, ReasonCode.AMOUNT_TOO_LARGE)
# A symbol that is private in one lot and public in another is two rows, so that neither changes the other's digits.
Row = tuple[str, Kind]


@dataclass(frozen=True, slots=True)
class Merged:
    """The lots of one symbol and class in one unit. Of what differs among them the first by name stands."""

    row: Row
    long: int
    short: int
    unpriceable: bool
    sector: str | None
    """As the user states it."""
    root: str
    """What the holding stands on: of an option the underlying as stated, else as the contract names it; else the symbol."""


def merge_lots(held: HeldRow, user_classes: Mapping[UUID, UserClassification]) -> list[Merged]:
    """Open lots merged by symbol and class, sorted. Only what is said of these very lots counts, each for its own class.

    Money stays whole, so the order of lots changes nothing. A lot that nothing is stated of is what its symbol says.
    """
    merged: dict[Row, list[int]] = {}
    sectors: dict[Row, str] = {}
    roots: dict[Row, str] = {}
    for lot, symbol, quantity, value, reason in zip(
        held.lots, held.symbols, held.quantity, held.market_value, held.reason, strict=True
    ):
        if quantity == 0.0:
            continue
        user_class = user_classes.get(lot)
        stated = classify(symbol).value if user_class is None else user_class.investment_class
        row = (symbol, _KINDS.get(stated, Kind.PUBLIC))
        if row[1] == Kind.PUBLIC and user_class is not None and is_cash_like(user_class.subtype):
            row = (symbol, Kind.CASH)
        lots = merged.setdefault(row, [0, 0, 0])
        lots[0 if value >= 0 else 1] += value
        lots[2] |= reason in _NO_EVIDENCE
        if user_class is not None and user_class.sector:
            sectors[row] = min(sectors.get(row, user_class.sector), user_class.sector)
        if user_class is not None and user_class.underlying and row[1] == Kind.OPTION:
            roots[row] = min(roots.get(row, user_class.underlying), user_class.underlying)
    return [
        Merged(row, long, short, bool(old), sectors.get(row), roots.get(row) or _root(row))
        for row, (long, short, old) in sorted(merged.items())
    ]


def _root(row: Row) -> str:
    symbol, kind = row
    contract = parse_occ(symbol) if kind == Kind.OPTION else None
    return symbol if contract is None else contract.underlying


@dataclass(frozen=True, slots=True)
class Held:
    """A snapshot's lots, merged by symbol."""

    row: HeldRow
    lots: list[Merged]


def build_book(
    panel: Panel,
    portfolios: Sequence[UUID],
    units: Sequence[Held],
    previous_snapshots: Sequence[Held],
    vendor_sectors: Mapping[str, Sequence[VendorSector]],
    return_histories: dict[UUID, ReturnHistory],
) -> Book:
    """The flat book of the units that have a snapshot, in their order; `previous_snapshots` are the snapshots of the
    session before the first."""
    index = {
        (symbol, Kind(kind)): i
        for i, (symbol, kind) in enumerate(zip(panel.symbols, panel.kinds.tolist(), strict=True))
    }
    number = {portfolio: p for p, portfolio in enumerate(portfolios)}
    position = {session: k for k, session in enumerate(panel.sessions)}

    @cache
    def sector(session: date, lot_kind: Kind, root: str, user_sector: str | None) -> str:
        return sector_on(session, lot_kind, vendor_sectors.get(root, ()), user_sector)

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
        sectors=tuple(sector(unit.session, lot.row[1], lot.root, lot.sector) for unit, lot in owned),
        underlyings=tuple(lot.root for lot in flat),
        history={
            number[portfolio]: History(track.sessions, track.daily_return, track.drawdown, track.coverage)
            for portfolio, track in return_histories.items()
        },
        underlying_rows=_underlying_rows(index, units),
        before=_before(index, panel, units, previous_snapshots),
    )


def _before(index: dict[Row, int], panel: Panel, units: Sequence[Held], previous_snapshots: Sequence[Held]) -> Before:
    snapshots: dict[tuple[UUID, date | None], Held] = {(of.row.portfolio_id, None): of for of in previous_snapshots}
    snapshots |= {(of.row.portfolio_id, of.row.session): of for of in units}
    previous_session = dict(zip(panel.sessions, (None, *panel.sessions), strict=False))
    nothing = [Held(unit.row, []) for unit in units]
    there = [snapshots.get((unit.row.portfolio_id, previous_session[unit.row.session])) for unit in units]
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
        underlying_rows=_underlying_rows(index, prior),
    )


def _starts(units: Sequence[Held]) -> IntVector:
    return np.concatenate([[0], np.cumsum([len(unit.lots) for unit in units])]).astype(np.int64)


def _underlying_rows(index: dict[Row, int], units: Sequence[Held]) -> dict[int, int]:
    """By holding, of the options whose underlying is in the panel: its row."""
    flat = (lot for unit in units for lot in unit.lots)
    return {
        holding: index[root]
        for holding, lot in enumerate(flat)
        if lot.row[1] == Kind.OPTION and (root := (lot.root, Kind.PUBLIC)) in index
    }
