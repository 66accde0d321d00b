"""What must be true of any life: after every step, when all is quiet, and of the whole history.

Each function's docstring begins with the invariants it shows: I1 to I25 of the history of the monolith, V1 to V7 of the plan.
`table.py` says the same the other way round.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.coordinator.runs import store as runs
from shared.db.engine import snapshot
from shared.messaging import dead_letters
from shared.work import Phase
from tests.crash import checks
from tests.crash.checks import Noted
from tests.stateful.toy import DAYS, FIGURES, expected, read_inputs
from tests.support import audit

UNITS = """
    SELECT portfolio_id, session, CAST(phase AS text) AS phase, required_revision AS required,
           completed_revision AS completed, blocked_reason IS NOT NULL AS blocked
    FROM ledger.units
"""
OWN_TABLES = ("snapshots.snapshots", "snapshots.holdings", "risk.results")


async def rows(conn: AsyncConnection, statement: str) -> list[Any]:
    return list(await conn.execute(text(statement)))


async def always(engine: AsyncEngine, due: int, living: Collection[UUID], dead: Mapping[UUID, set[Any]]) -> None:
    """After every step, in one snapshot."""
    async with snapshot(engine) as conn:
        units = await rows(conn, UNITS)
        await sound(conn, units)
        await figures(conn, units, due)
        await scope(conn, units, due, living)
        await gone(conn, units, dead)
        await letters(conn)


async def sound(conn: AsyncConnection, units: Sequence[Any]) -> None:
    """I2, I12, I18, V5: nothing is complete beyond what is required; a raise is closed downstream; who waits is scheduled."""
    assert [unit for unit in units if unit.completed > unit.required] == []
    assert [unit for unit in units if unit.blocked and unit.completed >= unit.required] == [], "blocked and complete"
    required = {(unit.portfolio_id, unit.session, unit.phase): unit.required for unit in units}
    newest: dict[UUID, int] = {}
    for portfolio, session in sorted({key[:2] for key in required}):
        of = {phase: required[portfolio, session, phase.value] for phase in Phase}
        newest[portfolio] = max(newest.get(portfolio, 0), of[Phase.INGEST], of[Phase.SNAPSHOTS])
        assert of[Phase.FACTORS] >= of[Phase.INGEST]
        assert of[Phase.SNAPSHOTS] >= newest[portfolio], "a chain is open to its end"
        assert of[Phase.RISK] >= max(of[Phase.FACTORS], of[Phase.SNAPSHOTS])
    unscheduled = await rows(
        conn,
        """SELECT DISTINCT u.portfolio_id, u.phase FROM ledger.units u
           LEFT JOIN ledger.schedule s ON s.portfolio_id = u.portfolio_id AND s.phase = u.phase
           WHERE s.portfolio_id IS NULL""",
    )
    assert unscheduled == [], "units that the reconciler cannot see"


async def figures(conn: AsyncConnection, units: Sequence[Any], due: int) -> None:
    """I2, I11, I12, I16, I18, V4: a unit that counts as complete has its result, of that revision, as today's inputs give it."""
    found = {(row[0], row[1], row[2]): (row[3], row[4]) for row in await rows(conn, FIGURES)}
    wanted = expected(await read_inputs(conn), DAYS[:due])
    for unit in units:
        key = (unit.portfolio_id, unit.session, unit.phase)
        if unit.completed >= unit.required:
            assert found.get(key) == (unit.completed, wanted[key]), f"{key} counts as complete and is not"
        elif unit.completed > 0:
            assert found[key][0] == unit.completed, f"{key} has a result of another revision"
        elif unit.phase in {Phase.SNAPSHOTS, Phase.RISK}:
            assert key not in found, f"{key} has a result and never was complete"


async def scope(conn: AsyncConnection, units: Sequence[Any], due: int, living: Collection[UUID]) -> None:
    """I1, I4, I5, I25, V7: four units a session from the first lot on without a hole, of the portfolios there are; no result without
    one."""
    entered = {
        row[0]: row[1:]
        for row in await rows(
            conn,
            """SELECT p.id, p.first_session, (SELECT min(x.entry_session) FROM coordinator.positions x
                                              WHERE x.portfolio_id = p.id AND x.deleted_at IS NULL)
               FROM coordinator.portfolios p WHERE p.deleted_at IS NULL""",
        )
    }
    assert set(entered) == set(living)
    assert {unit.portfolio_id for unit in units} <= set(living), "a portfolio that is gone has units"
    for portfolio, (first, earliest) in entered.items():
        assert first == earliest, "the first session is not that of the earliest lot"
        there = {(unit.session, unit.phase) for unit in units if unit.portfolio_id == portfolio}
        last = max((session for session, _ in there), default=None)
        days = [day for day in DAYS[:due] if first is not None and last is not None and first <= day <= last]
        assert there == {(day, phase.value) for day in days for phase in Phase}
    for table in OWN_TABLES:
        phase = table.split(".")[0]
        strangers = await rows(
            conn,
            f"""SELECT r.portfolio_id, r.session FROM {table} r
                JOIN coordinator.portfolios p ON p.id = r.portfolio_id AND p.deleted_at IS NULL
                WHERE NOT EXISTS (SELECT 1 FROM ledger.units u WHERE u.portfolio_id = r.portfolio_id
                                  AND u.session = r.session AND u.phase = '{phase}')""",
        )
        assert strangers == [], f"{table} has rows of sessions that are no units"


async def gone(conn: AsyncConnection, units: Sequence[Any], dead: Mapping[UUID, set[Any]]) -> None:
    """I5, V7: a deleted portfolio has no units, and no work in flight lands on its results."""
    assert not {unit.portfolio_id for unit in units} & set(dead)
    for portfolio, left in dead.items():
        assert await results_of(conn, portfolio) == left, "work on what was deleted has landed"


async def results_of(conn: AsyncConnection, portfolio: UUID) -> set[Any]:
    return {tuple(row) for row in await rows(conn, f"SELECT * FROM ({FIGURES}) f WHERE portfolio_id = '{portfolio}'")}


async def letters(conn: AsyncConnection) -> None:
    """I16, V1: every blocked unit stands in an open letter."""
    silent = await rows(
        conn,
        f"""SELECT u.portfolio_id, u.session, u.phase FROM ledger.units u
            WHERE u.blocked_reason IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM ({dead_letters.ABOUT_UNITS}) d WHERE d.portfolio_id = u.portfolio_id AND d.phase = u.phase
                AND u.session BETWEEN d.first AND d.last)""",
    )
    assert silent == [], "blocked without a word"


def still_moving(units: Sequence[Any]) -> list[Any]:
    """I3, V6: missing units that are neither blocked nor behind one that is: the reconciler still owes them."""
    blocked = [unit for unit in units if unit.blocked]

    def held(unit: Any) -> bool:
        return any(
            b.portfolio_id == unit.portfolio_id
            and (
                (b.session == unit.session and (b.phase == "ingest" or unit.phase == "risk"))
                or (
                    b.session < unit.session
                    and b.phase in {"ingest", "snapshots"}
                    and unit.phase in {"snapshots", "risk"}
                )
            )
            for b in blocked
        )

    return [unit for unit in units if unit.completed < unit.required and not unit.blocked and not held(unit)]


async def quiet(engine: AsyncEngine, due: int, *, faulty: bool) -> None:
    """I1, I3, I4, I10, I16, I21, V1: nothing is missing but what is blocked; no run says it runs; the auditor finds nothing."""
    async with snapshot(engine) as conn:
        units = await rows(conn, UNITS)
        assert still_moving(units) == []
        if not faulty:
            assert [unit for unit in units if unit.completed < unit.required] == []
        states = {run.state for run in await runs.page(conn, limit=1000, before=None, source=None)}
        assert states <= ({"complete", "blocked"} if faulty else {"complete"})
        leases = await rows(conn, "SELECT 1 FROM ledger.schedule WHERE lease_until > clock_timestamp()")
        assert leases == [], "somebody works on nothing"
        # Expected is what people entered, not what the ledger thinks.
        wanted = set(expected(await read_inputs(conn), DAYS[:due]))
        alive = {row[0] for row in await rows(conn, "SELECT id FROM coordinator.portfolios WHERE deleted_at IS NULL")}
        there = {(unit.portfolio_id, unit.session, unit.phase) for unit in units}
        assert there == {key for key in wanted if key[0] in alive}
    assert await audit.drift(engine, DAYS[due - 1]) == []


async def history(engine: AsyncEngine, published: Mapping[UUID, tuple[str, bytes]]) -> None:
    """I11, V1, V2, V3, V5: once each, announced in its transaction, sent under its id, and never before what it stands on."""
    async with snapshot(engine) as conn:
        noted: dict[UUID, list[Noted]] = {}
        for portfolio, *row in await rows(
            conn, "SELECT portfolio_id, seq, xid, session, phase, what, revision FROM crash.history ORDER BY seq"
        ):
            noted.setdefault(portfolio, []).append(Noted(*row))
        announced = await rows(conn, "SELECT xid, type, payload FROM crash.announced")
        # A letter is sent again with the headers that it came with.
        sent = await rows(conn, "SELECT CAST(headers ->> 'ce_id' AS uuid) FROM bus.outbox")
        unsent = await rows(conn, "SELECT 1 FROM bus.outbox WHERE sent_at IS NULL OR failed_at IS NOT NULL")
    for portfolio, of in noted.items():
        words = [(row[0], row[1], row[2]) for row in announced if str(portfolio) in row[2]]
        assert checks.once_each(of) == []
        assert checks.dependencies(of) == []
        assert checks.unannounced(of, str(portfolio), words) == []
    assert unsent == []
    assert len(sent) == len(announced)
    assert set(published) == {row[0] for row in sent}, "announced and never sent, or sent and never announced"


def within(
    before: Mapping[Any, int], after: Mapping[Any, int], portfolios: Collection[UUID], first: date | None, phase: Phase
) -> None:
    """I6, I7: what a change raised is of those portfolios, not before its first session, and of no phase upstream of it.

    before, after : required revision by unit; first : None if nothing may be raised
    """
    reached = {Phase.INGEST: set(Phase), Phase.FACTORS: {Phase.FACTORS, Phase.RISK}, Phase.RISK: {Phase.RISK}}
    phases = reached.get(phase, {Phase.SNAPSHOTS, Phase.RISK})
    raised = {key for key, revision in after.items() if key in before and revision != before[key]}
    assert first is not None or raised == set(), "what changes no number raised units"
    beyond = [
        key for key in raised if key[0] not in portfolios or (first and key[1] < first) or Phase(key[2]) not in phases
    ]
    assert beyond == [], f"raised beyond {first} {phase}"
