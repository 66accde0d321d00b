"""One session of a portfolio: snapshot rows, positions, and what risk has stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import NotFound
from services.coordinator.results import scorecard, sessions
from services.coordinator.results.reasons import Document, Wait, absences, describe_reasons, documents
from services.coordinator.results.risk import ANSWERS
from services.coordinator.results.risk_rows import SOURCE
from services.coordinator.results.values import document, to_json
from shared.db.tenancy import only_own, tenant_filter
from shared.market.reasons import ABSENCES
from shared.work import Phase

QUANTITY_DECIMALS = 10
# The fields of docs/methods.md §6, in its order.
SNAPSHOT_FIELDS = (
    "session", "nav", "cash", "long_value", "short_value", "gross_exposure", "net_exposure", "daily_pnl", "daily_return",
    "cumulative_pnl", "realized_pnl", "unrealized_pnl", "dividends", "flow", "cumulative_flow", "mtd_return", "ytd_return",
    "cumulative_return", "drawdown", "xirr", "positions", "long_positions", "short_positions", "coverage", "quality",
    "provisional", "revision", "computed_at",
)  # fmt: skip
# Columns of risk's tables that are documents; the rest are arrays and plain values.
_JSON = {column: f"CAST({column} AS text) AS {column}" for column in ("risk", "scenarios")}
_VALUES = {Phase.SNAPSHOTS: "snapshot", Phase.RISK: "risk figures"}


@dataclass(frozen=True, slots=True)
class Session:
    """The session that an answer is about, and whether its values are behind what is required."""

    session: date
    stale: bool


async def require_portfolio(conn: AsyncConnection, portfolio: UUID) -> None:
    exists = await conn.scalar(
        text(f"SELECT 1 FROM coordinator.portfolios WHERE id = :id AND deleted_at IS NULL AND {only_own()}"),
        {"id": portfolio, "tenant": tenant_filter()},
    )
    if not exists:
        raise NotFound(f"There is no portfolio {portfolio}. It may have been deleted.")


async def choose(conn: AsyncConnection, portfolio: UUID, phase: Phase, session: date | None) -> Session:
    """The session asked for, or the newest completed one. `NotFound` where the phase has no values for it.

    Without a completed session the newest one that has older values is answered, and marked stale. None is after `sessions.newest`.
    """
    given = {"id": portfolio, "phase": phase.value, "session": session}
    row = (
        await conn.execute(
            text(f"""
                SELECT session, completed_revision < required_revision AS stale FROM ledger.units
                WHERE portfolio_id = (SELECT id FROM coordinator.portfolios WHERE id = :id AND deleted_at IS NULL AND {only_own()})
                  AND phase = CAST(:phase AS ledger.phase) AND completed_revision > 0
                  AND (CAST(:session AS date) IS NULL OR session = :session)
                  AND (CAST(:newest AS date) IS NULL OR session <= :newest)
                ORDER BY completed_revision >= required_revision DESC, session DESC LIMIT 1
            """),
            given | {"tenant": tenant_filter(), "newest": sessions.newest.get()},
        )
    ).one_or_none()
    if row is None:
        await require_portfolio(conn, portfolio)
        when = "any session" if session is None else f"session {session}"
        raise NotFound(
            f"Portfolio {portfolio} has no {_VALUES[phase]} for {when} yet. GET /api/v1/portfolios/{portfolio}/status says what is "
            "missing and when it will be there."
        )
    return Session(row.session, row.stale)


async def envelope(
    conn: AsyncConnection, portfolio: UUID, row: RowMapping, chosen: Session, phase: Phase
) -> dict[str, Any]:
    """The keys common to single-session answers."""
    return {
        "portfolio_id": str(portfolio),
        "session": row["session"].isoformat(),
        "revision": row["revision"],
        "model_version": row["model_version"],
        "computed_at": to_json(row["computed_at"]),
        "quality": row["quality"],
        "coverage": to_json(row["coverage"]),
        "provisional": row["provisional"],
        "reasons": await describe_reasons(conn, document(row["reasons"]), phase=phase, session=row["session"]),
        "stale": chosen.stale,
    }


async def snapshots(conn: AsyncConnection, portfolio: UUID, first: date | None, last: date | None) -> dict[str, Any]:
    """All snapshots in [first, last], oldest first. Sessions that are no longer the portfolio's have no unit, and are left out."""
    await require_portfolio(conn, portfolio)
    columns = ", ".join(f"s.{column}" for column in SNAPSHOT_FIELDS)
    rows = await conn.execute(
        text(f"""
            SELECT {columns}, CAST(s.reasons AS text) AS reasons, u.completed_revision < u.required_revision AS stale
            FROM snapshots.snapshots s
            JOIN ledger.units u ON u.portfolio_id = s.portfolio_id AND u.session = s.session AND u.phase = 'snapshots'
            WHERE s.portfolio_id = :id AND (CAST(:first AS date) IS NULL OR s.session >= :first)
              AND (CAST(:last AS date) IS NULL OR s.session <= :last)
            ORDER BY s.session
        """),
        {"id": portfolio, "first": first, "last": last},
    )
    found = [(row, document(row["reasons"])) for row in rows.mappings()]
    named = {str(of["symbol"]) for _, entries in found for of in entries if of["symbol"] and of["reason"] in ABSENCES}
    waits = await absences(conn, named)
    return {
        "portfolio_id": str(portfolio),
        "items": [
            _snapshot(row, entries, [wait for wait in waits if wait.first <= row["session"] <= wait.last])
            for row, entries in found
        ],
    }


def _snapshot(row: RowMapping, entries: Sequence[dict[str, Any]], waits: Sequence[Wait]) -> dict[str, Any]:
    fields = {column: to_json(row[column]) for column in SNAPSHOT_FIELDS}
    return fields | {"reasons": documents(entries, waits, phase=Phase.SNAPSHOTS.value), "stale": row["stale"]}


async def positions(conn: AsyncConnection, portfolio: UUID, session: date | None) -> dict[str, Any]:
    """Every lot entered by the session, closed ones included with quantity 0."""
    chosen = await choose(conn, portfolio, Phase.SNAPSHOTS, session)
    snapshot = (
        (
            await conn.execute(
                text("""
                SELECT session, revision, model_version, computed_at, quality, coverage, provisional, CAST(reasons AS text) AS reasons, nav
                FROM snapshots.snapshots WHERE portfolio_id = :id AND session = :session
            """),
                {"id": portfolio, "session": chosen.session},
            )
        )
        .mappings()
        .one_or_none()
    )
    if snapshot is None:
        raise NotFound(f"Portfolio {portfolio} has no snapshot of session {chosen.session}.")
    rows = await conn.execute(
        text("""
            SELECT v.position_id, v.symbol, v.quantity, p.entry_date, p.entry_price, v.price, v.price_session, v.price_basis,
                   v.market_value, v.daily_pnl, v.cumulative_pnl, v.realized_pnl, v.unrealized_pnl, v.dividends, v.reason
            FROM snapshots.positions v LEFT JOIN coordinator.positions p ON p.id = v.position_id
            WHERE v.portfolio_id = :id AND v.session = :session ORDER BY v.symbol, p.entry_session, v.position_id
        """),
        {"id": portfolio, "session": chosen.session},
    )
    lots = rows.mappings().all()
    found = await envelope(conn, portfolio, snapshot, chosen, Phase.SNAPSHOTS)
    nav, reasons = float(snapshot["nav"]), found["reasons"]
    items = await asyncio.to_thread(lambda: [_position(row, nav, reasons) for row in lots])
    return found | {"items": items}


async def positions_between(
    conn: AsyncConnection, portfolio: UUID, first: date | None, last: date | None, *, limit: int, after: date | None
) -> dict[str, Any]:
    """Every lot on every session in [first, last], oldest first. A page is `limit` sessions, however many lots they have."""
    await require_portfolio(conn, portfolio)
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


def _own_reason(row: RowMapping) -> Sequence[Document]:
    entry = {"figure": None, "symbol": row["symbol"], "reason": row["reason"]}
    return documents([entry], (), phase=Phase.SNAPSHOTS.value) if row["reason"] else []


def _position(row: RowMapping, nav: float, reasons: Sequence[Document]) -> dict[str, Any]:
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
        "reasons": [of for of in reasons if row["reason"] and of["symbol"] == row["symbol"]],
    }


async def risk_document(conn: AsyncConnection, portfolio: UUID, which: str, session: date | None) -> dict[str, Any]:
    """One of the four answers that are made of what the risk phase stores, under its envelope."""
    if which not in ANSWERS:
        raise ValueError(f"risk stores no {which!r}")
    answer = ANSWERS[which]
    chosen = await choose(conn, portfolio, Phase.RISK, session)
    columns = ", ".join(_JSON.get(column, column) for column in answer.columns)
    row = (
        (
            await conn.execute(
                text(f"""
                SELECT session, revision, model_version, computed_at, quality, coverage, provisional,
                       CAST(reasons AS text) AS reasons, {columns}
                FROM {SOURCE}
                WHERE portfolio_id = :id AND session = :session
            """),
                {"id": portfolio, "session": chosen.session},
            )
        )
        .mappings()
        .one_or_none()
    )
    if row is None or row[answer.columns[0]] is None:
        raise NotFound(f"Portfolio {portfolio} has no {which} of session {chosen.session}.")
    found = await envelope(conn, portfolio, row, chosen, Phase.RISK) | await asyncio.to_thread(answer.body, dict(row))
    if which == "risk":
        of = await scorecard.read(conn, portfolio, chosen.session)
        found |= {
            "scorecard": scorecard.summary(of),
            "reasons": found["reasons"] + documents(scorecard.reasons(of), (), phase=Phase.RISK.value),
        }
    return found


async def scorecard_document(conn: AsyncConnection, portfolio: UUID, session: date | None) -> dict[str, Any]:
    """How the forecasts whose horizon ended by the session did, method by method."""
    chosen = await choose(conn, portfolio, Phase.RISK, session)
    row = (
        (
            await conn.execute(
                text("""
                SELECT session, revision, model_version, computed_at, quality, coverage, provisional, CAST(reasons AS text) AS reasons
                FROM risk.results WHERE portfolio_id = :id AND session = :session
            """),
                {"id": portfolio, "session": chosen.session},
            )
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise NotFound(f"Portfolio {portfolio} has no risk of session {chosen.session}.")
    of = await scorecard.read(conn, portfolio, chosen.session)
    reasons = documents(scorecard.reasons(of), (), phase=Phase.RISK.value)
    return await envelope(conn, portfolio, row, chosen, Phase.RISK) | {"reasons": reasons} | scorecard.body(of)
