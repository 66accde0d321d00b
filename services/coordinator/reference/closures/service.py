"""Add and remove closures. Each function runs inside the caller's transaction, after the commit-order lock.

The calendar is an input of everything: whatever changes it requires anew, in the same transaction, every session behind the day,
and nothing before it (docs/decisions/0022-closures.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import NotFound
from services.coordinator.reference.closures import rules, store
from services.coordinator.reference.closures.store import ActiveClosure
from services.coordinator.runs import requests
from services.coordinator.runs import store as runs
from services.coordinator.runs.requests import Scope
from shared import ledger
from shared.clock import Clock
from shared.db import closures
from shared.db.engine import next_change_seq
from shared.market.calendar import Closure, calendar, set_calendar
from shared.work import Phase


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the ledger. `required`: how many units are required anew, those of a day that trades again among them."""

    changed: bool
    withdrawn: int = 0
    required: int = 0
    run_id: UUID | None = None


async def require_active(conn: AsyncConnection, day: date) -> ActiveClosure:
    found = await store.find_active(conn, day)
    if not found:
        raise NotFound(f"No closure of {day} was entered. GET /api/v1/calendar/closures lists them.")
    return found[0]


async def add(conn: AsyncConnection, clock: Clock, day: date, at: time | None, reason: str) -> Outcome:
    """The exchange stays closed on the day, or closes early. The same again changes nothing."""
    closure = rules.check(day, at, reason)
    if [entered.closure for entered in await store.find_active(conn, day)] == [closure]:
        return Outcome(changed=False)
    return await _replace(conn, clock, day, closure)


async def remove(conn: AsyncConnection, clock: Clock, day: date) -> Outcome:
    """The day is what the library says it is."""
    await require_active(conn, day)
    return await _replace(conn, clock, day, None)


async def _replace(conn: AsyncConnection, clock: Clock, day: date, closure: Closure | None) -> Outcome:
    known = await closures.find_closures(conn)
    revision = await next_change_seq(conn)
    # The neighbours are the same with and without the day.
    before = calendar(closures=rules.replace_closure(known, day, Closure(day, None, "-"), None))
    beside = (before.on_or_before(day), before.on_or_after(day))
    traded, trades = calendar(closures=known).is_session(day), closure is None or closure.close_at is not None
    moved = revision if traded != trades else None
    if closure is None:
        await store.withdraw(conn, day, moved)
    else:
        await store.insert(conn, closure, moved)
    set_calendar(rules.replace_closure(known, day, closure, moved))
    withdrawn = 0
    if not trades:
        if traded:
            withdrawn = await store.withdraw_session(conn, day)
            await store.close_prices(conn, day, *beside, revision)
            await store.shift_to_next_session(conn, day, *beside)
    elif traded:
        # Another hour: a session that is not due any more is added again when it is.
        if clock.last_due() < day:
            withdrawn = await store.withdraw_session(conn, day)
    else:
        await store.open_prices(conn, day, *beside, revision)
        await store.restore_session(conn, day, *beside)
        await ledger.add_units(conn, await store.portfolios_running_over(conn, day), [day], revision)
    if moved is None:
        return Outcome(changed=True, withdrawn=withdrawn)
    return await _require(conn, clock, day, withdrawn, revision)


async def _require(conn: AsyncConnection, clock: Clock, day: date, withdrawn: int, revision: int) -> Outcome:
    """Every phase of every session behind the day: chains run over it, and windows reach over it."""
    portfolios = await runs.find_portfolios(conn, None)
    sessions = clock.calendar().between(day, clock.last_due())
    if not portfolios or not sessions:
        return Outcome(changed=True, withdrawn=withdrawn)
    scope = Scope(first=sessions[0], last=sessions[-1]).document("all")
    restated = await requests.restate(
        conn,
        clock,
        [(portfolio, sessions[0], sessions[-1], Phase.INGEST) for portfolio in portfolios],
        revision,
        source="settings",
        scope=scope | {"calendar": day.isoformat(), "revision": revision},
    )
    required = sum(span.units for span in restated.spans)
    return Outcome(changed=True, withdrawn=withdrawn, required=required, run_id=restated.run_id)
