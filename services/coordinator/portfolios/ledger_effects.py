"""What a change to a portfolio makes necessary: units added, removed and raised. One place, so that no edit forgets one.

All functions take a connection inside a transaction whose first statement was the commit-order lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import Conflict
from services.coordinator.portfolios import flows, quotas, store
from services.coordinator.portfolios.store import Portfolio
from services.coordinator.runs import requests
from services.coordinator.runs.requests import Scope
from shared import ledger
from shared.clock import Clock
from shared.db.engine import next_change_seq
from shared.events.coordinator import PortfolioChanged, PortfolioCreated
from shared.events.envelope import WorkBody, WorkEvent
from shared.messaging import outbox
from shared.messaging.failpoints import failpoint
from shared.work import Phase, UnitKey

SERVICE = "coordinator"


@dataclass(frozen=True, slots=True)
class Change:
    """What became of the ledger: the portfolio's range of due sessions, and the run that waits for the work."""

    first_session: date | None
    last_session: date | None
    run_id: UUID | None


async def record_creation(conn: AsyncConnection, clock: Clock, portfolio: UUID, first: date | None) -> Change:
    """Units of a new portfolio: four phases, every session from its first entry to the last one due."""
    await quotas.refuse_excess(conn)
    revision = await next_change_seq(conn)
    last_due = clock.last_due()
    sessions = [] if first is None else clock.calendar().between(first, last_due)
    await ledger.add_units(conn, [portfolio], sessions, revision)
    scope = Scope((portfolio,), first, last_due).document("all")
    run_id, _ = await requests.record_raised(conn, [portfolio], sessions, revision, source="onboarding", scope=scope)
    await _announce(conn, PortfolioCreated, clock, portfolio, sessions)
    return Change(first, sessions[-1] if sessions else None, run_id)


async def record_change(
    conn: AsyncConnection, clock: Clock, before: Portfolio, affected: date, phase: Phase, *, source: str = "settings"
) -> Change:
    """After positions or flows were written: move the portfolio's first session if need be, raise what depends on it.

    affected : the first session whose inputs differ
    phase    : the first phase whose inputs differ; the others follow
    """
    first = await store.first_entry(conn, before.id)
    await _refuse_orphaned_flows(conn, before.id, first)
    revision = await next_change_seq(conn)
    calendar, last_due = clock.calendar(), clock.last_due()
    if first is None:
        await ledger.withdraw_units(conn, before.id)
    elif before.first_session is None or first < before.first_session:
        # What exists stays as it is: only the earlier sessions are new.
        until = last_due if before.first_session is None else calendar.previous(before.first_session)
        await ledger.add_units(conn, [before.id], calendar.between(first, min(until, last_due)), revision)
        affected = min(affected, first)
    elif first > before.first_session:
        await ledger.withdraw_units(conn, before.id, before=first)
        # The chain now starts later: everything from there on is computed from other capital.
        affected, phase = min(affected, first), Phase.INGEST
    await store.update(conn, before.id, {"first_session": first})
    if first is not None and affected <= last_due:
        await ledger.require(conn, [(before.id, max(affected, first), last_due, phase)], revision)
    due = [] if first is None else calendar.between(first, last_due)
    scope = Scope((before.id,), affected, last_due).document("all") | {"revision": revision}
    run_id, _ = await requests.record_raised(conn, [before.id], due, revision, source=source, scope=scope)
    await _announce(conn, PortfolioChanged, clock, before.id, [day for day in due if day >= affected])
    return Change(first, due[-1] if due else None, run_id)


async def _refuse_orphaned_flows(conn: AsyncConnection, portfolio: UUID, first: date | None) -> None:
    """A flow before the first session has no chain to enter; an edit must not leave one behind unseen."""
    flow = await flows.first_session(conn, portfolio)
    if flow is not None and (first is None or flow < first):
        raise Conflict(
            f"Portfolio {portfolio} has a cash flow on {flow}, which this change would leave before its first session "
            f"({first or 'none'}). Delete the flow first, or keep a position that was entered by then."
        )


async def _announce(
    conn: AsyncConnection, kind: type[WorkEvent], clock: Clock, portfolio: UUID, sessions: list[date]
) -> None:
    failpoint("portfolio.before_announcement")
    if sessions:
        keys = [UnitKey(portfolio, session) for session in sessions]
        await outbox.publish_work(conn, kind, keys, sessions, source=SERVICE)
    else:
        # Nothing is due yet: listeners still learn of it, and find nothing to do.
        body = WorkBody(portfolios=[portfolio], first=clock.last_due(), last=clock.last_due())
        await outbox.publish(conn, [kind(work=body)], source=SERVICE)
