"""The auditor: recomputes from calendar and portfolios what the ledger should hold, and reports every difference.

Nothing it finds should ever be there; it is how we would learn that something is. An audit changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.coordinator.control import releases
from services.coordinator.control.audit_checks import CHECKS, TYPES
from services.coordinator.runs import store as runs
from shared.clock import Clock
from shared.db.closures import load_closures
from shared.db.engine import is_retried_by_loops, snapshot
from shared.market import registry
from shared.telemetry import AUDIT_DRIFT, AUDIT_TIME, logger
from shared.work import Phase

log = logger(__name__)

PERIOD = timedelta(hours=1)
# Completions of the last audits' time are compared with the outbox; its sent rows are dropped after two days.
EVENTS_WITHIN = timedelta(hours=3)
# Portfolios a transaction: a snapshot held for minutes would hold up the database's cleaning.
SLICE = 500
SHOWN = 200

KINDS = {
    "missing_units": "units that the calendar and the first entry call for are not in the ledger",
    "surplus_units": "units that nothing calls for",
    "wrong_first_session": "the portfolio's first session is not that of its earliest lot",
    "deleted_portfolio": "units of a portfolio that was deleted or never was",
    "no_schedule": "units of a phase without a row in the schedule: the reconciler cannot see them",
    "impossible_revision": "completed beyond what is required, or a revision that was never drawn",
    "not_closed": "an upstream unit was raised and a dependent one was not",
    "no_result": "a completed unit without its result rows at that revision",
    "no_event": "a completion without its row in the outbox",
    "no_letter": "blocked units without an open dead letter",
    "other_model": "completed with another model version than the running one",
}


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference: its kind, where, how many units, the first of their sessions, and in words."""

    kind: str
    portfolio_id: UUID | None
    phase: str | None
    session: date | None
    units: int
    detail: str


@dataclass(slots=True)
class Report:
    checked_at: datetime
    as_of: date
    portfolios: int = 0
    units: int = 0
    drift: list[Drift] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.drift

    def document(self) -> dict[str, object]:
        return {
            "ok": self.ok,
            "checked_at": self.checked_at.isoformat().replace("+00:00", "Z"),
            "as_of": self.as_of.isoformat(),
            "portfolios": self.portfolios,
            "units": self.units,
            "drift_total": len(self.drift),
            "drift": [
                {
                    "kind": found.kind,
                    "portfolio_id": None if found.portfolio_id is None else str(found.portfolio_id),
                    "phase": found.phase,
                    "session": None if found.session is None else found.session.isoformat(),
                    "units": found.units,
                    "detail": found.detail,
                }
                for found in self.drift[:SHOWN]
            ],
        }


async def audit(
    engine: AsyncEngine, clock: Clock, *, portfolio: UUID | None = None, events_within: timedelta = EVENTS_WITHIN
) -> Report:
    """Compare everything, or one portfolio. Reads only; each slice of portfolios in a snapshot of its own.

    events_within : completions younger than this must have their outbox row
    """
    async with snapshot(engine) as conn:
        await load_closures(conn)
        report = Report(clock.now(), clock.last_due())
        report.drift += await _orphan_units(conn, portfolio)
        active = await runs.find_portfolios(conn, None if portfolio is None else [portfolio])
    for top in range(0, len(active), SLICE):
        async with snapshot(engine) as conn:
            await _audit_slice(conn, clock, active[top : top + SLICE], report, events_within)
    return report


async def _audit_slice(
    conn: AsyncConnection, clock: Clock, portfolios: Sequence[UUID], report: Report, events_within: timedelta
) -> None:
    await load_closures(conn)
    report.portfolios += len(portfolios)
    report.units += await _count_expected(conn, clock, portfolios, report.drift)
    for kind, statement in CHECKS.items():
        rows = await conn.execute(
            text(statement),
            {"portfolios": list(portfolios), "within": events_within, "model": registry.MODEL_VERSION, **TYPES},
        )
        report.drift += [Drift(kind, id_, phase, session, units, KINDS[kind]) for id_, phase, session, units in rows]


async def _orphan_units(conn: AsyncConnection, portfolio: UUID | None) -> list[Drift]:
    rows = await conn.execute(
        text("""
            SELECT u.portfolio_id, CAST(u.phase AS text), min(u.session), count(*) FROM ledger.units u
            WHERE (CAST(:id AS uuid) IS NULL OR u.portfolio_id = :id) AND NOT EXISTS (
                SELECT 1 FROM coordinator.portfolios p WHERE p.id = u.portfolio_id AND p.deleted_at IS NULL)
            GROUP BY 1, 2
        """),
        {"id": portfolio},
    )
    return [
        Drift("deleted_portfolio", id_, phase, session, units, KINDS["deleted_portfolio"])
        for id_, phase, session, units in rows
    ]


async def _count_expected(conn: AsyncConnection, clock: Clock, portfolios: Sequence[UUID], drift: list[Drift]) -> int:
    """The rows there should be: four phases, every session from the earliest lot to the last one due.

    Keys are unique, so equal bounds, an equal count and sessions only make an equal set. Returns how many units there are.
    """
    calendar, due = clock.calendar(), clock.last_due()
    rows = (
        await conn.execute(
            text("""
                SELECT p.id, p.first_session,
                       (SELECT min(x.entry_session) FROM coordinator.positions x
                        WHERE x.portfolio_id = p.id AND x.deleted_at IS NULL) AS entered,
                       CAST(needed.phase AS text) AS phase, found.first, found.last, coalesce(found.units, 0) AS units,
                       coalesce(found.sessions, 0) AS sessions, scheduled.portfolio_id IS NOT NULL AS scheduled
                FROM coordinator.portfolios p
                CROSS JOIN unnest(enum_range(NULL::ledger.phase)) AS needed (phase)
                LEFT JOIN LATERAL (
                    SELECT min(u.session) AS first, max(u.session) AS last, count(*) AS units, count(c.session) AS sessions
                    FROM ledger.units u
                    LEFT JOIN unnest(CAST(:sessions AS date[])) AS c (session) ON c.session = u.session
                    WHERE u.portfolio_id = p.id AND u.phase = needed.phase
                ) found ON true
                LEFT JOIN ledger.schedule scheduled ON scheduled.portfolio_id = p.id AND scheduled.phase = needed.phase
                WHERE p.id = ANY (CAST(:portfolios AS uuid[]))
            """),
            {"portfolios": list(portfolios), "sessions": calendar.between(calendar.first, due)},
        )
    ).all()
    for row in rows:
        if row.first_session != row.entered and row.phase == Phase.INGEST:
            detail = f"{KINDS['wrong_first_session']}: {row.first_session}, entered {row.entered}"
            drift.append(Drift("wrong_first_session", row.id, None, row.entered, 0, detail))
        first = row.entered
        wanted = 0 if first is None or first > due else calendar.ordinal(due) - calendar.ordinal(first) + 1
        within = 0 if not wanted else row.sessions
        if row.units != row.sessions or row.units > wanted or (row.units and (row.first < first or row.last > due)):
            detail = f"{KINDS['surplus_units']}: {row.units} from {row.first} to {row.last}, expected {wanted}"
            drift.append(Drift("surplus_units", row.id, row.phase, row.first, row.units - wanted, detail))
        elif within < wanted:
            detail = f"{KINDS['missing_units']}: {row.units} of {wanted} from {first} to {due}"
            drift.append(Drift("missing_units", row.id, row.phase, first, wanted - row.units, detail))
        if row.units and not row.scheduled:
            drift.append(Drift("no_schedule", row.id, row.phase, row.first, row.units, KINDS["no_schedule"]))
    return sum(row.units for row in rows)


def publish(report: Report) -> None:
    """To the metrics and the log: every kind, those that are well with 0."""
    counts = dict.fromkeys(KINDS, 0)
    for found in report.drift:
        counts[found.kind] += max(1, found.units)
    for kind, count in counts.items():
        AUDIT_DRIFT.labels(kind).set(count)
    AUDIT_TIME.set_to_current_time()
    for found in report.drift[:20]:
        log.error(
            "audit_drift",
            kind=found.kind,
            portfolio=str(found.portfolio_id),
            phase=found.phase,
            session=str(found.session),
            units=found.units,
            detail=found.detail,
        )
    log.info("audited", portfolios=report.portfolios, units=report.units, drift=len(report.drift))


class Auditor:
    """Audits once an hour until cancelled, the first time an hour after the start."""

    def __init__(self, engine: AsyncEngine, clock: Clock, *, period: timedelta = PERIOD) -> None:
        self._engine = engine
        self._clock = clock
        self._period = period

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._period.total_seconds())
            try:
                report = await audit(self._engine, self._clock)
                publish(report)
                await self._restate(report)
            except Exception as error:
                if not is_retried_by_loops(error):
                    raise
                log.warning("audit_postponed", error=str(error)[:300])

    async def _restate(self, report: Report) -> None:
        """A worker of the last release, still running in a rolling deploy, may have completed units after the restatement."""
        if not any(d.kind == "other_model" for d in report.drift):
            return
        if await releases.recorded_model(self._engine) != registry.MODEL_VERSION:
            return
        # It may have written facts of symbols, too, and others read those.
        async with self._engine.connect() as conn:
            portfolios = await runs.find_portfolios(conn, None)
        for top in range(0, len(portfolios), SLICE):
            await releases.require_outdated(
                self._engine, self._clock, portfolios[top : top + SLICE], registry.MODEL_VERSION, facts=True
            )
