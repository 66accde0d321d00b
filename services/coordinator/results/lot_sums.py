"""What a range's sessions hold by symbol, summed here from the arrays of their lots.

Fifty thousand lots on five hundred sessions are twenty-five million rows to the database, which takes half a minute to join what the user
says to each. As bytes they are read in seconds, in slices of sessions: who they are and what is said of them comes once for all sessions
that list the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results import book
from services.coordinator.results.book import OLD_REASONS, Holding
from shared.arrays import BoolMatrix, FloatVector, IntVector
from shared.db import packed

# Lots of all sessions that are read at once: 24 bytes each.
LOTS_AT_ONCE = 1_000_000
_ID = 16
# Halves of a whole number: of each as many as there ever are lots are added without rounding.
_HALF = 32
_OLD = " || ".join(f"array_positions(reason, '{code}')" for code in OLD_REASONS)
_STATED = ("class", "subtype", "underlying")


@dataclass(frozen=True, slots=True)
class Sums:
    """K symbols in the database's order, and what is held of each: shares, and money in `UNITS` of it, to the last one.

    gross : value of the long lots less that of the short ones
    old   : (K,) whether a lot is valued at a price that is no evidence any more; of none where that was not asked
    """

    session: date
    symbols: Sequence[str]
    holdings: Sequence[Holding]
    quantity: FloatVector
    value: Sequence[int]
    gross: Sequence[int]
    old: BoolMatrix


@dataclass(frozen=True, slots=True)
class _Stated:
    """What the user says of lots: by the bytes of their ids the number of what is said, and by that number where each text stands among
    all texts (0 for none), and those texts."""

    of: Mapping[bytes, int]
    ranks: IntVector
    """(n + 1, 3); the last row is that of lots which nothing is known of."""
    texts: Sequence[Mapping[int, str]]


@dataclass(slots=True)
class _Lots:
    """Lots that sessions list. symbols : (K,), place : (n,) of each lot's among them, ranks : (n, 3) of what is said of each"""

    ids: bytes
    listed: Sequence[str]
    symbols: Sequence[str]
    place: IntVector
    ranks: IntVector
    texts: Sequence[Mapping[int, str]]
    _held: bytes = b""
    _there: tuple[IntVector, Sequence[str], Sequence[Holding]] | None = None
    _known: dict[tuple[Any, ...], Holding] = field(default_factory=dict)

    def sum(self, session: date, quantity: FloatVector, value: IntVector, old: Sequence[int]) -> Sums:
        """old : places of the lots, from 1"""
        held = quantity != 0.0
        there, symbols, holdings = self._find(held)
        place, count = self.place[held], len(self.symbols)
        shares = np.bincount(place, quantity[held], count).astype(np.float64)[there]
        # Of lots that are closed nobody asks how old their price is.
        doubted = np.zeros(len(held), dtype=np.bool_)
        doubted[np.array(old, dtype=np.int64) - 1] = True
        of_old = np.bincount(self.place[doubted & held], minlength=count)[there] > 0
        value = value[held]
        net, gross = _add(place, value, count), _add(place, np.abs(value), count)
        places = there.tolist()
        return Sums(
            session, symbols, holdings, shares, [net[at] for at in places], [gross[at] for at in places], of_old
        )

    def _find(self, held: BoolMatrix) -> tuple[IntVector, Sequence[str], Sequence[Holding]]:
        """The places of the symbols of which a lot is held, their names and what is said of them. Mostly as on the session before."""
        packed_ = held.tobytes()
        if self._there is None or packed_ != self._held:
            there = np.flatnonzero(np.bincount(self.place[held], minlength=len(self.symbols)))
            ranks = np.zeros((len(self.symbols), len(_STATED)), dtype=np.int64)
            np.maximum.at(ranks, self.place[held], self.ranks[held])
            symbols = [self.symbols[at] for at in there.tolist()]
            of = [self._holding(*line) for line in zip(symbols, *ranks[there].T.tolist(), strict=True)]
            self._held, self._there = packed_, (there, symbols, of)
        return self._there

    def _holding(self, symbol: str, *ranks: int) -> Holding:
        if (symbol, *ranks) not in self._known:
            said = {name: texts.get(rank) for name, texts, rank in zip(_STATED, self.texts, ranks, strict=True)}
            self._known[symbol, *ranks] = book.holding(symbol, said)
        return self._known[symbol, *ranks]


def _add(place: IntVector, values: IntVector, count: int) -> list[int]:
    """(count,) sums by place, exact however large."""
    high = np.bincount(place, values >> _HALF, count).tolist()
    low = np.bincount(place, values & (1 << _HALF) - 1, count).tolist()
    return [(int(above) << _HALF) + int(below) for above, below in zip(high, low, strict=True)]


async def read(
    conn: AsyncConnection, portfolio: UUID, first: date, last: date, *, evidence: bool = False
) -> list[Sums]:
    """Of every session in [first, last] that has a snapshot, ascending. evidence : with how old their prices are"""
    stated = await _read_stated(conn, portfolio)
    sessions = max(1, LOTS_AT_ONCE // max(1, len(stated.of)))
    found: list[Sums] = []
    lots: _Lots | None = None
    while rows := await _read_slice(conn, portfolio, first, last, sessions, evidence=evidence):
        of_rows: list[tuple[_Lots, Row[Any]]] = []
        for row in rows:
            if lots is None or (row.symbols is not None and (row.ids, row.symbols) != (lots.ids, lots.listed)):
                lots = await _list(conn, row, stated)
            of_rows.append((lots, row))
        found += await asyncio.to_thread(_sum, of_rows)
        if len(rows) < sessions:
            break
        first = rows[-1].session + timedelta(days=1)
    return found


async def _read_slice(
    conn: AsyncConnection, portfolio: UUID, first: date, last: date, sessions: int, *, evidence: bool
) -> Sequence[Row[Any]]:
    """The first so many sessions. Which lots they are is said of the first, and of those that do not list what the one before lists."""
    rows = await conn.execute(
        text(f"""
            SELECT session, CASE WHEN listed THEN array_send(position_ids) END AS ids, CASE WHEN listed THEN symbols END AS symbols,
                   array_send(quantity) AS quantity, array_send(market_value) AS value,
                   CASE WHEN :evidence THEN {_OLD} ELSE '{{}}' END AS old
            FROM (
                SELECT h.*, position_ids IS DISTINCT FROM lag(position_ids) OVER before
                            OR symbols IS DISTINCT FROM lag(symbols) OVER before AS listed
                FROM (
                    SELECT session, position_ids, symbols, quantity, market_value, reason FROM snapshots.holdings
                    WHERE portfolio_id = :id AND session BETWEEN :first AND :last ORDER BY session LIMIT :sessions
                ) h WINDOW before AS (ORDER BY session)
            ) told ORDER BY session
        """),
        {"id": portfolio, "first": first, "last": last, "sessions": sessions, "evidence": evidence},
    )
    return rows.all()


async def _read_stated(conn: AsyncConnection, portfolio: UUID) -> _Stated:
    """Of all lots there ever were: a snapshot may list one that was deleted since."""
    found = (
        await conn.execute(
            text("""
                SELECT string_agg(uuid_send(id), ''::bytea) AS ids,
                       investment_class AS class, dense_rank() OVER (ORDER BY investment_class) AS class_rank,
                       investment_subtype AS subtype, dense_rank() OVER (ORDER BY investment_subtype) AS subtype_rank,
                       underlying_symbol AS underlying, dense_rank() OVER (ORDER BY underlying_symbol) AS underlying_rank
                FROM coordinator.positions WHERE portfolio_id = :id
                GROUP BY investment_class, investment_subtype, underlying_symbol
            """),
            {"id": portfolio},
        )
    ).mappings()
    rows: Sequence[Mapping[str, Any]] = [dict(row) for row in found]
    return await asyncio.to_thread(_gather_stated, rows)


def _gather_stated(rows: Sequence[Mapping[str, Any]]) -> _Stated:
    of: dict[bytes, int] = {}
    ranks = np.zeros((len(rows) + 1, len(_STATED)), dtype=np.int64)
    texts: list[dict[int, str]] = [{} for _ in _STATED]
    for at, row in enumerate(rows):
        of |= dict.fromkeys(_cut(row["ids"], _ID, 0), at)
        for column, name in enumerate(_STATED):
            if row[name] is not None:
                rank = ranks[at, column] = row[f"{name}_rank"]
                texts[column][int(rank)] = row[name]
    return _Stated(of, ranks, texts)


async def _list(conn: AsyncConnection, row: Row[Any], stated: _Stated) -> _Lots:
    # As the database orders them, by which answers are ordered and added up.
    ordered = await conn.scalars(
        text("SELECT symbol FROM unnest(CAST(:symbols AS text[])) AS of (symbol) GROUP BY symbol ORDER BY symbol"),
        {"symbols": list(set(row.symbols))},
    )
    return await asyncio.to_thread(_lots, row, list(ordered), stated)


def _lots(row: Row[Any], symbols: Sequence[str], stated: _Stated) -> _Lots:
    at = {symbol: place for place, symbol in enumerate(symbols)}
    place = np.array([at[symbol] for symbol in row.symbols], dtype=np.int64)
    said = [stated.of.get(lot, -1) for lot in _cut(row.ids[packed.ARRAY_HEAD :], _ID, packed.ITEM_HEAD)]
    ranks = stated.ranks[np.array(said, dtype=np.int64)]
    return _Lots(row.ids, row.symbols, symbols, place, ranks, stated.texts)


def _sum(rows: Iterable[tuple[_Lots, Row[Any]]]) -> list[Sums]:
    return [
        lots.sum(row.session, packed.float_array(row.quantity), packed.int_array(row.value), row.old)
        for lots, row in rows
    ]


def _cut(packed_: bytes, width: int, head: int) -> Iterable[bytes]:
    """Pieces of that width, each behind a head."""
    return (packed_[at : at + width] for at in range(head, len(packed_), head + width))
