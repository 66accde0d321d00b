"""Who is working: taken, renewed, expired by the database's clock, and never a wake-up lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import ledger
from shared.db.engine import create_engine
from shared.ledger import LEASE, Lease
from shared.work import Phase
from tests.support.databases import Database, act_as
from tests.support.ledger import SESSIONS, add

PHASE = Phase.SNAPSHOTS


@pytest.fixture
def a() -> UUID:
    return uuid4()


@pytest.fixture
def b() -> UUID:
    return uuid4()


@pytest.fixture
async def held(db: AsyncConnection, a: UUID, b: UUID) -> list[Lease]:
    """Both portfolios, taken by `one`."""
    await add(db, [a, b], SESSIONS[:1])
    await act_as(db, "snapshots")
    return await ledger.acquire(db, PHASE, [b, a], "one")


@pytest.fixture
async def snapshots(database: Database) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database.url("snapshots"), application="test", pool_size=8)
    yield engine
    await engine.dispose()


@pytest.fixture
async def coordinator(database: Database) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database.url("coordinator"), application="test", pool_size=4)
    yield engine
    await engine.dispose()


async def _state(db: AsyncConnection, portfolio: UUID) -> tuple[str | None, int, int]:
    row = await db.execute(
        text("SELECT lease_owner, fence, wanted FROM ledger.schedule WHERE portfolio_id = :p AND phase = 'snapshots'"),
        {"p": portfolio},
    )
    owner, fence, wanted = row.one()
    return owner, fence, wanted


async def _expire(db: AsyncConnection) -> None:
    await act_as(db, None)
    await db.execute(text("UPDATE ledger.schedule SET lease_until = lease_until - interval '1 hour'"))
    await act_as(db, "snapshots")


async def test_a_free_portfolio_is_taken_and_a_taken_one_gets_word(
    db: AsyncConnection, held: list[Lease], a: UUID, b: UUID
) -> None:
    assert {(lease.portfolio_id, lease.fence, lease.pending_wakeups) for lease in held} == {(a, 1, 0), (b, 1, 0)}
    assert await ledger.acquire(db, PHASE, [a], "two") == []
    assert await _state(db, a) == ("one", 1, 1)
    assert await _state(db, b) == ("one", 1, 0)
    until = await db.scalar(
        text("SELECT max(lease_until) - clock_timestamp() FROM ledger.schedule WHERE lease_owner IS NOT NULL")
    )
    assert LEASE / 2 < until <= LEASE


async def test_a_lease_is_of_one_phase(db: AsyncConnection, held: list[Lease], a: UUID) -> None:
    await act_as(db, "risk")
    assert [lease.portfolio_id for lease in await ledger.acquire(db, Phase.RISK, [a], "two")] == [a]


async def test_release_lets_go_of_what_nobody_asked_for(
    db: AsyncConnection, held: list[Lease], a: UUID, b: UUID
) -> None:
    await ledger.acquire(db, PHASE, [a], "two")
    again = await ledger.release(db, PHASE, held, "one")
    assert again == [Lease(a, 1, 1)], "somebody asked for it: read again before letting go"
    assert (await _state(db, a))[0] == "one"
    assert (await _state(db, b))[0] is None
    assert await ledger.release(db, PHASE, again, "one") == []
    assert (await _state(db, a))[0] is None


async def test_release_on_the_way_out_asks_nothing(db: AsyncConnection, held: list[Lease], a: UUID) -> None:
    await ledger.acquire(db, PHASE, [a], "two")
    assert await ledger.release(db, PHASE, held, "one", unconditionally=True) == []
    assert (await _state(db, a))[0] is None


async def test_an_expired_lease_is_taken_and_its_holder_can_no_longer_touch_it(
    db: AsyncConnection, held: list[Lease], a: UUID, b: UUID
) -> None:
    await _expire(db)
    assert [lease.fence for lease in await ledger.acquire(db, PHASE, [a], "two")] == [2]
    assert await ledger.renew(db, PHASE, "one") == 1, "only of the one nobody took"
    assert await ledger.release(db, PHASE, held, "one", unconditionally=True) == []
    assert await _state(db, a) == ("two", 2, 0)
    assert (await _state(db, b))[0] is None


async def test_the_fence_tells_apart_two_leases_of_one_owner(db: AsyncConnection, held: list[Lease], a: UUID) -> None:
    await _expire(db)
    later = await ledger.acquire(db, PHASE, [a], "one")
    assert await ledger.release(db, PHASE, held, "one") == []
    assert (await _state(db, a))[0] == "one", "the old lease does not let go of the new one"
    await ledger.release(db, PHASE, later, "one")
    assert (await _state(db, a))[0] is None


async def test_a_lease_that_is_further_away_than_it_lasts_is_free(
    db: AsyncConnection, held: list[Lease], a: UUID, b: UUID
) -> None:
    """The database's clock was six hours ahead when it was taken. Nobody died of that."""
    await act_as(db, None)
    await db.execute(
        text("UPDATE ledger.schedule SET lease_until = lease_until + interval '6 hours' WHERE portfolio_id = :a"),
        {"a": a},
    )
    await act_as(db, "snapshots")
    assert [(lease.portfolio_id, lease.deaths) for lease in await ledger.acquire(db, PHASE, [a, b], "two")] == [(a, 0)]


async def test_a_lease_that_ran_out_is_a_death_and_one_that_was_given_back_is_none(
    db: AsyncConnection, held: list[Lease], a: UUID, b: UUID
) -> None:
    await ledger.release(db, PHASE, [lease for lease in held if lease.portfolio_id == b], "one")
    await _expire(db)
    assert (await ledger.look(db, PHASE, [a, b], None, None)).unreleased == {a: 1}
    taken = await ledger.acquire(db, PHASE, [a, b], "two")
    assert {lease.portfolio_id: lease.deaths for lease in taken} == {a: 1, b: 0}
    await _expire(db)
    assert (await ledger.look(db, PHASE, [a, b], None, None)).unreleased == {a: 2, b: 1}
    again = await ledger.acquire(db, PHASE, [a], "three")
    assert [lease.deaths for lease in again] == [2]
    runs = await db.scalar(
        text("SELECT runs FROM ledger.schedule WHERE portfolio_id = :a AND phase = 'snapshots'"), {"a": a}
    )
    assert runs == 1, "only the first is counted as a run here: the others with what was being done"
    await ledger.release(db, PHASE, again, "three")
    assert (await ledger.look(db, PHASE, [a], None, None)).unreleased == {}


async def test_renewing_keeps_a_lease_alive(db: AsyncConnection, held: list[Lease], a: UUID) -> None:
    await act_as(db, None)
    await db.execute(
        text("""UPDATE ledger.schedule SET lease_until = clock_timestamp() + interval '1 millisecond'
                WHERE lease_owner IS NOT NULL""")
    )
    await act_as(db, "snapshots")
    assert await ledger.renew(db, PHASE, "one") == 2
    await db.execute(text("SELECT pg_sleep(0.005)"))
    assert await ledger.acquire(db, PHASE, [a], "two") == []


async def test_no_wake_up_is_lost(coordinator: AsyncEngine, snapshots: AsyncEngine) -> None:
    """Many say "there is more to do" while one works: whatever the order, everything is done when all have gone.

    Work that is announced after the holder looked and before it lets go is what gets lost without `pending_wakeups`.
    """
    portfolio = uuid4()
    async with coordinator.begin() as conn:
        await add(conn, [portfolio], SESSIONS[:1])
    to_do: set[int] = set()
    rng = random.Random(7)
    again_was_needed = 0

    async def wake(number: int) -> None:
        nonlocal again_was_needed
        await asyncio.sleep(rng.random() * 0.3)
        to_do.add(number)
        owner = f"worker {number}"
        async with snapshots.begin() as conn:
            held = await ledger.acquire(conn, PHASE, [portfolio], owner)
        while held:
            found = set(to_do)
            await asyncio.sleep(rng.random() * 0.02)
            to_do.difference_update(found)
            async with snapshots.begin() as conn:
                held = await ledger.release(conn, PHASE, held, owner)
            again_was_needed += len(held)

    await asyncio.gather(*(wake(number) for number in range(40)))
    assert to_do == set()
    assert again_was_needed > 0, "nobody met anybody: the test showed nothing"
    async with snapshots.connect() as conn:
        assert (await _state(conn, portfolio))[0] is None


async def test_only_one_of_many_gets_it(coordinator: AsyncEngine, snapshots: AsyncEngine) -> None:
    portfolios = [uuid4() for _ in range(20)]
    async with coordinator.begin() as conn:
        await add(conn, portfolios, SESSIONS[:1])

    async def take(owner: str) -> list[UUID]:
        asked = random.Random(owner).sample(portfolios, len(portfolios))
        async with snapshots.begin() as conn:
            return [lease.portfolio_id for lease in await ledger.acquire(conn, PHASE, asked, owner)]

    taken = await asyncio.gather(*(take(f"worker {n}") for n in range(8)))
    assert sorted(portfolio for each in taken for portfolio in each) == sorted(portfolios)
    async with snapshots.connect() as conn:
        words = await conn.scalars(text("SELECT wanted FROM ledger.schedule WHERE phase = 'snapshots'"))
        assert set(words) == {7}


async def _waits_for_the_disk(db: AsyncConnection) -> bool:
    return bool(await db.scalar(text("SHOW synchronous_commit")) == "on")


async def test_leases_alone_do_not_wait_for_the_disk(db: AsyncConnection, a: UUID) -> None:
    """A release that lets go unconditionally does: the rest of the work may be announced in its transaction."""
    await add(db, [a], SESSIONS[:1])
    await act_as(db, "snapshots")
    hurry = text("SET LOCAL synchronous_commit = on")  # The tests' server has it off.
    await db.execute(hurry)
    held = await ledger.acquire(db, PHASE, [a], "one")
    assert not await _waits_for_the_disk(db)

    await db.execute(hurry)
    assert await ledger.release(db, PHASE, held, "two", unconditionally=True) == []
    assert await ledger.release(db, PHASE, held, "one", unconditionally=True) == []
    assert await _waits_for_the_disk(db)

    held = await ledger.acquire(db, PHASE, [a], "one")
    await db.execute(hurry)
    assert await ledger.release(db, PHASE, held, "one") == []
    assert not await _waits_for_the_disk(db)


async def test_a_completion_waits_for_the_disk(database: Database, a: UUID, coordinator: AsyncEngine) -> None:
    """What a lease's transaction chose ends with it, on the same connection."""
    engine = create_engine(database.url("snapshots"), application="test", pool_size=1)
    try:
        async with coordinator.begin() as db:
            await add(db, [a], SESSIONS[:1])
        async with engine.connect() as db:
            await db.execute(text("SET synchronous_commit = on"))
            await db.commit()
            assert await ledger.acquire(db, PHASE, [a], "one")
            await db.commit()
            assert await _waits_for_the_disk(db)
    finally:
        await engine.dispose()
