"""The races of commit order that the one lock is there for, each forced, with the lock and without.

The third, raise against raise, is `tests/store/test_ledger_order.py`; so is the snapshot that a handler reads from.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import ledger
from shared.db.engine import acquire_commit_order_lock, create_engine, next_change_seq, snapshot
from shared.ledger import Outcome
from shared.work import Phase
from tests.store import test_factors as facts
from tests.support.databases import Database, act_as
from tests.support.ledger import complete_and_tell

DAYS = facts.DAYS
BOTH = pytest.mark.parametrize("ordered", [True, False], ids=["with the lock", "without the lock"])


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[AsyncEngine]:
    """The administrator's: these tests are about order, not about rights."""
    created = create_engine(database.admin_url, application="test", pool_size=6)
    async with created.begin() as conn:
        await conn.execute(text("SELECT setval('ledger.change', 100)"))
    yield created
    await created.dispose()


async def price(conn: AsyncConnection, symbol: str, day: int, close: float | None = None, change: int = 0) -> float:
    """Read a close of DAYS[day], or correct it."""
    values: dict[str, Any] = {"symbol": symbol, "day": DAYS[day], "close": close, "change": change}
    if close is not None:
        await conn.execute(
            text("""UPDATE ingest.prices p SET close = :close, adj_close = :close, change = :change,
                        total_return = total_return + 0.02
                    FROM ingest.symbols s WHERE s.id = p.symbol_id AND s.symbol = :symbol AND p.session = :day"""),
            values,
        )
    found = await conn.scalar(
        text("""SELECT p.close FROM ingest.prices p JOIN ingest.symbols s ON s.id = p.symbol_id
                WHERE s.symbol = :symbol AND p.session = :day"""),
        values,
    )
    assert isinstance(found, float)
    return found


async def market(engine: AsyncEngine) -> UUID:
    """Two symbols with prices and a portfolio that holds one; returns it."""
    rng = np.random.default_rng(11)
    async with engine.begin() as conn:
        for symbol in ("SPY", "AAA"):
            await facts.add_symbol(conn, symbol, 0.01 * rng.standard_normal(len(DAYS)), 0)
        return await facts.hold(conn, "AAA")


@BOTH
async def test_a_new_unit_is_not_computed_from_a_price_that_is_being_corrected(
    engine: AsyncEngine, ordered: bool
) -> None:
    """A correction looks for the units that used the old price; a unit added meanwhile is not among them.

    The correction raises what it sees and goes on. Units are added and commit; a handler completes one from the old price, for
    the new one is not committed. The correction commits: it has raised everything it saw. The unit is complete and wrong.
    """
    portfolio = await market(engine)
    used: list[float] = []

    async def add() -> None:
        async with engine.begin() as conn:
            if ordered:
                await acquire_commit_order_lock(conn)
            await ledger.add_units(conn, [portfolio], [DAYS[-1]], await next_change_seq(conn))

    async def handle() -> None:
        async with snapshot(engine) as view:
            due = await ledger.ready(view, Phase.INGEST, [portfolio], None, None)
            close = await price(view, "AAA", -1)
        async with engine.begin() as conn:
            if await complete_and_tell(conn, Phase.INGEST, {unit: Outcome() for unit in due}):
                used.append(close)

    async with engine.begin() as conn:
        if ordered:
            await acquire_commit_order_lock(conn)
        change = await next_change_seq(conn)
        await price(conn, "AAA", -1, 123.0, change)
        raised = await ledger.require(conn, [(portfolio, DAYS[-1], DAYS[-1], Phase.INGEST)], change)
        assert raised == [], "there is no unit yet, as far as this transaction can see"
        adding = asyncio.create_task(add())
        await asyncio.wait([adding], timeout=0.5)
        assert adding.done() is not ordered, "with the lock, units are added after the correction has committed"
        await handle()
    await adding
    await handle()
    async with engine.connect() as conn:
        assert await ledger.ready(conn, Phase.INGEST, [portfolio], None, None) == [], "nothing looks missing"
    assert (used == [123.0]) is ordered, "without the lock the unit is complete with the price before the correction"


@BOTH
async def test_facts_carry_the_version_of_all_prices_they_are_made_of(engine: AsyncEngine, ordered: bool) -> None:
    """Facts are behind if a price of their window has a higher version. That is true only if versions commit in order.

    One correction draws 101 and takes its time. Another draws 102 and commits; facts are computed and carry 102. The first
    commits: 101 is not above 102, so the facts are not behind, and they are made of the old price.
    """
    work = facts.batch([await market(engine)], DAYS[-1:])
    async with engine.begin() as conn:
        await facts.run(conn, work)

    async def second() -> None:
        async with engine.begin() as conn:
            if ordered:
                await acquire_commit_order_lock(conn)
            await price(conn, "AAA", -2, 60.0, await next_change_seq(conn))

    async with engine.begin() as conn:
        if ordered:
            await acquire_commit_order_lock(conn)
        change = await next_change_seq(conn)
        other = asyncio.create_task(second())
        await asyncio.wait([other], timeout=0.5)
        assert other.done() is not ordered, "with the lock, the second waits for the first"
        async with engine.begin() as factors:
            await facts.run(factors, work)
        await price(conn, "AAA", -3, 70.0, change)
    await other
    async with engine.begin() as conn:
        await facts.run(conn, work)
        kept = await facts.stored(conn, "exposures", ["AAA"])
        await act_as(conn, None)
        await conn.execute(text("DELETE FROM factors.exposures"))
        await facts.run(conn, work)
        anew = await facts.stored(conn, "exposures", ["AAA"])
    assert len(kept) == len(anew) == 1
    assert kept[0][1]["price_version"] == anew[0][1]["price_version"] == 102
    assert (kept == anew) is ordered, "without the lock the facts that count as current are made of an old price"
