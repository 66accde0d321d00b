"""The one function every phase runs, between two snapshots: what others do meanwhile never ends up as a wrong "complete"."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import ledger, progress
from shared.clock import Clock
from shared.db.engine import acquire_commit_order_lock, create_engine, next_change_seq
from shared.errors import TransientError
from shared.ledger import MAX_RUNS, Completed, Deferral, Outcome
from shared.market.calendar import calendar
from shared.phase import room
from shared.phase.failures import MOST_TRIES
from shared.phase.runner import PhaseRunner
from shared.work import Batch, MissingUnit, Phase, UnitKey, Work
from tests.support.databases import Database
from tests.support.ledger import SESSIONS, Unit, add, complete_and_tell, missing, revisions

D = SESSIONS


@dataclass(frozen=True)
class Counted:
    outcomes: Mapping[UnitKey, Outcome]


@dataclass
class Worker:
    """Completes what it is given, except `leave`; does `on_claim` before the snapshot and `on_compute` after it."""

    phase: Phase
    on_claim: Callable[[Batch], Awaitable[Any]] | None = None
    on_compute: Callable[[Batch], Any] = lambda _: None
    leave: frozenset[date] = frozenset()
    seen: list[Batch] = field(default_factory=list)

    async def lock_inputs(self, conn: AsyncConnection, batch: Batch) -> None:
        if self.on_claim is not None:
            await self.on_claim(batch)

    async def load(self, conn: AsyncConnection, batch: Batch) -> Batch:
        self.seen.append(batch)
        return batch

    def compute(self, inputs: Batch) -> Counted:
        self.on_compute(inputs)
        keys = [UnitKey(unit.portfolio_id, unit.session) for unit in inputs.units if unit.session not in self.leave]
        return Counted(dict.fromkeys(keys, Outcome()))

    async def save(self, conn: AsyncConnection, results: Counted, raised: Completed) -> None:
        assert set(raised.keys) <= set(results.outcomes)


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database.admin_url, application="test", pool_size=6)
    yield engine
    await engine.dispose()


@pytest.fixture
async def engines(database: Database) -> AsyncIterator[dict[Phase, AsyncEngine]]:
    """One of each service's own role."""
    made = {
        phase: create_engine(database.url(phase.value), application=f"test-{phase.value}", pool_size=6)
        for phase in Phase
    }
    yield made
    for engine in made.values():
        await engine.dispose()


async def portfolios(
    admin: AsyncEngine, count: int, sessions: list[date], *, done: tuple[Phase, ...] = ()
) -> list[UUID]:
    """Portfolios with units, some phases of which are complete."""
    created = sorted(uuid4() for _ in range(count))
    async with admin.begin() as conn:
        revision = await add(conn, created, sessions)
        await conn.execute(text("RESET ROLE"))
        for phase in done:
            await complete_and_tell(
                conn, phase, {MissingUnit(p, s, revision): Outcome() for p in created for s in sessions}
            )
    return created


def runner(engines: dict[Phase, AsyncEngine], worker: Worker) -> PhaseRunner:
    return PhaseRunner(engines[worker.phase], worker, Clock(D[-1]))


async def left(admin: AsyncEngine, phase: Phase) -> set[UnitKey]:
    async with admin.connect() as conn:
        return {UnitKey(unit.portfolio_id, unit.session) for unit in await missing(conn) if unit.phase is phase}


async def _require(admin: AsyncEngine, portfolio: UUID, session: date, phase: Phase) -> int:
    async with admin.begin() as conn:
        await acquire_commit_order_lock(conn)
        revision = await next_change_seq(conn)
        await ledger.require(conn, [(portfolio, session, session, phase)], revision)
    return revision


async def test_a_run_completes_what_is_ready_and_announces_it(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine]
) -> None:
    a, b = await portfolios(admin, 2, D[:3])
    woken = []
    worker = Worker(Phase.INGEST)
    ingest = PhaseRunner(engines[Phase.INGEST], worker, Clock(D[-1]), wake=lambda: woken.append(1))
    assert await ingest.run(Work((a, b), D[0], D[1])) == 4, "not what lies outside the work"
    assert await left(admin, Phase.INGEST) == {UnitKey(a, D[2]), UnitKey(b, D[2])}
    assert await ingest.run(Work((a, b), D[0], D[1])) == 0
    assert len(woken) == 1
    assert await runner(engines, Worker(Phase.RISK)).run(Work((a, b), D[0], D[2])) == 0, "nothing upstream is there"
    async with admin.connect() as conn:
        assert await conn.scalar(text("SELECT string_agg(type, ',') FROM bus.outbox")) == "leadline.PricesIngested.v1"
        assert await conn.scalar(text("SELECT count(*) FROM ledger.schedule WHERE lease_owner IS NOT NULL")) == 0


@dataclass
class MadeWhenAsked:
    """Results that make their outcomes of what they have, each time they are asked for."""

    made: Counted
    asked: int = 0

    @property
    def outcomes(self) -> Mapping[UnitKey, Outcome]:
        self.asked += 1
        return dict(self.made.outcomes)


async def test_outcomes_are_asked_for_once_however_many_units_there_are(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine]
) -> None:
    told: list[MadeWhenAsked] = []

    class Making(Worker):
        def compute(self, inputs: Batch) -> Any:
            told.append(MadeWhenAsked(super().compute(inputs)))
            return told[-1]

        async def save(self, conn: AsyncConnection, results: Any, raised: Completed) -> None:
            assert len(raised.keys) == 10

    a, b = await portfolios(admin, 2, D[:5])
    assert await runner(engines, Making(Phase.INGEST)).run(Work((a, b), D[0], D[4])) == 10
    assert [results.asked for results in told] == [1]


async def test_a_run_with_nothing_to_do_takes_no_lease_and_tells_a_holder(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine]
) -> None:
    [a] = await portfolios(admin, 1, D[:2])
    risk = runner(engines, Worker(Phase.RISK))

    async def scheduled() -> tuple[int, int]:
        async with admin.connect() as conn:
            found = await conn.execute(text("SELECT fence, wanted FROM ledger.schedule WHERE phase = 'risk'"))
            fence, wanted = found.one()
            return fence, wanted

    assert await risk.run(Work((a,), D[0], D[1])) == 0, "nothing upstream is there"
    assert await scheduled() == (0, 0)
    async with admin.begin() as conn:
        await ledger.acquire(conn, Phase.RISK, [a], "somebody else")
    assert await risk.run(Work((a,), D[0], D[1])) == 0
    assert await scheduled() == (1, 1), "who holds it may have looked before"


async def test_a_chain_is_not_continued_over_a_session_that_was_raised_meanwhile(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine]
) -> None:
    """Chosen: the third session on. Before it is loaded, the first is raised, and all after it. Computing the third now would
    start from a second that is out of date, and complete the third at the new revision."""
    [a] = await portfolios(admin, 1, D[:5], done=(Phase.INGEST,))
    await runner(engines, Worker(Phase.SNAPSHOTS)).run(Work((a,), D[0], D[4]))
    await _require(admin, a, D[2], Phase.SNAPSHOTS)
    raised: list[int] = []

    async def raise_the_first(batch: Batch) -> None:
        if not raised:
            assert batch.sessions == tuple(D[2:5])
            raised.append(await _require(admin, a, D[0], Phase.SNAPSHOTS))

    worker = Worker(Phase.SNAPSHOTS, on_claim=raise_the_first)
    await runner(engines, worker).run(Work((a,), D[2], D[4]))
    assert [batch.sessions for batch in worker.seen] == [tuple(D[:5])], "from the first on, in one go"
    async with admin.connect() as conn:
        known = await revisions(conn)
    assert {known[Unit(a, session, Phase.SNAPSHOTS)] for session in D[:5]} == {(raised[0], raised[0])}


async def test_a_chain_that_stays_missing_stays_missing_whole(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine]
) -> None:
    """The second session has no outcome; the fourth is raised meanwhile, so it was not tried at its revision. Still nothing
    may be computed after the hole."""
    [a] = await portfolios(admin, 1, D[:5], done=(Phase.INGEST,))
    loop = asyncio.get_running_loop()
    raised: list[int] = []

    def raise_once(_: Batch) -> None:
        if not raised:
            asked = asyncio.run_coroutine_threadsafe(_require(admin, a, D[3], Phase.SNAPSHOTS), loop)
            raised.append(asked.result(20))

    worker = Worker(Phase.SNAPSHOTS, on_compute=raise_once, leave=frozenset(D[1:]))
    assert await runner(engines, worker).run(Work((a,), D[0], D[4])) == 1
    assert [batch.sessions for batch in worker.seen] == [tuple(D[:5])]
    assert await left(admin, Phase.SNAPSHOTS) == {UnitKey(a, session) for session in D[1:5]}


async def test_what_falls_out_of_a_batch_is_looked_at_again(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine]
) -> None:
    """Another handler completes a corner of the rectangle before it is loaded: what is left is no rectangle any more."""
    a, b = await portfolios(admin, 2, D[:4])
    times = []

    async def complete_a_corner(batch: Batch) -> None:
        times.append(batch)
        if len(times) == 1:
            async with admin.begin() as conn:
                corner = {due: Outcome() for due in batch.units if due.portfolio_id == b and due.session <= D[1]}
                await complete_and_tell(conn, Phase.INGEST, corner)

    worker = Worker(Phase.INGEST, on_claim=complete_a_corner)
    assert await runner(engines, worker).run(Work((a, b), D[0], D[3])) == 6
    assert await left(admin, Phase.INGEST) == set()


async def test_a_raise_while_computing_leaves_the_unit_missing_and_it_is_done_again(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine]
) -> None:
    [a] = await portfolios(admin, 1, D[:2])
    loop = asyncio.get_running_loop()
    raised: list[int] = []

    def raise_once(_: Batch) -> None:
        if not raised:
            asked = asyncio.run_coroutine_threadsafe(_require(admin, a, D[1], Phase.INGEST), loop)
            raised.append(asked.result(20))

    worker = Worker(Phase.INGEST, on_compute=raise_once)
    assert await runner(engines, worker).run(Work((a,), D[0], D[1])) == 3, "two at first, one again"
    async with admin.connect() as conn:
        known = await revisions(conn)
    assert known[Unit(a, D[1], Phase.INGEST)] == (raised[0], raised[0])
    assert await left(admin, Phase.INGEST) == set()


async def test_a_portfolio_deleted_while_computing_lands_nowhere(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine]
) -> None:
    a, b = await portfolios(admin, 2, D[:2])
    loop = asyncio.get_running_loop()

    async def delete() -> None:
        async with admin.begin() as conn:
            await ledger.remove_units(conn, a)

    worker = Worker(Phase.INGEST, on_compute=lambda _: asyncio.run_coroutine_threadsafe(delete(), loop).result(20))
    assert await runner(engines, worker).run(Work((a, b), D[0], D[1])) == 2
    async with admin.connect() as conn:
        payload = str(await conn.scalar(text("SELECT string_agg(payload, '') FROM bus.outbox")))
        assert {unit.portfolio_id for unit in await revisions(conn)} == {b}
    assert str(b) in payload
    assert str(a) not in payload


async def test_who_finds_a_portfolio_held_leaves_word_and_the_holder_does_it(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine]
) -> None:
    [a] = await portfolios(admin, 1, D[:4])
    entered = asyncio.Event()
    proceed = asyncio.Event()

    async def wait(_: Batch) -> None:
        entered.set()
        await proceed.wait()

    holder = asyncio.create_task(runner(engines, Worker(Phase.INGEST, on_claim=wait)).run(Work((a,), D[0], D[1])))
    await asyncio.wait_for(entered.wait(), 40)
    other = Worker(Phase.INGEST)
    assert await runner(engines, other).run(Work((a,), D[2], D[3])) == 0
    assert other.seen == []
    proceed.set()
    assert await holder == 4, "the word did not say what for: everything of the portfolio is looked at"
    assert await left(admin, Phase.INGEST) == set()


async def test_one_bad_portfolio_is_counted_eight_times_and_then_blocked(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine]
) -> None:
    created = await portfolios(admin, 5, D[:2])
    bad = created[3]

    def fail(batch: Batch) -> None:
        if bad in batch.portfolios:
            raise ZeroDivisionError("no equity")

    run = runner(engines, Worker(Phase.INGEST, on_compute=fail)).run
    work = Work(tuple(created), D[0], D[1])
    assert await run(work) == 8
    for count in range(2, MAX_RUNS + 1):
        assert await left(admin, Phase.INGEST) == {UnitKey(bad, D[0]), UnitKey(bad, D[1])}, count
        assert await run(work) == 0
    assert await left(admin, Phase.INGEST) == set(), "blocked is not missing"
    async with admin.connect() as conn:
        reasons = set(
            await conn.scalars(text("SELECT blocked_reason FROM ledger.units WHERE blocked_reason IS NOT NULL"))
        )
    assert reasons == {"ZeroDivisionError: no equity"}
    await _require(admin, bad, D[0], Phase.INGEST)
    assert await left(admin, Phase.INGEST) == {UnitKey(bad, D[0])}


async def test_a_failing_unit_shows_one_line_without_sql_or_values(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine]
) -> None:
    """What the database says of a statement holds the statement, and could hold what was stored: these belong to the log."""
    created = await portfolios(admin, 1, D[:1])

    async def refused(_: Batch) -> None:
        async with engines[Phase.INGEST].begin() as conn:
            await conn.execute(
                text("""INSERT INTO bus.outbox (topic, type, payload)
                        SELECT 'leadline.phase-requested', NULL, CAST(:secret AS text)"""),
                {"secret": "a private word"},
            )

    await runner(engines, Worker(Phase.INGEST, on_claim=refused)).run(Work(tuple(created), D[0], D[0]))
    [(_, error)] = (await noted(admin, Phase.INGEST)).values()
    assert error is not None
    assert "NotNullViolationError: null value in column" in error
    assert not any(word in error for word in ("INSERT", "SELECT", "SQL", "parameters", "private", "\n")), error
    assert len(error) <= 200
    async with admin.connect() as conn:
        kept = (await conn.execute(text("SELECT portfolio_id, error, blocked FROM ledger.failures"))).all()
    assert [tuple(row) for row in kept] == [(created[0], error, False)]


def failing_at(*bad: tuple[UUID, date]) -> Callable[[Batch], None]:
    """A computation that cannot do these units, nor anything together with them."""

    def fail(batch: Batch) -> None:
        for portfolio, session in bad:
            if portfolio in batch.portfolios and session in batch.sessions:
                raise ZeroDivisionError(f"no price on {session}\x00 \ud800")

    return fail


async def noted(admin: AsyncEngine, phase: Phase) -> dict[UUID, tuple[int, str | None]]:
    """Runs counted and last error, of the portfolios that have any."""
    async with admin.connect() as conn:
        rows = await conn.execute(
            text(
                "SELECT portfolio_id, runs, last_error FROM ledger.schedule WHERE CAST(phase AS text) = :p AND runs > 0"
            ),
            {"p": phase.value},
        )
        return {portfolio: (runs, error) for portfolio, runs, error in rows}


async def test_one_bad_session_of_one_portfolio_fails_alone(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine]
) -> None:
    """4,999 of 5,000 units complete at the first run, in tries that grow with the logarithm of their number."""
    sessions = calendar().between(date(2023, 1, 3), date(2023, 12, 29))
    created = await portfolios(admin, 20, sessions)
    bad = UnitKey(created[13], sessions[101])
    worker = Worker(Phase.INGEST, on_compute=failing_at(bad))
    total = len(created) * len(sessions)
    assert await runner(engines, worker).run(Work(tuple(created), sessions[0], sessions[-1])) == total - 1
    assert await left(admin, Phase.INGEST) == {bad}
    assert len(worker.seen) <= 2 * math.ceil(math.log2(total)) + 3, "two tries at each halving"
    error = f"ZeroDivisionError: no price on {bad.session}\\0 \\ud800"
    assert await noted(admin, Phase.INGEST) == {bad.portfolio_id: (1, error)}, "what completed beside it hides nothing"
    assert await runner(engines, Worker(Phase.INGEST)).run(Work(tuple(created), sessions[0], sessions[-1])) == 1


async def test_before_a_bad_session_the_chain_completes_and_behind_it_nothing_is_tried(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine]
) -> None:
    a, b = await portfolios(admin, 2, D, done=(Phase.INGEST,))
    worker = Worker(Phase.SNAPSHOTS, on_compute=failing_at((a, D[5])))
    assert await runner(engines, worker).run(Work((a, b), D[0], D[-1])) == 5 + len(D)
    assert await left(admin, Phase.SNAPSHOTS) == {UnitKey(a, session) for session in D[5:]}
    assert len(worker.seen) <= 2 * math.ceil(math.log2(2 * len(D))) + 1
    assert not [batch for batch in worker.seen if a in batch.portfolios and batch.first > D[5]]
    assert list(await noted(admin, Phase.SNAPSHOTS)) == [a]
    for _ in range(MAX_RUNS - 1):
        assert await runner(engines, worker).run(Work((a, b), D[0], D[-1])) == 0
    async with admin.connect() as conn:
        blocked = await conn.execute(
            text("SELECT portfolio_id, session FROM ledger.units WHERE blocked_reason IS NOT NULL")
        )
        assert [UnitKey(*row) for row in blocked] == [UnitKey(a, D[5])], "what waits behind it is not to blame"
    assert await runner(engines, Worker(Phase.SNAPSHOTS)).run(Work((a, b), D[0], D[-1])) == 0, "and goes on waiting"
    async with admin.begin() as conn:
        await acquire_commit_order_lock(conn)
        assert await ledger.unblock(conn, [a], D[0], D[-1], None) == 1
    assert await runner(engines, Worker(Phase.SNAPSHOTS)).run(Work((a, b), D[0], D[-1])) == len(D) - 5


async def test_bad_sessions_are_one_run_together_and_are_blocked_with_their_own_reasons(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine]
) -> None:
    [a] = await portfolios(admin, 1, D)
    run = runner(engines, Worker(Phase.INGEST, on_compute=failing_at((a, D[3]), (a, D[9])))).run
    assert await run(Work((a,), D[0], D[-1])) == len(D) - 2
    [(runs, error)] = (await noted(admin, Phase.INGEST)).values()
    assert (runs, str(error).endswith("(and 1 more)")) == (1, True)
    for _ in range(MAX_RUNS - 1):
        assert await run(Work((a,), D[0], D[-1])) == 0
    async with admin.connect() as conn:
        blocked = await conn.execute(
            text("SELECT session, blocked_reason FROM ledger.units WHERE blocked_reason IS NOT NULL ORDER BY 1")
        )
        found = [(session, str(session) in reason) for session, reason in blocked]
        letters = await conn.scalar(text("SELECT count(*) FROM bus.dead_letters WHERE reason = 'blocked'"))
    assert found == [(D[3], True), (D[9], True)]
    assert letters == 2


async def test_where_everything_fails_that_is_found_out_within_bounds(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine]
) -> None:
    sessions = calendar().between(date(2021, 1, 4), date(2023, 12, 29))
    [a] = await portfolios(admin, 1, sessions)

    def fail(_: Batch) -> None:
        raise ZeroDivisionError("a release that cannot work")

    worker = Worker(Phase.INGEST, on_compute=fail)
    assert await runner(engines, worker).run(Work((a,), sessions[0], sessions[-1])) == 0
    assert len(worker.seen) <= 2 * MOST_TRIES
    assert len(await left(admin, Phase.INGEST)) == len(sessions)
    assert await noted(admin, Phase.INGEST) == {a: (1, "ZeroDivisionError: a release that cannot work")}, (
        "one error, once"
    )


@pytest.mark.parametrize("error", [TransientError("later"), ConnectionResetError(), TimeoutError()], ids=repr)
async def test_a_transient_error_comes_out_counts_nothing_and_lets_go(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine], error: Exception
) -> None:
    [a] = await portfolios(admin, 1, D[:2])

    def fail(_: Batch) -> None:
        raise error

    with pytest.raises(type(error)):
        await runner(engines, Worker(Phase.INGEST, on_compute=fail)).run(Work((a,), D[0], D[1]))
    async with admin.connect() as conn:
        rows = await conn.execute(text("SELECT DISTINCT runs, lease_owner FROM ledger.schedule"))
        assert rows.all() == [(0, None)]
    assert await runner(engines, Worker(Phase.INGEST)).run(Work((a,), D[0], D[1])) == 2


async def test_a_run_that_is_cancelled_lets_go(admin: AsyncEngine, engines: dict[Phase, AsyncEngine]) -> None:
    [a] = await portfolios(admin, 1, D[:1])
    entered = asyncio.Event()

    async def wait(_: Batch) -> None:
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(runner(engines, Worker(Phase.INGEST, on_claim=wait)).run(Work((a,), D[0], D[0])))
    await asyncio.wait_for(entered.wait(), 40)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with admin.connect() as conn:
        assert await conn.scalar(text("SELECT count(*) FROM ledger.schedule WHERE lease_owner IS NOT NULL")) == 0
    assert await left(admin, Phase.INGEST) == {UnitKey(a, D[0])}


async def hold(admin: AsyncEngine, sizes: Mapping[UUID, int]) -> None:
    """Give each portfolio so many lots, every second one of a symbol of its own."""
    async with admin.begin() as conn:
        for portfolio, lots in sizes.items():
            await conn.execute(
                text("""
                    INSERT INTO coordinator.portfolios (id, name, account_type, equity_balance, first_session)
                    VALUES (:id, 'p', 'taxable', 1, :first)
                """),
                {"id": portfolio, "first": D[0]},
            )
            await conn.execute(
                text("""
                    INSERT INTO coordinator.positions (portfolio_id, symbol, quantity, entry_date, entry_session, entry_price,
                                                       investment_class, stated_quantity, stated_entry_price)
                    SELECT :id, 'S' || n / 2, 1, :first, :first, 1, 'PUBLIC', 1, 1 FROM generate_series(0, :lots - 1) AS n
                """),
                {"id": portfolio, "first": D[0], "lots": lots},
            )


STORES_NOTHING = pytest.mark.leaves_drift("the worker stores no results")


@pytest.mark.parametrize(
    ("phase", "most", "width"),
    [
        (Phase.INGEST, 30, 6),
        (Phase.FACTORS, 30, 6),
        pytest.param(Phase.SNAPSHOTS, 30, 3, marks=STORES_NOTHING),
        pytest.param(Phase.RISK, 1600, 3, marks=STORES_NOTHING),
        pytest.param(Phase.SNAPSHOTS, 7, 1, marks=STORES_NOTHING),
    ],
)
async def test_batches_are_within_what_they_may_cost_the_phase(
    admin: AsyncEngine,
    engines: dict[Phase, AsyncEngine],
    monkeypatch: pytest.MonkeyPatch,
    phase: Phase,
    most: int,
    width: int,
) -> None:
    """Ten lots of five symbols: five rows a session for ingest and factors, ten for snapshots, five times a hundred figures for risk."""
    monkeypatch.setattr("shared.phase.batches.MAX_ROWS", dict.fromkeys(Phase, most))
    [large] = await portfolios(admin, 1, D, done=tuple(Phase)[: tuple(Phase).index(phase)])
    await hold(admin, {large: 10})
    worker = Worker(phase)
    assert await runner(engines, worker).run(Work((large,), D[0], D[-1])) == len(D)
    assert len(worker.seen) == math.ceil(len(D) / width)
    assert [len(batch.sessions) for batch in worker.seen[:-1]] == [width] * (len(worker.seen) - 1)
    assert [session for batch in worker.seen for session in batch.sessions] == list(D)


@STORES_NOTHING
async def test_a_run_that_lasts_too_long_hands_the_rest_on(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.phase.batches.MAX_ROWS", dict.fromkeys(Phase, 10))
    monkeypatch.setattr("shared.phase.runner.RUN_SECONDS", 0.0)
    [large] = await portfolios(admin, 1, D[:3], done=(Phase.INGEST,))
    await hold(admin, {large: 10})
    worker = Worker(Phase.SNAPSHOTS)
    for left_over in (2, 1, 0):
        assert await runner(engines, worker).run(Work((large,), D[0], D[2])) == 1, (
            "each run gets on, however late it is"
        )
        async with admin.begin() as conn:
            owners = await conn.scalars(text("SELECT lease_owner FROM ledger.schedule WHERE phase = 'snapshots'"))
            assert owners.all() == [None], "others may go on at once"
            asked = await conn.execute(
                text("DELETE FROM bus.outbox WHERE type LIKE '%PhaseRequested%' RETURNING payload")
            )
            events = [json.loads(payload) for (payload,) in asked]
        assert len(events) == (1 if left_over else 0), "nothing left: nothing to ask for"
        for event in events:
            assert event["phase"] == "snapshots"
            assert event["work"]["portfolios"] == [str(large)]
            assert event["work"]["from"] <= str(D[0])
            assert event["work"]["to"] >= str(D[2])
    assert await left(admin, Phase.SNAPSHOTS) == set()


async def test_phases_of_one_process_compute_their_large_batches_one_after_the_other(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is as large as its phase may make one; together they would take what both may."""
    monkeypatch.setattr("shared.phase.batches.MAX_ROWS", dict.fromkeys(Phase, 5))
    [first] = await portfolios(admin, 1, D[:3])
    [second] = await portfolios(admin, 1, D[:3], done=(Phase.INGEST,))
    await hold(admin, {first: 10, second: 10})
    ours, running, most, begun = room.of_this_process(), 0, 0, 0

    def compute(_: Batch) -> None:
        nonlocal running, most, begun
        running, begun = running + 1, begun + 1
        most = max(most, running)
        until = time.monotonic() + 20
        # The first one goes on once the other has come: to the room, or, without one, here.
        while begun == 1 and not ours._waiting and time.monotonic() < until:
            time.sleep(0.002)
        most = max(most, running)
        running -= 1

    works = [(Phase.INGEST, first), (Phase.FACTORS, second)]
    runs = [runner(engines, Worker(phase, on_compute=compute)).run(Work((of,), D[0], D[2])) for phase, of in works]
    assert await asyncio.gather(*runs) == [3, 3]
    assert most == 1


async def test_a_run_that_finds_no_room_hands_its_work_on(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of another phase may take minutes on a slow machine, and who waits for it does not poll."""
    monkeypatch.setattr("shared.phase.room.WAIT_SECONDS", 0.01)
    [only] = await portfolios(admin, 1, D[:2])
    await hold(admin, {only: 10})
    work = Work((only,), D[0], D[1])
    async with room.of_this_process().take(room.CAPACITY, 1.0):
        assert await runner(engines, Worker(Phase.INGEST)).run(work) == 0
        async with admin.begin() as conn:
            asked = await conn.scalars(
                text("SELECT payload FROM bus.outbox WHERE type LIKE '%PhaseRequested%' AND payload LIKE '%ingest%'")
            )
            assert len(asked.all()) == 1
            owners = await conn.scalars(text("SELECT lease_owner FROM ledger.schedule WHERE phase = 'ingest'"))
            assert owners.all() == [None]
    assert await runner(engines, Worker(Phase.INGEST)).run(work) == 2


@pytest.mark.parametrize("steps", [False, True])
async def test_a_run_reports_each_batch_to_the_handler_around_it(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine], monkeypatch: pytest.MonkeyPatch, steps: bool
) -> None:
    """From the loop between batches, and from the thread that computes."""
    monkeypatch.setattr("shared.phase.batches.MAX_ROWS", dict.fromkeys(Phase, 10))
    [large] = await portfolios(admin, 1, D[:2])
    await hold(admin, {large: 10})
    idle: list[float] = []

    def compute(_: Batch) -> None:
        handler.at -= 1000
        if steps:
            progress.report()
        idle.append(time.monotonic() - handler.at)

    with progress.track_progress() as handler:
        await runner(engines, Worker(Phase.INGEST, on_compute=compute)).run(Work((large,), D[0], D[1]))
        assert time.monotonic() - handler.at < 500, "a finished batch is progress"
    assert (max(idle) < 500) is steps
    assert max(idle) < 1500, "the batch before was progress too"


@dataclass(frozen=True)
class PutOff(Counted):
    deferred: Mapping[UnitKey, Deferral]


@dataclass
class Deferring(Worker):
    """Puts off what it does not complete, until then."""

    until: datetime = field(default_factory=lambda: datetime.now(UTC))

    def compute(self, inputs: Batch) -> PutOff:
        done = super().compute(inputs).outcomes
        keys = {UnitKey(unit.portfolio_id, unit.session) for unit in inputs.units} - done.keys()
        reason = "rate_limited: TLT for rates"
        return PutOff(done, {key: Deferral(self.until + timedelta(days=key.session.day), reason) for key in keys})


async def test_units_that_a_worker_puts_off_stay_missing_without_a_run_being_counted(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine]
) -> None:
    [a] = await portfolios(admin, 1, D[:4], done=(Phase.INGEST,))
    until = datetime.now(UTC) + timedelta(minutes=7)
    worker = Deferring(Phase.FACTORS, leave=frozenset(D[1:3]), until=until)
    assert await runner(engines, worker).run(Work((a,), D[0], D[3])) == 2
    assert await left(admin, Phase.FACTORS) == {UnitKey(a, D[1]), UnitKey(a, D[2])}
    assert len(worker.seen) == 1, "it is not tried again in the same run"
    async with admin.connect() as conn:
        row = (
            await conn.execute(
                text("SELECT next_at, last_error, runs, emits FROM ledger.schedule WHERE phase = 'factors'")
            )
        ).one()
    first = min(D[1].day, D[2].day)
    assert (row.next_at, row.last_error) == (until + timedelta(days=first), "rate_limited: TLT for rates")
    assert (row.runs, row.emits) == (0, 0)


async def die(admin: AsyncEngine, phase: Phase, portfolios: list[UUID], times: int) -> None:
    """So many workers take the lease and end without a word."""
    for _ in range(times):
        async with admin.begin() as conn:
            assert len(await ledger.acquire(conn, phase, portfolios, uuid4().hex)) == len(portfolios)
            await conn.execute(text("UPDATE ledger.schedule SET lease_until = lease_until - interval '1 hour'"))


async def test_each_death_in_a_row_halves_the_work_and_the_eighth_blocks_it(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deaths are told from failures by the lease that nobody gave back; what killed them is never heard of."""
    monkeypatch.setattr("shared.phase.batches.MAX_UNITS", 8)
    [a] = await portfolios(admin, 1, D[:8])
    await die(admin, Phase.INGEST, [a], 1)
    worker = Worker(Phase.INGEST, leave=frozenset(D))
    await runner(engines, worker).run(Work((a,), D[0], D[7]))
    assert [len(batch) for batch in worker.seen] == [4, 4]
    assert (await noted(admin, Phase.INGEST))[a] == (1, None), "machines are switched off: a run, and no reproach"
    await die(admin, Phase.INGEST, [a], 2)
    worker.seen.clear()
    await runner(engines, worker).run(Work((a,), D[0], D[7]))
    assert [len(batch) for batch in worker.seen] == [2] * 4, "one that let go of its lease is not counted any more"
    _, error = (await noted(admin, Phase.INGEST))[a]
    assert "2 times in a row" in str(error)
    await admin_sets(admin, "runs = 6")
    await die(admin, Phase.INGEST, [a], MAX_RUNS)
    worker.seen.clear()
    await runner(engines, worker).run(Work((a,), D[0], D[7]))
    async with admin.connect() as conn:
        blocked = await conn.execute(
            text("SELECT session, blocked_reason FROM ledger.units WHERE blocked_reason IS NOT NULL")
        )
        assert [(session, "Memory" in reason) for session, reason in blocked] == [(D[0], True)]
        assert await conn.scalar(text("SELECT count(*) FROM bus.dead_letters WHERE reason = 'blocked'")) == 1
    assert [batch.first for batch in worker.seen] == list(D[1:8]), "the others are tried"


async def admin_sets(admin: AsyncEngine, what: str) -> None:
    async with admin.begin() as conn:
        await conn.execute(text(f"UPDATE ledger.schedule SET {what}"))


async def test_what_processes_died_of_twice_is_done_last_and_one_at_a_time(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine]
) -> None:
    a, b, c, d = await portfolios(admin, 4, D[:1])
    await die(admin, Phase.INGEST, [a, b], 2)
    await die(admin, Phase.INGEST, [a], 1)
    await die(admin, Phase.INGEST, [c], 1)
    worker = Worker(Phase.INGEST)
    assert await runner(engines, worker).run(Work((a, b, c, d), D[0], D[0])) == 4
    assert [batch.portfolios for batch in worker.seen] == [(c, d), (b,), (a,)], "the most suspicious last"
    assert await noted(admin, Phase.INGEST) == {}, "they are done after all"


@pytest.mark.parametrize("in_thread", [True, False])
async def test_a_deleted_portfolio_stops_the_batch_that_computes_it(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine], monkeypatch: pytest.MonkeyPatch, in_thread: bool
) -> None:
    """In a thread at its next step; a statement, or whoever waits for a vendor, at once."""
    monkeypatch.setattr("shared.phase.runner.RENEW_SECONDS", 0.05)
    [a] = await portfolios(admin, 1, D[:3])
    began, stopped = threading.Event(), threading.Event()

    def compute(_: Batch) -> None:
        if in_thread:
            began.set()
            try:
                while True:
                    time.sleep(0.01)
                    progress.report()
            finally:
                stopped.set()

    async def claim(_: Batch) -> None:
        if not in_thread:
            began.set()
            await asyncio.Event().wait()

    worker = Worker(Phase.INGEST, on_claim=claim, on_compute=compute)
    run = asyncio.create_task(runner(engines, worker).run(Work((a,), D[0], D[2])))
    await asyncio.to_thread(began.wait, 20)
    async with admin.begin() as conn:
        await acquire_commit_order_lock(conn)
        await ledger.remove_units(conn, a)
    assert await asyncio.wait_for(run, 10) == 0
    assert not in_thread or await asyncio.to_thread(stopped.wait, 10)
    async with admin.connect() as conn:
        assert await conn.scalar(text("SELECT count(*) FROM ledger.failures")) == 0, "nobody is to blame"


async def test_a_deleted_portfolio_stops_no_other(
    admin: AsyncEngine, engines: dict[Phase, AsyncEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.phase.runner.RENEW_SECONDS", 0.02)
    a, b = await portfolios(admin, 2, D[:1])

    async def delete(_: Batch) -> None:
        async with admin.begin() as conn:
            await acquire_commit_order_lock(conn)
            await ledger.remove_units(conn, a)
        await asyncio.sleep(0.2)

    assert await runner(engines, Worker(Phase.INGEST, on_claim=delete)).run(Work((a, b), D[0], D[0])) == 1
    assert await left(admin, Phase.INGEST) == set()
