"""What a portfolio holds by value on one session or on every session of a range: for figures worked out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import NotFound
from services.coordinator.results import lot_sums
from services.coordinator.results.book import UNITS, Book, Holding
from services.coordinator.results.lot_sums import Sums
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
            SELECT session, CAST(nav AS float8) AS nav FROM snapshots.snapshots
            WHERE portfolio_id = :id AND session BETWEEN :first AND :last
        """),
        {"id": portfolio, "first": first, "last": last},
    )
    navs = {row.session: float(row.nav) for row in rows}
    found = await lot_sums.read(conn, portfolio, first, last, evidence=True)
    return await asyncio.to_thread(lambda: [_of_sums(navs[of.session], of) for of in found if of.session in navs])


def _of_sums(nav: float, of: Sums) -> Held:
    value, gross = (np.array(units, dtype=np.float64) / UNITS for units in (of.value, of.gross))
    return Held(of.session, nav, list(of.symbols), list(of.holdings), value, gross, of.old)


def one_document(
    found: Sequence[tuple[date, dict[str, Any]]], portfolio: UUID, session: date, what: str
) -> dict[str, Any]:
    """The document of the session, of a series of that session alone. Raises `NotFound` where the portfolio has none of what it is of."""
    if not found:
        raise NotFound(f"Portfolio {portfolio} has no {what} of session {session}.")
    return found[0][1]


def symbols_of(books: Collection[Held]) -> set[str]:
    return {symbol for of in books for symbol in of.symbols}
