"""Load, remove and choose sector weights. Each function runs inside the caller's transaction, after the commit-order lock.

A table is an input of risk from its date until the next one's: whatever changes it requires exactly those units anew, in the same
transaction (docs/decisions/0020-sector-benchmarks-are-restated.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import NotFound
from services.coordinator.reference.benchmarks import store
from services.coordinator.reference.benchmarks.rules import Weights
from services.coordinator.runs import requests
from services.coordinator.runs import store as runs
from services.coordinator.runs.requests import Scope
from shared.clock import Clock
from shared.db.engine import next_change_seq
from shared.work import Phase


@dataclass(frozen=True, slots=True)
class Restated:
    """The sessions from which to which risk is required anew, how many units that are, and the run that waits for them."""

    first: date
    last: date
    units: int
    run_id: UUID


@dataclass(frozen=True, slots=True)
class Loaded:
    loaded_at: datetime
    changed: bool
    restated: Restated | None


async def load(conn: AsyncConnection, clock: Clock, of: Weights) -> Loaded:
    """Put the table in place of what stands for its code and date. The same weights again change nothing."""
    before = await store.current(conn, of.code, of.date)
    if before and before[0][0] == of:
        return Loaded(before[0][1], changed=False, restated=None)
    await store.retire(conn, of.code, of.date)
    change = await next_change_seq(conn)
    loaded_at = await store.insert(conn, of, change)
    return Loaded(loaded_at, changed=True, restated=await _restate(conn, clock, of.code, of.date, change))


async def remove(conn: AsyncConnection, clock: Clock, code: str, day: date) -> Restated | None:
    """The table stands no longer: its sessions are compared with the one before it again."""
    if not await store.retire(conn, code, day):
        raise NotFound(f"There is no table of benchmark {code} dated {day}. GET /api/v1/benchmarks lists them.")
    return await _restate(conn, clock, code, day, await next_change_seq(conn))


async def apply_default_benchmark(
    conn: AsyncConnection, clock: Clock, before: str | None, code: str
) -> Restated | None:
    """Another benchmark is compared with, and recorded as such: every session that the old or the new one has a table for."""
    first = await store.first_date(conn, [code] if before is None else [before, code])
    if first is None:
        return None
    return await _require(conn, clock, code, first, clock.last_due(), await next_change_seq(conn))


async def _restate(conn: AsyncConnection, clock: Clock, code: str, day: date, revision: int) -> Restated | None:
    """The sessions of one table. A benchmark that nobody is compared with moves no figure."""
    if await store.find_comparison_code(conn) != code:
        return None
    until = await store.next_date(conn, code, day)
    last = clock.last_due() if until is None else min(until - timedelta(days=1), clock.last_due())
    return await _require(conn, clock, code, day, last, revision)


async def _require(
    conn: AsyncConnection, clock: Clock, code: str, first: date, last: date, revision: int
) -> Restated | None:
    demands = [(portfolio, first, last, Phase.RISK) for portfolio in await runs.find_portfolios(conn, None)]
    scope = Scope(first=first, last=last, phase=Phase.RISK).document("all") | {"benchmark": code, "revision": revision}
    restated = await requests.restate(conn, clock, demands, revision, source="settings", scope=scope, empty_run=False)
    if restated.run_id is None:
        return None
    sessions = clock.calendar().between(first, last)
    return Restated(sessions[0], sessions[-1], restated.units, restated.run_id)
