"""Sessions whose risk was thinned out: what is still said of them, and why not more (docs/decisions/0093-thinned-results.md)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import NotFound
from services.coordinator.results import risk
from services.coordinator.results.reasons import Entry
from services.coordinator.results.risk import Body
from services.coordinator.results.risk_rows import Row
from shared.market.reasons import ReasonCode, info

COLUMN = "coalesce(thinned_revision = revision, false) AS thinned"
"""Of a row of `risk.results`."""

# Null as a whole; what stands beside them is worked out of what stays.
_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "risk": (
        "benchmark", "benchmark_date", "volatility", "positions", "beta", "decomposition", "var", "var_10d", "covered_only",
        "es_factors", "reverse_stress", "drawdown", "concentration", "sectors",
    ),
    "correlations": ("labels", "matrix", "n_obs", "shrinkage", "mean_abs", "clusters", "excluded", "factors"),
    "stress": ("scenarios",),
}  # fmt: skip
_NO_HOLDINGS: Row = {"symbols": [], "weights": [], "exposure_values": [], "betas": [], "greeks": None}
# The answers that are made of what goes, with what is null of them. Exposures of the portfolio stay.
FIGURES: Mapping[str, str] = {
    "risk": "risk",
    "correlations": "correlations",
    "stress": "stress",
    "exposures": "exposures.positions",
    "sector_exposures": "sector_exposures",
}


class ThinnedOut(NotFound):
    """A figure of a session of which only what ranges are made of is kept, or a question about its holdings."""

    code = ReasonCode.THINNED_OUT.value

    def __init__(self, session: date | str) -> None:
        known = info(ReasonCode.THINNED_OUT)
        super().__init__(f"Session {session}: {known.meaning}. {known.remedy}.")


def body(which: str, row: Row) -> Body:
    """What is left of one of the answers of `risk.ANSWERS`: null is what is not kept."""
    if which == "exposures":
        return risk.exposures({**row, **_NO_HOLDINGS}) | {"positions": None}
    return dict.fromkeys(_SECTIONS[which])


def drop_sections(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """An answer without the sections that are null because they were thinned out: those have no figures, not unknown ones."""
    if not is_thinned(document):
        return document
    return {key: value for key, value in document.items() if value is not None}


def entry(which: str) -> Entry:
    """The reason beside what is null of the answer."""
    return {"figure": FIGURES[which], "symbol": None, "reason": ReasonCode.THINNED_OUT.value}


def is_thinned(document: Mapping[str, Any]) -> bool:
    """Whether an answer, or what has its envelope, is of a session that was thinned out."""
    return any(reason["reason"] == ReasonCode.THINNED_OUT for reason in document.get("reasons", ()))


async def find_sessions(conn: AsyncConnection, portfolio: UUID, first: date, last: date) -> list[date]:
    """Those of [first, last] whose risk was thinned out."""
    rows = await conn.execute(
        text("""
            SELECT session FROM risk.results
            WHERE portfolio_id = :id AND session BETWEEN :first AND :last AND thinned_revision = revision ORDER BY session
        """),
        {"id": portfolio, "first": first, "last": last},
    )
    return list(rows.scalars())
