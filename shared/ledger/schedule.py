"""Queries of the reconciler on the schedule: candidates, unanswered requests, blocked units. SQL only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.ledger.failures import NEXT_ATTEMPT, unblock_due
from shared.ledger.lacking import LACKING, MAY_LACK, MISSING
from shared.ledger.leases import LEASE
from shared.ledger.states import HOLE_REASON
from shared.work import CHAINED, UPSTREAM, Phase

# How long an event that asked for something may go unanswered and still count against the limit. Longer than a handler may try
# (two minutes), or a slow consumer would be sent more for being slow. Not for ever: an event that was lost, or that nothing came
# of, must not keep others from being asked for; and well below the longest backoff, so that eight portfolios for which nothing
# ever comes do not either.
OVERDUE_SECONDS = 300.0
_UNANSWERED = """
    EXISTS (SELECT 1 FROM bus.outbox o
            WHERE o.event_id = s.asked AND abs(extract(epoch FROM clock_timestamp() - o.created_at)) < :overdue)
"""
# Upstream complete, and long enough ago that the normal path has had its chance. What lies further ahead of the database's clock
# than that was written before the clock was set back.
_ASKABLE = """
    NOT EXISTS (
        SELECT 1 FROM unnest(CAST(:upstream AS ledger.phase[])) AS needed (phase)
        LEFT JOIN ledger.units up
            ON up.portfolio_id = u.portfolio_id AND up.session = u.session AND up.phase = needed.phase
        WHERE up.portfolio_id IS NULL OR up.completed_revision < up.required_revision
           OR abs(extract(epoch FROM clock_timestamp() - up.completed_at)) < :grace)
"""
# A chain starts at its oldest missing session or not at all.
_STARTS = """
    AND span.first = span.oldest AND NOT EXISTS (
        SELECT 1 FROM ledger.units b WHERE b.portfolio_id = w.portfolio_id AND b.phase = CAST(:phase AS ledger.phase)
          AND b.blocked_reason IS NOT NULL AND b.session < span.first)
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A portfolio with missing units of a phase whose upstream is complete, and how long it has waited.

    again : it was asked for, and that event counts as outstanding
    """

    portfolio_id: UUID
    first: date
    last: date
    next_at: datetime
    again: bool = False


async def find_candidates(conn: AsyncConnection, phase: Phase, *, grace: float, look: int) -> list[Candidate]:
    """Find portfolios due for a request, longest waiting first, each with its range of ready sessions.

    At most `look` are looked at; those that wait for their upstream are looked at again only after (at random, up to) the
    grace period, so that they never stand before those that could go on.
    """
    rows = await conn.execute(
        text(f"""
            WITH RECURSIVE {LACKING}, waiting AS MATERIALIZED (
                SELECT s.portfolio_id, s.next_at, {_UNANSWERED} AS again FROM ledger.schedule s
                WHERE s.phase = CAST(:phase AS ledger.phase) AND s.next_at <= now() AND {MAY_LACK}
                  AND (s.lease_until IS NULL
                       OR s.lease_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + CAST(:lease AS interval))
                  AND EXISTS (SELECT 1 FROM ledger.units u
                              WHERE u.portfolio_id = s.portfolio_id AND u.phase = s.phase AND {MISSING})
                ORDER BY s.next_at LIMIT :look
            )
            SELECT w.portfolio_id, span.first, span.last, w.next_at, w.again,
                   span.first IS NOT NULL {_STARTS if phase in CHAINED else ""} AS askable
            FROM waiting w CROSS JOIN LATERAL (
                SELECT min(m.session) FILTER (WHERE m.askable) AS first, max(m.session) FILTER (WHERE m.askable) AS last,
                       min(m.session) AS oldest
                FROM (SELECT u.session, {_ASKABLE} AS askable FROM ledger.units u
                      WHERE u.portfolio_id = w.portfolio_id AND u.phase = CAST(:phase AS ledger.phase) AND {MISSING}) m
            ) span
            ORDER BY w.next_at, w.portfolio_id
        """),
        {
            "phase": phase.value,
            "upstream": [up.value for up in UPSTREAM[phase]],
            "grace": grace,
            "look": look,
            "lease": LEASE,
            "overdue": OVERDUE_SECONDS,
        },
    )
    found, early = [], []
    for portfolio, first, last, next_at, again, askable in rows:
        if askable:
            found.append(Candidate(portfolio, first, last, next_at, again))
        else:
            early.append(portfolio)
    if early:
        await _defer_waiting(conn, phase, early, grace)
    return found


async def _defer_waiting(conn: AsyncConnection, phase: Phase, portfolios: Sequence[UUID], seconds: float) -> None:
    await conn.execute(
        text("""
            WITH k AS (
                SELECT portfolio_id, phase FROM ledger.schedule
                WHERE phase = CAST(:phase AS ledger.phase) AND portfolio_id = ANY (CAST(:portfolios AS uuid[]))
                  AND next_at <= now()
                ORDER BY portfolio_id FOR NO KEY UPDATE SKIP LOCKED
            )
            UPDATE ledger.schedule s SET next_at = now() + random() * make_interval(secs => :seconds)
            FROM k WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
        """),
        {"phase": phase.value, "portfolios": list(portfolios), "seconds": seconds},
    )


async def lock_schedules(conn: AsyncConnection, phase: Phase, portfolios: Sequence[UUID]) -> set[UUID]:
    """Lock the schedule rows that no other transaction holds and that still wait (SKIP LOCKED); returns them."""
    rows = await conn.scalars(
        text("""
            SELECT portfolio_id FROM ledger.schedule
            WHERE phase = CAST(:phase AS ledger.phase) AND portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND next_at <= now()
            ORDER BY portfolio_id FOR NO KEY UPDATE SKIP LOCKED
        """),
        {"phase": phase.value, "portfolios": list(portfolios)},
    )
    return set(rows)


async def record_request(conn: AsyncConnection, phase: Phase, events: Mapping[UUID, UUID]) -> None:
    """Record the event that requested each locked portfolio, and the next attempt."""
    await conn.execute(
        text(f"""
            UPDATE ledger.schedule s
            SET emits = s.emits + 1, asked = e.event,
                next_at = {NEXT_ATTEMPT.format(count="s.emits + 1")}
            FROM unnest(CAST(:portfolios AS uuid[]), CAST(:events AS uuid[])) AS e (portfolio_id, event)
            WHERE s.phase = CAST(:phase AS ledger.phase) AND s.portfolio_id = e.portfolio_id
        """),
        {"phase": phase.value, "portfolios": list(events), "events": list(events.values())},
    )


async def count_outstanding(conn: AsyncConnection, phase: Phase) -> int:
    """Events that asked for something which is still missing, were answered neither by progress, a failure nor a wait, and are
    not overdue.

    When it would be asked for again says nothing about that: the first time is seconds away, with a queue of minutes.
    """
    count = await conn.scalar(
        text(f"""
            SELECT count(DISTINCT s.asked) FROM ledger.schedule s
            WHERE s.phase = CAST(:phase AS ledger.phase) AND s.asked IS NOT NULL AND {_UNANSWERED}
              AND EXISTS (SELECT 1 FROM ledger.units u
                          WHERE u.portfolio_id = s.portfolio_id AND u.phase = s.phase AND {MISSING})
        """),
        {"phase": phase.value, "overdue": OVERDUE_SECONDS},
    )
    return int(count or 0)


async def withhold(conn: AsyncConnection, phases: Sequence[Phase], portfolios: Sequence[UUID]) -> None:
    """Take up arrivals together: what was just raised of these portfolios is looked at 15 minutes from now.

    The first arrival sets the time, and those after it do not push it on, until work of the phase is done: so however fast
    prices arrive, a portfolio is recomputed at most four times an hour, and at least that often. Not at the end of its waits:
    they slip, and each slip would be a recomputation more; when they do end, `release_withheld` looks at once.
    """
    if portfolios:
        await conn.execute(
            text("""
                SELECT ledger.withhold(CAST(:portfolios AS uuid[]),
                                       array_fill(CAST('infinity' AS timestamptz), ARRAY[CAST(:count AS integer)]),
                                       CAST(:phases AS ledger.phase[]))
            """),
            {
                "portfolios": list(portfolios),
                "count": len(portfolios),
                "phases": [phase.value for phase in phases],
            },
        )


async def release_withheld(conn: AsyncConnection, portfolios: Sequence[UUID]) -> None:
    """Nothing is waited for any more: what was held back of these portfolios is looked at now."""
    if portfolios:
        await conn.execute(
            text("SELECT ledger.release_withheld(CAST(:portfolios AS uuid[]))"), {"portfolios": list(portfolios)}
        )


async def retry_now(conn: AsyncConnection, waiting: Collection[tuple[UUID, Phase]]) -> None:
    """Whoever asks by hand waits for no backoff: the reconciler's next turn looks at these. Failures are still counted."""
    await conn.execute(
        text("""
            WITH k AS (
                SELECT s.portfolio_id, s.phase FROM ledger.schedule s
                JOIN unnest(CAST(:portfolios AS uuid[]), CAST(:phases AS text[])) AS w (portfolio_id, phase)
                    ON s.portfolio_id = w.portfolio_id AND s.phase = CAST(w.phase AS ledger.phase)
                WHERE s.next_at > now() OR s.emits > 0
                ORDER BY s.portfolio_id, s.phase FOR NO KEY UPDATE OF s
            )
            UPDATE ledger.schedule s SET next_at = least(s.next_at, now()), emits = 0
            FROM k WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
        """),
        {
            "portfolios": [portfolio for portfolio, _ in waiting],
            "phases": [phase.value for _, phase in waiting],
        },
    )


async def reset_backoff(conn: AsyncConnection, seconds: float = 5.0) -> None:
    """At start nothing waits longer than this: what slowed it down may be what was just restarted."""
    await conn.execute(
        text("""
            WITH k AS (
                SELECT portfolio_id, phase FROM ledger.schedule WHERE next_at > now() + make_interval(secs => :seconds)
                ORDER BY portfolio_id, phase FOR NO KEY UPDATE
            )
            UPDATE ledger.schedule s SET next_at = now() + make_interval(secs => :seconds)
            FROM k WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
        """),
        {"seconds": seconds},
    )


async def retry_blocked_due(conn: AsyncConnection) -> bool:
    """Whether the day has come for anything that was blocked."""
    return bool(await conn.scalar(text("SELECT EXISTS (SELECT 1 FROM ledger.schedule WHERE probe_at <= now())")))


async def retry_blocked(conn: AsyncConnection) -> dict[Phase, int]:
    """Free the blocked units whose day has come, so that one more run is tried; its failure blocks them again.

    Needs the commit-order lock, like everything that frees. Returns how many units were freed, by phase.
    """
    freed = await unblock_due(conn)
    # Where nothing was left to free: it was raised, or completed after all.
    await conn.execute(
        text("""
            WITH k AS (
                SELECT portfolio_id, phase FROM ledger.schedule s
                WHERE probe_at <= now() AND NOT EXISTS (
                    SELECT 1 FROM ledger.units b
                    WHERE b.portfolio_id = s.portfolio_id AND b.phase = s.phase AND b.blocked_reason IS NOT NULL)
                ORDER BY portfolio_id, phase FOR NO KEY UPDATE
            )
            UPDATE ledger.schedule s SET probe_at = NULL FROM k
            WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
        """)
    )
    return freed


@dataclass(frozen=True, slots=True)
class Hole:
    """How many units of a phase are missing, what is happening about them (`HOLE_REASONS`), and for how long the oldest has been."""

    phase: Phase
    reason: str
    units: int
    oldest_seconds: float


async def holes(conn: AsyncConnection) -> list[Hole]:
    """Missing units by phase and state. Reasons in full are the portfolios' own; here they must stay few."""
    rows = await conn.execute(
        text(f"""
            WITH missing AS (
                SELECT portfolio_id, phase, count(*) AS units, min(required_at) AS since FROM ledger.units
                WHERE completed_revision < required_revision AND blocked_reason IS NULL GROUP BY portfolio_id, phase
            )
            SELECT CAST(m.phase AS text), {HOLE_REASON} AS reason,
                   sum(m.units), max(extract(epoch FROM clock_timestamp() - m.since))
            FROM missing m LEFT JOIN ledger.schedule s ON s.portfolio_id = m.portfolio_id AND s.phase = m.phase
            GROUP BY 1, 2
            UNION ALL
            SELECT CAST(phase AS text), 'blocked', count(*), max(extract(epoch FROM clock_timestamp() - required_at))
            FROM ledger.units WHERE blocked_reason IS NOT NULL GROUP BY 1
        """)
    )
    return [Hole(Phase(phase), reason, int(units), float(oldest)) for phase, reason, units, oldest in rows]
