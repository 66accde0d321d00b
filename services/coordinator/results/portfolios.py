"""One session of a portfolio: snapshot rows, positions, and what risk has stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.scorecard import ANSWERED_TAIL
from services.coordinator.errors import NotFound
from services.coordinator.results import scorecard, sessions, thinned
from services.coordinator.results.reasons import describe_reasons, documents
from services.coordinator.results.risk import ANSWERS
from services.coordinator.results.risk_rows import SOURCE
from services.coordinator.results.values import document, to_json
from shared.db.statements import statement
from shared.db.tenancy import only_own, tenant_filter
from shared.offloading import offload
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
# What `envelope` needs.
_ENVELOPE = (
    "session", "revision", "model_version", "computed_at", "quality", "coverage", "provisional", "CAST(reasons AS text) AS reasons",
)  # fmt: skip
_CHOSEN = f"""
    SELECT session, completed_revision < required_revision AS stale FROM ledger.units
    WHERE portfolio_id = (SELECT id FROM coordinator.portfolios WHERE id = :id AND deleted_at IS NULL AND {only_own()})
      AND phase = CAST(:phase AS ledger.phase) AND completed_revision > 0
      AND (CAST(:session AS date) IS NULL OR session = :session)
      AND (CAST(:newest AS date) IS NULL OR session <= :newest)
    ORDER BY completed_revision >= required_revision DESC, session DESC LIMIT 1
"""
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
    rows = await conn.execute(statement(_CHOSEN), _chosen_by(portfolio, phase, session))
    row = rows.one_or_none()
    if row is None:
        raise await _no_values(conn, portfolio, phase, session)
    return Session(row.session, row.stale)


async def choose_with_row(
    conn: AsyncConnection, portfolio: UUID, phase: Phase, session: date | None, source: str, *columns: str
) -> tuple[Session, RowMapping | None]:
    """(what `choose` says, what is stored of that session), in one statement. Of the row these columns, and those that `envelope` needs;
    None where there is none."""
    rows = await conn.execute(
        statement(f"""
            SELECT chosen.stale, chosen.session AS chosen_session, row.* FROM ({_CHOSEN}) chosen
            LEFT JOIN LATERAL (
                SELECT {", ".join((*_ENVELOPE, *columns))} FROM {source} WHERE portfolio_id = :id AND session = chosen.session
            ) row ON true
        """),
        _chosen_by(portfolio, phase, session),
    )
    row = rows.mappings().one_or_none()
    if row is None:
        raise await _no_values(conn, portfolio, phase, session)
    chosen = Session(row["chosen_session"], row["stale"])
    return chosen, None if row["session"] is None else row


def _chosen_by(portfolio: UUID, phase: Phase, session: date | None) -> dict[str, Any]:
    given = {"id": portfolio, "phase": phase.value, "session": session}
    return given | {"tenant": tenant_filter(), "newest": sessions.newest.get()}


async def _no_values(conn: AsyncConnection, portfolio: UUID, phase: Phase, session: date | None) -> NotFound:
    await require_portfolio(conn, portfolio)
    when = "any session" if session is None else f"session {session}"
    return NotFound(
        f"Portfolio {portfolio} has no {_VALUES[phase]} for {when} yet. GET /api/v1/portfolios/{portfolio}/status says what is "
        "missing and when it will be there."
    )


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


async def risk_document(conn: AsyncConnection, portfolio: UUID, which: str, session: date | None) -> dict[str, Any]:
    """One of the four answers that are made of what the risk phase stores, under its envelope."""
    if which not in ANSWERS:
        raise ValueError(f"risk stores no {which!r}")
    answer = ANSWERS[which]
    columns = (_JSON.get(column, column) for column in answer.columns)
    chosen, row = await choose_with_row(conn, portfolio, Phase.RISK, session, SOURCE, thinned.COLUMN, *columns)
    if row is None or (row[answer.columns[0]] is None and not row["thinned"]):
        raise NotFound(f"Portfolio {portfolio} has no {which} of session {chosen.session}.")
    found = await envelope(conn, portfolio, row, chosen, Phase.RISK)
    if row["thinned"]:
        found |= thinned.body(which, dict(row))
        found["reasons"] = found["reasons"] + documents([thinned.entry(which)], (), phase=Phase.RISK.value)
    else:
        found |= await offload(len(row["symbols"]), lambda: answer.body(dict(row)))
    if which == "risk":
        of = await scorecard.read(conn, portfolio, chosen.session, tails=[ANSWERED_TAIL])
        found |= {
            "scorecard": scorecard.summary(of),
            "reasons": found["reasons"] + documents(scorecard.reasons(of), (), phase=Phase.RISK.value),
        }
    return found


async def scorecard_document(conn: AsyncConnection, portfolio: UUID, session: date | None) -> dict[str, Any]:
    """How the forecasts whose horizon ended by the session did, method by method."""
    chosen, row = await choose_with_row(conn, portfolio, Phase.RISK, session, "risk.results")
    if row is None:
        raise NotFound(f"Portfolio {portfolio} has no risk of session {chosen.session}.")
    of = await scorecard.read(conn, portfolio, chosen.session)
    reasons = documents(scorecard.reasons(of), (), phase=Phase.RISK.value)
    return await envelope(conn, portfolio, row, chosen, Phase.RISK) | {"reasons": reasons} | scorecard.body(of)
