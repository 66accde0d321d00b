"""Schedule and blocking: record progress, deferral or failure of a portfolio's phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.engine import assert_commit_order_lock
from shared.errors import sanitize_text
from shared.ledger.model import Deferral
from shared.work import Phase

# Runs that ended in a permanent or unclassified error before a unit is blocked. Waits for quota or provider never count.
MAX_RUNS = 8
# Blocked units are tried once more this often: what blocked them may have gone away without anybody saying so.
PROBE = timedelta(days=1)
# The next attempt after so many of one kind: full jitter over a wait that doubles, from five seconds to a quarter of an hour.
NEXT_ATTEMPT = "now() + random() * least(interval '15 minutes', interval '5 seconds' * power(2, least({count}, 10)))"
# So long failures are kept for people to read; what is to be done never depends on them.
KEPT = timedelta(days=30)


async def record_progress(conn: AsyncConnection, phase: Phase, portfolios: Sequence[UUID]) -> None:
    """Units were completed: the past failures of these portfolios no longer delay anything."""
    await conn.execute(
        text("""
            WITH k AS (
                SELECT portfolio_id, phase FROM ledger.schedule
                WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND phase = CAST(:phase AS ledger.phase)
                  AND (emits > 0 OR runs > 0 OR last_error IS NOT NULL OR asked IS NOT NULL OR withheld_until IS NOT NULL)
                ORDER BY portfolio_id FOR NO KEY UPDATE
            )
            UPDATE ledger.schedule s
            SET emits = 0, runs = 0, last_error = NULL, asked = NULL, withheld_until = NULL, next_at = now() + interval '30 seconds'
            FROM k WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
        """),
        {"portfolios": list(portfolios), "phase": phase.value},
    )


async def defer(conn: AsyncConnection, phase: Phase, portfolios: Sequence[UUID], until: Any, reason: str) -> None:
    """Waiting for a quota or a provider: look again then. Never counts as a run."""
    await defer_each(conn, phase, dict.fromkeys(portfolios, Deferral(until, reason)))


async def defer_each(conn: AsyncConnection, phase: Phase, deferrals: Mapping[UUID, Deferral]) -> None:
    """Look at each portfolio again at its own time. Never counts as a run."""
    if not deferrals:
        return
    await conn.execute(
        text("""
            WITH k AS (
                SELECT s.portfolio_id, s.phase, d.until, d.reason
                FROM unnest(CAST(:portfolios AS uuid[]), CAST(:untils AS timestamptz[]), CAST(:reasons AS text[]))
                    AS d (portfolio_id, until, reason)
                JOIN ledger.schedule s ON s.portfolio_id = d.portfolio_id AND s.phase = CAST(:phase AS ledger.phase)
                ORDER BY s.portfolio_id FOR NO KEY UPDATE OF s
            )
            UPDATE ledger.schedule s
            SET next_at = greatest(now(), k.until), last_error = k.reason, emits = 0, asked = NULL
            FROM k WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
        """),
        {
            "portfolios": list(deferrals),
            "phase": phase.value,
            "untils": [deferral.until for deferral in deferrals.values()],
            "reasons": [sanitize_text(deferral.reason, 2000) for deferral in deferrals.values()],
        },
    )


async def shorten_waits(conn: AsyncConnection) -> int:
    """A backoff longer than any was set by a clock that was ahead: it ends. Returns how many. Waits for a provider may be longer."""
    result = await conn.execute(
        text("""
            WITH k AS (
                SELECT portfolio_id, phase FROM ledger.schedule
                WHERE next_at > now() + interval '15 minutes' AND (runs > 0 OR last_error IS NULL)
                ORDER BY portfolio_id, phase FOR NO KEY UPDATE SKIP LOCKED
            )
            UPDATE ledger.schedule s SET next_at = now() FROM k WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
        """)
    )
    return int(result.rowcount)


async def record_failure(
    conn: AsyncConnection, phase: Phase, portfolio: UUID, errors: Mapping[tuple[date, date], str]
) -> bool:
    """Count one run that ended in permanent or unclassified errors. True if that blocked the units it failed at.

    errors : by first and last session of what failed, in the words that people will read
    """
    ranges = sorted(errors)
    words = [sanitize_text(errors[span], 2000) for span in ranges]
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
        text(f"""
            UPDATE ledger.schedule
            SET runs = runs + 1, last_error = :error, asked = NULL,
                probe_at = CASE WHEN runs + 1 >= :most THEN now() + CAST(:probe AS interval) ELSE probe_at END,
                next_at = {NEXT_ATTEMPT.format(count="runs")}
            WHERE portfolio_id = :portfolio AND phase = CAST(:phase AS ledger.phase)
            RETURNING runs
        """),
        {
            "portfolio": portfolio,
            "phase": phase.value,
            "error": sanitize_text(words[0] if words else "", 2000 - len(others)) + others,
            "most": MAX_RUNS,
            "probe": PROBE,
        },
    )
    if runs is None:
        return False
    await _keep(conn, phase, portfolio, dict(zip(ranges, words, strict=True)), blocked=runs >= MAX_RUNS)
    if runs < MAX_RUNS:
        return False
    return await _block(conn, phase, portfolio, ranges, words)


async def _block(
    conn: AsyncConnection, phase: Phase, portfolio: UUID, ranges: Sequence[tuple[date, date]], errors: Sequence[str]
) -> bool:
    """Block the missing units within the ranges, each with the error of its range. False if there were none left."""
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
            "errors": list(errors),
        },
    )
    return bool(blocked.rowcount)


async def _keep(
    conn: AsyncConnection, phase: Phase, portfolio: UUID, errors: Mapping[tuple[date, date], str], *, blocked: bool
) -> None:
    """Record what failed, and delete records past their keeping."""
    await conn.execute(
        text(
            "DELETE FROM ledger.failures WHERE phase = CAST(:phase AS ledger.phase) AND at < now() - CAST(:kept AS interval)"
        ),
        {"phase": phase.value, "kept": KEPT},
    )
    await conn.execute(
        text("""
            INSERT INTO ledger.failures (portfolio_id, phase, first, last, error, blocked)
            SELECT :portfolio, CAST(:phase AS ledger.phase), f.first, f.last, left(f.error, 500), :blocked
            FROM unnest(CAST(:firsts AS date[]), CAST(:lasts AS date[]), CAST(:errors AS text[])) AS f (first, last, error)
        """),
        {
            "portfolio": portfolio,
            "phase": phase.value,
            "firsts": [first for first, _ in errors],
            "lasts": [last for _, last in errors],
            "errors": list(errors.values()),
            "blocked": blocked,
        },
    )


async def unblock(
    conn: AsyncConnection, portfolios: Sequence[UUID] | None, first: date, last: date, phase: Phase | None
) -> int:
    """Blocked units are missing like any other again; returns how many. `None`: all portfolios, all phases."""
    freed = await _unblock_units(
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
    """Lock all blocked units by key, before a caller unblocks them in parts and has locked schedules by the second."""
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
    return await _unblock_units(conn, condition, {"runs": MAX_RUNS - 1})


async def _unblock_units(conn: AsyncConnection, condition: str, parameters: Mapping[str, Any]) -> dict[Phase, int]:
    """Free the blocked units `u` that fit. What stays blocked of a portfolio and phase keeps its daily probe."""
    await assert_commit_order_lock(conn)
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
