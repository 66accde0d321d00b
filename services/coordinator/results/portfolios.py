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
from services.coordinator.results import scorecard, sessions, thinned
from services.coordinator.results.reasons import Entry, Made, Wait, absences, describe_reasons, documents
from services.coordinator.results.risk import ANSWERS
from services.coordinator.results.risk_rows import SOURCE
from services.coordinator.results.values import document, to_json
from shared.db.tenancy import only_own, tenant_filter
from shared.market.reasons import ABSENCES
from shared.work import Phase

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
    listed = rows.mappings().all()
    # Of years of five hundred symbols without a price it takes seconds, and the event loop has others to answer.
    found = await asyncio.to_thread(lambda: [(row, document(row["reasons"])) for row in listed])
    named = {str(of["symbol"]) for _, entries in found for of in entries if of["symbol"] and of["reason"] in ABSENCES}
    waits = await absences(conn, named)
    made: Made = {}
    items = await asyncio.to_thread(lambda: [_snapshot(row, entries, waits, made) for row, entries in found])
    return {"portfolio_id": str(portfolio), "items": items}


def _snapshot(row: RowMapping, entries: Sequence[Entry], waits: Sequence[Wait], made: Made) -> dict[str, Any]:
    fields = {column: to_json(row[column]) for column in SNAPSHOT_FIELDS}
    met = [wait for wait in waits if wait.first <= row["session"] <= wait.last]
    reasons = documents(entries, met, phase=Phase.SNAPSHOTS.value, made=made)
    return fields | {"reasons": reasons, "stale": row["stale"]}


async def find_row(
    conn: AsyncConnection, source: str, portfolio: UUID, session: date, *columns: str
) -> RowMapping | None:
    """What is stored of one session: these columns, and those that `envelope` needs."""
    rows = await conn.execute(
        text(f"""
            SELECT session, revision, model_version, computed_at, quality, coverage, provisional,
                   {", ".join(("CAST(reasons AS text) AS reasons", *columns))}
            FROM {source} WHERE portfolio_id = :id AND session = :session
        """),
        {"id": portfolio, "session": session},
    )
    return rows.mappings().one_or_none()


async def risk_document(conn: AsyncConnection, portfolio: UUID, which: str, session: date | None) -> dict[str, Any]:
    """One of the four answers that are made of what the risk phase stores, under its envelope."""
    if which not in ANSWERS:
        raise ValueError(f"risk stores no {which!r}")
    answer = ANSWERS[which]
    chosen = await choose(conn, portfolio, Phase.RISK, session)
    columns = (_JSON.get(column, column) for column in answer.columns)
    row = await find_row(conn, SOURCE, portfolio, chosen.session, thinned.COLUMN, *columns)
    if row is None or (row[answer.columns[0]] is None and not row["thinned"]):
        raise NotFound(f"Portfolio {portfolio} has no {which} of session {chosen.session}.")
    found = await envelope(conn, portfolio, row, chosen, Phase.RISK)
    if row["thinned"]:
        found |= thinned.body(which, dict(row))
        found["reasons"] = found["reasons"] + documents([thinned.entry(which)], (), phase=Phase.RISK.value)
    else:
        found |= await asyncio.to_thread(answer.body, dict(row))
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
    row = await find_row(conn, "risk.results", portfolio, chosen.session)
    if row is None:
        raise NotFound(f"Portfolio {portfolio} has no risk of session {chosen.session}.")
    of = await scorecard.read(conn, portfolio, chosen.session)
    reasons = documents(scorecard.reasons(of), (), phase=Phase.RISK.value)
    return await envelope(conn, portfolio, row, chosen, Phase.RISK) | {"reasons": reasons} | scorecard.body(of)
