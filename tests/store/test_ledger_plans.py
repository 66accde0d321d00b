"""How the server finds units, whatever it expects of them: counted by itself, with a service's own rights."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import ledger
from shared.ledger import Outcome, schedule, shortfalls
from shared.ledger.lacking import FEW_LACKING
from shared.market.calendar import calendar
from shared.work import MissingUnit, Phase
from tests.support.databases import act_as
from tests.support.ledger import SESSIONS, add
from tests.support.plans import plan_of, sent


class Mark(NamedTuple):
    portfolio_id: UUID
    phase: str
    first: date
    last: date


async def test_units_are_completed_by_their_keys_however_few_the_planner_expects(db: AsyncConnection) -> None:
    """Row policies keep the statistics of phases from a service's role: it expected one unit of its phase, and compared a thousand with
    each of a batch. What is read of the table is counted by the database."""
    portfolios = [uuid4() for _ in range(1000)]
    revision = await add(db, portfolios, SESSIONS[:1])
    await db.execute(text("RESET ROLE"))
    await db.exec_driver_sql("ANALYZE ledger.units")
    await act_as(db, "factors")
    undone = await db.begin_nested()
    batch = {MissingUnit(portfolio, SESSIONS[0], revision): Outcome() for portfolio in portfolios[:250]}
    with sent(db, "UPDATE ledger.units") as asked:
        assert len((await ledger.complete(db, Phase.FACTORS, batch)).keys) == len(batch)
    await undone.rollback()
    plan = await plan_of(db, asked)
    assert 0 < _rows_read(plan) <= 2 * len(batch), "once to lock them, once to write them"


async def test_units_above_ready_ones_are_looked_up_by_their_keys(db: AsyncConnection) -> None:
    """Of a batch among many portfolios: each of its units once, and one of each phase above."""
    portfolios = [uuid4() for _ in range(1000)]
    revision = await add(db, portfolios, SESSIONS[:1])
    await db.execute(text("RESET ROLE"))
    for phase in (Phase.INGEST, Phase.FACTORS, Phase.SNAPSHOTS):
        units = {MissingUnit(portfolio, SESSIONS[0], revision): Outcome() for portfolio in portfolios}
        assert len((await ledger.complete(db, phase, units)).keys) == len(portfolios)
    await db.exec_driver_sql("ANALYZE ledger.units")
    await act_as(db, "risk")
    with sent(db) as asked:
        assert len(await ledger.find_ready(db, Phase.RISK, portfolios[:250], SESSIONS[0], SESSIONS[0])) == 250
    plan = await plan_of(db, asked)
    assert 0 < _rows_read(plan) <= 3 * 250


async def test_a_chain_is_begun_without_a_look_at_what_is_complete(db: AsyncConnection) -> None:
    """Of years of sessions the last one is missing, and of one portfolio one in the middle is blocked, which ends its chain there."""
    portfolios = [uuid4() for _ in range(40)]
    days = calendar().between(calendar().back(SESSIONS[0], 100), SESSIONS[0])
    await add(db, portfolios, days)
    await db.execute(text("RESET ROLE"))
    await db.execute(
        text("""UPDATE ledger.units SET completed_revision = required_revision
                WHERE session < :last OR phase NOT IN ('snapshots', 'risk')"""),
        {"last": days[-1]},
    )
    await db.execute(
        text("""UPDATE ledger.units SET completed_revision = 0, blocked_reason = 'failed'
                WHERE portfolio_id = :one AND session = :day AND phase = 'snapshots'"""),
        {"one": portfolios[0], "day": days[50]},
    )
    await db.exec_driver_sql("ANALYZE ledger.units")
    await act_as(db, "snapshots")
    with sent(db) as asked:
        found = await ledger.find_ready(db, Phase.SNAPSHOTS, portfolios, None, None)
    assert {each.portfolio_id for each in found} == set(portfolios[1:])
    assert {each.sessions for each in found} == {(days[-1],)}
    plan = await plan_of(db, asked)
    # Each that is missing, the blocked one, and the unit of the phase above.
    assert 0 < _rows_read(plan) <= 4 * len(portfolios)


async def test_what_units_lack_is_read_portfolio_by_portfolio(db: AsyncConnection) -> None:
    """All portfolios' partial units are of the same few sessions, and stand beside each other in the index of those."""
    portfolios = [uuid4() for _ in range(1000)]
    revision = await add(db, portfolios, SESSIONS[:2])
    await act_as(db, "risk")
    partial = Outcome("partial", 0.5, [{"figure": None, "symbol": "A", "reason": "stale"}])
    units = [MissingUnit(portfolio, session, revision) for portfolio in portfolios for session in SESSIONS[:2]]
    await ledger.complete(db, Phase.RISK, dict.fromkeys(units, partial))
    await act_as(db, "coordinator")
    marks = [Mark(portfolio, "risk", SESSIONS[0], SESSIONS[1]) for portfolio in portfolios[:200]]
    undone = await db.begin_nested()
    with sent(db, "unit_shortfalls") as asked:
        await shortfalls.mend(db, marks)
    await undone.rollback()
    plan = await plan_of(db, asked)
    assert _rows_read(plan) == 2 * len(marks)


async def test_what_units_lack_is_read_portfolio_by_portfolio_by_the_api_too(db: AsyncConnection) -> None:
    """Its policies let no comparison of phases go by an index. While changes wait for the runs, each page of the list reads so."""
    portfolios = [uuid4() for _ in range(500)]
    await db.execute(
        text("""
            INSERT INTO coordinator.portfolios (id, name, account_type, equity_balance)
            SELECT id, CAST(id AS text), 'taxable', 1 FROM unnest(CAST(:ids AS uuid[])) id
        """),
        {"ids": portfolios},
    )
    revision = await add(db, portfolios, SESSIONS[:2])
    await act_as(db, "risk")
    partial = Outcome("partial", 0.5, [{"figure": None, "symbol": "A", "reason": "stale"}])
    units = [MissingUnit(portfolio, session, revision) for portfolio in portfolios for session in SESSIONS[:2]]
    await ledger.complete(db, Phase.RISK, dict.fromkeys(units, partial))
    await act_as(db, None)
    await db.exec_driver_sql("ANALYZE ledger.units")
    await act_as(db, "api")
    await db.exec_driver_sql("SET LOCAL leadline.tenant = '*'")
    some = portfolios[:20]
    with sent(db, "unit_shortfalls") as asked:
        found = await shortfalls.read_lacks(db, some, SESSIONS[0])
    assert len(found) == len(some)
    plan = await plan_of(db, asked)
    # The units of each portfolio's sessions, whatever their phase.
    assert _rows_read(plan) <= 2 * len(some) * len(Phase)


async def test_who_lacks_nothing_is_not_looked_at_one_by_one(db: AsyncConnection) -> None:
    """A portfolio that is complete stays due to be looked at: to look into the units of each, each turn, is as much as there are."""
    portfolios = [uuid4() for _ in range(1000)]
    revision = await add(db, portfolios, SESSIONS[:1])
    await act_as(db, "ingest")
    done = [MissingUnit(portfolio, SESSIONS[0], revision) for portfolio in portfolios[5:]]
    await ledger.complete(db, Phase.INGEST, dict.fromkeys(done, Outcome()))
    await act_as(db, None)
    for phase in Phase:
        if phase is not Phase.INGEST:
            await db.execute(
                text(
                    "UPDATE ledger.units SET completed_revision = required_revision WHERE phase = CAST(:p AS ledger.phase)"
                ),
                {"p": phase.value},
            )
    await db.exec_driver_sql("UPDATE ledger.schedule SET next_at = now() - interval '1 minute'")
    await db.exec_driver_sql("ANALYZE ledger.units, ledger.schedule")
    # As among millions of units, of which the planner expects a third to be missing.
    await db.exec_driver_sql("SET LOCAL enable_hashjoin = off")
    await db.exec_driver_sql("SET LOCAL enable_mergejoin = off")
    await act_as(db, "coordinator")
    with sent(db) as asked:
        found = await schedule.find_candidates(db, Phase.INGEST, grace=0.0, look=64)
    assert {each.portfolio_id for each in found} == set(portfolios[:5])
    plan = await plan_of(db, asked)
    assert _looks(plan) <= 10 * len(found)


@pytest.mark.parametrize("many", [2, FEW_LACKING, FEW_LACKING + 1])
async def test_those_that_lack_something_are_found_be_they_few_or_many(db: AsyncConnection, many: int) -> None:
    portfolios = [uuid4() for _ in range(many)]
    await add(db, portfolios, SESSIONS[:1])
    await act_as(db, None)
    await db.exec_driver_sql("UPDATE ledger.schedule SET next_at = now() - interval '1 minute'")
    await act_as(db, "coordinator")
    found = await schedule.find_candidates(db, Phase.INGEST, grace=0.0, look=many + 1)
    assert {each.portfolio_id for each in found} == set(portfolios)


def _scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parts of a plan that read units."""
    if node.get("Relation Name") == "units" and "Scan" in node["Node Type"]:
        yield node
    for child in node.get("Plans", ()):
        yield from _scans(child)


def _looks(plan: dict[str, Any]) -> float:
    """Into the units, whether anything was found or not."""
    return float(sum(scan["Actual Loops"] for scan in _scans(plan)))


def _rows_read(plan: dict[str, Any]) -> float:
    """Of the units."""
    read = [
        (scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)) * scan["Actual Loops"] for scan in _scans(plan)
    ]
    return float(sum(read))
