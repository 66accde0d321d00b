"""What a list shows of many portfolios at once: the newest figures of each, in one question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.market.calendar import calendar
from shared.market.registry import SESSIONS_A_YEAR

FIELDS = (
    "session", "nav", "daily_pnl", "daily_return", "ytd_return", "return_1y", "drawdown", "coverage", "risk_session", "volatility",
    "var_95", "forecast_21", "complete_to",
)  # fmt: skip
NONE: dict[str, Any] = dict.fromkeys(FIELDS)


async def read(conn: AsyncConnection, portfolios: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
    """Figures of each portfolio's newest session that is complete, or of the newest that has older values; null where there is none.

    Which session that is, is read from the runs of units, to be brought up to date before: walking the units of each portfolio takes
    three times as long as all the rest. Days and numbers come from the database as JSON has them, for the same reason.

    return_1y   : compounded over the 252 sessions up to it; null before there are as many
    volatility  : annualised, of the current weights over 252 sessions; var_95 : historical, a fraction of NAV
    complete_to : the last session up to which nothing at all is missing
    """
    result = await conn.execute(
        text("""
                WITH kept AS MATERIALIZED (
                    SELECT portfolio_id, phase, first, last, state FROM ledger.unit_runs WHERE portfolio_id = ANY (CAST(:ids AS uuid[]))
                ), ends AS MATERIALIZED (
                    SELECT portfolio_id,
                           max(last) FILTER (WHERE phase = 'snapshots' AND state IN ('complete', 'partial')) AS snapshot,
                           max(last) FILTER (WHERE phase = 'risk' AND state IN ('complete', 'partial')) AS risk,
                           min(first) FILTER (WHERE state IN ('missing', 'blocked')) AS missing, max(last) AS last
                    FROM kept GROUP BY portfolio_id
                )
                SELECT e.portfolio_id, s.session AS day, s.cumulative_return, CAST(s.session AS text) AS session,
                       CAST(s.nav AS double precision) AS nav, CAST(s.daily_pnl AS double precision) AS daily_pnl, s.daily_return,
                       s.ytd_return, s.drawdown, s.coverage,
                       CAST(r.session AS text) AS risk_session,
                       CAST(r.risk #>> '{volatility,realized_252}' AS double precision) AS volatility,
                       CAST(r.risk #>> '{volatility,forecast_21,value}' AS double precision) AS forecast_21,
                       CAST(jsonb_path_query_first(
                           r.risk, '$.var[*] ? (@.method == "historical" && @.level == 0.95).var') AS double precision) AS var_95,
                       CAST(CASE WHEN e.missing IS NULL THEN e.last ELSE before.session END AS text) AS complete_to
                FROM ends e
                LEFT JOIN LATERAL (
                    SELECT x.session FROM snapshots.snapshots x
                    JOIN ledger.units u ON u.portfolio_id = x.portfolio_id AND u.session = x.session AND u.phase = 'snapshots'
                    WHERE e.snapshot IS NULL AND x.portfolio_id = e.portfolio_id ORDER BY x.session DESC LIMIT 1
                ) older ON true
                LEFT JOIN snapshots.snapshots s ON s.portfolio_id = e.portfolio_id AND s.session = coalesce(e.snapshot, older.session)
                LEFT JOIN LATERAL (
                    SELECT x.session FROM risk.results x
                    JOIN ledger.units u ON u.portfolio_id = x.portfolio_id AND u.session = x.session AND u.phase = 'risk'
                    WHERE e.risk IS NULL AND x.portfolio_id = e.portfolio_id ORDER BY x.session DESC LIMIT 1
                ) judged ON true
                LEFT JOIN risk.results r ON r.portfolio_id = e.portfolio_id AND r.session = coalesce(e.risk, judged.session)
                LEFT JOIN LATERAL (
                    SELECT u.session FROM ledger.units u WHERE u.portfolio_id = e.portfolio_id AND u.session < e.missing
                    ORDER BY u.session DESC LIMIT 1
                ) before ON true
            """),
        {"ids": list(portfolios)},
    )
    columns, rows = list(result.keys()), result.all()
    before = await _year_before(conn, {row.portfolio_id: row.day for row in rows if row.day is not None})
    found = {}
    for row in rows:
        known = dict(zip(columns, row, strict=True))
        grown = _growth(row.cumulative_return, before.get(row.portfolio_id))
        found[row.portfolio_id] = {name: grown if name == "return_1y" else known[name] for name in FIELDS}
    return found


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
