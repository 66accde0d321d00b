"""What a run of a phase asks of the database, in numbers that no machine changes: statements, and rows that come back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import ledger
from shared.clock import Clock
from shared.db.engine import create_engine
from shared.phase.runner import PhaseRunner
from shared.work import Batch, Phase, UnitKey, Work
from tests.flow.toy import Counted
from tests.support.databases import Database
from tests.support.ledger import SESSIONS, add

PORTFOLIOS, DAYS = 7, SESSIONS[:5]
# The look, the lease, of two snapshots each the closures and what is ready, the lots, the completion, its event, the schedule, and
# the lease given back.
STATEMENTS = 11


class NoWork:
    phase = Phase.INGEST

    async def load(self, _conn: object, batch: Batch) -> Batch:
        return batch

    def compute(self, inputs: Batch) -> Counted:
        return Counted({UnitKey(unit.portfolio_id, unit.session): ledger.Outcome() for unit in inputs.units})

    async def save(self, _conn: object, _results: object, _raised: object) -> None:
        pass


@dataclass
class Asked:
    statements: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)


@contextmanager
def asked(engine: AsyncEngine) -> Iterator[Asked]:
    found = Asked()

    def note(_conn: object, cursor: Any, statement: str, *_: object) -> None:
        found.statements.append(statement)
        found.rows.append(cursor.rowcount)

    event.listen(engine.sync_engine, "after_cursor_execute", note)
    yield found
    event.remove(engine.sync_engine, "after_cursor_execute", note)


@pytest.fixture
async def engines(database: Database) -> AsyncIterator[dict[str, AsyncEngine]]:
    made = {
        "admin": create_engine(database.admin_url, application="test", pool_size=2),
        "ingest": create_engine(database.url("ingest"), application="test-ingest", pool_size=4),
        "risk": create_engine(database.url("risk"), application="test-risk", pool_size=4),
    }
    yield made
    for engine in made.values():
        await engine.dispose()


@pytest.fixture
async def created(engines: dict[str, AsyncEngine]) -> list[UUID]:
    portfolios = sorted(uuid4() for _ in range(PORTFOLIOS))
    async with engines["admin"].begin() as conn:
        await add(conn, portfolios, DAYS)
    return portfolios


async def test_a_batch_costs_so_many_statements_whatever_it_holds(
    engines: dict[str, AsyncEngine], created: list[UUID]
) -> None:
    runner = PhaseRunner(engines["ingest"], NoWork(), Clock(DAYS[-1]))
    with asked(engines["ingest"]) as run:
        assert await runner.run(Work(tuple(created), DAYS[0], DAYS[-1])) == PORTFOLIOS * len(DAYS)
    assert len(run.statements) <= STATEMENTS, run.statements
    assert max(run.rows) <= PORTFOLIOS, "a row a portfolio at most, not one a unit"


async def test_a_run_that_finds_nothing_to_do_asks_once(engines: dict[str, AsyncEngine], created: list[UUID]) -> None:
    worker = NoWork()
    worker.phase = Phase.RISK
    runner = PhaseRunner(engines["risk"], worker, Clock(DAYS[-1]))
    with asked(engines["risk"]) as run:
        assert await runner.run(Work(tuple(created), DAYS[0], DAYS[-1])) == 0
    assert len(run.statements) == 1, run.statements


async def test_ready_units_come_a_row_a_portfolio(engines: dict[str, AsyncEngine], created: list[UUID]) -> None:
    async with engines["ingest"].connect() as conn:
        found = await ledger.find_ready(conn, Phase.INGEST, created, DAYS[1], DAYS[-1])
        assert (await ledger.look(conn, Phase.INGEST, created, DAYS[1], DAYS[-1])) == ledger.Look(True, {})
    assert {(units.portfolio_id, units.sessions) for units in found} == {(p, tuple(DAYS[1:])) for p in created}
    assert all(len(units.revisions) == len(DAYS) - 1 and set(units.revisions) != {0} for units in found)
