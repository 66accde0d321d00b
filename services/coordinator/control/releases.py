"""Apply a release when a coordinator starts: new code unblocks units, a new model version restates results,
and so does another benchmark for the sectors what it went into.

All are recorded in `coordinator.versions`, so that a restart of the same release does nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.coordinator.reference.benchmarks import service as benchmarks
from services.coordinator.reference.benchmarks.store import CHOSEN
from services.coordinator.runs import store as runs
from services.coordinator.runs.requests import Scope, restate
from shared import ledger
from shared.clock import Clock
from shared.db.closures import load_closures
from shared.db.engine import acquire_commit_order_lock, next_change_seq
from shared.market import registry
from shared.telemetry import logger
from shared.work import MAX_PORTFOLIOS, Phase

log = logger(__name__)

CODE, MODEL = "code", "model"
_ROOT = Path(__file__).parents[2]


@lru_cache(maxsize=1)
def code_version() -> str:
    """A digest of all source files: a version number would not change with a patch, and a commit is not always there to ask."""
    digest = hashlib.sha256()
    for directory in ("services", "shared"):
        for path in sorted((_ROOT / directory).rglob("*.py")):
            digest.update(path.relative_to(_ROOT).as_posix().encode() + b"\0")
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


async def apply(
    engine: AsyncEngine,
    clock: Clock,
    *,
    code: str | None = None,
    model: str | None = None,
    benchmark: str | None = None,
) -> None:
    """Compare what runs now with what ran last. Idempotent; a crash in between is made good by the next start.

    benchmark : the code that sectors are compared with; None leaves what is recorded
    """
    await _code(engine, code or code_version())
    if benchmark is not None:
        await _benchmark(engine, clock, benchmark)
    await _model(engine, clock, model or registry.MODEL_VERSION)


async def _read_version(conn: AsyncConnection, name: str) -> tuple[str, datetime] | None:
    row = (
        await conn.execute(text("SELECT version, since FROM coordinator.versions WHERE name = :name"), {"name": name})
    ).one_or_none()
    return (row[0], row[1]) if row else None


async def recorded_model(engine: AsyncEngine) -> str | None:
    async with engine.connect() as conn:
        known = await _read_version(conn, MODEL)
    return known[0] if known else None


async def _record(conn: AsyncConnection, name: str, version: str) -> datetime:
    since = await conn.scalar(
        text("""
            INSERT INTO coordinator.versions (name, version) VALUES (:name, :version)
            ON CONFLICT (name) DO UPDATE SET version = excluded.version, since = now() RETURNING since
        """),
        {"name": name, "version": version},
    )
    assert isinstance(since, datetime)
    return since


async def _code(engine: AsyncEngine, version: str) -> None:
    async with engine.begin() as conn:
        await acquire_commit_order_lock(conn)
        known = await _read_version(conn, CODE)
        if known and known[0] == version:
            return
        await _record(conn, CODE, version)
        freed = await ledger.unblock(conn, None, date.min, date.max, None)
    if freed:
        log.info("new_code_unblocks", version=version, units=freed)


async def _benchmark(engine: AsyncEngine, clock: Clock, code: str) -> None:
    """Record which benchmark is compared with, where risk reads it, and require what another one went into."""
    async with engine.begin() as conn:
        await acquire_commit_order_lock(conn)
        known = await _read_version(conn, CHOSEN)
        if known and known[0] == code:
            return
        await _record(conn, CHOSEN, code)
        restated = await benchmarks.apply_default_benchmark(conn, clock, known[0] if known else None, code)
    if restated:
        log.info("new_benchmark_restates", benchmark=code, units=restated.units)


async def _model(engine: AsyncEngine, clock: Clock, version: str) -> None:
    """Require anew what an older model computed, a slice of portfolios at a time, the record last.

    A model that is older than the recorded one restates nothing: in a rolling deploy, or after it was rolled back, two
    releases would otherwise undo each other's work for ever. Who means it says `rerun --what all`.
    """
    async with engine.connect() as conn:
        known = await _read_version(conn, MODEL)
    if known is None:
        await _record_model(engine, version)
        return
    if known[0] == version:
        return
    if _is_older(version, known):
        log.warning("older_model", running=version, recorded=known[0], remedy="rerun --what all, if it is meant")
        return
    raised = 0
    async with engine.connect() as conn:
        portfolios = await runs.find_portfolios(conn, None)
    for top in range(0, len(portfolios), MAX_PORTFOLIOS):
        raised += await require_outdated(engine, clock, portfolios[top : top + MAX_PORTFOLIOS], version)
    await _record_model(engine, version)
    log.info("new_model_restates", version=version, units=raised)


async def _record_model(engine: AsyncEngine, version: str) -> None:
    """Unless a newer one was recorded meanwhile: two releases may start at once, and the older may finish last."""
    async with engine.begin() as conn:
        await acquire_commit_order_lock(conn)
        if not _is_older(version, await _read_version(conn, MODEL)):
            await _record(conn, MODEL, version)


def _is_older(version: str, known: tuple[str, datetime] | None) -> bool:
    return known is not None and _order(version) < _order(known[0])


def _order(version: str) -> tuple[int, str]:
    return (int(version) if version.isdecimal() else 0, version)


async def require_outdated(
    engine: AsyncEngine, clock: Clock, portfolios: Sequence[UUID], version: str, *, facts: bool = False
) -> int:
    """Require the completed units of the portfolios whose results carry another model than `version`; returns how many.

    Read from the results, so nothing is raised twice: what was raised is not complete, and what was recomputed carries the
    new model.

    facts : also what rests on facts of symbols with another model. Risk of this version may have read what an old worker wrote.
    """
    async with engine.begin() as conn:
        await acquire_commit_order_lock(conn)
        await load_closures(conn)
        if _is_older(version, await _read_version(conn, MODEL)):
            return 0
        demands = await find_outdated(conn, portfolios, version)
        if facts:
            demands = _merge(demands + await find_outdated_facts(conn, portfolios, version))
        if not demands:
            return 0
        touched = sorted({portfolio for portfolio, *_ in demands})
        scope = Scope(tuple(touched), min(demand[1] for demand in demands), clock.last_due()).document("all")
        restated = await restate(
            conn,
            clock,
            demands,
            await next_change_seq(conn),
            source="reconciler",
            scope=scope | {"model_version": version},
            announced=False,
        )
    return restated.units


Demand = tuple[UUID, date, date, Phase]


def _merge(demands: Sequence[Demand]) -> list[Demand]:
    """One demand for each portfolio and phase."""
    spans: dict[tuple[UUID, Phase], tuple[date, date]] = {}
    for portfolio, first, last, phase in demands:
        before = spans.get((portfolio, phase), (first, last))
        spans[portfolio, phase] = min(first, before[0]), max(last, before[1])
    return [(portfolio, first, last, phase) for (portfolio, phase), (first, last) in spans.items()]


async def find_outdated_facts(conn: AsyncConnection, portfolios: Sequence[UUID], version: str) -> list[Demand]:
    """The sessions of the portfolios whose risk rests on facts of another model, as far as can be told: facts of a symbol of a lot
    have another model, or were computed after that risk, since this model is recorded."""
    rows = await conn.execute(
        text("""
            WITH facts AS MATERIALIZED (
                SELECT symbol_id, min(session) AS first, max(session) AS last,
                       max(CASE WHEN model_version <> :version THEN 'infinity' ELSE computed_at END) AS computed_at
                FROM factors.exposures
                WHERE model_version <> :version
                   OR computed_at > (SELECT since FROM coordinator.versions WHERE name = :model)
                GROUP BY symbol_id
            ), held AS MATERIALIZED (
                SELECT p.portfolio_id, max(f.computed_at) AS computed_at,
                       min(greatest(f.first, p.entry_session)) AS first,
                       max(least(f.last, coalesce(p.exit_session, f.last))) AS last
                FROM facts f JOIN ingest.symbols s ON s.id = f.symbol_id JOIN coordinator.positions p ON p.symbol = s.symbol
                WHERE p.portfolio_id = ANY (CAST(:portfolios AS uuid[]))
                  AND greatest(f.first, p.entry_session) <= least(f.last, coalesce(p.exit_session, f.last))
                GROUP BY p.portfolio_id
            )
            SELECT r.portfolio_id, min(r.session), max(r.session), 'factors' FROM held h
            JOIN risk.results r ON r.portfolio_id = h.portfolio_id AND r.session BETWEEN h.first AND h.last
                               AND r.computed_at < h.computed_at
            JOIN ledger.units u ON u.portfolio_id = r.portfolio_id AND u.session = r.session AND u.phase = 'factors'
            WHERE u.completed_revision >= u.required_revision
            GROUP BY r.portfolio_id
        """),
        {"portfolios": list(portfolios), "version": version, "model": MODEL},
    )
    return [(portfolio, first, last, Phase(phase)) for portfolio, first, last, phase in rows]


async def find_outdated(conn: AsyncConnection, portfolios: Sequence[UUID], version: str) -> list[Demand]:
    """What results of another model demand, as arguments of `ledger.require`.

    A symbol's facts belong to no portfolio: what risk made of them tells that they are old.
    """
    rows = await conn.execute(
        text("""
            SELECT r.portfolio_id, min(r.session), max(r.session), 'snapshots' FROM snapshots.snapshots r
            JOIN ledger.units u ON u.portfolio_id = r.portfolio_id AND u.session = r.session AND u.phase = 'snapshots'
            WHERE r.portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND r.model_version <> :version
              AND u.completed_revision >= u.required_revision
            GROUP BY r.portfolio_id
            UNION ALL
            SELECT r.portfolio_id, min(r.session), max(r.session), 'factors' FROM risk.results r
            JOIN ledger.units u ON u.portfolio_id = r.portfolio_id AND u.session = r.session AND u.phase = 'factors'
            WHERE r.portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND r.model_version <> :version
              AND u.completed_revision >= u.required_revision AND u.completed_revision <= r.revision
            GROUP BY r.portfolio_id
        """),
        {"portfolios": list(portfolios), "version": version},
    )
    return [(portfolio, first, last, Phase(phase)) for portfolio, first, last, phase in rows]
