"""Read what limits are about, and record where one was breached or is kept again: state and messages in one transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.coordinator.errors import NotFound
from services.coordinator.explain.portfolios import ANSWERS, answer_of, values_of
from services.coordinator.notifications import limit_store, webhook_store
from services.coordinator.notifications.model import Limit, LimitState, Reading, Standing
from services.coordinator.results import states
from services.coordinator.results.states import Overview
from shared.clock import Clock
from shared.db.closures import load_closures
from shared.db.engine import is_retried_by_loops, snapshot
from shared.telemetry import logger

log = logger(__name__)

STATUS: Final = "status"
STATUS_FIGURES: Final[Mapping[str, str]] = {
    "status.coverage_min": "lowest share of gross value with good prices within 252 sessions",
    "status.needs_you": "reasons that only you can mend",
    "status.blocked": "1 where a unit failed for good, else 0",
    "status.missing": "1 where a unit is not complete, else 0",
    "status.sessions_behind": "sessions that are due and not complete",
    "status.hours_late": "hours since the first of them was due; 0 where none is",
}
"""Figures of the moment beside those that can be explained: `status.hours_late > 9` is "not complete by 07:00"."""
# Worked out of snapshots when they are asked for; all others rest on risk.
_ON_SNAPSHOTS = frozenset({"snapshots", "positions", "performance", "attribution", "liquidity", "look_through"})


def check_figure(figure: str) -> str:
    """The name without blanks around it. Raises `NotFound` where nothing can have it."""
    name = figure.strip()
    if name.partition(".")[0] != STATUS:
        answer_of(name, (*ANSWERS, STATUS))
    elif name not in STATUS_FIGURES:
        raise NotFound(f"There is no figure {name[:100]!r}. Of the state there are {', '.join(STATUS_FIGURES)}.")
    return name


Known = Mapping[tuple[UUID, UUID], Standing]
"""By limit and portfolio."""


async def evaluate(engine: AsyncEngine, clock: Clock) -> int:
    """Look at every limit whose figures may have changed, and write the messages that follow. Returns how many messages.

    Each portfolio in a transaction of its own: what is found of one does not wait for the others.
    """
    async with snapshot(engine) as conn:
        await load_closures(conn)
        limits = await limit_store.all_limits(conn)
        if not limits:
            return 0
        found = await limit_store.newest_results(conn)
        known = {(each.limit, each.portfolio): each for each in await limit_store.standings(conn)}
        of_status = [limit for limit in limits if _answer(limit) == STATUS]
        watched = [row.id for row in found if any(_concerns(limit, row) for limit in of_status)]
        overviews = await states.read(conn, clock, watched) if watched else {}
    messages = 0
    for row in found:
        own = [limit for limit in limits if _concerns(limit, row)]
        overview = overviews.get(row.id)
        values = {} if overview is None else status_figures(overview, row.first_session, clock)
        readings = [
            (limit, _read_figure(values, limit.figure, None, STATUS)) for limit in own if _answer(limit) == STATUS
        ]
        if unread := _unread(row, own, known):
            async with snapshot(engine) as conn:
                readings += await _results(conn, row, unread)
        messages += await _record(engine, row.id, readings, known)
    # A webhook that was added since the last change is told what is breached now.
    async with engine.begin() as conn:
        return messages + await webhook_store.enqueue_changes(conn)


def _concerns(limit: Limit, row: Row[Any]) -> bool:
    """A limit on every portfolio is on every one of its tenant."""
    return limit.portfolio in (None, row.id) and limit.tenant == row.tenant_id


def _answer(limit: Limit) -> str:
    return limit.figure.partition(".")[0]


def _unread(row: Row[Any], limits: Sequence[Limit], known: Known) -> dict[tuple[str, str], list[Limit]]:
    """Limits by answer and what its results would be seen as: without those that were read before, or are on their way."""
    found: dict[tuple[str, str], list[Limit]] = defaultdict(list)
    for limit in limits:
        answer = _answer(limit)
        revision = row.snapshots if answer in _ON_SNAPSHOTS else row.risk
        if answer == STATUS or revision is None:
            continue
        seen, before = f"{row.session}:{revision}", known.get((limit.id, row.id))
        if before is None or before.reading.seen != seen:
            found[answer, seen].append(limit)
    return found


async def _results(
    conn: AsyncConnection, row: Row[Any], unread: Mapping[tuple[str, str], Sequence[Limit]]
) -> list[tuple[Limit, Reading]]:
    found: list[tuple[Limit, Reading]] = []
    for (answer, seen), limits in unread.items():
        try:
            values = await values_of(conn, row.id, row.session, answer)
        except NotFound as error:
            found += [(each, Reading(None, str(error)[:500], row.session, seen)) for each in limits]
            continue
        except Exception as error:
            if is_retried_by_loops(error):
                raise
            # What cannot be read of one portfolio is its own: the others are looked at all the same.
            log.exception("limit_unreadable", portfolio=str(row.id), answer=answer)
            said = f"The figure could not be read ({type(error).__name__}); the log says why."
            found += [(each, Reading(None, said, row.session, seen)) for each in limits]
            continue
        found += [(each, _read_figure(values, each.figure, row.session, seen)) for each in limits]
    return found


async def _record(engine: AsyncEngine, portfolio: UUID, readings: Sequence[tuple[Limit, Reading]], known: Known) -> int:
    changes = []
    for limit, reading in readings:
        before = known.get((limit.id, portfolio))
        state = None if reading.value is None else limit.judge(reading.value)
        was = LimitState.KEPT if before is None else before.state
        if before is None or before.reading != reading or (state is not None and was is not state):
            changes.append((limit, reading, state))
        if state is not None and was is not state:
            log.info(
                "limit_changed", state=state.value, limit=str(limit.id), portfolio=str(portfolio), value=reading.value
            )
    if not changes:
        return 0
    async with engine.begin() as conn:
        for limit, reading, state in changes:
            await limit_store.record(conn, limit.id, portfolio, reading, state)
        return await webhook_store.enqueue_changes(conn)


def _read_figure(values: Mapping[str, Any], figure: str, session: date | None, seen: str) -> Reading:
    if figure not in values:
        return Reading(None, f"This portfolio has no figure {figure}.", session, seen)
    value = values[figure]
    if isinstance(value, bool) or not isinstance(value, int | float):
        why = "The figure is unknown; its explanation says why." if value is None else "The figure is no number."
        return Reading(None, why, session, seen)
    return Reading(float(value), None, session, seen)


def status_figures(overview: Overview, first: date | None, clock: Clock) -> dict[str, float | None]:
    """How complete a portfolio is, in numbers under the names of `STATUS_FIGURES`. Pure.

    first : the portfolio's first session; None without a position
    """
    days, due = clock.calendar(), clock.last_due()
    begins = first if overview.complete_to is None else days.next(overview.complete_to)
    behind = [] if begins is None or begins > due else days.between(begins, due)
    completeness = overview.completeness
    return {
        "status.coverage_min": completeness.coverage,
        "status.needs_you": float(len(overview.needs())),
        "status.blocked": float(completeness.blocked),
        "status.missing": float(completeness.missing),
        "status.sessions_behind": float(len(behind)),
        "status.hours_late": _hours(days.due_at(behind[0]), clock.now()) if behind else 0.0,
    }


def _hours(since: datetime, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds() / 3600.0)
