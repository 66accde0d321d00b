"""How far forecasts could be trusted (docs/methods.md, scorecard), added up from what risk stored with each session.

A scorecard belongs to no row: a session that is mended later would leave a stored one behind. Of session D it knows the
forecasts whose horizon ended by D, so a replayed past and a lived one have the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.scorecard import (
    HISTORICAL,
    TAILS,
    WIDTH,
    Exceedances,
    Record,
    Scorecard,
    Tail,
    score,
)
from services.coordinator.results.values import to_json
from shared.db.statements import statement
from shared.market.calendar import calendar
from shared.market.reasons import ReasonCode
from shared.market.registry import FEW_EXCEEDANCES, HAR_HORIZON

SHORT_HISTORY = ReasonCode.SHORT_HISTORY.value
INTERVAL_LEVEL = 0.8


async def forecast_rows(conn: AsyncConnection, portfolio: UUID, last: date) -> Sequence[Row[Any]]:
    """(session, forecasts, realized_return, coverage) of the portfolio's own sessions up to `last`, oldest first."""
    rows = await conn.execute(
        statement("""
            SELECT r.session, r.forecasts, r.realized_return, r.coverage FROM risk.results r
            JOIN ledger.units u ON u.portfolio_id = r.portfolio_id AND u.session = r.session AND u.phase = 'risk'
            WHERE r.portfolio_id = :id AND r.session <= :last ORDER BY r.session
        """),
        {"id": portfolio, "last": last},
    )
    return rows.all()


async def read(conn: AsyncConnection, portfolio: UUID, session: date, *, tails: Collection[Tail] = TAILS) -> Scorecard:
    """The scorecard of a session, from the rows of the portfolio's own sessions up to it. tails : those of VaR that are looked at"""
    return score(record(await forecast_rows(conn, portfolio, session), session), tails)


def exceedances(rows: Sequence[Row[Any]]) -> dict[str, Any]:
    """Sessions with what came, `realized`, and the VaR 95 (historical) of the session before, `var`: a loss beyond it is an exceedance."""
    limits = [to_json(row.forecasts[HISTORICAL]) if row.forecasts else None for row in rows]
    return {
        "sessions": [to_json(row.session) for row in rows],
        "realized": [to_json(row.realized_return) for row in rows],
        "var": [None, *limits[:-1]] if rows else [],
    }


def record(rows: Sequence[Any], last: date) -> Record:
    """Forecasts and returns of `forecast_rows` laid on the calendar up to `last`: a missing session is a hole, not a step."""
    days = calendar()
    first = days.ordinal(rows[0][0]) if rows else days.ordinal(last)
    length = days.ordinal(last) - first + 1
    forecasts, realized = np.full((length, WIDTH), np.nan), np.full(length, np.nan)
    stored: dict[int, tuple[list[int], list[Sequence[float]]]] = {}
    for session, known, realized_return, *_ in rows:
        at = days.ordinal(session) - first
        if known:
            # Sessions of earlier model versions stored fewer of them.
            places, values = stored.setdefault(len(known), ([], []))
            places.append(at)
            values.append(known)
        if realized_return is not None:
            realized[at] = realized_return
    for width, (places, values) in stored.items():
        forecasts[places, :width] = values
    return Record(forecasts, realized)


def position(first: date, session: date) -> int:
    """Where a session stands in a record that begins with `first`."""
    days = calendar()
    return days.ordinal(session) - days.ordinal(first)


def summary(of: Scorecard) -> dict[str, Any]:
    """The `scorecard` of the risk answer."""
    return {
        "har_qlike": to_json(of.har.qlike),
        "ewma_qlike": to_json(of.ewma.qlike),
        "mean_error": to_json(of.answered.mean_error),
        "var_95": {
            "n": of.historical.n,
            "exceedances": of.historical.count,
            "kupiec_lr": to_json(of.historical.lr),
            "p": to_json(of.historical.p),
        },
    }


def reasons(of: Scorecard) -> list[dict[str, Any]]:
    """Why parts of the summary are null: no forecast of that kind has seen its horizon pass."""
    return [
        {"figure": f"scorecard.{name}", "symbol": None, "reason": SHORT_HISTORY}
        for name, value in _statistics(summary(of)).items()
        if value is None
    ]


def _statistics(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value["kupiec_lr"] if isinstance(value, dict) else value for name, value in body.items()}


def body(of: Scorecard) -> dict[str, Any]:
    """The answer of the scorecard's own path: a row a method, with how many forecasts it rests on."""
    n, har, ewma = of.common
    return {
        "horizon": HAR_HORIZON,
        "forecasts": [
            {
                "method": method,
                "n": loss.n,
                "qlike": to_json(loss.qlike),
                "mean_error": to_json(loss.mean_error),
                "reason": None if loss.n else SHORT_HISTORY,
            }
            for method, loss in (("har", of.har), ("ewma", of.ewma), ("answered", of.answered))
        ],
        "common": {"n": n, "har_qlike": to_json(har), "ewma_qlike": to_json(ewma)},
        "var": [
            {
                "method": method,
                "level": level,
                "n": tail.n,
                "exceedances": tail.count,
                "expected": (1.0 - level) * tail.n,
                "kupiec_lr": to_json(tail.lr),
                "p": to_json(tail.p),
                "christoffersen_lr": to_json(tail.independence_lr),
                "christoffersen_p": to_json(tail.independence_p),
                "zone": tail.zone,
                "reason": _why(tail),
            }
            for (method, level), tail in of.tails.items()
        ],
        "interval": {
            "level": INTERVAL_LEVEL,
            "n": of.interval.n,
            "inside": of.interval.count,
            "share": of.interval.count / of.interval.n if of.interval.n else None,
            "reason": None if of.interval.n else SHORT_HISTORY,
        },
    }


def _why(tail: Exceedances) -> str | None:
    if tail.zone is None:
        return SHORT_HISTORY
    return ReasonCode.FEW_EXCEEDANCES.value if tail.count < FEW_EXCEEDANCES else None
