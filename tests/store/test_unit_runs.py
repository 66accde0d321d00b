"""What is kept of units (runs of one state, shortfalls by quarter) is what reading all units would give, whatever was done to the units
and however little was read."""

from __future__ import annotations

import json
import random
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.ledger import runs, shortfalls
from tests.support.databases import act_as

# The forty days and the thirty after them are of two quarters, and the months before of a third.
START = date(2020, 2, 25)
PORTFOLIOS = [UUID(int=number + 1) for number in range(3)]
GROUPED = """
    WITH marked AS (
        SELECT portfolio_id, phase, session,
               CASE WHEN completed_revision >= required_revision
                         THEN CASE WHEN quality = 'partial' THEN 'partial' ELSE 'complete' END
                    WHEN blocked_reason IS NOT NULL THEN 'blocked' ELSE 'missing' END AS state
        FROM ledger.units
    ), numbered AS (
        SELECT *, row_number() OVER (PARTITION BY portfolio_id, phase ORDER BY session)
                  - row_number() OVER (PARTITION BY portfolio_id, phase, state ORDER BY session) AS island
        FROM marked
    )
    SELECT portfolio_id, CAST(phase AS text) AS phase, min(session), max(session), state
    FROM numbered GROUP BY portfolio_id, phase, state, island ORDER BY 1, 2, 3
"""


async def kept(conn: AsyncConnection) -> list[tuple[object, ...]]:
    rows = await conn.execute(
        text(
            "SELECT portfolio_id, CAST(phase AS text) AS phase, first, last, state FROM ledger.unit_runs ORDER BY 1, 2, 3"
        )
    )
    return [tuple(row) for row in rows]


async def grouped(conn: AsyncConnection) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await conn.execute(text(GROUPED))]


def _shortfall(draw: random.Random) -> str:
    entries = [
        {
            "figure": draw.choice([None, "beta"]),
            "symbol": draw.choice([None, "A", "B"]),
            "reason": draw.choice(["stale", "late"]),
        }
        for _ in range(draw.randrange(3))
    ]
    coverage = draw.choice(["NULL", "0.5", "0.25 + 0.5 * random()"])
    return f"reasons = CAST('{json.dumps(entries)}' AS jsonb), coverage = {coverage}"


Known = dict[UUID, tuple[set[tuple[str, str | None, str]], float | None]]


async def lacking(conn: AsyncConnection, since: date) -> Known:
    """Of the units themselves: what those of a portfolio lack from a session on, and the lowest coverage of a snapshot."""
    rows = await conn.execute(
        text("""
            SELECT portfolio_id, CAST(phase AS text) AS phase, CAST(reasons AS text) AS reasons, coverage FROM ledger.units
            WHERE quality = 'partial' AND completed_revision >= required_revision AND session >= :since
        """),
        {"since": since},
    )
    found: Known = {}
    for row in rows:
        reasons, lowest = found.get(row.portfolio_id, (set(), None))
        reasons |= {(row.phase, entry["symbol"], entry["reason"]) for entry in json.loads(row.reasons)}
        known = [value for value in (lowest, row.coverage if row.phase == "snapshots" else None) if value is not None]
        found[row.portfolio_id] = reasons, min(known, default=None)
    return found


async def kept_lacks(conn: AsyncConnection, since: date) -> Known:
    return {
        of: (
            {(phase, *each) for phase, text in lacks.shortfalls for each in shortfalls.reasons_of(text)},
            lacks.coverage,
        )
        for of, lacks in (await shortfalls.read_lacks(conn, PORTFOLIOS, since)).items()
    }


async def extents(conn: AsyncConnection) -> dict[UUID, runs.Extent]:
    """Of the units themselves."""
    rows = await conn.execute(
        text("""
            SELECT portfolio_id, CAST(phase AS text) AS phase, session, completed_revision >= required_revision AS done,
                   completed_revision > 0 AS valued, blocked_reason IS NOT NULL AS blocked FROM ledger.units ORDER BY session
        """)
    )
    of: dict[UUID, list[Any]] = {}
    for row in rows:
        of.setdefault(row.portfolio_id, []).append(row)
    found = {}
    for portfolio, units in of.items():
        missing = min((unit.session for unit in units if not unit.done), default=date.max)
        found[portfolio] = runs.Extent(
            max((unit.session for unit in units if unit.done and unit.phase == "snapshots"), default=None),
            max((unit.session for unit in units if unit.done and unit.phase == "risk"), default=None),
            any(unit.valued and unit.phase == "snapshots" for unit in units),
            missing < date.max,
            any(unit.blocked for unit in units),
            max((unit.session for unit in units if unit.session < missing), default=None),
        )
    return found


def _step(draw: random.Random) -> tuple[str, dict[str, object]]:
    """One change of units, as the ledger makes them: added, completed, raised, blocked, removed."""
    low = START + timedelta(days=draw.randrange(40))
    values: dict[str, object] = {
        "p": draw.choice(PORTFOLIOS),
        "low": low,
        "high": low + timedelta(days=draw.choice([0, 0, 1, 5, 30])),
        "phase": draw.choice(["ingest", "factors", "snapshots", "risk"]),
    }
    where = (
        "portfolio_id = :p AND session BETWEEN :low AND :high AND phase = CAST(CAST(:phase AS text) AS ledger.phase)"
    )
    kind = draw.choice(["add", "add", "complete", "complete", "partial", "raise", "block", "remove"])
    if kind == "add":
        del values["phase"]
        return (
            """INSERT INTO ledger.units (portfolio_id, session, phase, required_revision)
               SELECT :p, CAST(d AS date), phase, 1 FROM generate_series(CAST(:low AS date), CAST(:high AS date), '1 day') d
               CROSS JOIN unnest(enum_range(NULL::ledger.phase)) phase ON CONFLICT DO NOTHING""",
            values,
        )
    if kind == "remove":
        del values["phase"]
        return "DELETE FROM ledger.units WHERE portfolio_id = :p AND session BETWEEN :low AND :high", values
    change = {
        "complete": "completed_revision = required_revision, quality = 'complete', blocked_reason = NULL",
        "partial": "completed_revision = required_revision, quality = 'partial', blocked_reason = NULL, "
        + _shortfall(draw),
        "raise": "required_revision = completed_revision + 1, blocked_reason = NULL",
        "block": "required_revision = completed_revision + 1, blocked_reason = 'it fails'",
    }[kind]
    return f"UPDATE ledger.units SET {change} WHERE {where}", values


@pytest.mark.parametrize("seed", range(4))
async def test_kept_runs_are_what_grouping_gives(db: AsyncConnection, seed: int) -> None:
    draw = random.Random(seed)
    for turn in range(120):
        statement, values = _step(draw)
        await db.execute(text(statement), values)
        # Sometimes after one change, sometimes after many.
        if draw.random() < 0.4 or turn == 119:
            done = await runs.refresh(db)
            assert done is not None
            assert await kept(db) == await grouped(db), (seed, turn, statement, values)
        if turn % 6 == 0:
            # Brought up to date or not: what is not is read from the units.
            since = START + timedelta(days=draw.choice([-60, 0, 20, 36, 50]))
            assert await kept_lacks(db, since) == await lacking(db, since), (seed, turn, since)
            assert await runs.read_extents(db, PORTFOLIOS) == await extents(db), (seed, turn)
    for since in (START + timedelta(days=days) for days in (-60, 10, 33, 45, 69)):
        assert await kept_lacks(db, since) == await lacking(db, since)
    assert await kept(db)
    assert await db.scalar(text("SELECT count(*) FROM ledger.unit_shortfalls")) > 0
    assert await runs.count_pending(db) == 0


async def test_shortfalls_are_marked_where_a_unit_is_partial_or_was(db: AsyncConnection) -> None:
    async def change(what: str) -> int:
        await db.execute(text("DELETE FROM ledger.shortfall_changes"))
        await db.execute(text(what))
        return int(await db.scalar(text("SELECT count(*) FROM ledger.shortfall_changes")) or 0)

    await db.execute(text("SELECT ledger.order_lock()"))
    added = """INSERT INTO ledger.units (portfolio_id, session, phase, required_revision)
               VALUES ('00000000-0000-0000-0000-000000000001', '2024-01-02', 'risk', 1)"""
    completed = "UPDATE ledger.units SET completed_revision = required_revision, quality = '{}'"
    raised = "UPDATE ledger.units SET required_revision = required_revision + 1"
    assert await change(added) == 0
    assert await change(completed.format("complete")) == 0
    assert await change(raised) == 0
    assert await change(completed.format("partial")) == 1
    assert await change(raised) > 0, "it is not complete any more, so what it lacks is not counted"
    assert await change(completed.format("complete")) == 1, "it was partial"
    assert await change("DELETE FROM ledger.units") == 0
    await change(added)
    await change(completed.format("partial"))
    assert await change("DELETE FROM ledger.units") == 1


async def test_few_marks_at_a_time_lead_to_the_same(db: AsyncConnection) -> None:
    draw = random.Random(9)
    for _ in range(60):
        statement, values = _step(draw)
        await db.execute(text(statement), values)
    while (done := await runs.refresh(db, marks=1)) is not None and done.marks:
        pass
    assert await kept(db) == await grouped(db)


async def test_a_session_that_is_added_to_years_reads_only_that_session(db: AsyncConnection) -> None:
    """What lies outside of a mark is taken from the runs: here they say something else than the units, and stay."""
    portfolio = uuid4()
    await db.execute(
        text("""INSERT INTO ledger.units (portfolio_id, session, phase, required_revision)
                SELECT :p, CAST(d AS date), 'risk', 1 FROM generate_series(date '2020-01-01', date '2023-12-31', '1 day') d"""),
        {"p": portfolio},
    )
    await runs.refresh(db)
    await db.execute(text("UPDATE ledger.unit_runs SET state = 'partial'"))
    await db.execute(
        text(
            "INSERT INTO ledger.units (portfolio_id, session, phase, required_revision) VALUES (:p, '2024-01-01', 'risk', 1)"
        ),
        {"p": portfolio},
    )
    await runs.refresh(db)
    assert [row[2:] for row in await kept(db)] == [
        (date(2020, 1, 1), date(2023, 12, 31), "partial"),
        (date(2024, 1, 1), date(2024, 1, 1), "missing"),
    ]


async def test_a_phase_may_change_units_and_the_coordinator_mends_the_runs(db: AsyncConnection) -> None:
    """Nobody needs more rights for it than before."""
    await db.execute(
        text(
            "INSERT INTO ledger.units (portfolio_id, session, phase, required_revision) VALUES (:p, '2020-01-02', 'risk', 1)"
        ),
        {"p": PORTFOLIOS[0]},
    )
    await act_as(db, "risk")
    await db.execute(text("UPDATE ledger.units SET completed_revision = 1, quality = 'partial', completed_at = now()"))
    await act_as(db, "coordinator")
    assert await runs.refresh(db) is not None
    assert [row[4] for row in await kept(db)] == ["partial"]


async def test_the_lowest_coverage_of_a_quarter_that_is_cut_is_of_the_sessions_that_count(db: AsyncConnection) -> None:
    """The quarter is kept as a whole, and its lowest may lie before."""
    await db.execute(
        text("""INSERT INTO ledger.units (portfolio_id, session, phase, required_revision, completed_revision, quality, coverage, reasons)
                SELECT :p, day, 'snapshots', 1, 1, 'partial', coverage, '[{"symbol": "A", "reason": "stale"}]'
                FROM (VALUES (date '2020-01-10', 0.1), (date '2020-03-10', 0.6), (date '2020-04-10', 0.8)) AS v (day, coverage)"""),
        {"p": PORTFOLIOS[0]},
    )
    await runs.refresh(db)
    for since, lowest in ((date(2020, 1, 10), 0.1), (date(2020, 1, 11), 0.6), (date(2020, 3, 11), 0.8)):
        found = await kept_lacks(db, since)
        assert found == {PORTFOLIOS[0]: ({("snapshots", "A", "stale")}, lowest)}, since
    assert await kept_lacks(db, date(2020, 4, 11)) == {}


async def test_lacks_are_read_from_what_is_kept(db: AsyncConnection) -> None:
    """Not from the units, of which there are a hundred times as many: here the kept row says something else, and that is answered."""
    await db.execute(
        text("""INSERT INTO ledger.units (portfolio_id, session, phase, required_revision, completed_revision, quality, coverage)
                SELECT :p, CAST(d AS date), 'snapshots', 1, 1, 'partial', 0.5
                FROM generate_series(date '2020-01-01', date '2020-12-31', '1 day') d"""),
        {"p": PORTFOLIOS[0]},
    )
    await runs.refresh(db)
    assert await db.scalar(text("SELECT count(*) FROM ledger.unit_shortfalls")) == 4
    await db.execute(
        text("UPDATE ledger.unit_shortfalls SET lacks = '[[\"A\", \"stale\"]]' WHERE first = '2020-07-01'")
    )
    assert await kept_lacks(db, date(2020, 1, 1)) == {PORTFOLIOS[0]: ({("snapshots", "A", "stale")}, 0.5)}
