"""What is required, what is ready, what is complete: on a migrated database, with each service's own rights."""

from __future__ import annotations

import json
from datetime import date
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import ledger
from shared.ledger import MAX_RUNS, Outcome, completion
from shared.ledger.states import HOLE_REASON, HOLE_REASONS, STATE_OF_MISSING, state_of_missing
from shared.work import UPSTREAM, MissingUnit, Phase, UnitKey
from tests.support.databases import act_as
from tests.support.ledger import SESSIONS, Unit, add, complete, missing, ready, require, revisions

D = SESSIONS


@pytest.fixture
def a() -> UUID:
    return uuid4()


@pytest.fixture
def b() -> UUID:
    return uuid4()


def units(portfolio: UUID, sessions: list[date], *phases: Phase) -> set[Unit]:
    return {Unit(portfolio, session, phase) for session in sessions for phase in phases or Phase}


async def schedule(db: AsyncConnection, portfolio: UUID, phase: Phase) -> dict[str, object]:
    rows = await db.execute(
        text("""SELECT *, extract(epoch FROM next_at - now())::float8 AS wait FROM ledger.schedule
                WHERE portfolio_id = :p AND phase = CAST(:phase AS ledger.phase)"""),
        {"p": portfolio, "phase": phase.value},
    )
    return dict(rows.mappings().one())


async def finish(db: AsyncConnection, portfolio: UUID, sessions: list[date], *phases: Phase) -> None:
    """Complete units at what they require."""
    required = await revisions(db)
    for phase in phases or Phase:
        for session in sessions:
            await complete(db, phase, [(portfolio, session)], required[Unit(portfolio, session, phase)][0])


# --- adding and removing ---------------------------------------------------------------------------------------------


async def test_adding_makes_four_units_a_session_and_only_what_is_not_there(
    db: AsyncConnection, a: UUID, b: UUID
) -> None:
    first = await add(db, [a], D[:3])
    assert await missing(db) == units(a, D[:3])
    assert await ledger.add_units(db, [a, b], D[:4], first + 100) == 4 + 16
    assert await missing(db) == units(a, D[:4]) | units(b, D[:4])
    known = await revisions(db)
    assert {known[unit] for unit in units(a, D[:3])} == {(first, 0)}, "what was there keeps its revision"
    assert known[Unit(b, D[0], Phase.RISK)] == (first + 100, 0)
    for phase in Phase:
        assert 29 < float(str((await schedule(db, a, phase))["wait"])) <= 30, "the normal path has its chance first"


async def test_adding_nothing_is_nothing(db: AsyncConnection, a: UUID) -> None:
    assert await ledger.add_units(db, [], D, 1) == 0
    assert await ledger.add_units(db, [a], [], 1) == 0
    assert await missing(db) == set()


async def test_a_removed_portfolio_has_no_units_and_work_in_flight_lands_nowhere(
    db: AsyncConnection, a: UUID, b: UUID
) -> None:
    revision = await add(db, [a, b], D[:2])
    await act_as(db, "coordinator")
    assert await ledger.remove_units(db, a) == 8
    assert await missing(db) == units(b, D[:2])
    assert not await complete(db, Phase.INGEST, [(a, D[0]), (a, D[1])], revision)
    assert await ledger.acquire(db, Phase.INGEST, [a], "late") == []
    assert {unit.portfolio_id for unit in await revisions(db)} == {b}


async def test_units_before_a_later_first_entry_go(db: AsyncConnection, a: UUID) -> None:
    await add(db, [a], D[:4])
    assert await ledger.withdraw_units(db, a, before=D[2]) == 8
    assert await missing(db) == units(a, D[2:4])
    assert (await schedule(db, a, Phase.RISK))["emits"] == 0, "its schedule stays"


# --- requiring -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", Phase)
async def test_a_raise_is_closed_downstream(db: AsyncConnection, a: UUID, b: UUID, phase: Phase) -> None:
    """The dependent phases of the same sessions; for snapshots every later session, and its risk."""
    await add(db, [a, b], D[:6])
    revision, raised = await require(db, (a, D[2], D[3], phase))
    near = {after for after in Phase if phase in UPSTREAM[after]}
    closed = {phase} | near | {far for far in Phase if near & set(UPSTREAM[far])}
    expected = units(a, D[2:4], *closed)
    if Phase.SNAPSHOTS in closed:
        expected |= units(a, D[2:6], Phase.SNAPSHOTS, Phase.RISK)
    assert raised == expected
    known = await revisions(db)
    assert {unit for unit, (required, _) in known.items() if required == revision} == expected


async def test_many_raises_at_once_are_their_union(db: AsyncConnection, a: UUID, b: UUID) -> None:
    await add(db, [a, b], D)
    _, raised = await require(
        db,
        (a, D[8], D[9], Phase.INGEST),
        (a, D[2], D[2], Phase.FACTORS),
        (a, D[2], D[4], Phase.FACTORS),
        (a, D[4], D[5], Phase.FACTORS),
        (b, D[5], D[5], Phase.SNAPSHOTS),
        (b, D[7], D[7], Phase.SNAPSHOTS),
        (b, D[0], D[0], Phase.RISK),
    )
    assert raised == (
        units(a, D[2:6], Phase.FACTORS, Phase.RISK)
        | units(a, D[8:10])
        | units(a, D[8:], Phase.SNAPSHOTS, Phase.RISK)
        | units(b, D[5:], Phase.SNAPSHOTS, Phase.RISK)
        | units(b, D[:1], Phase.RISK)
    )


async def test_a_raise_never_lowers(db: AsyncConnection, a: UUID) -> None:
    await add(db, [a], D[:3])
    high, _ = await require(db, (a, D[1], D[1], Phase.FACTORS))
    assert await ledger.require(db, [(a, D[0], D[2], Phase.FACTORS)], high - 1) == []
    assert await ledger.require(db, [(a, D[1], D[1], Phase.FACTORS)], high) == [], "nor does it raise twice"
    known = await revisions(db)
    assert known[Unit(a, D[1], Phase.FACTORS)] == (high, 0)


async def test_a_raise_of_nothing_known_raises_nothing(db: AsyncConnection, a: UUID, b: UUID) -> None:
    await add(db, [a], D[:2])
    assert await require(db, (b, D[0], D[1], Phase.INGEST)) == (await _last_change(db), set())
    assert (await require(db, (a, D[5], D[6], Phase.FACTORS)))[1] == set()
    assert await ledger.require(db, [], 1) == []


async def _last_change(db: AsyncConnection) -> int:
    await act_as(db, None)
    return int(await db.scalar(text("SELECT last_value FROM ledger.change")) or 0)


async def test_a_raise_clears_what_was_blocked_and_reschedules(db: AsyncConnection, a: UUID) -> None:
    await add(db, [a], D[:2])
    await finish(db, a, D[:2], Phase.INGEST)
    await act_as(db, "factors")
    for _ in range(MAX_RUNS):
        await ledger.record_failure(db, Phase.FACTORS, a, {(D[0], D[1]): "ValueError: no"})
    assert await ready(db, Phase.FACTORS, [a]) == set()
    await act_as(db, None)
    await db.execute(text("UPDATE ledger.schedule SET emits = 7, next_at = now() + interval '1 day'"))
    await require(db, (a, D[1], D[1], Phase.FACTORS), service="ingest")
    assert await ready(db, Phase.FACTORS, [a]) == {UnitKey(a, D[1])}, "the other session stays blocked"
    for phase in (Phase.FACTORS, Phase.RISK):
        row = await schedule(db, a, phase)
        assert (row["emits"], row["runs"], row["last_error"]) == (0, 0, None)
        assert float(str(row["wait"])) == pytest.approx(30, abs=1)
    assert (await schedule(db, a, Phase.SNAPSHOTS))["emits"] == 7, "nothing of snapshots was raised"


# --- ready -----------------------------------------------------------------------------------------------------------


async def test_ready_is_missing_with_its_upstream_complete(db: AsyncConnection, a: UUID, b: UUID) -> None:
    await add(db, [a, b], D[:3])
    assert await ready(db, Phase.INGEST, [a]) == {UnitKey(a, session) for session in D[:3]}
    assert await ready(db, Phase.FACTORS, [a, b]) == set()
    await finish(db, a, [D[0], D[2]], Phase.INGEST)
    assert await ready(db, Phase.FACTORS, [a, b]) == {UnitKey(a, D[0]), UnitKey(a, D[2])}
    assert await ready(db, Phase.FACTORS, [b]) == set()
    assert await ready(db, Phase.FACTORS, [a], D[1], D[2]) == {UnitKey(a, D[2])}
    await finish(db, a, [D[0]], Phase.FACTORS)
    assert await ready(db, Phase.FACTORS, [a]) == {UnitKey(a, D[2])}
    assert await ready(db, Phase.RISK, [a]) == set(), "risk needs both"
    await finish(db, a, [D[0]], Phase.SNAPSHOTS)
    assert await ready(db, Phase.RISK, [a]) == {UnitKey(a, D[0])}
    await require(db, (a, D[0], D[0], Phase.FACTORS))
    assert await ready(db, Phase.RISK, [a]) == set(), "an upstream raise takes it back"


async def test_snapshots_are_ready_from_the_oldest_missing_on_without_a_hole(
    db: AsyncConnection, a: UUID, b: UUID
) -> None:
    await add(db, [a, b], D[:6])
    await finish(db, a, [D[1], D[2]], Phase.INGEST)
    assert await ready(db, Phase.SNAPSHOTS, [a]) == set(), "the first is not there"
    await finish(db, a, [D[0], D[4]], Phase.INGEST)
    await finish(db, b, D[:6], Phase.INGEST)
    assert await ready(db, Phase.SNAPSHOTS, [a]) == {UnitKey(a, session) for session in D[:3]}
    assert await ready(db, Phase.SNAPSHOTS, [a, b]) == {
        *(UnitKey(a, session) for session in D[:3]),
        *(UnitKey(b, session) for session in D[:6]),
    }, "one portfolio's hole is its own"
    # The range of an event about a later session finds the earlier ones too: it could not be computed without them.
    assert await ready(db, Phase.SNAPSHOTS, [a], D[2], D[2]) == {UnitKey(a, session) for session in D[:3]}
    await finish(db, a, D[:2], Phase.SNAPSHOTS)
    assert await ready(db, Phase.SNAPSHOTS, [a]) == {UnitKey(a, D[2])}


async def test_a_blocked_snapshot_blocks_what_follows_and_a_blocked_factor_only_itself(
    db: AsyncConnection, a: UUID
) -> None:
    await add(db, [a], D[:3])
    await finish(db, a, D[:3], Phase.INGEST)
    await act_as(db, None)
    await db.execute(text("UPDATE ledger.units SET blocked_reason = 'x' WHERE session = :s"), {"s": D[1]})
    assert await ready(db, Phase.SNAPSHOTS, [a]) == {UnitKey(a, D[0])}
    assert await ready(db, Phase.FACTORS, [a]) == {UnitKey(a, D[0]), UnitKey(a, D[2])}


# --- completing ------------------------------------------------------------------------------------------------------


async def test_completing_is_idempotent_and_says_what_it_raised(db: AsyncConnection, a: UUID, b: UUID) -> None:
    revision = await add(db, [a, b], D[:2])
    first = await complete(db, Phase.INGEST, [(a, D[0]), (b, D[0])], revision)
    assert dict(first.revision) == {UnitKey(a, D[0]): revision, UnitKey(b, D[0]): revision}
    again = await complete(db, Phase.INGEST, [(a, D[0]), (a, D[1]), (b, D[0])], revision)
    assert set(again.keys) == {UnitKey(a, D[1])}, "what was complete is not raised, so its results are not written"
    assert not await complete(db, Phase.INGEST, [(a, D[0])], revision)
    assert not await complete(db, Phase.INGEST, [], revision)
    assert await missing(db) == (units(a, D[:2]) | units(b, D[:2])) - {
        Unit(a, D[0], Phase.INGEST),
        Unit(a, D[1], Phase.INGEST),
        Unit(b, D[0], Phase.INGEST),
    }


async def test_work_in_flight_at_an_older_revision_does_no_harm(db: AsyncConnection, a: UUID) -> None:
    old = await add(db, [a], D[:1])
    new, _ = await require(db, (a, D[0], D[0], Phase.INGEST))
    assert set((await complete(db, Phase.INGEST, [(a, D[0])], old)).keys) == {UnitKey(a, D[0])}
    assert Unit(a, D[0], Phase.INGEST) in await missing(db), "it is still missing at the new one"
    assert await ready(db, Phase.FACTORS, [a]) == set()
    assert await complete(db, Phase.INGEST, [(a, D[0])], new)
    assert not await complete(db, Phase.INGEST, [(a, D[0])], old), "an older one that comes later changes nothing"
    assert (await revisions(db))[Unit(a, D[0], Phase.INGEST)] == (new, new)


async def test_a_completion_says_how_good_it_is(db: AsyncConnection, a: UUID) -> None:
    revision = await add(db, [a], D[:2])
    reasons = [{"figure": None, "symbol": "ABC", "reason": "delisted"}, {"figure": "x", "symbol": None, "reason": "ü"}]
    await complete(db, Phase.RISK, [(a, D[0])], revision, Outcome("partial", 0.25, reasons))
    await complete(db, Phase.RISK, [(a, D[1])], revision)
    rows = (
        await db.execute(
            text("""SELECT quality, coverage, CAST(reasons AS text) AS reasons, completed_at <= clock_timestamp() AS stamped
                    FROM ledger.units WHERE phase = 'risk' ORDER BY session""")
        )
    ).all()
    assert [(row.quality, row.coverage, json.loads(row.reasons), row.stamped) for row in rows] == [
        ("partial", 0.25, reasons, True),
        ("complete", 1.0, [], True),
    ]
    with pytest.raises(ValueError, match="JSON"):
        await complete(db, Phase.RISK, [(a, D[1])], revision + 1, Outcome(reasons=[{"coverage": float("nan")}]))


async def test_sessions_that_lack_the_same_send_their_reasons_once(db: AsyncConnection, a: UUID) -> None:
    """Thousands of symbols without a price on hundreds of sessions would be tens of megabytes."""
    revision = await add(db, [a], D[:5])
    one, equal, other = ([{"figure": None, "symbol": symbol, "reason": "gap"}] for symbol in ("ZZ1", "ZZ1", "ZZ2"))
    lists = [one, other, [], equal, other]
    outcomes = {
        MissingUnit(a, session, revision): Outcome("partial", 0.5, reasons)
        for session, reasons in zip(D, lists, strict=False)
    }
    document, places = completion._encode_once([outcomes[unit].reasons for unit in sorted(outcomes)])
    assert json.loads(document) == [one, other, []]
    assert places == [0, 1, 2, 0, 1]
    await ledger.complete(db, Phase.INGEST, outcomes)
    rows = await db.execute(text("SELECT reasons FROM ledger.units WHERE phase = 'ingest' ORDER BY session"))
    assert [row.reasons for row in rows] == lists


async def test_completing_unblocks(db: AsyncConnection, a: UUID) -> None:
    revision = await add(db, [a], D[:1])
    await act_as(db, None)
    await db.execute(text("UPDATE ledger.units SET blocked_reason = 'x'"))
    await complete(db, Phase.INGEST, [(a, D[0])], revision)
    blocked = await db.execute(text("SELECT CAST(phase AS text) FROM ledger.units WHERE blocked_reason IS NOT NULL"))
    assert set(blocked.scalars()) == {"factors", "snapshots", "risk"}


# --- failing ---------------------------------------------------------------------------------------------------------


async def test_eight_failed_runs_block_what_they_ran_and_nothing_else(db: AsyncConnection, a: UUID, b: UUID) -> None:
    await add(db, [a, b], D[:3])
    await act_as(db, "ingest")
    waits = []
    for run in range(1, MAX_RUNS + 1):
        blocked = await ledger.record_failure(db, Phase.INGEST, a, {(D[0], D[1]): "ValueError: " + "x" * 5_000})
        assert blocked == (run == MAX_RUNS)
        row = await schedule(db, a, Phase.INGEST)
        assert row["runs"] == run
        waits.append(float(str(row["wait"])))
        assert waits[-1] <= min(900, 5 * 2 ** (run - 1))
    assert len(set(waits)) > 1, "the delay has jitter"
    assert len(str(row["last_error"])) == 2_000
    assert await ready(db, Phase.INGEST, [a, b]) == {UnitKey(a, D[2]), *(UnitKey(b, session) for session in D[:3])}
    assert not await ledger.record_failure(db, Phase.INGEST, uuid4(), {(D[0], D[1]): "gone"})


async def test_an_error_of_any_bytes_and_length_is_stored(db: AsyncConnection, a: UUID) -> None:
    """NUL is no character of a database's text, half a character none of anybody's; and whole tables have been put into errors."""
    await add(db, [a], D[:1])
    await act_as(db, "ingest")
    for _ in range(MAX_RUNS):
        await ledger.record_failure(db, Phase.INGEST, a, {(D[0], D[0]): "\x00half \ud800 " + "\x00" * 100_000})
    row = await schedule(db, a, Phase.INGEST)
    reason = await db.scalar(text("SELECT blocked_reason FROM ledger.units WHERE blocked_reason IS NOT NULL"))
    for stored, most in ((str(row["last_error"]), 2_000), (str(reason), 500)):
        assert stored.startswith("\\0half \\ud800 \\0")
        assert len(stored) == most
    await ledger.defer(db, Phase.INGEST, [a], await db.scalar(text("SELECT now()")), "\x00" * 10)
    assert (await schedule(db, a, Phase.INGEST))["last_error"] == "\\0" * 10


async def test_waiting_is_no_failure(db: AsyncConnection, a: UUID) -> None:
    await add(db, [a], D[:1])
    await act_as(db, "ingest")
    later = await db.scalar(text("SELECT now() + interval '1 hour'"))
    for _ in range(20):
        await ledger.defer(db, Phase.INGEST, [a], later, "rate_limited")
    row = await schedule(db, a, Phase.INGEST)
    assert (row["runs"], row["last_error"]) == (0, "rate_limited")
    assert float(str(row["wait"])) == pytest.approx(3_600, abs=1)
    past = await db.scalar(text("SELECT now() - interval '1 hour'"))
    await ledger.defer(db, Phase.INGEST, [a], past, "rate_limited")
    assert float(str((await schedule(db, a, Phase.INGEST))["wait"])) == pytest.approx(0, abs=1)


async def test_progress_forgets_past_failures_of_that_phase(db: AsyncConnection, a: UUID, b: UUID) -> None:
    await add(db, [a, b], D[:1])
    for portfolio in (a, b):
        for phase in (Phase.INGEST, Phase.RISK):
            await act_as(db, phase.value)
            await ledger.record_failure(db, phase, portfolio, {(D[0], D[0]): "once"})
    await act_as(db, "ingest")
    await ledger.record_progress(db, Phase.INGEST, [a])
    assert [(await schedule(db, p, q))["runs"] for p in (a, b) for q in (Phase.INGEST, Phase.RISK)] == [0, 1, 1, 1]
    assert (await schedule(db, a, Phase.INGEST))["last_error"] is None


async def test_a_missing_units_state_is_the_same_in_sql_and_in_python(db: AsyncConnection) -> None:
    """And the metric's label is a case of it."""
    rows = await db.execute(
        text(f"""
            SELECT s.lease_until > clock_timestamp() AS running, s.runs, {STATE_OF_MISSING} AS state, {HOLE_REASON} AS label
            FROM (VALUES (now() + interval '1 hour'), (now() - interval '1 hour'), (NULL)) AS l (lease_until)
            CROSS JOIN (VALUES (0), (3)) AS r (runs)
            CROSS JOIN (VALUES ('x'), (NULL)) AS e (last_error)
            CROSS JOIN (VALUES (gen_random_uuid()), (NULL)) AS a (asked)
            CROSS JOIN LATERAL (SELECT l.lease_until, r.runs, e.last_error, a.asked) s
        """)
    )
    seen = set()
    for row in rows:
        assert row.state == state_of_missing(blocked=False, running=bool(row.running), runs=row.runs)
        assert HOLE_REASONS[row.label] == row.state
        seen.add(row.label)
    assert seen == set(HOLE_REASONS) - {"blocked"}
