"""Runs of consecutive units in one state: a projection of the units, brought up to date where they changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import locks
from shared.ledger.states import STATE_OF_MISSING

# Marks taken at once, so that no transaction is long. After a migration each stands for years of units, of a night for one session.
MARKS = 500

_STATE = """
    CASE WHEN u.completed_revision >= u.required_revision
              THEN CASE WHEN u.quality = 'partial' THEN 'partial' ELSE 'complete' END
         WHEN u.blocked_reason IS NOT NULL THEN 'blocked' ELSE 'missing' END
"""


# The units within each mark are joined with the runs on both sides, and what comes of it takes the place of what was there.
_MEND = f"""
    WITH marks AS MATERIALIZED (
        SELECT portfolio_id, CAST(phase AS ledger.phase) AS phase, first, last
        FROM unnest(CAST(:portfolios AS uuid[]), CAST(:phases AS text[]), CAST(:firsts AS date[]), CAST(:lasts AS date[]))
            AS m (portfolio_id, phase, first, last)
    ), ends AS MATERIALIZED (
        SELECT m.portfolio_id, m.phase, m.first, m.last,
               l.first AS left_first, l.state AS left_state, before.session AS left_last,
               r.first AS right_run, r.last AS right_last, r.state AS right_state, after.session AS right_first
        FROM marks m
        LEFT JOIN LATERAL (
            SELECT first, state FROM ledger.unit_runs o
            WHERE o.portfolio_id = m.portfolio_id AND o.phase = m.phase AND o.first < m.first ORDER BY first DESC LIMIT 1
        ) l ON true
        LEFT JOIN LATERAL (
            SELECT first, last, state FROM ledger.unit_runs o
            WHERE o.portfolio_id = m.portfolio_id AND o.phase = m.phase AND o.last > m.last ORDER BY first LIMIT 1
        ) r ON true
        LEFT JOIN LATERAL (
            SELECT session FROM ledger.units u
            WHERE u.portfolio_id = m.portfolio_id AND u.phase = m.phase AND u.session < m.first
            ORDER BY session DESC LIMIT 1
        ) before ON l.first IS NOT NULL
        LEFT JOIN LATERAL (
            SELECT session FROM ledger.units u
            WHERE u.portfolio_id = m.portfolio_id AND u.phase = m.phase AND u.session > m.last
            ORDER BY session LIMIT 1
        ) after ON r.first IS NOT NULL
    ), parts AS (
        SELECT portfolio_id, phase, left_first AS first, left_last AS last, left_state AS state FROM ends
        WHERE left_first <= left_last
        UNION ALL
        SELECT m.portfolio_id, m.phase, u.session, u.session, {_STATE}
        FROM marks m JOIN ledger.units u
          ON u.portfolio_id = m.portfolio_id AND u.phase = m.phase AND u.session BETWEEN m.first AND m.last
        UNION ALL
        SELECT portfolio_id, phase, right_first, right_last, right_state FROM ends WHERE right_first <= right_last
    ), numbered AS (
        SELECT *, row_number() OVER (PARTITION BY portfolio_id, phase ORDER BY first)
                  - row_number() OVER (PARTITION BY portfolio_id, phase, state ORDER BY first) AS island
        FROM parts
    ), runs AS MATERIALIZED (
        SELECT portfolio_id, phase, min(first) AS first, max(last) AS last, state
        FROM numbered GROUP BY portfolio_id, phase, state, island
    ), dropped AS (
        -- Those that stay, at least by their first session, are updated below: one statement must not touch a row twice.
        DELETE FROM ledger.unit_runs o USING ends e
        WHERE o.portfolio_id = e.portfolio_id AND o.phase = e.phase
          AND o.first BETWEEN coalesce(e.left_first, e.first) AND greatest(e.last, e.right_run)
          AND NOT EXISTS (SELECT 1 FROM runs n
                          WHERE n.portfolio_id = o.portfolio_id AND n.phase = o.phase AND n.first = o.first)
    )
    INSERT INTO ledger.unit_runs AS o (portfolio_id, phase, first, last, state)
    SELECT portfolio_id, phase, first, last, state FROM runs
    ON CONFLICT (portfolio_id, phase, first) DO UPDATE SET last = excluded.last, state = excluded.state
    WHERE (o.last, o.state) IS DISTINCT FROM (excluded.last, excluded.state)
"""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """marks : how many were taken; more may be left where that is as many as may be at once."""

    marks: int
    portfolios: int


async def refresh(conn: AsyncConnection, marks: int = MARKS) -> Refreshed | None:
    """Bring the runs up to date where units were changed by transactions that have committed. None while somebody else does, and
    over a connection that only reads: what is left is counted as pending.

    To be called in a transaction that reads what is committed at each statement, and that is committed soon: a mark that is
    taken away before the units are read can only be of changes that the read sees.
    """
    # One at a time: two that mend the same runs would each see the other's half.
    lock = dict(zip(("class", "key"), locks.UNIT_RUNS, strict=True))
    mine = await conn.scalar(
        text("""
            SELECT CASE current_setting('transaction_read_only') WHEN 'off' THEN pg_try_advisory_xact_lock(:class, :key) END
        """),
        lock,
    )
    if not mine:
        return None
    taken = (
        await conn.execute(
            text("""
                WITH gone AS (
                    DELETE FROM ledger.unit_changes WHERE id IN (SELECT id FROM ledger.unit_changes ORDER BY id LIMIT :marks)
                    RETURNING portfolio_id, phase, first, last
                )
                SELECT portfolio_id, CAST(phase AS text) AS phase, min(first) AS first, max(last) AS last, count(*) AS marks
                FROM gone GROUP BY portfolio_id, phase ORDER BY 1, 2
            """),
            {"marks": marks},
        )
    ).all()
    if taken:
        await _mend(conn, taken)
    return Refreshed(sum(mark.marks for mark in taken), len({mark.portfolio_id for mark in taken}))


async def _mend(conn: AsyncConnection, marks: Sequence[Any]) -> None:
    """Read the units within each mark, join them with the runs on both sides, and put the result in place of what was there.

    The part of a run that lies outside of a mark has not changed, so it is not read again: a session that is added to five years
    costs that session.
    """
    await conn.execute(
        text(_MEND),
        {
            "portfolios": [mark.portfolio_id for mark in marks],
            "phases": [mark.phase for mark in marks],
            "firsts": [mark.first for mark in marks],
            "lasts": [mark.last for mark in marks],
        },
    )


class Run(NamedTuple):
    """Sessions in one state, both ends within. Of missing ones also what is happening about them."""

    portfolio_id: UUID
    phase: str
    first: date
    last: date
    state: str


async def read_runs(
    conn: AsyncConnection, first: date | None, last: date | None, phase: str | None, portfolios: Sequence[UUID] | None
) -> list[Run]:
    """The runs that touch [first, last], cut to it, by portfolio, phase and session. `missing` is told apart by its schedule."""
    rows = await conn.execute(
        text(f"""
            SELECT r.portfolio_id, CAST(r.phase AS text), greatest(r.first, :first) AS first, least(r.last, :last) AS last,
                   CASE WHEN r.state <> 'missing' THEN r.state ELSE {STATE_OF_MISSING} END AS state
            FROM ledger.unit_runs r
            LEFT JOIN ledger.schedule s ON r.state = 'missing' AND s.portfolio_id = r.portfolio_id AND s.phase = r.phase
            WHERE r.first <= :last AND r.last >= :first
              AND (CAST(:phase AS ledger.phase) IS NULL OR r.phase = CAST(:phase AS ledger.phase))
              AND (CAST(:portfolios AS uuid[]) IS NULL OR r.portfolio_id = ANY (CAST(:portfolios AS uuid[])))
            ORDER BY r.portfolio_id, r.phase, r.first
        """),
        {
            "first": first or date.min,
            "last": last or date.max,
            "phase": phase,
            "portfolios": None if portfolios is None else list(portfolios),
        },
    )
    return [Run._make(row) for row in rows]


async def count_pending(conn: AsyncConnection) -> int:
    """Changes that the runs do not show yet."""
    return int(await conn.scalar(text("SELECT count(*) FROM ledger.unit_changes")) or 0)
