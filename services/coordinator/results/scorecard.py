"""How far forecasts could be trusted (docs/methods.md, scorecard), added up from what risk stored with each session.

A scorecard belongs to no row: a session that is mended later would leave a stored one behind. Of session D it knows the
forecasts whose horizon ended by D, so a replayed past and a lived one have the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results.values import plain
from shared.arrays import BoolMatrix, FloatMatrix, FloatVector
from shared.market.calendar import calendar
from shared.market.registry import HAR_HORIZON, SCORED_LEVEL, SESSIONS_A_YEAR

# The columns of `forecasts` in risk.results, in its order.
HAR, HAR_VARIANCE, EWMA_VARIANCE, HISTORICAL, NORMAL = range(5)
SHORT_HISTORY = "short_history"


@dataclass(frozen=True, slots=True)
class Record:
    """T consecutive sessions; NaN where a session is not there or says nothing.

    forecasts : (T, 5) in the order above, annualised; VaR of one day
    realized  : (T,) return of the session with the weights at the close before
    """

    forecasts: FloatMatrix
    realized: FloatVector


@dataclass(frozen=True, slots=True)
class Loss:
    """One volatility forecast against what came. `qlike` is 0 for a perfect one; `mean_error` is forecast less realised volatility."""

    n: int
    qlike: float | None
    mean_error: float | None


@dataclass(frozen=True, slots=True)
class Exceedances:
    """VaR against the next session's return; Kupiec's likelihood ratio, chi-squared with one degree of freedom."""

    n: int
    count: int
    lr: float | None
    p: float | None


@dataclass(frozen=True, slots=True)
class Scorecard:
    har: Loss
    ewma: Loss
    answered: Loss
    """Of the forecast that was answered: HAR where there was one, else EWMA."""
    common: tuple[int, float | None, float | None]
    """(n, QLIKE of HAR, of EWMA) on the sessions that have both: only these compare."""
    historical: Exceedances
    normal: Exceedances


def score(record: Record) -> Scorecard:
    """The scorecard as of the last session of the record."""
    f, horizon = record.forecasts, HAR_HORIZON
    count = max(0, len(record.realized) - horizon)
    realized = np.full(count, np.nan)
    if count:
        # Of the forecast at t: the sessions t+1 .. t+21, all of which must be there. Mean zero, as the forecasts have it.
        ahead = np.lib.stride_tricks.sliding_window_view(record.realized[1:], horizon)
        realized = SESSIONS_A_YEAR * np.ascontiguousarray(ahead**2).sum(axis=-1) / horizon
    har, ewma = f[:count, HAR_VARIANCE], f[:count, EWMA_VARIANCE]
    by_ewma = np.sqrt(ewma)
    loss_har, loss_ewma = _qlike(realized, har), _qlike(realized, ewma)
    answered = np.isfinite(f[:count, HAR])
    both = np.isfinite(loss_har) & np.isfinite(loss_ewma)
    came = record.realized[1:]
    return Scorecard(
        har=_loss(loss_har, f[:count, HAR], realized),
        ewma=_loss(loss_ewma, by_ewma, realized),
        answered=_loss(np.where(answered, loss_har, loss_ewma), np.where(answered, f[:count, HAR], by_ewma), realized),
        common=(int(both.sum()), _mean(loss_har[both]), _mean(loss_ewma[both])),
        historical=_kupiec(f[:-1, HISTORICAL], came),
        normal=_kupiec(f[:-1, NORMAL], came),
    )


def _qlike(realized: FloatVector, variance: FloatVector) -> FloatVector:
    """x - ln x - 1 with x = realised over forecast variance (Patton 2011); NaN where one is not above zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where((realized > 0.0) & (variance > 0.0), realized / variance, np.nan)
        return ratio - np.log(ratio) - 1.0


def _loss(qlike: FloatVector, forecast: FloatVector, realized: FloatVector) -> Loss:
    known = np.isfinite(qlike) & np.isfinite(forecast)
    return Loss(int(known.sum()), _mean(qlike[known]), _mean(forecast[known] - np.sqrt(realized[known])))


def _mean(values: FloatVector) -> float | None:
    return float(values.sum() / len(values)) if len(values) else None


def _kupiec(var: FloatVector, came: FloatVector) -> Exceedances:
    known: BoolMatrix = np.isfinite(var) & np.isfinite(came)
    n, x = int(known.sum()), int((came[known] < -var[known]).sum())
    if n == 0:
        return Exceedances(0, 0, None, None)
    expected, seen = 1.0 - SCORED_LEVEL, x / n
    likelihood = _log(n - x, 1.0 - seen) + _log(x, seen) - _log(n - x, 1.0 - expected) - _log(x, expected)
    ratio = max(0.0, 2.0 * likelihood)
    # Of chi-squared with one degree of freedom: the square of a standard normal.
    return Exceedances(n, x, ratio, math.erfc(math.sqrt(ratio / 2.0)))


def _log(times: int, probability: float) -> float:
    return times * math.log(probability) if times else 0.0


async def read(conn: AsyncConnection, portfolio: UUID, session: date) -> Scorecard:
    """The scorecard of a session, from the rows of the portfolio's own sessions up to it."""
    rows = (
        await conn.execute(
            text("""
                SELECT r.session, r.forecasts, r.realized_return FROM risk.results r
                JOIN ledger.units u ON u.portfolio_id = r.portfolio_id AND u.session = r.session AND u.phase = 'risk'
                WHERE r.portfolio_id = :id AND r.session <= :session ORDER BY r.session
            """),
            {"id": portfolio, "session": session},
        )
    ).all()
    return score(record(rows, session))


def record(rows: Sequence[Any], last: date) -> Record:
    """Rows (session, forecasts, realised return) laid on the calendar up to `last`: a missing session is a hole, not a step."""
    days = calendar()
    first = days.ordinal(rows[0][0]) if rows else days.ordinal(last)
    length = days.ordinal(last) - first + 1
    forecasts, realized = np.full((length, NORMAL + 1), np.nan), np.full(length, np.nan)
    for session, known, came in rows:
        at = days.ordinal(session) - first
        if known:
            forecasts[at] = known
        if came is not None:
            realized[at] = came
    return Record(forecasts, realized)


def summary(of: Scorecard) -> dict[str, Any]:
    """The `scorecard` of the risk answer."""
    return {
        "har_qlike": plain(of.har.qlike),
        "ewma_qlike": plain(of.ewma.qlike),
        "mean_error": plain(of.answered.mean_error),
        "var_95": {
            "n": of.historical.n,
            "exceedances": of.historical.count,
            "kupiec_lr": plain(of.historical.lr),
            "p": plain(of.historical.p),
        },
    }


def reasons(of: Scorecard) -> list[dict[str, Any]]:
    """Why parts of the summary are null: no forecast of that kind has seen its horizon pass."""
    return [
        {"figure": f"scorecard.{name}", "symbol": None, "reason": SHORT_HISTORY}
        for name, value in _unknown(summary(of)).items()
        if value is None
    ]


def _unknown(body: Mapping[str, Any]) -> dict[str, Any]:
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
                "qlike": plain(loss.qlike),
                "mean_error": plain(loss.mean_error),
                "reason": None if loss.n else SHORT_HISTORY,
            }
            for method, loss in (("har", of.har), ("ewma", of.ewma), ("answered", of.answered))
        ],
        "common": {"n": n, "har_qlike": plain(har), "ewma_qlike": plain(ewma)},
        "var": [
            {
                "method": method,
                "level": SCORED_LEVEL,
                "n": tail.n,
                "exceedances": tail.count,
                "expected": (1.0 - SCORED_LEVEL) * tail.n,
                "kupiec_lr": plain(tail.lr),
                "p": plain(tail.p),
                "reason": None if tail.n else SHORT_HISTORY,
            }
            for method, tail in (("historical", of.historical), ("normal", of.normal))
        ],
    }
