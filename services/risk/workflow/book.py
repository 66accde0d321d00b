"""From the lots of snapshots and what users say of them to the book."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from uuid import UUID

import numpy as np

from services.risk.compute.inputs import Before, Book, History, Kind, Panel
from services.risk.compute.sectors import VendorSector, sector_on
from services.risk.store.inputs import ReturnHistory
from services.risk.workflow.lots import Held, Row
from shared.arrays import IntVector

MONEY = 10_000.0  # ten-thousandths of the currency


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

    owned = [(unit.session, lot) for unit in units for lot in unit.lots]
    flat = [lot for _, lot in owned]
    return Book(
        portfolios=tuple(portfolios),
        portfolio=np.array([number[unit.portfolio_id] for unit in units], dtype=np.int64),
        session=np.array([position[unit.session] for unit in units], dtype=np.int64),
        nav=np.array([unit.nav for unit in units], dtype=np.float64),
        starts=_starts(units),
        rows=np.array([index[lot.row] for lot in flat], dtype=np.int64),
        long=np.array([lot.long for lot in flat], dtype=np.float64) / MONEY,
        short=np.array([lot.short for lot in flat], dtype=np.float64) / MONEY,
        unpriceable=np.array([lot.unpriceable for lot in flat], dtype=np.bool_),
        sectors=tuple(sector(session, lot.row[1], lot.root, lot.sector) for session, lot in owned),
        underlyings=tuple(lot.root for lot in flat),
        history={
            number[portfolio]: History(track.sessions, track.daily_return, track.drawdown, track.coverage)
            for portfolio, track in return_histories.items()
        },
        underlying_rows=_underlying_rows(index, units),
        before=_before(index, panel, units, previous_snapshots),
    )


def _before(index: dict[Row, int], panel: Panel, units: Sequence[Held], previous_snapshots: Sequence[Held]) -> Before:
    snapshots: dict[tuple[UUID, date | None], Held] = {(of.portfolio_id, None): of for of in previous_snapshots}
    snapshots |= {(of.portfolio_id, of.session): of for of in units}
    previous_session = dict(zip(panel.sessions, (None, *panel.sessions), strict=False))
    nothing = [Held(unit.portfolio_id, unit.session, unit.nav, []) for unit in units]
    there = [snapshots.get((unit.portfolio_id, previous_session[unit.session])) for unit in units]
    prior = [none if of is None else of for of, none in zip(there, nothing, strict=True)]
    flat = [lot for of in prior for lot in of.lots]
    long = np.array([lot.long for lot in flat], dtype=np.float64) / MONEY
    short = np.array([lot.short for lot in flat], dtype=np.float64) / MONEY
    return Before(
        starts=_starts(prior),
        nav=np.array([np.nan if of is None else of.nav for of in there], dtype=np.float64),
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
