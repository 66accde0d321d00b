"""Revisions commit in the order in which they were drawn, and rows are locked in the order of their keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import ledger
from shared.db.engine import acquire_commit_order_lock, create_engine, next_change_seq, snapshot
from shared.ledger import Outcome
from shared.work import MissingUnit, Phase
from tests.support.databases import Database
from tests.support.ledger import SESSIONS, add, complete_and_tell
from tests.support.waiting import until_blocked

D = SESSIONS


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[AsyncEngine]:
    """The administrator's: these tests are about order, not about rights."""
    created = create_engine(database.admin_url, application="test", pool_size=6)
    yield created
    await created.dispose()


async def _portfolio(engine: AsyncEngine) -> UUID:
    portfolio = uuid4()
    async with engine.begin() as conn:
        await conn.execute(
            text("""INSERT INTO coordinator.portfolios (id, name, account_type, equity_balance)
                    VALUES (:p, 'neither', 'taxable', 1)"""),
            {"p": portfolio},
        )
        await add(conn, [portfolio], D[:1])
    return portfolio


async def _change(conn: AsyncConnection, portfolio: UUID, set_what: str, *, ordered: bool) -> int:
    """Change an input and raise what depends on it. The order lock is what this file is about."""
    if ordered:
        await acquire_commit_order_lock(conn)
    revision = await next_change_seq(conn)
    await conn.execute(text(f"UPDATE coordinator.portfolios SET {set_what} WHERE id = :p"), {"p": portfolio})
    await ledger.require(conn, [(portfolio, D[0], D[0], Phase.INGEST)], revision)
    return revision


async def _handle(engine: AsyncEngine, portfolio: UUID) -> str:
    """Compute ingest from the inputs of one snapshot, as a handler does; returns the inputs."""
    async with snapshot(engine) as view:
        due = await ledger.ready(view, Phase.INGEST, [portfolio], None, None)
        inputs = await view.scalar(text("SELECT name FROM coordinator.portfolios WHERE id = :p"), {"p": portfolio})
    async with engine.begin() as conn:
        await complete_and_tell(conn, Phase.INGEST, {unit: Outcome() for unit in due})
    return str(inputs)


async def test_revisions_are_drawn_in_commit_order(engine: AsyncEngine) -> None:
    portfolio = await _portfolio(engine)
    committed: list[int] = []

    async def change() -> None:
        async with engine.begin() as conn:
            revision = await _change(conn, portfolio, "name = name || 'x'", ordered=True)
            # The next one draws only after this commit, so appending here is appending in commit order.
            committed.append(revision)

    async with engine.begin() as conn:
        await acquire_commit_order_lock(conn)
        revision = await next_change_seq(conn)
        others = [asyncio.create_task(change()) for _ in range(2)]
        # They have drawn, and committed, by now, if nothing makes them wait.
        await until_blocked(engine, *others)
        committed.append(revision)
    await asyncio.gather(*others)
    assert committed == sorted(committed)
    assert len(set(committed)) == 3


@pytest.mark.parametrize("ordered", [True, False], ids=["with the lock", "without the lock"])
async def test_without_the_lock_a_unit_is_complete_without_an_input_that_counts(
    engine: AsyncEngine, ordered: bool
) -> None:
    """The race the lock is there for: a low revision is drawn first and commits last.

    A draws 2. B draws 3 and commits; a handler computes at 3, without A's input, which is not visible yet. A commits: its
    raise to 2 finds 3 required and raises nothing. The input is in, nothing is missing, and the result is without it.
    """
    portfolio = await _portfolio(engine)

    async def second() -> None:
        async with engine.begin() as conn:
            await _change(conn, portfolio, "currency = 'EUR'", ordered=ordered)

    async with engine.connect() as conn:
        async with conn.begin():
            if ordered:
                await acquire_commit_order_lock(conn)
            revision = await next_change_seq(conn)
            other = asyncio.create_task(second())
            await until_blocked(engine, other)
            assert other.done() is not ordered, "with the lock, the second waits for the first"
            await _handle(engine, portfolio)
            # The first goes on, in no hurry.
            await conn.execute(
                text("UPDATE coordinator.portfolios SET name = 'the new one' WHERE id = :p"), {"p": portfolio}
            )
            await ledger.require(conn, [(portfolio, D[0], D[0], Phase.INGEST)], revision)
        await other
    async with engine.connect() as conn:
        missing = await ledger.ready(conn, Phase.INGEST, [portfolio], None, None)
    if ordered:
        assert len(missing) == 1
        assert await _handle(engine, portfolio) == "the new one"
    else:
        assert missing == [], "nothing looks missing, and the result was computed from the old name"


async def test_work_that_reads_its_revision_and_inputs_apart_is_why_there_is_one_snapshot(engine: AsyncEngine) -> None:
    """A snapshot is taken once: what commits between two of its queries is in neither."""
    portfolio = await _portfolio(engine)
    async with snapshot(engine) as view:
        before = await ledger.ready(view, Phase.INGEST, [portfolio], None, None)
        async with engine.begin() as conn:
            await _change(conn, portfolio, "name = 'later'", ordered=True)
        assert await ledger.ready(view, Phase.INGEST, [portfolio], None, None) == before
        name = await view.scalar(text("SELECT name FROM coordinator.portfolios WHERE id = :p"), {"p": portfolio})
        assert name == "neither"
    async with engine.begin() as conn:
        assert await complete_and_tell(conn, Phase.INGEST, {before[0]: Outcome()})
    async with engine.connect() as conn:
        assert len(await ledger.ready(conn, Phase.INGEST, [portfolio], None, None)) == 1, "still missing at the new one"


async def test_a_snapshot_cannot_write(engine: AsyncEngine) -> None:
    async with snapshot(engine) as view:
        assert await view.scalar(text("SHOW transaction_isolation")) == "repeatable read"
        assert await view.scalar(text("SHOW transaction_read_only")) == "on"


@pytest.mark.parametrize("how", ["require", "complete", "remove"])
async def test_rows_are_locked_in_key_order_so_that_nobody_deadlocks(engine: AsyncEngine, how: str) -> None:
    """Whoever waits for the lowest row has not locked a higher one yet."""
    portfolios = sorted(uuid4() for _ in range(6))
    async with engine.begin() as conn:
        # Stored in the opposite order, so that an order that happens by chance is the wrong one.
        revision = await add(conn, portfolios[::-1], D[4::-1])
    lowest = portfolios[0]

    async def work() -> None:
        async with engine.begin() as conn:
            if how == "require":
                await acquire_commit_order_lock(conn)
                later = await next_change_seq(conn)
                await ledger.require(conn, [(p, D[0], D[0], Phase.INGEST) for p in portfolios], later)
            elif how == "complete":
                outcomes = {
                    MissingUnit(p, session, revision): Outcome() for p in portfolios[::-1] for session in D[4::-1]
                }
                await complete_and_tell(conn, Phase.INGEST, outcomes)
            else:
                await ledger.remove_units(conn, lowest)

    async with engine.connect() as blocker, engine.connect() as watcher:
        async with blocker.begin():
            await blocker.execute(
                text(
                    "SELECT 1 FROM ledger.units WHERE portfolio_id = :p AND session = :s AND phase = 'ingest' FOR UPDATE"
                ),
                {"p": lowest, "s": D[0]},
            )
            waiting = asyncio.create_task(work())
            await until_blocked(engine, waiting)
            assert not waiting.done()
            async with watcher.begin():
                free = await watcher.execute(text("SELECT 1 FROM ledger.units FOR UPDATE SKIP LOCKED"))
                assert len(free.all()) == len(portfolios) * 5 * 4 - 1
        await waiting
    async with engine.connect() as conn:
        done = await conn.scalar(
            text("SELECT count(*) FROM ledger.units WHERE completed_revision > 0 OR required_revision > :r"),
            {"r": revision},
        )
        assert (done or 0) > 0 or how == "remove"
