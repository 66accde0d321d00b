"""The lots of snapshots, merged by symbol and class.

One session mostly lists the lots of the next: what they are is looked up once, and then a session costs a few array operations,
however many lots it lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple
from uuid import UUID

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from services.risk.compute.inputs import Kind
from services.risk.store import holdings as store
from services.risk.store.holdings import HeldRow, LotList, UserClassification
from shared.arrays import IntVector
from shared.market.calendar import calendar
from shared.market.symbols import classify, is_cash_like, parse_occ

_KINDS = {"OPTIONS": Kind.OPTION, "OPTION": Kind.OPTION, "PRIVATE": Kind.PRIVATE}
# A symbol that is private in one lot and public in another is two rows, so that neither changes the other's digits.
Row = tuple[str, Kind]
# Lots times sessions that one query returns: a rerun of two hundred sessions of fifty thousand lots would be a gigabyte.
LOTS_AT_ONCE = 500_000


class Merged(NamedTuple):
    """The lots of one symbol and class in one unit. Of what differs among them the first by name stands."""

    row: Row
    long: int
    short: int
    unpriceable: bool
    sector: str | None
    """As the user states it."""
    root: str
    """What the holding stands on: of an option the underlying as stated, else as the contract names it; else the symbol."""


@dataclass(frozen=True, slots=True)
class Held:
    """A snapshot's lots, merged by symbol."""

    portfolio_id: UUID
    session: date
    nav: float
    lots: list[Merged]


@dataclass(frozen=True, slots=True)
class LotTable:
    """What the n lots of a list are.

    rows    : ascending
    place   : (n,) each lot's among the rows
    sector  : (n,) what the user states, as an index into `sectors`; its length where nothing is stated. Likewise `root`.
    sectors : ascending, likewise `roots`
    """

    listed: LotList
    rows: list[Row]
    place: IntVector
    sector: IntVector
    sectors: list[str]
    root: IntVector
    roots: list[str]

    @classmethod
    def of(cls, listed: LotList, user_classes: Mapping[bytes, UserClassification]) -> LotTable:
        said = [user_classes.get(lot) for lot in listed.read_ids()]
        own = [_row(symbol, user_class) for symbol, user_class in zip(listed.read_symbols(), said, strict=True)]
        rows = sorted(set(own))
        at = {row: place for place, row in enumerate(rows)}
        sector, sectors = _index_names([None if of is None else of.sector for of in said])
        root, roots = _index_names(
            [None if of is None or row[1] != Kind.OPTION else of.underlying for of, row in zip(said, own, strict=True)]
        )
        return cls(listed, rows, np.array([at[row] for row in own], dtype=np.int64), sector, sectors, root, roots)

    def merge(self, held: HeldRow) -> list[Merged]:
        """Open lots merged by symbol and class, sorted. The row lists the first of these lots, or all of them.

        Money stays whole, so the order of lots changes nothing.
        """
        is_open = held.quantity != 0.0
        place, value = self.place[: len(is_open)][is_open], held.market_value[is_open]
        long, short = np.zeros((2, len(self.rows)), dtype=value.dtype)
        np.add.at(long, place, np.maximum(value, 0))
        np.add.at(short, place, np.minimum(value, 0))
        old = np.zeros(len(is_open), dtype=np.bool_)
        old[list(held.no_evidence)] = True
        unpriceable = np.zeros(len(self.rows), dtype=np.bool_)
        unpriceable[place[old[is_open]]] = True
        sectors = self._first_named(self.sectors, self.sector[: len(is_open)][is_open], place)
        roots = self._first_named(self.roots, self.root[: len(is_open)][is_open], place)
        there = np.zeros(len(self.rows), dtype=np.bool_)
        there[place] = True
        figures = zip(long.tolist(), short.tolist(), unpriceable.tolist(), strict=True)
        merged = zip(self.rows, figures, sectors, roots, there.tolist(), strict=True)
        return [Merged(row, *of, sector, root or _root(row)) for row, of, sector, root, found in merged if found]

    def _first_named(self, names: Sequence[str], index: IntVector, place: IntVector) -> Sequence[str | None]:
        """By row the first of the names that its lots have."""
        if not names:
            return [None] * len(self.rows)
        first = np.full(len(self.rows), len(names), dtype=np.int64)
        np.minimum.at(first, place, index)
        known = [*names, None]
        return [known[of] for of in first.tolist()]


def merge_lots(held: HeldRow, user_classes: Mapping[bytes, UserClassification]) -> list[Merged]:
    """Only what is said of these very lots counts, each for its own class; a lot that nothing is stated of is what its symbol says."""
    return LotTable.of(held.lots, user_classes).merge(held)


async def read_held(conn: AsyncConnection, portfolios: Sequence[UUID], first: date, last: date) -> list[Held]:
    """Merged lots of every snapshot in [first, last], by portfolio and session."""
    tables: dict[UUID, LotTable] = {}
    found: list[Held] = []
    for low, high in _spans(first, last, await store.count_lots(conn, portfolios)):
        rows = await store.find_holdings(conn, portfolios, low, high)
        lists = list(_unknown_lists(rows, tables))
        said = await store.user_classifications(conn, lists) if any(map(len, lists)) else {}
        for row in rows:
            table = tables.get(row.portfolio_id)
            if table is None or not table.listed.begins_with(row.lots):
                table = tables[row.portfolio_id] = LotTable.of(row.lots, said)
            found.append(Held(row.portfolio_id, row.session, row.nav, table.merge(row)))
    return sorted(found, key=lambda of: (of.portfolio_id, of.session))


def _spans(first: date, last: date, lots: int) -> Iterator[tuple[date, date]]:
    """[first, last] in pieces of at most `LOTS_AT_ONCE`, the last sessions first."""
    sessions = [first, *calendar().between(first + timedelta(days=1), last)]
    width = max(1, LOTS_AT_ONCE // max(1, lots))
    for low in range((len(sessions) - 1) // width * width, -1, -width):
        end = last if low + width >= len(sessions) else sessions[low + width] - timedelta(days=1)
        yield sessions[low], end


def _unknown_lists(rows: Sequence[HeldRow], tables: Mapping[UUID, LotTable]) -> Iterator[LotList]:
    """Of each run of rows that list the beginning of one list, that one."""
    known = {portfolio: table.listed for portfolio, table in tables.items()}
    for row in rows:
        before = known.get(row.portfolio_id)
        if before is None or not before.begins_with(row.lots):
            known[row.portfolio_id] = row.lots
            yield row.lots


def _row(symbol: str, user_class: UserClassification | None) -> Row:
    stated = classify(symbol).value if user_class is None else user_class.investment_class
    kind = _KINDS.get(stated, Kind.PUBLIC)
    if kind == Kind.PUBLIC and user_class is not None and is_cash_like(user_class.subtype):
        kind = Kind.CASH
    return symbol, kind


def _root(row: Row) -> str:
    symbol, kind = row
    contract = parse_occ(symbol) if kind == Kind.OPTION else None
    return symbol if contract is None else contract.underlying


def _index_names(names: Sequence[str | None]) -> tuple[IntVector, list[str]]:
    """Each name's place among the distinct ones, ascending; no name's place is behind them."""
    distinct = sorted({name for name in names if name})
    at = {name: place for place, name in enumerate(distinct)}
    return np.array([at[name] if name else len(distinct) for name in names], dtype=np.int64), distinct
