"""Forget what nobody needs any more: by age, some rows at a time, each slice in a transaction of its own.

By default only answers to idempotency keys go, and notes of changes, without which nobody misses anything; all else is kept until a
setting says for how long. What is open is never forgotten: dead letters that nobody settled, runs that still wait, events that were not
sent. Old risk is thinned out (`thinning.py`), where a setting says so.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.control.thinning import thin_results
from services.coordinator.settings import CoordinatorSettings
from shared.clock import Clock
from shared.db.engine import is_retried_by_loops
from shared.ledger import portfolio_changes
from shared.telemetry import FORGOTTEN, logger

log = logger(__name__)

PERIOD_SECONDS = 3_600.0
FIRST_SECONDS = 60.0
SLICE = 5_000


@dataclass(frozen=True, slots=True)
class Keep:
    """For how many days; None: for good.

    risk_sessions : of which all risk stays
    keys : idempotency keys of a tenant at a time, the oldest go first: who sends many pushes out nobody else's
    """

    idempotency: int = 7
    keys: int = 100_000
    dead_letters: int | None = None
    history: int | None = None
    runs: int | None = None
    risk_sessions: int | None = None

    @classmethod
    def of(cls, settings: CoordinatorSettings) -> Keep:
        return cls(
            settings.keep_idempotency_days,
            settings.keep_idempotency_keys,
            settings.keep_dead_letters_days,
            settings.keep_history_days,
            settings.keep_runs_days,
            settings.keep_risk_sessions,
        )


_OLDER = "clock_timestamp() - make_interval(days => :days)"
_IDEMPOTENCY = f"""
    DELETE FROM coordinator.idempotency WHERE (tenant_id, key, endpoint) IN (
        SELECT tenant_id, key, endpoint FROM coordinator.idempotency WHERE created_at < {_OLDER} LIMIT :slice)
"""
# Retries come within minutes, and what a large answer said can be read again.
_LARGE = """
    UPDATE coordinator.idempotency SET large = NULL
    WHERE large IS NOT NULL AND created_at < clock_timestamp() - interval '1 hour'
"""
_KEYS = """
    DELETE FROM coordinator.idempotency WHERE (tenant_id, key, endpoint) IN (
        SELECT tenant_id, key, endpoint FROM (
            SELECT tenant_id, key, endpoint, row_number() OVER (PARTITION BY tenant_id ORDER BY created_at DESC, key) AS n
            FROM coordinator.idempotency) ordered
        WHERE n > :most LIMIT :slice)
"""
# Settled only, by when they were.
_DEAD_LETTERS = f"""
    DELETE FROM bus.dead_letters WHERE id IN (
        SELECT id FROM bus.dead_letters
        WHERE coalesce(replayed_at, purged_at, resolved_at) < {_OLDER} LIMIT :slice)
"""
_FAILED_EVENTS = f"""
    DELETE FROM bus.outbox WHERE id IN (
        SELECT id FROM bus.outbox WHERE failed_at IS NOT NULL AND failed_at < {_OLDER} LIMIT :slice)
"""
# Units that a run waits for are missing ones: it is done when none of its own is. One that waits for a blocked unit is open too.
_RUNS = f"""
    DELETE FROM coordinator.runs WHERE id IN (
        SELECT r.id FROM coordinator.runs r
        WHERE r.requested_at < {_OLDER} AND NOT EXISTS (
            SELECT 1 FROM coordinator.run_units k
            JOIN ledger.units u ON u.portfolio_id = k.portfolio_id AND u.phase = k.phase AND u.session BETWEEN k.first AND k.last
            WHERE k.run_id = r.id AND u.completed_revision < u.required_revision AND u.completed_revision < k.required_revision)
        ORDER BY r.requested_at LIMIT :slice)
"""
_HISTORY = f"SELECT ledger.drop_history({_OLDER}, :slice)"


async def forget(engine: AsyncEngine, keep: Keep, *, size: int = SLICE) -> dict[str, int]:
    """Forget what is older than `keep` says; returns how many rows of what."""
    gone: dict[str, int] = {}
    await _delete_in_slices(engine, gone, "idempotency_answers", _IDEMPOTENCY, {"days": keep.idempotency}, size)
    await _delete_in_slices(engine, gone, "idempotency_answers", _KEYS, {"most": keep.keys}, size)
    async with engine.begin() as conn:
        gone["large_answers"] = int((await conn.execute(text(_LARGE))).rowcount)
    async with engine.begin() as conn:
        gone["portfolio_changes"] = await portfolio_changes.forget(conn)
    for what, statement, days in (
        ("dead_letters", _DEAD_LETTERS, keep.dead_letters),
        ("failed_events", _FAILED_EVENTS, keep.dead_letters),
        ("runs", _RUNS, keep.runs),
        ("history_rows", _HISTORY, keep.history),
    ):
        if days is not None:
            await _delete_in_slices(engine, gone, what, statement, {"days": days}, size)
    return {what: rows for what, rows in gone.items() if rows}


async def _delete_in_slices(
    engine: AsyncEngine, gone: dict[str, int], what: str, statement: str, values: dict[str, int], size: int
) -> None:
    while True:
        async with engine.begin() as conn:
            result = await conn.execute(text(statement), values | {"slice": size})
            rows = int(result.scalar_one()) if result.returns_rows else int(result.rowcount)
        gone[what] = gone.get(what, 0) + rows
        if rows < size:
            return
        await asyncio.sleep(0)


class Retention:
    """Forgets once an hour until cancelled, the first time a minute after the start."""

    def __init__(self, engine: AsyncEngine, clock: Clock, keep: Keep) -> None:
        self._engine = engine
        self._clock = clock
        self._keep = keep

    async def run(self) -> None:
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            try:
                gone = await forget(self._engine, self._keep)
                if self._keep.risk_sessions is not None:
                    gone["thinned_results"] = await thin_results(self._engine, self._clock, self._keep.risk_sessions)
                for what, rows in gone.items():
                    FORGOTTEN.labels(what).inc(rows)
                if any(gone.values()):
                    log.info("forgotten", **gone)
            except Exception as error:
                if not is_retried_by_loops(error):
                    raise
                log.warning("retention_waits", error=str(error)[:300])
            await asyncio.sleep(PERIOD_SECONDS)
