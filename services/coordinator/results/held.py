"""What a portfolio holds by value on one session or on every session of a range: for figures worked out of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import NotFound
from services.coordinator.results import book
from services.coordinator.results.book import OLD_REASONS, UNITS, Book, Holding
from shared.arrays import BoolMatrix, FloatVector


@dataclass(frozen=True, slots=True)
class Held:
    """K symbols in their order. Money in the portfolio's currency."""

    session: date
    nav: float
    symbols: list[str]
    holdings: list[Holding]
    value: FloatVector
    gross: FloatVector
    """(K,) long value less short value."""
    old: BoolMatrix
    """(K,) whether the value is at a price that is no evidence any more."""

    @property
    def long(self) -> FloatVector:
        return (self.gross + self.value) / 2.0

    @property
    def short(self) -> FloatVector:
        """(K,) <= 0."""
        return (self.value - self.gross) / 2.0

    @property
    def evident_share(self) -> float:
        """Share of gross value at a price that is evidence; 1 where nothing is held."""
        whole = float(self.gross.sum())
        return float(self.gross[~self.old].sum()) / whole if whole > 0.0 else 1.0


def of_book(of: Book) -> Held:
    return Held(of.session, of.nav, of.symbols, of.holdings, of.value, of.gross_value, of.old)


async def of_range(conn: AsyncConnection, portfolio: UUID, first: date, last: date) -> list[Held]:
    """Of every session in [first, last] that has a snapshot, ascending."""
    rows = await conn.execute(
        text("""
            SELECT h.session, CAST(s.nav AS float8) AS nav, l.symbol, sum(l.value) AS value, sum(abs(l.value)) AS gross,
                   bool_or(l.reason = ANY (CAST(:old AS text[]))) AS old, max(p.investment_class) AS class,
                   max(p.investment_subtype) AS subtype, max(p.underlying_symbol) AS underlying
            FROM snapshots.holdings h
            JOIN snapshots.snapshots s ON s.portfolio_id = h.portfolio_id AND s.session = h.session
            LEFT JOIN LATERAL unnest(h.position_ids, h.symbols, h.quantity, h.market_value, h.reason)
                AS l (id, symbol, quantity, value, reason) ON l.quantity <> 0
            LEFT JOIN coordinator.positions p ON p.id = l.id
            WHERE h.portfolio_id = :id AND h.session BETWEEN :first AND :last
            GROUP BY h.session, s.nav, l.symbol ORDER BY h.session, l.symbol
        """),
        {"id": portfolio, "first": first, "last": last, "old": list(OLD_REASONS)},
    )
    found: dict[date, tuple[float, list[Any]]] = {}
    for row in rows.mappings():
        _, lines = found.setdefault(row["session"], (row["nav"], []))
        if row["symbol"] is not None:
            lines.append(row)
    return [_of_lines(session, nav, lines) for session, (nav, lines) in found.items()]


def _of_lines(session: date, nav: float, lines: Sequence[Any]) -> Held:
    return Held(
        session,
        nav,
        [line["symbol"] for line in lines],
        [book.holding(line["symbol"], dict(line)) for line in lines],
        np.array([float(line["value"]) / UNITS for line in lines]),
        np.array([float(line["gross"]) / UNITS for line in lines]),
        np.array([bool(line["old"]) for line in lines], dtype=np.bool_),
    )


def one_document(
    found: Sequence[tuple[date, dict[str, Any]]], portfolio: UUID, session: date, what: str
) -> dict[str, Any]:
    """The document of the session, of a series of that session alone. Raises `NotFound` where the portfolio has none of what it is of."""
    if not found:
        raise NotFound(f"Portfolio {portfolio} has no {what} of session {session}.")
    return found[0][1]


def symbols_of(books: Collection[Held]) -> set[str]:
    return {symbol for of in books for symbol in of.symbols}
