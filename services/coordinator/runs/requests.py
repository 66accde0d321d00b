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
from shared.events.topics import PHASE_REQUESTED
from shared.ledger import schedule
from shared.messaging import outbox
from shared.messaging.partitions import count_partitions
from shared.work import Phase, shared_slices

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


@dataclass(frozen=True, slots=True)
class Restated:
    """units  : how many were required anew, of all phases
    run_id : None where there were none, and no run of none was wanted
    """

    units: int
    run_id: UUID | None = None
    spans: tuple[Span, ...] = ()


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
    joined = await store.find_unfinished_run(conn, source, what, key)
    if joined is not None:
        # Whoever asks wants it to go on now, whoever asked first.
        await _wake(conn, await store.open_spans(conn, joined))
        return joined
    portfolios = await store.find_portfolios(conn, scope.portfolios)
    calendar, last_due = clock.calendar(), clock.last_due()
    first = scope.first or calendar.first
    last = min(scope.last or last_due, last_due)
    if what == "all":
        phase = scope.phase or Phase.INGEST
        demands = [(portfolio, first, last, phase) for portfolio in portfolios]
        restated = await restate(conn, clock, demands, await next_change_seq(conn), source=source, scope=document)
        assert restated.run_id is not None
        await _retry_now(conn, [span for span in restated.spans if span.phase is phase])
        return restated.run_id
    run_id = await store.insert(conn, source, what, document, key)
    which = "blocked" if what == "failed" else "missing"
    spans = await store.add_units(
        conn, run_id, portfolios, calendar.between(first, last), which=which, phase=scope.phase
    )
    if what == "failed":
        await ledger.unblock(conn, portfolios, first, last, scope.phase)
    await _wake(conn, spans)
    return run_id


async def _wake(conn: AsyncConnection, spans: Sequence[Span]) -> None:
    """Ask for the spans, and let no backoff stand between them and the reconciler if that is lost."""
    await announce(conn, spans)
    await _retry_now(conn, spans)


async def _retry_now(conn: AsyncConnection, spans: Iterable[Span]) -> None:
    await schedule.retry_now(conn, {(span.portfolio_id, span.phase) for span in spans})


async def restate(
    conn: AsyncConnection,
    clock: Clock,
    demands: Sequence[ledger.Demand],
    revision: int,
    *,
    source: str,
    scope: Mapping[str, Any],
    announced: bool = True,
    empty_run: bool = True,
) -> Restated:
    """Require units anew because an input changed: raise them, record the run that waits for all of them, and ask for the phases.

    scope     : of the run, as it is answered; `Scope.document` and what else tells it from others
    announced : whether to ask for them now; else the reconciler does
    empty_run : whether there is a run even where nothing had to be raised
    """
    units = await ledger.require_many(conn, demands, revision)
    if not units and not empty_run:
        return Restated(0)
    # Closed downstream: a raise also reaches other phases, and later sessions than were asked for.
    first = min((demand[1] for demand in demands), default=clock.last_due())
    sessions = clock.calendar().between(first, clock.last_due())
    portfolios = sorted({demand[0] for demand in demands})
    run_id, spans = await record_raised(conn, portfolios, sessions, revision, source=source, scope=scope)
    if announced:
        phases = {demand[3] for demand in demands}
        await announce(conn, [span for span in spans if span.phase in phases])
    return Restated(units, run_id, tuple(spans))


async def record_raised(
    conn: AsyncConnection,
    portfolios: Sequence[UUID],
    sessions: Sequence[date],
    revision: int,
    *,
    source: str,
    scope: Mapping[str, Any],
) -> tuple[UUID, list[Span]]:
    """The run of a change, and what it waits for: all that the change's revision requires of these portfolios and sessions."""
    run_id = await store.insert(conn, source, "all", scope, scope_key(scope))
    return run_id, await store.add_units(conn, run_id, portfolios, sessions, which="raised", revision=revision)


async def announce(conn: AsyncConnection, spans: Iterable[Span]) -> int:
    """One `PhaseRequested` per rectangle: equal ranges together, within the limits of one event, shared among its partitions."""
    grouped: dict[tuple[Phase, date, date, int], list[UUID]] = defaultdict(list)
    for span in spans:
        grouped[span.phase, span.first, span.last, span.units].append(span.portfolio_id)
    events = []
    partitions = count_partitions(conn, PHASE_REQUESTED)
    for (phase, first, last, units), portfolios in sorted(grouped.items()):
        portfolios.sort()
        for part, beside in shared_slices(portfolios, units, partitions, lambda portfolio: portfolio):
            body = WorkBody(portfolios=list(part), first=first, last=last, beside=beside)
            events.append(PhaseRequested(work=body, phase=phase))
    await outbox.publish(conn, events, source=SERVICE)
    return len(events)
