"""What a list shows of many portfolios at once: the newest figures of each, in one question."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results.states import Overview
from shared.db.statements import statement
from shared.market.calendar import calendar
from shared.market.registry import SESSIONS_A_YEAR

FIELDS = (
    "session", "nav", "daily_pnl", "daily_return", "ytd_return", "return_1y", "drawdown", "coverage", "risk_session", "volatility",
    "var_95", "forecast_21",
)  # fmt: skip
NONE: dict[str, Any] = dict.fromkeys(FIELDS)


async def read(conn: AsyncConnection, overviews: Mapping[UUID, Overview]) -> dict[UUID, dict[str, Any]]:
    """Figures of each portfolio's newest session that is complete, or of the newest that has older values; null where there is none.

    Days and numbers come from the database as JSON has them: a thousand rows of twelve are as much work to convert as to read.

    return_1y   : compounded over the 252 sessions up to it; null before there are as many
    volatility  : annualised, of the current weights over 252 sessions; var_95 : historical, a fraction of NAV
    """
    chosen = {of: (overview.extent.snapshots, overview.extent.risk) for of, overview in overviews.items()}
    chosen |= await _older(conn, {of: days for of, days in chosen.items() if None in days})
    # The calendar says which session a year's first is: counting rows would read a year of them.
    before = cache(lambda session: calendar().back(session, SESSIONS_A_YEAR))
    rows = await conn.execute(
        statement("""
            SELECT a.id, CAST(s.session AS text), CAST(s.nav AS double precision), CAST(s.daily_pnl AS double precision), s.daily_return,
                   s.ytd_return,
                   CASE WHEN b.cumulative_return > -1 THEN (1 + s.cumulative_return) / (1 + b.cumulative_return) - 1 END,
                   s.drawdown, s.coverage, CAST(r.session AS text),
                   CAST(of_risk.volatility ->> 'realized_252' AS double precision),
                   CAST(jsonb_path_query_first(
                       of_risk.var, '$[*] ? (@.method == "historical" && @.level == 0.95).var') AS double precision),
                   CAST(of_risk.volatility #>> '{forecast_21,value}' AS double precision)
            FROM unnest(CAST(:ids AS uuid[]), CAST(:days AS date[]), CAST(:risk_days AS date[]), CAST(:before AS date[]))
                AS a (id, day, risk_day, before)
            LEFT JOIN snapshots.snapshots s ON s.portfolio_id = a.id AND s.session = a.day
            LEFT JOIN snapshots.snapshots b ON b.portfolio_id = a.id AND b.session = a.before
            LEFT JOIN risk.results r ON r.portfolio_id = a.id AND r.session = a.risk_day
            -- The document is stored out of line: each field asked of it alone would be a fetch of the whole.
            LEFT JOIN LATERAL jsonb_to_record(r.risk) AS of_risk (volatility jsonb, var jsonb) ON true
        """),
        {
            "ids": list(chosen),
            "days": [day for day, _ in chosen.values()],
            "risk_days": [day for _, day in chosen.values()],
            "before": [None if day is None else before(day) for day, _ in chosen.values()],
        },
    )
    return {of: dict(zip(FIELDS, figures, strict=True)) for of, *figures in rows.all()}


async def _older(
    conn: AsyncConnection, chosen: Mapping[UUID, tuple[date | None, date | None]]
) -> dict[UUID, tuple[date | None, date | None]]:
    """Of portfolios without a completed session: the newest that has values, and that still is one of its sessions."""
    if not chosen:
        return {}
    rows = await conn.execute(
        statement("""
            SELECT a.id,
                   (SELECT x.session FROM snapshots.snapshots x
                    JOIN ledger.units u ON u.portfolio_id = x.portfolio_id AND u.session = x.session AND u.phase = 'snapshots'
                    WHERE x.portfolio_id = a.id ORDER BY x.session DESC LIMIT 1) AS snapshot,
                   (SELECT x.session FROM risk.results x
                    JOIN ledger.units u ON u.portfolio_id = x.portfolio_id AND u.session = x.session AND u.phase = 'risk'
                    WHERE x.portfolio_id = a.id ORDER BY x.session DESC LIMIT 1) AS risk
            FROM unnest(CAST(:ids AS uuid[])) AS a (id)
        """),
        {"ids": list(chosen)},
    )
    return {row.id: (chosen[row.id][0] or row.snapshot, chosen[row.id][1] or row.risk) for row in rows.all()}
