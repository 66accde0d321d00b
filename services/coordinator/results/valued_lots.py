"""Lots as snapshots value them: of one session, and of a range."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import NotFound
from services.coordinator.results.portfolios import Session, choose_with_row, envelope, require_portfolio
from services.coordinator.results.reasons import Document, documents
from services.coordinator.results.values import to_json
from shared.db.statements import statement
from shared.offloading import offload
from shared.work import Phase

QUANTITY_DECIMALS = 10
# Lots of all sessions of a page; a session is answered whole.
ROWS_AT_ONCE = 50_000


async def read_envelope(conn: AsyncConnection, portfolio: UUID, session: date | None) -> dict[str, Any]:
    """What `read` says of the session beside its lots, without them."""
    chosen, snapshot = await _choose(conn, portfolio, session)
    return await envelope(conn, portfolio, snapshot, chosen, Phase.SNAPSHOTS)


async def _choose(conn: AsyncConnection, portfolio: UUID, session: date | None) -> tuple[Session, RowMapping]:
    chosen, snapshot = await choose_with_row(conn, portfolio, Phase.SNAPSHOTS, session, "snapshots.snapshots", "nav")
    if snapshot is None:
        raise NotFound(f"Portfolio {portfolio} has no snapshot of session {chosen.session}.")
    return chosen, snapshot


async def read(conn: AsyncConnection, portfolio: UUID, session: date | None) -> dict[str, Any]:
    """Every lot entered by the session, closed ones included with quantity 0."""
    chosen, snapshot = await _choose(conn, portfolio, session)
    rows = await conn.execute(
        statement("""
            SELECT v.position_id, v.symbol, v.quantity, p.entry_date, p.entry_price, v.price, v.price_session, v.price_basis,
                   v.market_value, v.daily_pnl, v.cumulative_pnl, v.realized_pnl, v.unrealized_pnl, v.dividends, v.reason
            FROM snapshots.positions v LEFT JOIN coordinator.positions p ON p.id = v.position_id
            WHERE v.portfolio_id = :id AND v.session = :session ORDER BY v.symbol, p.entry_session, v.position_id
        """),
        {"id": portfolio, "session": chosen.session},
    )
    lots = rows.mappings().all()
    found = await envelope(conn, portfolio, snapshot, chosen, Phase.SNAPSHOTS)
    nav, reasons = float(snapshot["nav"]), _by_symbol(found["reasons"])
    items = await offload(len(lots), lambda: [_position(row, nav, reasons.get(row["symbol"], ())) for row in lots])
    return found | {"items": items}


async def read_range(
    conn: AsyncConnection, portfolio: UUID, first: date | None, last: date | None, *, limit: int, after: date | None
) -> dict[str, Any]:
    """Every lot on every session in [first, last], oldest first. A page is `limit` sessions, fewer if those have many lots."""
    await require_portfolio(conn, portfolio)
    limit = min(limit, max(1, ROWS_AT_ONCE // max(1, await _count_lots(conn, portfolio))))
    window = {"id": portfolio, "first": first or date.min, "last": last or date.max, "after": after, "limit": limit + 1}
    chosen = list(
        await conn.scalars(
            text("""
                SELECT u.session FROM ledger.units u
                JOIN snapshots.snapshots s ON s.portfolio_id = u.portfolio_id AND s.session = u.session
                WHERE u.portfolio_id = :id AND u.phase = 'snapshots' AND u.session BETWEEN :first AND :last
                  AND (CAST(:after AS date) IS NULL OR u.session > :after)
                ORDER BY u.session LIMIT :limit
            """),
            window,
        )
    )
    rows = await conn.execute(
        text("""
            SELECT v.session, v.revision, s.nav, v.position_id, v.symbol, v.quantity, p.entry_date, p.entry_price, v.price,
                   v.price_session, v.price_basis, v.market_value, v.daily_pnl, v.cumulative_pnl, v.realized_pnl, v.unrealized_pnl,
                   v.dividends, v.reason
            FROM snapshots.positions v
            JOIN snapshots.snapshots s ON s.portfolio_id = v.portfolio_id AND s.session = v.session
            LEFT JOIN coordinator.positions p ON p.id = v.position_id
            WHERE v.portfolio_id = :id AND v.session = ANY (CAST(:sessions AS date[]))
            ORDER BY v.session, v.symbol, p.entry_session, v.position_id
        """),
        {"id": portfolio, "sessions": chosen[:limit]},
    )
    found = rows.mappings().all()
    items = await asyncio.to_thread(
        lambda: [
            {
                "session": row["session"].isoformat(),
                "revision": row["revision"],
                **_position(row, float(row["nav"]), _own_reason(row)),
            }
            for row in found
        ]
    )
    more = len(chosen) > limit
    return {"portfolio_id": str(portfolio), "items": items, "next": chosen[limit - 1].isoformat() if more else None}


async def _count_lots(conn: AsyncConnection, portfolio: UUID) -> int:
    found = await conn.scalar(
        text("SELECT count(*) FROM coordinator.positions WHERE portfolio_id = :id AND deleted_at IS NULL"),
        {"id": portfolio},
    )
    return int(found or 0)


def _by_symbol(reasons: Iterable[Document]) -> Mapping[str | None, Sequence[Document]]:
    found: dict[str | None, list[Document]] = {}
    for of in reasons:
        found.setdefault(of["symbol"], []).append(of)
    return found


def _own_reason(row: RowMapping) -> Sequence[Document]:
    entry = {"figure": None, "symbol": row["symbol"], "reason": row["reason"]}
    return documents([entry], (), phase=Phase.SNAPSHOTS.value) if row["reason"] else []


def _position(row: RowMapping, nav: float, reasons: Sequence[Document]) -> dict[str, Any]:
    """reasons : what the session lacks of the lot's symbol"""
    value = float(row["market_value"])
    return {
        "position_id": str(row["position_id"]),
        "symbol": row["symbol"],
        # To the decimals that quantities are stated and stored with: what lies beyond is rounding, not shares.
        "quantity": round(float(row["quantity"]), QUANTITY_DECIMALS),
        "entry_date": to_json(row["entry_date"]),
        "entry_price": to_json(row["entry_price"]),
        "price": to_json(row["price"]),
        "price_session": to_json(row["price_session"]),
        "price_basis": row["price_basis"] or None,
        "market_value": value,
        # A share of nothing, or of a debt, is no weight.
        "weight": value / nav if nav > 0 else None,
        "daily_pnl": to_json(row["daily_pnl"]),
        "cumulative_pnl": to_json(row["cumulative_pnl"]),
        "realized_pnl": to_json(row["realized_pnl"]),
        "unrealized_pnl": to_json(row["unrealized_pnl"]),
        "dividends": to_json(row["dividends"]),
        "quality": "partial" if row["reason"] else "complete",
        "reason": row["reason"],
        # With what caused it: the provider that refuses, the contract that expired.
        "reasons": list(reasons) if row["reason"] else [],
    }
