"""The ledger: what is required, what is complete, what is missing. Every change of a unit lives here.

A unit is missing while `completed_revision < required_revision`; there is no other notion of progress anywhere. Functions take
the caller's connection: whoever opened the transaction commits it.

Locks are taken in one order, so that nobody deadlocks: the commit-order lock (only who changes inputs, adds units, raises or
frees them), then rows of `units` by key, then rows of `schedule` by key. No transaction comes back to units of a phase whose
schedule it has locked. See decision 0015.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import storable
from shared.telemetry import HEALED
from shared.work import CHAINED, UPSTREAM, Due, Key, Phase, Work

LEASE = timedelta(seconds=30)
# Runs that ended in a permanent or unclassified error before a unit is blocked. Waits for quota or provider never count.
MAX_RUNS = 8
# Blocked units are tried once more this often: what blocked them may have gone away without anybody saying so.
PROBE = timedelta(days=1)


@dataclass(frozen=True)
class Outcome:
    """What a completion says about itself: how much of the gross value good inputs stand behind, and what fell short."""

    quality: str = "complete"
    coverage: float = 1.0
    reasons: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Raised:
    """The units whose completed revision this transaction raised, with the revision reached. Only these may be written."""

    revision: Mapping[Key, int]

    @property
    def keys(self) -> Collection[Key]:
        return self.revision.keys()

    def __bool__(self) -> bool:
        return bool(self.revision)


@dataclass(frozen=True)
class Lease:
    """A portfolio this caller works on, and the wake-ups counted when it was taken."""

    portfolio_id: UUID
    fence: int
    wanted: int


# --- what is required ------------------------------------------------------------------------------------------------


async def add_units(conn: AsyncConnection, portfolios: Sequence[UUID], sessions: Sequence[date], revision: int) -> int:
    """Add the four units of every portfolio and session that are not there yet. Needs the commit-order lock.

    Returns how many were added. The schedule gives the normal path half a minute before the reconciler looks.
    """
    if not portfolios or not sessions:
        return 0
    await conn.execute(
        text("""
            INSERT INTO ledger.schedule (portfolio_id, phase)
            SELECT p, phase FROM unnest(CAST(:portfolios AS uuid[])) AS p
            CROSS JOIN unnest(enum_range(NULL::ledger.phase)) AS phase
            ON CONFLICT DO NOTHING
        """),
        {"portfolios": list(portfolios)},
    )
    result = await conn.execute(
        text("""
            INSERT INTO ledger.units (portfolio_id, session, phase, required_revision)
            SELECT p, s, phase, :revision
            FROM unnest(CAST(:portfolios AS uuid[])) AS p
            CROSS JOIN unnest(CAST(:sessions AS date[])) AS s
            CROSS JOIN unnest(enum_range(NULL::ledger.phase)) AS phase
            ON CONFLICT DO NOTHING
        """),
        {"portfolios": list(portfolios), "sessions": list(sessions), "revision": revision},
    )
    return int(result.rowcount)


async def remove_units(conn: AsyncConnection, portfolio: UUID) -> int:
    """Remove all units of a portfolio that is deleted. In-flight work on them lands nowhere; its results stay where they are."""
    result = await conn.execute(
        text("""
            WITH k AS (
                SELECT portfolio_id, session, phase FROM ledger.units WHERE portfolio_id = :portfolio
                ORDER BY session, phase
                FOR UPDATE
            )
            DELETE FROM ledger.units u USING k
            WHERE u.portfolio_id = k.portfolio_id AND u.session = k.session AND u.phase = k.phase
        """),
        {"portfolio": portfolio},
    )
    await _unschedule(conn, portfolio)
    return int(result.rowcount)


async def withdraw_units(conn: AsyncConnection, portfolio: UUID, *, before: date | None = None) -> int:
    """Remove the units of sessions that an edit took out of a portfolio, all or those before one, with their results.

    In-flight work on them lands nowhere; what was completed goes to the history tables. Returns how many units went.
    """
    gone = await conn.scalar(
        text("SELECT ledger.withdraw(:portfolio, :before)"), {"portfolio": portfolio, "before": before}
    )
    if before is None:
        await _unschedule(conn, portfolio)
    return int(gone)


async def _unschedule(conn: AsyncConnection, portfolio: UUID) -> None:
    await conn.execute(text("DELETE FROM ledger.schedule WHERE portfolio_id = :portfolio"), {"portfolio": portfolio})


async def require(
    conn: AsyncConnection, demands: Iterable[tuple[UUID, date, date, Phase]], revision: int
) -> list[tuple[UUID, date, Phase]]:
    """Raise what is required to `revision`, closed downstream. Needs the commit-order lock; returns what was raised."""
    rows = sorted(set(demands))
    if not rows:
        return []
    result = await conn.execute(
        text("""
            SELECT portfolio_id, session, CAST(phase AS text)
            FROM ledger.require(CAST(:portfolios AS uuid[]), CAST(:firsts AS date[]), CAST(:lasts AS date[]),
                                CAST(:phases AS ledger.phase[]), :revision)
        """),
        {
            "portfolios": [row[0] for row in rows],
            "firsts": [row[1] for row in rows],
            "lasts": [row[2] for row in rows],
            "phases": [row[3].value for row in rows],
            "revision": revision,
        },
    )
    return [(portfolio, session, Phase(phase)) for portfolio, session, phase in result]


async def require_all(
    conn: AsyncConnection, portfolios: Sequence[UUID], first: date, last: date, phase: Phase, revision: int
) -> int:
    """Raise a rectangle like `require`, without bringing its keys here: a rerun of everything is millions. Returns how many."""
    count = await conn.scalar(
        text("""
            SELECT count(*) FROM ledger.require(
                CAST(:portfolios AS uuid[]),
                array_fill(CAST(:first AS date), ARRAY[cardinality(CAST(:portfolios AS uuid[]))]),
                array_fill(CAST(:last AS date), ARRAY[cardinality(CAST(:portfolios AS uuid[]))]),
                array_fill(CAST(:phase AS ledger.phase), ARRAY[cardinality(CAST(:portfolios AS uuid[]))]),
                :revision)
        """),
        {"portfolios": list(portfolios), "first": first, "last": last, "phase": phase.value, "revision": revision},
    )
    return int(count or 0)


# --- what is missing -------------------------------------------------------------------------------------------------

_UPSTREAM_COMPLETE = """
    NOT EXISTS (
        SELECT 1 FROM unnest(CAST(:upstream AS ledger.phase[])) AS needed (phase)
        LEFT JOIN ledger.units up
            ON up.portfolio_id = u.portfolio_id AND up.session = u.session AND up.phase = needed.phase
        WHERE up.portfolio_id IS NULL OR up.completed_revision < up.required_revision
    )
"""


async def ready(
    conn: AsyncConnection, phase: Phase, portfolios: Sequence[UUID], first: date | None, last: date | None
) -> list[Due]:
    """Missing units of the phase, within the portfolios and sessions, whose upstream units are complete.

    `None` bounds mean all sessions. For a chained phase the range is ignored: ready is the longest consecutive run from the
    portfolio's oldest missing session on, because a later session cannot be computed before an earlier one.
    """
    parameters: dict[str, Any] = {
        "phase": phase.value,
        "portfolios": list(portfolios),
        "upstream": [up.value for up in UPSTREAM[phase]],
    }
    if phase in CHAINED:
        statement = f"""
            WITH missing AS (
                SELECT u.portfolio_id, u.session, u.required_revision, u.blocked_reason IS NULL AND {_UPSTREAM_COMPLETE} AS ok
                FROM ledger.units u
                WHERE u.portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND u.phase = CAST(:phase AS ledger.phase)
                  AND u.completed_revision < u.required_revision
            )
            SELECT portfolio_id, session, required_revision FROM (
                SELECT *, bool_and(ok) OVER (PARTITION BY portfolio_id ORDER BY session) AS chained FROM missing
            ) m WHERE chained
        """
    else:
        bounds = ""
        if first is not None and last is not None:
            bounds = "AND u.session BETWEEN :first AND :last"
            parameters |= {"first": first, "last": last}
        statement = f"""
            SELECT u.portfolio_id, u.session, u.required_revision FROM ledger.units u
            WHERE u.portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND u.phase = CAST(:phase AS ledger.phase) {bounds}
              AND u.completed_revision < u.required_revision AND u.blocked_reason IS NULL AND {_UPSTREAM_COMPLETE}
        """
    rows = await conn.execute(text(statement), parameters)
    return [Due(portfolio, session, revision) for portfolio, session, revision in rows]


# --- what is complete ------------------------------------------------------------------------------------------------


async def complete(conn: AsyncConnection, phase: Phase, outcomes: Mapping[Due, Outcome]) -> Raised:
    """Raise completed revisions. Call it before writing results, in the same transaction, and write only what it returns.

    A unit that somebody else completed at this revision or a higher one, or that is gone, is not returned: that is the whole
    idempotence of the system. Rows are locked in key order, so that two handlers never deadlock.
    """
    if not outcomes:
        return Raised({})
    rows = sorted(outcomes.items(), key=lambda item: item[0])
    result = await conn.execute(
        text("""
            WITH input AS (
                SELECT * FROM unnest(CAST(:portfolios AS uuid[]), CAST(:sessions AS date[]), CAST(:revisions AS bigint[]),
                                     CAST(:qualities AS text[]), CAST(:coverages AS float8[]), CAST(:reasons AS text[]))
                    AS i (portfolio_id, session, revision, quality, coverage, reasons)
            ), locked AS (
                SELECT i.* FROM input i
                JOIN ledger.units u ON u.portfolio_id = i.portfolio_id AND u.session = i.session
                                   AND u.phase = CAST(:phase AS ledger.phase)
                WHERE u.completed_revision < i.revision
                ORDER BY u.portfolio_id, u.session
                FOR NO KEY UPDATE OF u
            )
            UPDATE ledger.units u
            SET completed_revision = l.revision, quality = l.quality, coverage = l.coverage,
                reasons = CAST(l.reasons AS jsonb), completed_at = clock_timestamp(), blocked_reason = NULL
            FROM locked l
            WHERE u.portfolio_id = l.portfolio_id AND u.session = l.session AND u.phase = CAST(:phase AS ledger.phase)
              AND u.completed_revision < l.revision
            RETURNING u.portfolio_id, u.session, u.completed_revision,
                      CAST(extract(epoch FROM u.completed_at - u.required_at) AS float8)
        """),
        {
            "phase": phase.value,
            "portfolios": [due.portfolio_id for due, _ in rows],
            "sessions": [due.session for due, _ in rows],
            "revisions": [due.revision for due, _ in rows],
            "qualities": [outcome.quality for _, outcome in rows],
            "coverages": [outcome.coverage for _, outcome in rows],
            "reasons": [json.dumps(outcome.reasons, allow_nan=False) for _, outcome in rows],
        },
    )
    raised = {}
    healed = HEALED.labels(phase.value)
    for portfolio, session, revision, seconds in result:
        raised[Key(portfolio, session)] = revision
        healed.observe(seconds)
    return Raised(raised)


# --- who is working --------------------------------------------------------------------------------------------------


async def acquire(conn: AsyncConnection, phase: Phase, portfolios: Sequence[UUID], owner: str) -> list[Lease]:
    """Take the free portfolios for `owner`; on the others leave word, by `wanted`, that there is more to do."""
    rows = await conn.execute(
        text("""
            WITH k AS (
                SELECT portfolio_id, phase, lease_owner IS NULL OR lease_until < clock_timestamp() AS free
                FROM ledger.schedule
                WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND phase = CAST(:phase AS ledger.phase)
                ORDER BY portfolio_id
                FOR NO KEY UPDATE
            )
            UPDATE ledger.schedule s
            SET lease_owner = CASE WHEN k.free THEN :owner ELSE s.lease_owner END,
                lease_until = CASE WHEN k.free THEN clock_timestamp() + CAST(:lease AS interval) ELSE s.lease_until END,
                fence = s.fence + k.free::int,
                wanted = s.wanted + (NOT k.free)::int
            FROM k WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
            RETURNING s.portfolio_id, s.fence, s.wanted, k.free
        """),
        {"phase": phase.value, "portfolios": list(portfolios), "owner": owner, "lease": LEASE},
    )
    return [Lease(portfolio, fence, wanted) for portfolio, fence, wanted, free in rows if free]


async def renew(conn: AsyncConnection, phase: Phase, owner: str) -> int:
    """Extend every lease of `owner`; returns how many it still holds."""
    result = await conn.execute(
        text("""
            WITH k AS (
                SELECT portfolio_id, phase FROM ledger.schedule
                WHERE phase = CAST(:phase AS ledger.phase) AND lease_owner = :owner
                ORDER BY portfolio_id
                FOR NO KEY UPDATE
            )
            UPDATE ledger.schedule s SET lease_until = clock_timestamp() + CAST(:lease AS interval)
            FROM k WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
        """),
        {"phase": phase.value, "owner": owner, "lease": LEASE},
    )
    return int(result.rowcount)


async def release(
    conn: AsyncConnection, phase: Phase, leases: Sequence[Lease], owner: str, *, unconditionally: bool = False
) -> list[Lease]:
    """Let go of what nobody asked for meanwhile; what somebody did ask for stays held and is returned, to be read again.

    The comparison and the release are one statement, so no wake-up falls between them.
    """
    rows = await conn.execute(
        text("""
            WITH k AS (
                SELECT s.portfolio_id, s.phase, s.wanted <> held.wanted AND NOT CAST(:let_go AS boolean) AS again
                FROM ledger.schedule s
                JOIN unnest(CAST(:portfolios AS uuid[]), CAST(:fences AS bigint[]), CAST(:wanted AS bigint[]))
                    AS held (portfolio_id, fence, wanted)
                  ON s.portfolio_id = held.portfolio_id AND s.fence = held.fence
                WHERE s.phase = CAST(:phase AS ledger.phase) AND s.lease_owner = :owner
                ORDER BY s.portfolio_id
                FOR NO KEY UPDATE OF s
            )
            UPDATE ledger.schedule s
            SET lease_owner = CASE WHEN k.again THEN s.lease_owner END,
                lease_until = CASE WHEN k.again THEN clock_timestamp() + CAST(:lease AS interval) END
            FROM k WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
            RETURNING s.portfolio_id, s.fence, s.wanted, k.again
        """),
        {
            "phase": phase.value,
            "portfolios": [lease.portfolio_id for lease in leases],
            "fences": [lease.fence for lease in leases],
            "wanted": [lease.wanted for lease in leases],
            "owner": owner,
            "lease": LEASE,
            "let_go": unconditionally,
        },
    )
    return [Lease(portfolio, fence, wanted) for portfolio, fence, wanted, again in rows if again]


async def progressed(conn: AsyncConnection, phase: Phase, portfolios: Sequence[UUID]) -> None:
    """Units were completed: the past failures of these portfolios no longer delay anything."""
    await conn.execute(
        text("""
            WITH k AS (
                SELECT portfolio_id, phase FROM ledger.schedule
                WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND phase = CAST(:phase AS ledger.phase)
                  AND (emits > 0 OR runs > 0 OR last_error IS NOT NULL OR asked IS NOT NULL)
                ORDER BY portfolio_id FOR NO KEY UPDATE
            )
            UPDATE ledger.schedule s
            SET emits = 0, runs = 0, last_error = NULL, asked = NULL, next_at = now() + interval '30 seconds'
            FROM k WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
        """),
        {"portfolios": list(portfolios), "phase": phase.value},
    )


async def postpone(conn: AsyncConnection, phase: Phase, portfolios: Sequence[UUID], until: Any, reason: str) -> None:
    """Waiting for a quota or a provider: look again then. Never counts as a run."""
    await conn.execute(
        text("""
            WITH k AS (
                SELECT portfolio_id, phase FROM ledger.schedule
                WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND phase = CAST(:phase AS ledger.phase)
                ORDER BY portfolio_id FOR NO KEY UPDATE
            )
            UPDATE ledger.schedule s
            SET next_at = greatest(now(), :until), last_error = :reason, emits = 0, asked = NULL
            FROM k WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
        """),
        {"portfolios": list(portfolios), "phase": phase.value, "until": until, "reason": storable(reason, 2000)},
    )


async def failed(conn: AsyncConnection, phase: Phase, portfolio: UUID, errors: Mapping[tuple[date, date], str]) -> bool:
    """Count one run that ended in permanent or unclassified errors. True if that blocked the units it failed at.

    errors : by first and last session of what failed, in the words that people will read
    """
    ranges = sorted(errors)
    words = [storable(errors[span], 2000) for span in ranges]
    others = f" (and {len(ranges) - 1} more)" if len(ranges) > 1 else ""
    # What may be blocked is locked before the schedule, as completions lock theirs.
    await conn.execute(
        text("""
            SELECT 1 FROM ledger.units
            WHERE portfolio_id = :portfolio AND phase = CAST(:phase AS ledger.phase)
              AND completed_revision < required_revision AND blocked_reason IS NULL
            ORDER BY session FOR NO KEY UPDATE
        """),
        {"portfolio": portfolio, "phase": phase.value},
    )
    runs = await conn.scalar(
        text("""
            UPDATE ledger.schedule
            SET runs = runs + 1, last_error = :error, asked = NULL,
                probe_at = CASE WHEN runs + 1 >= :most THEN now() + CAST(:probe AS interval) ELSE probe_at END,
                next_at = now() + random() * least(interval '15 minutes', interval '5 seconds' * power(2, least(runs, 10)))
            WHERE portfolio_id = :portfolio AND phase = CAST(:phase AS ledger.phase)
            RETURNING runs
        """),
        {
            "portfolio": portfolio,
            "phase": phase.value,
            "error": storable(words[0] if words else "", 2000 - len(others)) + others,
            "most": MAX_RUNS,
            "probe": PROBE,
        },
    )
    if runs is None or runs < MAX_RUNS:
        return False
    blocked = await conn.execute(
        text("""
            WITH k AS (
                SELECT u.portfolio_id, u.session, u.phase, f.error FROM ledger.units u
                JOIN unnest(CAST(:firsts AS date[]), CAST(:lasts AS date[]), CAST(:errors AS text[]))
                    AS f (first, last, error) ON u.session BETWEEN f.first AND f.last
                WHERE u.portfolio_id = :portfolio AND u.phase = CAST(:phase AS ledger.phase)
                  AND u.completed_revision < u.required_revision AND u.blocked_reason IS NULL
                ORDER BY u.session FOR NO KEY UPDATE OF u
            )
            UPDATE ledger.units u SET blocked_reason = left(k.error, 500) FROM k
            WHERE u.portfolio_id = k.portfolio_id AND u.session = k.session AND u.phase = k.phase
        """),
        {
            "portfolio": portfolio,
            "phase": phase.value,
            "firsts": [first for first, _ in ranges],
            "lasts": [last for _, last in ranges],
            "errors": words,
        },
    )
    return bool(blocked.rowcount)


async def unblock(
    conn: AsyncConnection, portfolios: Sequence[UUID] | None, first: date, last: date, phase: Phase | None
) -> int:
    """Blocked units are missing like any other again; returns how many. `None`: all portfolios, all phases."""
    freed = await _free(
        conn,
        """
            u.session BETWEEN :first AND :last
            AND (CAST(:portfolios AS uuid[]) IS NULL OR u.portfolio_id = ANY (CAST(:portfolios AS uuid[])))
            AND (CAST(:phase AS ledger.phase) IS NULL OR u.phase = CAST(:phase AS ledger.phase))
        """,
        {
            "portfolios": None if portfolios is None else list(portfolios),
            "first": first,
            "last": last,
            "phase": None if phase is None else phase.value,
            "runs": 0,
        },
    )
    return sum(freed.values())


async def lock_blocked(conn: AsyncConnection) -> None:
    """Lock all blocked units, by key: for who frees one part after the other, and would have locked schedules by the second."""
    await conn.execute(
        text("""
            SELECT 1 FROM ledger.units WHERE blocked_reason IS NOT NULL
            ORDER BY portfolio_id, session, phase FOR NO KEY UPDATE
        """)
    )


async def unblock_due(conn: AsyncConnection) -> dict[Phase, int]:
    """Free the blocked units whose probe is due; returns how many, by phase. The next failure blocks them again."""
    condition = """
        EXISTS (SELECT 1 FROM ledger.schedule d
                WHERE d.portfolio_id = u.portfolio_id AND d.phase = u.phase AND d.probe_at <= now())
    """
    return await _free(conn, condition, {"runs": MAX_RUNS - 1})


async def _free(conn: AsyncConnection, condition: str, parameters: Mapping[str, Any]) -> dict[Phase, int]:
    """Free the blocked units `u` that fit. What stays blocked of a portfolio and phase keeps its daily probe."""
    rows = await conn.execute(
        text(f"""
            WITH k AS (
                SELECT u.portfolio_id, u.session, u.phase FROM ledger.units u
                WHERE u.blocked_reason IS NOT NULL AND {condition}
                ORDER BY u.portfolio_id, u.session, u.phase FOR NO KEY UPDATE OF u
            ), freed AS (
                UPDATE ledger.units u SET blocked_reason = NULL FROM k
                WHERE u.portfolio_id = k.portfolio_id AND u.session = k.session AND u.phase = k.phase
                RETURNING u.portfolio_id, u.phase
            ), touched AS (
                SELECT DISTINCT portfolio_id, phase FROM freed
            ), left_blocked AS (
                SELECT DISTINCT b.portfolio_id, b.phase FROM ledger.units b
                JOIN touched t ON t.portfolio_id = b.portfolio_id AND t.phase = b.phase
                LEFT JOIN k ON k.portfolio_id = b.portfolio_id AND k.session = b.session AND k.phase = b.phase
                WHERE b.blocked_reason IS NOT NULL AND k.portfolio_id IS NULL
            ), waiting AS (
                SELECT s.portfolio_id, s.phase, l.portfolio_id IS NOT NULL AS probed FROM ledger.schedule s
                JOIN touched t ON t.portfolio_id = s.portfolio_id AND t.phase = s.phase
                LEFT JOIN left_blocked l ON l.portfolio_id = s.portfolio_id AND l.phase = s.phase
                ORDER BY s.portfolio_id, s.phase FOR NO KEY UPDATE OF s
            ), rescheduled AS (
                UPDATE ledger.schedule s
                SET runs = :runs, emits = 0, last_error = NULL, asked = NULL, next_at = now() + interval '30 seconds',
                    probe_at = CASE WHEN w.probed THEN s.probe_at END
                FROM waiting w WHERE s.portfolio_id = w.portfolio_id AND s.phase = w.phase
            )
            SELECT CAST(phase AS text), count(*) FROM freed GROUP BY 1
        """),
        dict(parameters),
    )
    return {Phase(phase): int(units) for phase, units in rows}


async def scope_of(conn: AsyncConnection, work: Work, phase: Phase) -> list[Due]:
    """All missing units of the phase within the work, ready or not; for tests and for people."""
    rows = await conn.execute(
        text("""
            SELECT portfolio_id, session, required_revision FROM ledger.units
            WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND phase = CAST(:phase AS ledger.phase)
              AND session BETWEEN :first AND :last AND completed_revision < required_revision
            ORDER BY portfolio_id, session
        """),
        {"portfolios": list(work.portfolios), "phase": phase.value, "first": work.first, "last": work.last},
    )
    return [Due(*row) for row in rows]
