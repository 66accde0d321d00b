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
from shared.db.statements import statement
from shared.ledger import shortfalls
from shared.ledger.among import AMONG, among
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
    """marks : how many were taken, of runs or of shortfalls, whichever are more. More may be left where that is as many as may be
    at once."""

    marks: int
    portfolios: int


async def refresh(conn: AsyncConnection, marks: int = MARKS) -> Refreshed | None:
    """Bring the runs and the shortfalls up to date where units were changed by transactions that have committed. None while somebody
    else does, and over a connection that only reads: what is left is counted as pending.

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
                WITH of_runs AS (
                    DELETE FROM ledger.unit_changes WHERE id IN (SELECT id FROM ledger.unit_changes ORDER BY id LIMIT :marks)
                    RETURNING 'runs' AS kind, portfolio_id, phase, first, last
                ), of_shortfalls AS (
                    DELETE FROM ledger.shortfall_changes
                    WHERE id IN (SELECT id FROM ledger.shortfall_changes ORDER BY id LIMIT :marks)
                    RETURNING 'shortfalls' AS kind, portfolio_id, phase, first, last
                )
                SELECT kind, portfolio_id, CAST(phase AS text) AS phase, min(first) AS first, max(last) AS last, count(*) AS marks
                FROM (TABLE of_runs UNION ALL TABLE of_shortfalls) AS gone GROUP BY kind, portfolio_id, phase ORDER BY 1, 2, 3
            """),
            {"marks": marks},
        )
    ).all()
    of_runs = [mark for mark in taken if mark.kind == "runs"]
    of_shortfalls = [mark for mark in taken if mark.kind == "shortfalls"]
    if of_runs:
        await _mend(conn, of_runs)
    if of_shortfalls:
        await shortfalls.mend(conn, of_shortfalls)
    return Refreshed(
        max(sum(mark.marks for mark in of_runs), sum(mark.marks for mark in of_shortfalls)),
        len({mark.portfolio_id for mark in taken}),
    )


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
    """Sessions of a portfolio in one state, both ends within. Of missing ones also what is happening about them."""

    phase: str
    first: date
    last: date
    state: str


async def read_runs(
    conn: AsyncConnection, first: date | None, last: date | None, phase: str | None, portfolios: Sequence[UUID] | None
) -> dict[UUID, list[Run]]:
    """By portfolio the runs that touch [first, last], cut to it, by phase and session. `missing` is told apart by its schedule.

    A row a portfolio, with arrays: there are ten times as many runs as portfolios, and a row costs more than what is in it.
    """
    rows = await conn.execute(
        text(f"""
            SELECT portfolio_id, array_agg(phase) AS phases, array_agg(first) AS firsts, array_agg(last) AS lasts,
                   array_agg(state) AS states
            FROM (
                SELECT r.portfolio_id, CAST(r.phase AS text) AS phase,
                       greatest(r.first, CAST(:first AS date)) AS first, least(r.last, CAST(:last AS date)) AS last,
                       CASE WHEN r.state <> 'missing' THEN r.state ELSE {STATE_OF_MISSING} END AS state
                FROM ledger.unit_runs r
                LEFT JOIN ledger.schedule s ON r.state = 'missing' AND s.portfolio_id = r.portfolio_id AND s.phase = r.phase
                WHERE r.first <= :last AND r.last >= :first
                  AND (CAST(:phase AS ledger.phase) IS NULL OR r.phase = CAST(:phase AS ledger.phase))
                  AND (CAST(:portfolios AS uuid[]) IS NULL OR r.portfolio_id = ANY (CAST(:portfolios AS uuid[])))
                ORDER BY r.portfolio_id, r.phase, r.first
            ) ordered GROUP BY portfolio_id ORDER BY portfolio_id
        """),
        {
            "first": first or date.min,
            "last": last or date.max,
            "phase": phase,
            "portfolios": None if portfolios is None else list(portfolios),
        },
    )
    return {of: [Run(*run) for run in zip(*arrays, strict=True)] for of, *arrays in rows.all()}


async def has_marks(conn: AsyncConnection, *, beyond: int = 0) -> bool:
    """Whether there are more than so many changes that the runs, or the shortfalls, do not show yet."""
    found = statement("""
        SELECT EXISTS (SELECT 1 FROM ledger.unit_changes OFFSET :beyond)
            OR EXISTS (SELECT 1 FROM ledger.shortfall_changes OFFSET :beyond)
    """)
    return bool(await conn.scalar(found, {"beyond": beyond}))


async def newest_mark(conn: AsyncConnection) -> int | None:
    """A number that grows with each change that the runs, or the shortfalls, do not show yet; None where there is none."""
    found = text("""
        SELECT nullif(coalesce((SELECT max(id) FROM ledger.unit_changes), 0)
                      + coalesce((SELECT max(id) FROM ledger.shortfall_changes), 0), 0)
    """)
    number: int | None = await conn.scalar(found)
    return number


async def count_pending(conn: AsyncConnection) -> int:
    """Changes that the runs do not show yet."""
    return int(await conn.scalar(text("SELECT count(*) FROM ledger.unit_changes")) or 0)


class Extent(NamedTuple):
    """How far the units of a portfolio are.

    snapshots, risk : the last session that is complete, or partial; None without one
    valued          : some session has a snapshot, be it an older one than required
    missing         : something is not complete, blocked or not; blocked : something is blocked
    complete_to     : the last session up to which nothing at all is missing; None without one
    """

    snapshots: date | None = None
    risk: date | None = None
    valued: bool = False
    missing: bool = False
    blocked: bool = False
    complete_to: date | None = None


async def read_extents(conn: AsyncConnection, portfolios: Sequence[UUID]) -> dict[UUID, Extent]:
    """Of portfolios that have units, as the units have it in this snapshot: where they changed since the runs were last brought up to
    date, the units are read themselves."""
    rows = await conn.execute(
        statement(f"""
            WITH marked AS MATERIALIZED (
                SELECT DISTINCT portfolio_id FROM ledger.unit_changes WHERE {AMONG}
            ), ends AS MATERIALIZED (
                SELECT portfolio_id, max(last) FILTER (WHERE phase = 'snapshots' AND state IN ('complete', 'partial')) AS snapshots,
                       max(last) FILTER (WHERE phase = 'risk' AND state IN ('complete', 'partial')) AS risk,
                       min(first) FILTER (WHERE state IN ('missing', 'blocked')) AS missing,
                       bool_or(state = 'blocked') AS blocked, max(last) AS last
                FROM ledger.unit_runs
                WHERE {AMONG} AND portfolio_id NOT IN (SELECT portfolio_id FROM marked)
                GROUP BY portfolio_id
                UNION ALL
                SELECT m.portfolio_id,
                       (SELECT max(session) FROM ledger.units WHERE portfolio_id = m.portfolio_id AND phase = 'snapshots'
                                                                AND completed_revision >= required_revision),
                       (SELECT max(session) FROM ledger.units WHERE portfolio_id = m.portfolio_id AND phase = 'risk'
                                                                AND completed_revision >= required_revision),
                       least(open.first, stuck.first), stuck.first IS NOT NULL,
                       (SELECT max(session) FROM ledger.units WHERE portfolio_id = m.portfolio_id)
                FROM marked m
                CROSS JOIN LATERAL (
                    -- OFFSET: from the index of what is missing, not from all of the portfolio's in order of sessions.
                    SELECT min(session) AS first FROM (
                        SELECT session FROM ledger.units
                        WHERE portfolio_id = m.portfolio_id AND completed_revision < required_revision AND blocked_reason IS NULL
                        OFFSET 0
                    ) missing
                ) open
                CROSS JOIN LATERAL (
                    SELECT min(session) AS first FROM ledger.units
                    WHERE portfolio_id = m.portfolio_id AND blocked_reason IS NOT NULL
                ) stuck
            )
            SELECT e.portfolio_id, e.snapshots, e.risk,
                   e.snapshots IS NOT NULL OR EXISTS (
                       SELECT 1 FROM ledger.units u
                       WHERE u.portfolio_id = e.portfolio_id AND u.phase = 'snapshots' AND u.completed_revision > 0),
                   e.missing IS NOT NULL, e.blocked,
                   CASE WHEN e.missing IS NULL THEN e.last ELSE (
                       SELECT max(u.session) FROM ledger.units u WHERE u.portfolio_id = e.portfolio_id AND u.session < e.missing) END
            FROM ends e WHERE e.last IS NOT NULL
        """),
        among(portfolios),
    )
    return {row[0]: Extent._make(row[1:]) for row in rows.all()}
