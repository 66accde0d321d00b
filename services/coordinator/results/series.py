"""Risk over time: the figures of every session in one answer, so that a chart needs one question."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.scorecard import HISTORICAL
from services.coordinator.results.values import document, to_json

# By name, where each stands in the stored document of risk.
FIGURES = {
    "risk.volatility.realized_21": "{volatility,realized_21}",
    "risk.volatility.realized_63": "{volatility,realized_63}",
    "risk.volatility.realized_252": "{volatility,realized_252}",
    "risk.volatility.forecast_21.value": "{volatility,forecast_21,value}",
    "risk.volatility.forecast_21.low": "{volatility,forecast_21,low}",
    "risk.volatility.forecast_21.high": "{volatility,forecast_21,high}",
}


async def risk(conn: AsyncConnection, portfolio: UUID, first: date | None, last: date | None) -> dict[str, Any]:
    """Sessions ascending, and under each name one value a session; null where it is not known.

    `var` is the VaR 95 (historical) that was said on the session before, `realized` what came: a loss beyond it is an exceedance.
    """
    columns = ", ".join(f"r.risk #> '{path}' AS f{number}" for number, path in enumerate(FIGURES.values()))
    rows = (
        (
            await conn.execute(
                text(f"""
                    SELECT r.session, {columns}, r.realized_return, r.forecasts[{HISTORICAL + 1}] AS var
                    FROM risk.results r
                    JOIN ledger.units u ON u.portfolio_id = r.portfolio_id AND u.session = r.session AND u.phase = 'risk'
                    WHERE r.portfolio_id = :id AND (CAST(:first AS date) IS NULL OR r.session >= :first)
                      AND (CAST(:last AS date) IS NULL OR r.session <= :last)
                    ORDER BY r.session
                """),
                {"id": portfolio, "first": first, "last": last},
            )
        )
        .mappings()
        .all()
    )
    said = [None, *(to_json(row["var"]) for row in rows[:-1])]
    return {
        "portfolio_id": str(portfolio),
        "sessions": [to_json(row["session"]) for row in rows],
        "figures": {
            name: [to_json(document(row[f"f{number}"])) for row in rows] for number, name in enumerate(FIGURES)
        },
        "realized": [to_json(row["realized_return"]) for row in rows],
        "var": said if rows else [],
    }
