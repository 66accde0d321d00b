"""Interest and borrow cost of a range, if they are asked for: from stored balances, and in no other figure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.carry import carry
from services.coordinator.results.history import Snapshots
from services.coordinator.results.values import to_json
from shared.arrays import FloatMatrix, FloatVector
from shared.market.symbols import SymbolKind, classify


@dataclass(frozen=True, slots=True)
class Terms:
    """A year, decimal."""

    margin_spread: float
    """Of a debit balance, over the bill."""
    borrow_rate: float


async def read(
    conn: AsyncConnection, portfolio: UUID, found: Snapshots, part: slice, free: FloatVector, terms: Terms
) -> dict[str, Any]:
    """free : (n,) of the range, NaN where no curve says it, and 0 is used"""
    rows = await conn.execute(
        text("""
            SELECT session, CAST(cash AS float8), CAST(short_value AS float8) FROM snapshots.snapshots
            WHERE portfolio_id = :id AND session BETWEEN :first AND :last
        """),
        {"id": portfolio, **_window(found, part)},
    )
    written = await _written_options(conn, portfolio, found, part)
    stored = {np.datetime64(day, "D"): (cash, short - written.get(day, 0.0)) for day, cash, short in rows}
    # Before the first session there is the opening equity, all in cash.
    opening = [(found.equity, 0.0)] if part.start == 0 else []
    before = found.sessions[part.start - 1 if part.start else 0 : part.stop - 1]
    balances = np.array([*opening, *(stored.get(day, (np.nan, np.nan)) for day in before)], dtype=np.float64)
    return of_balances(found, part, balances, free, terms)


def of_balances(
    found: Snapshots, part: slice, balances: FloatMatrix, free: FloatVector, terms: Terms
) -> dict[str, Any]:
    """balances : (n, 2) cash and what is borrowed to be short (<= 0) at the close before each session of the range"""
    idle = found.idle()[part]
    base = np.concatenate([[found.base(part.start)], found.nav[part.start : part.stop - 1]])
    # Nothing is borrowed, lent or earned on what the rounding of a cent leaves of an account.
    cash, short = np.where(idle[:, None], 0.0, balances).T
    of = carry(
        found.returns[part],
        base + np.maximum(found.flow[part], 0.0),
        cash,
        short,
        np.nan_to_num(free, nan=0.0),
        margin_spread=terms.margin_spread,
        borrow_rate=terms.borrow_rate,
    )
    return {
        "margin_spread": terms.margin_spread,
        "borrow_rate": terms.borrow_rate,
        "interest": to_json(of.interest),
        "margin": to_json(of.margin),
        "borrow": to_json(of.borrow),
        "total_return": None if idle.all() else to_json(of.total_return),
    }


def _window(found: Snapshots, part: slice) -> dict[str, date]:
    """The sessions whose balances enter, the one before the range among them."""
    return {"first": found.sessions[max(0, part.start - 1)].item(), "last": found.sessions[part.stop - 1].item()}


async def _written_options(conn: AsyncConnection, portfolio: UUID, found: Snapshots, part: slice) -> dict[date, float]:
    """By session the value (<= 0) of the lots of options that are short: nothing is borrowed for them."""
    lots = await conn.execute(
        text("SELECT id, symbol, investment_class AS class FROM coordinator.positions WHERE portfolio_id = :id"),
        {"id": portfolio},
    )
    options = [lot.id for lot in lots if classify(lot.symbol, lot[2]) is SymbolKind.OPTION]
    if not options:
        return {}
    rows = await conn.execute(
        text("""
            SELECT h.session, sum(l.value) / 10000.0 AS value FROM snapshots.holdings h
            CROSS JOIN LATERAL unnest(h.position_ids, h.market_value) AS l (id, value)
            WHERE h.portfolio_id = :id AND h.session BETWEEN :first AND :last AND l.value < 0 AND l.id = ANY (CAST(:options AS uuid[]))
            GROUP BY h.session
        """),
        {"id": portfolio, "options": options, **_window(found, part)},
    )
    return {row.session: float(row.value) for row in rows}
