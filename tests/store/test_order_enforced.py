"""Who writes what is ordered without the commit-order lock is refused: by the database, so that no caller can forget it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.workflow.complete import Completer, Patience
from shared.clock import Clock
from shared.db.engine import acquire_commit_order_lock, create_engine
from shared.errors import PermanentError
from tests.support import databases
from tests.support.databases import Database, Server
from tests.support.ledger import SESSIONS

WRITES = {
    "a unit": ("coordinator", "DELETE FROM ledger.units"),
    "what is required": ("coordinator", "UPDATE ledger.units SET required_revision = required_revision + 1"),
    "what is required, by the function": (
        "ingest",
        "SELECT * FROM ledger.require(ARRAY[uuidv7()], ARRAY[current_date], ARRAY[current_date], ARRAY['ingest'::ledger.phase], 1)",
    ),
    "sessions of a portfolio": ("coordinator", "SELECT ledger.withdraw(uuidv7(), NULL)"),
    "a portfolio": ("coordinator", "UPDATE coordinator.portfolios SET deleted_at = now()"),
    "a position": ("coordinator", "UPDATE coordinator.positions SET quantity = 1"),
    "a flow": ("coordinator", "DELETE FROM coordinator.flows"),
    "a benchmark": ("coordinator", "DELETE FROM coordinator.benchmarks"),
    "a closure": ("coordinator", "UPDATE coordinator.closures SET withdrawn_at = now()"),
    "a version": ("coordinator", "UPDATE coordinator.versions SET version = '2'"),
    "a price": ("ingest", "DELETE FROM ingest.prices"),
    "an action": ("ingest", "UPDATE ingest.actions SET value = 2"),
}


@pytest.fixture(scope="module")
async def own(server: Server) -> AsyncIterator[Database]:
    created = await databases.create(server)
    yield created
    await databases.drop(created)


@pytest.fixture
async def engines(own: Database) -> AsyncIterator[dict[str, AsyncEngine]]:
    made = {
        role: create_engine(own.url(role), application="test-order", pool_size=1) for role in ("coordinator", "ingest")
    }
    yield made
    for engine in made.values():
        await engine.dispose()


@pytest.mark.parametrize("what", WRITES)
async def test_without_the_lock_it_is_refused_and_with_it_it_is_done(
    engines: dict[str, AsyncEngine], what: str
) -> None:
    role, statement = WRITES[what]
    async with engines[role].begin() as conn:
        await acquire_commit_order_lock(conn)
        await conn.execute(text(statement))
    # The same connection: the lock ended with its transaction, and so did what says that it is held.
    with pytest.raises(DBAPIError, match="without the commit-order lock"):
        async with engines[role].begin() as conn:
            await conn.execute(text(statement))


async def test_a_lock_taken_in_a_savepoint_that_was_undone_counts_no_more(engines: dict[str, AsyncEngine]) -> None:
    async with engines["ingest"].connect() as conn:
        inner = await conn.begin_nested()
        await acquire_commit_order_lock(conn)
        await inner.rollback()
        with pytest.raises(DBAPIError, match="without the commit-order lock"):
            await conn.execute(text("DELETE FROM ingest.prices"))


async def test_a_completion_of_ingest_needs_the_lock_too(engines: dict[str, AsyncEngine]) -> None:
    completer = Completer(engines["ingest"], Clock(SESSIONS[-1]), Patience(600.0, "file"), lambda: None)
    async with engines["ingest"].begin() as conn:
        with pytest.raises(PermanentError, match="commit-order lock"):
            await completer.complete(conn, (), SESSIONS)
        await acquire_commit_order_lock(conn)
        assert not await completer.complete(conn, (), SESSIONS)


INSERT = "INSERT INTO coordinator.portfolios (id, name, account_type, equity_balance) VALUES ({}, 'n', 'taxable', 1)"
LOT = """
    INSERT INTO coordinator.positions (portfolio_id, symbol, quantity, entry_date, entry_session, entry_price,
                                       investment_class, stated_quantity, stated_entry_price)
    VALUES ({}, 'AAPL', 1, '2020-12-21', '2020-12-21', 1, 'PUBLIC', 1, 1)
"""


@pytest.mark.parametrize(
    "statement",
    [
        INSERT.format("uuidv7()"),
        LOT.format("'{seen}'"),
        "UPDATE coordinator.positions SET quantity = 2",
        "DELETE FROM coordinator.positions",
        "DELETE FROM ledger.units",
        "SELECT ledger.withdraw(uuidv7(), NULL)",
    ],
)
async def test_before_the_lock_a_portfolio_that_nobody_has_seen_is_let_in_and_no_other(
    engines: dict[str, AsyncEngine], statement: str
) -> None:
    engine = engines["coordinator"]
    async with engine.begin() as conn:
        await acquire_commit_order_lock(conn)
        seen = await conn.scalar(text("SELECT ledger.begin_unseen()"))
        # The lock allows what it allowed, though somebody begins this behind it.
        await conn.execute(text(INSERT.format(f"'{seen}'")))
        await conn.execute(text("UPDATE coordinator.portfolios SET name = 'm'"))
    async with engine.connect() as conn:
        new = await conn.scalar(text("SELECT ledger.begin_unseen()"))
        await conn.execute(text(INSERT.format(f"'{new}'")))
        await conn.execute(text(LOT.format(f"'{new}'")))
        with pytest.raises(DBAPIError, match="without the commit-order lock"):
            await conn.execute(text(statement.format(seen=seen)))
        await conn.rollback()
        with pytest.raises(DBAPIError, match="without the commit-order lock"):
            await conn.execute(text(INSERT.format(f"'{new}'")))
