"""What a list shows of many portfolios at once: the newest figures of each, in one question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results.values import to_json
from shared.market.calendar import calendar
from shared.market.registry import SESSIONS_A_YEAR

FIELDS = (
    "session", "nav", "daily_pnl", "daily_return", "ytd_return", "return_1y", "drawdown", "coverage", "risk_session", "volatility",
    "var_95", "forecast_21", "complete_to",
)  # fmt: skip
NONE: dict[str, Any] = dict.fromkeys(FIELDS)


async def figures(conn: AsyncConnection, portfolios: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
    """Figures of each portfolio's newest session that is complete, or of the newest that has older values; null where there is none.

    return_1y   : compounded over the 252 sessions up to it; null before there are as many
    volatility  : annualised, of the current weights over 252 sessions; var_95 : historical, a fraction of NAV
    complete_to : the last session up to which nothing at all is missing
    """
    rows = await conn.execute(
        text("""
            SELECT p.id, s.session, s.nav, s.daily_pnl, s.daily_return, s.ytd_return, s.drawdown, s.coverage,
                   s.cumulative_return,
                   r.session AS risk_session, r.volatility, r.var_95, r.forecast_21, done.complete_to
            FROM unnest(CAST(:ids AS uuid[])) AS p (id)
            LEFT JOIN LATERAL (
                SELECT coalesce(
                    (SELECT u.session FROM ledger.units u WHERE u.portfolio_id = p.id AND u.phase = 'snapshots'
                       AND u.completed_revision >= u.required_revision ORDER BY u.session DESC LIMIT 1),
                    (SELECT u.session FROM ledger.units u WHERE u.portfolio_id = p.id AND u.phase = 'snapshots'
                       AND u.completed_revision > 0 ORDER BY u.session DESC LIMIT 1)) AS session
            ) newest ON true
            LEFT JOIN snapshots.snapshots s ON s.portfolio_id = p.id AND s.session = newest.session
            LEFT JOIN LATERAL (
                SELECT coalesce(
                    (SELECT u.session FROM ledger.units u WHERE u.portfolio_id = p.id AND u.phase = 'risk'
                       AND u.completed_revision >= u.required_revision ORDER BY u.session DESC LIMIT 1),
                    (SELECT u.session FROM ledger.units u WHERE u.portfolio_id = p.id AND u.phase = 'risk'
                       AND u.completed_revision > 0 ORDER BY u.session DESC LIMIT 1)) AS session
            ) judged ON true
            LEFT JOIN LATERAL (
                SELECT session, CAST(risk #>> '{volatility,realized_252}' AS double precision) AS volatility,
                       CAST(risk #>> '{volatility,forecast_21,value}' AS double precision) AS forecast_21,
                       CAST(jsonb_path_query_first(
                           risk, '$.var[*] ? (@.method == "historical" && @.level == 0.95).var') AS double precision) AS var_95
                FROM risk.results WHERE portfolio_id = p.id AND session = judged.session
            ) r ON true
            CROSS JOIN LATERAL (
                SELECT max(u.session) AS complete_to FROM ledger.units u
                WHERE u.portfolio_id = p.id AND u.session < coalesce(least(
                    (SELECT min(m.session) FROM ledger.units m WHERE m.portfolio_id = p.id
                       AND m.completed_revision < m.required_revision AND m.blocked_reason IS NULL),
                    (SELECT min(m.session) FROM ledger.units m WHERE m.portfolio_id = p.id AND m.blocked_reason IS NOT NULL)
                ), 'infinity')
            ) done
        """),
        {"ids": list(portfolios)},
    )
    found = {row["id"]: dict(row) for row in rows.mappings()}
    before = await _year_before(conn, {of: row["session"] for of, row in found.items() if row["session"] is not None})
    for of, row in found.items():
        row["return_1y"] = _growth(row["cumulative_return"], before.get(of))
    return {of: {field: to_json(row[field]) for field in FIELDS} for of, row in found.items()}


async def _year_before(conn: AsyncConnection, sessions: Mapping[UUID, date]) -> dict[UUID, float | None]:
    """Cumulative returns 252 sessions before. The calendar says which session that is: counting rows would read a year of them."""
    days = calendar()
    asked = {of: days.back(session, SESSIONS_A_YEAR) for of, session in sessions.items()}
    rows = await conn.execute(
        text("""
            SELECT a.id, s.cumulative_return FROM unnest(CAST(:ids AS uuid[]), CAST(:days AS date[])) AS a (id, day)
            JOIN snapshots.snapshots s ON s.portfolio_id = a.id AND s.session = a.day
        """),
        {"ids": list(asked), "days": list(asked.values())},
    )
    return {row.id: row.cumulative_return for row in rows}


def _growth(now: float | None, before: float | None) -> float | None:
    if now is None or before is None or before <= -1.0:
        return None
    return (1.0 + now) / (1.0 + before) - 1.0
