"""Request a run. Whoever requests it, the same units are found missing or raised, and the same event wakes the phases.

All functions take a connection inside a transaction whose first statement was the commit-order lock.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import Contradictory, Invalid
from services.coordinator.runs import store
from services.coordinator.runs.store import Span
from shared import ledger
from shared.clock import Clock
from shared.db.engine import next_change_seq
from shared.events.coordinator import PhaseRequested
from shared.events.envelope import WorkBody
from shared.ledger import schedule
from shared.messaging import outbox
from shared.work import MAX_PORTFOLIOS, MAX_UNITS, Phase

SOURCES = ("onboarding", "cron", "settings", "admin", "reconciler", "cli")
WHAT = ("missing", "failed", "all")
SERVICE = "coordinator"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run is about. None means no limit on that side."""

    portfolios: tuple[UUID, ...] | None = None
    first: date | None = None
    last: date | None = None
    phase: Phase | None = None

    def document(self, what: str) -> dict[str, Any]:
        return {
            "portfolio_ids": None if self.portfolios is None else sorted(str(p) for p in self.portfolios),
            "from": None if self.first is None else self.first.isoformat(),
            "to": None if self.last is None else self.last.isoformat(),
            "phase": None if self.phase is None else self.phase.value,
            "what": what,
        }


def scope_key(scope: Mapping[str, Any]) -> str:
    """Equal scopes have equal keys, however large they are."""
    return hashlib.sha256(json.dumps(scope, sort_keys=True).encode()).hexdigest()


def check(scope: Scope, clock: Clock, *, what: str, force: bool | None) -> str:
    """The kind of run that the arguments mean together. Raises `Contradictory` where they mean nothing.

    force : the caller's `force_rerun`; None where it was not given
    """
    if scope.first is not None and scope.last is not None and scope.first > scope.last:
        raise Contradictory(f"start_date {scope.first} is after end_date {scope.last}. Swap them.")
    if scope.first is not None and scope.first > clock.last_due():
        raise Contradictory(
            f"start_date {scope.first} is after the last session that is due, {clock.last_due()}: there is nothing to run."
        )
    if force and what in ("missing", "failed"):
        raise Contradictory(f"force_rerun recomputes everything in range, what={what} only a part. Give one of them.")
    if force is False and what == "all":
        raise Contradictory("what=all recomputes everything in range, force_rerun=false does not. Give one of them.")
    if force and scope.first is None:
        raise Contradictory("force_rerun needs start_date: say from when to recompute.")
    if what not in (*WHAT, ""):
        raise Invalid(f"what {what!r} is none of {', '.join(WHAT)}.")
    return what or ("all" if force else "missing")


async def request(conn: AsyncConnection, clock: Clock, scope: Scope, *, source: str, what: str) -> UUID:
    """Start a run, or join the unfinished one of the same source, scope and kind. Returns the run's id."""
    document = scope.document(what)
    key = scope_key(document)
    joined = await store.unfinished(conn, source, what, key)
    if joined is not None:
        # Whoever asks wants it to go on now, whoever asked first.
        await _wake(conn, await store.open_spans(conn, joined))
        return joined
    portfolios = await store.active(conn, scope.portfolios)
    calendar, last_due = clock.calendar(), clock.last_due()
    first = scope.first or calendar.first
    last = min(scope.last or last_due, last_due)
    run_id = await store.insert(conn, source, what, document, key)
    sessions = calendar.between(first, last_due)
    if what == "all":
        revision = await next_change_seq(conn)
        await ledger.require_all(conn, portfolios, first, last, scope.phase or Phase.INGEST, revision)
        # Closed downstream: a raise also reaches other phases, and later sessions than were asked for.
        spans = await store.add_units(conn, run_id, portfolios, sessions, which="raised", revision=revision)
        wake: set[Phase] = {scope.phase or Phase.INGEST}
    else:
        which = "blocked" if what == "failed" else "missing"
        within = calendar.between(first, last)
        spans = await store.add_units(conn, run_id, portfolios, within, which=which, phase=scope.phase)
        if what == "failed":
            await ledger.unblock(conn, portfolios, first, last, scope.phase)
        wake = {span.phase for span in spans}
    await _wake(conn, [span for span in spans if span.phase in wake])
    return run_id


async def _wake(conn: AsyncConnection, spans: Sequence[Span]) -> None:
    """Ask for the spans, and let no backoff stand between them and the reconciler if that is lost."""
    await announce(conn, spans)
    await schedule.retry_now(conn, {(span.portfolio_id, span.phase) for span in spans})


async def record_raised(
    conn: AsyncConnection,
    portfolio: UUID,
    sessions: Sequence[date],
    revision: int,
    *,
    source: str,
    scope: Mapping[str, Any],
) -> UUID:
    """The run of a change to one portfolio: it waits for all that the change's revision requires."""
    run_id = await store.insert(conn, source, "all", scope, scope_key(scope))
    await store.add_units(conn, run_id, [portfolio], sessions, which="raised", revision=revision)
    return run_id


async def announce(conn: AsyncConnection, spans: Iterable[Span]) -> int:
    """One `PhaseRequested` per rectangle: equal ranges together, within the limits of one event."""
    grouped: dict[tuple[Phase, date, date, int], list[UUID]] = defaultdict(list)
    for span in spans:
        grouped[span.phase, span.first, span.last, span.units].append(span.portfolio_id)
    events = []
    for (phase, first, last, units), portfolios in sorted(grouped.items()):
        portfolios.sort()
        height = max(1, min(MAX_PORTFOLIOS, MAX_UNITS // units))
        for top in range(0, len(portfolios), height):
            body = WorkBody(portfolios=portfolios[top : top + height], first=first, last=last)
            events.append(PhaseRequested(work=body, phase=phase))
    await outbox.publish(conn, events, source=SERVICE)
    return len(events)
