"""SQL of `coordinator.runs` and `coordinator.run_units`. Progress is always read from the ledger, never stored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.tenancy import only_own, tenant_filter
from shared.ledger.states import state_of_run
from shared.work import Phase

# The units of a run that have not reached the revision it asked for. The two halves match the two partial indexes of the
# ledger (missing, blocked), so a finished run costs nothing to look at. What waits for a blocked unit, upstream or earlier in
# the chain, moves as little as that one: `held`.
_OUTSTANDING = """
    LEFT JOIN LATERAL (
        SELECT true AS blocked FROM ledger.units b
        WHERE b.portfolio_id = k.portfolio_id AND b.blocked_reason IS NOT NULL LIMIT 1
    ) AS trouble ON true
    LEFT JOIN LATERAL (
        SELECT count(*) FILTER (WHERE NOT m.held) AS n, count(*) FILTER (WHERE m.held) AS held FROM (
            SELECT trouble.blocked IS NOT NULL AND EXISTS (
                SELECT 1 FROM ledger.units b
                WHERE b.portfolio_id = u.portfolio_id AND b.blocked_reason IS NOT NULL
                  AND (b.session = u.session AND (b.phase = 'ingest' OR u.phase = 'risk')
                       OR b.session < u.session AND b.phase IN ('ingest', 'snapshots') AND u.phase IN ('snapshots', 'risk'))
            ) AS held
            FROM ledger.units u
            WHERE u.portfolio_id = k.portfolio_id AND u.phase = k.phase AND u.session BETWEEN k.first AND k.last
              AND u.completed_revision < u.required_revision AND u.blocked_reason IS NULL
              AND u.completed_revision < k.required_revision
        ) m
    ) AS open ON true
    LEFT JOIN LATERAL (
        SELECT count(*) AS n FROM ledger.units u
        WHERE u.portfolio_id = k.portfolio_id AND u.phase = k.phase AND u.session BETWEEN k.first AND k.last
          AND u.blocked_reason IS NOT NULL AND u.completed_revision < k.required_revision
    ) AS stuck ON true
"""


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive sessions of one portfolio and phase that a run waits for."""

    portfolio_id: UUID
    phase: Phase
    first: date
    last: date
    units: int


@dataclass(frozen=True, slots=True)
class PhaseProgress:
    units: int
    done: int
    blocked: int
    """Blocked, or waiting for one that is."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run with its progress as the ledger has it now."""

    id: UUID
    source: str
    what: str
    scope: Mapping[str, Any]
    requested_at: datetime
    phases: Mapping[Phase, PhaseProgress]

    @property
    def units(self) -> int:
        return sum(phase.units for phase in self.phases.values())

    @property
    def done(self) -> int:
        return sum(phase.done for phase in self.phases.values())

    @property
    def blocked(self) -> int:
        return sum(phase.blocked for phase in self.phases.values())

    @property
    def state(self) -> str:
        return state_of_run(self.units, self.done, self.blocked)


async def insert(conn: AsyncConnection, source: str, what: str, scope: Mapping[str, Any], scope_key: str) -> UUID:
    run_id = await conn.scalar(
        text("""
            INSERT INTO coordinator.runs (source, what, scope, scope_key, tenant_id)
            VALUES (:source, :what, CAST(:scope AS jsonb), :key, (
                SELECT CASE WHEN count(DISTINCT tenant_id) = 1 THEN CAST(min(CAST(tenant_id AS text)) AS uuid) END
                FROM coordinator.portfolios WHERE id = ANY (CAST(:portfolios AS uuid[]))
            )) RETURNING id
        """),
        {
            "source": source,
            "what": what,
            "scope": json.dumps(scope),
            "key": scope_key,
            "portfolios": [UUID(of) for of in scope.get("portfolio_ids") or ()],
        },
    )
    assert isinstance(run_id, UUID)
    return run_id


async def find_unfinished_run(conn: AsyncConnection, source: str, what: str, scope_key: str) -> UUID | None:
    """The newest run of this source, scope and kind that still waits for a unit that is not blocked."""
    run_id = await conn.scalar(
        text("""
            SELECT r.id FROM coordinator.runs r
            WHERE r.source = :source AND r.what = :what AND r.scope_key = :key AND EXISTS (
                SELECT 1 FROM coordinator.run_units k
                JOIN ledger.units u ON u.portfolio_id = k.portfolio_id AND u.phase = k.phase
                                   AND u.session BETWEEN k.first AND k.last
                WHERE k.run_id = r.id AND u.completed_revision < k.required_revision
                  AND u.completed_revision < u.required_revision AND u.blocked_reason IS NULL
            )
            ORDER BY r.requested_at DESC LIMIT 1
        """),
        {"source": source, "what": what, "key": scope_key},
    )
    return run_id if isinstance(run_id, UUID) else None


async def open_spans(conn: AsyncConnection, run_id: UUID) -> list[Span]:
    """What a run still waits for and can be worked on, as spans of its own."""
    rows = await conn.execute(
        text("""
            SELECT k.portfolio_id, CAST(k.phase AS text), min(u.session), max(u.session), count(*)
            FROM coordinator.run_units k
            JOIN ledger.units u ON u.portfolio_id = k.portfolio_id AND u.phase = k.phase
                               AND u.session BETWEEN k.first AND k.last
            WHERE k.run_id = :id AND u.completed_revision < k.required_revision
              AND u.completed_revision < u.required_revision AND u.blocked_reason IS NULL
            GROUP BY k.portfolio_id, k.phase, k.first ORDER BY k.portfolio_id, k.phase, k.first
        """),
        {"id": run_id},
    )
    return [Span(portfolio, Phase(name), first, last, units) for portfolio, name, first, last, units in rows]


async def add_units(
    conn: AsyncConnection,
    run_id: UUID,
    portfolios: Sequence[UUID],
    sessions: Sequence[date],
    *,
    which: str,
    phase: Phase | None = None,
    revision: int = 0,
) -> list[Span]:
    """Note the unit keys a run waits for, as runs of consecutive sessions, and return them.

    which    : 'raised' (required at `revision`), 'missing' (not complete and not blocked) or 'blocked'
    sessions : the exchange sessions of the scope, ascending; consecutive means neighbours here
    """
    conditions = {
        "raised": "u.required_revision = :revision AND u.completed_revision < u.required_revision",
        "missing": "u.completed_revision < u.required_revision AND u.blocked_reason IS NULL",
        "blocked": "u.completed_revision < u.required_revision AND u.blocked_reason IS NOT NULL",
    }
    rows = await conn.execute(
        text(f"""
            WITH keyed AS (
                SELECT u.portfolio_id, u.phase, u.session, u.required_revision,
                       c.n - row_number() OVER (PARTITION BY u.portfolio_id, u.phase, u.required_revision ORDER BY c.n)
                           AS island
                FROM ledger.units u
                JOIN unnest(CAST(:sessions AS date[])) WITH ORDINALITY AS c (session, n) ON c.session = u.session
                WHERE u.portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND {conditions[which]}
                  AND (CAST(:phase AS ledger.phase) IS NULL OR u.phase = CAST(:phase AS ledger.phase))
                  AND CAST(:revision AS bigint) IS NOT NULL
            )
            INSERT INTO coordinator.run_units (run_id, portfolio_id, phase, first, last, units, required_revision)
            SELECT :run_id, portfolio_id, phase, min(session), max(session), count(*), required_revision
            FROM keyed GROUP BY portfolio_id, phase, required_revision, island
            RETURNING portfolio_id, CAST(phase AS text), first, last, units
        """),
        {
            "run_id": run_id,
            "portfolios": list(portfolios),
            "sessions": list(sessions),
            "phase": None if phase is None else phase.value,
            "revision": revision,
        },
    )
    return [Span(portfolio, Phase(name), first, last, units) for portfolio, name, first, last, units in rows]


async def find_portfolios(conn: AsyncConnection, portfolios: Sequence[UUID] | None) -> list[UUID]:
    """The portfolios that exist: of those asked for, or all."""
    rows = await conn.scalars(
        text(f"""
            SELECT id FROM coordinator.portfolios
            WHERE deleted_at IS NULL AND (CAST(:ids AS uuid[]) IS NULL OR id = ANY (CAST(:ids AS uuid[]))) AND {only_own()}
            ORDER BY id
        """),
        {"ids": None if portfolios is None else list(portfolios), "tenant": tenant_filter()},
    )
    return list(rows)


async def read(conn: AsyncConnection, run_id: UUID) -> Run | None:
    found = await _runs(conn, f"r.id = :id AND {only_own('r')}", {"id": run_id, "tenant": tenant_filter()})
    return found[0] if found else None


async def page(conn: AsyncConnection, *, limit: int, before: UUID | None, source: str | None) -> list[Run]:
    """Runs, newest first; `before` is the last id of the previous page (ids are ordered by time)."""
    return await _runs(
        conn,
        f"""r.id IN (
            SELECT id FROM coordinator.runs
            WHERE (CAST(:before AS uuid) IS NULL OR id < :before) AND (CAST(:source AS text) IS NULL OR source = :source)
              AND {only_own()}
            ORDER BY id DESC LIMIT :limit)""",
        {"limit": limit, "before": before, "source": source, "tenant": tenant_filter()},
    )


async def _runs(conn: AsyncConnection, condition: str, parameters: Mapping[str, Any]) -> list[Run]:
    rows = await conn.execute(
        text(f"""
            SELECT r.id, r.source, r.what, CAST(r.scope AS text) AS scope, r.requested_at, CAST(k.phase AS text) AS phase,
                   coalesce(sum(k.units), 0) AS units, coalesce(sum(open.n), 0) AS open,
                   coalesce(sum(stuck.n + open.held), 0) AS stuck
            FROM coordinator.runs r
            LEFT JOIN coordinator.run_units k ON k.run_id = r.id
            {_OUTSTANDING}
            WHERE {condition}
            GROUP BY r.id, k.phase ORDER BY r.id DESC, k.phase
        """),
        dict(parameters),
    )
    runs: dict[UUID, Run] = {}
    for row in rows:
        run = runs.get(row.id)
        phases = dict(run.phases) if run else {}
        if row.phase is not None:
            units, still, stuck = int(row.units), int(row.open), int(row.stuck)
            phases[Phase(row.phase)] = PhaseProgress(units, units - still - stuck, stuck)
        runs[row.id] = Run(row.id, row.source, row.what, json.loads(row.scope), row.requested_at, phases)
    return list(runs.values())
