"""The reconciler on a real database: who is asked for, when, in which order, how often, and what happens when nothing helps."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from services.coordinator.control import releases
from services.coordinator.control.auditor import audit
from services.coordinator.control.reconciler import Reconciler, ReconcilerSettings
from shared import ledger
from shared.clock import Clock
from shared.db.engine import acquire_commit_order_lock
from shared.ledger import MAX_RUNS
from shared.ledger import schedule as missing
from shared.ledger.schedule import Candidate
from shared.market.calendar import calendar
from shared.messaging import dead_letters
from shared.work import MAX_PORTFOLIOS, Phase
from tests.store.coordinator.conftest import AS_OF, CSV, PREFIX, Api

SESSIONS = calendar().between(date(2020, 12, 21), AS_OF)
PACE = ReconcilerSettings(grace=0.0, measure=0.0)


def reconciler(api: Api, *, as_of: date = AS_OF, **pace: Any) -> Reconciler:
    settings = {"grace": 0.0, "measure": 0.0, **pace}
    return Reconciler(api.context.engine, Clock(as_of), wake=lambda: None, pace=ReconcilerSettings(**settings))


async def created(api: Api, csv: str = CSV) -> str:
    """A portfolio about which nothing is left to be settled."""
    return str((await api.create(csv, price_basis="as_traded"))["id"])


async def due_now(api: Api, phase: str | None = None) -> None:
    """As if everybody had waited long enough; and nobody has answered."""
    await api.run(
        """
        UPDATE ledger.schedule SET next_at = now() - interval '1 second'
        WHERE CAST(:phase AS text) IS NULL OR CAST(phase AS text) = :phase
        """,
        phase=phase,
    )


async def asked(api: Api) -> list[tuple[str, str, str, int]]:
    """Phase, from, to and number of portfolios of what the reconciler asked for since it was last looked at, in order."""
    rows = await api.rows(
        "SELECT payload FROM bus.outbox WHERE type = 'leadline.PhaseRequested.v1' AND sent_at IS NULL ORDER BY id"
    )
    await api.run("UPDATE bus.outbox SET sent_at = now() WHERE sent_at IS NULL")
    found = [json.loads(row.payload) for row in rows]
    return [(e["phase"], e["work"]["from"], e["work"]["to"], len(e["work"]["portfolios"])) for e in found]


async def fail(api: Api, portfolio: str, phase: Phase, times: int = 1, first: date = SESSIONS[0]) -> bool:
    """What a phase does when a run ends in a permanent error."""
    blocked = False
    for _ in range(times):
        async with api.admin.begin() as conn:
            blocked = await ledger.record_failure(conn, phase, UUID(portfolio), {(first, AS_OF): "ValueError: no"})
            if blocked:
                await dead_letters.record_blocked(conn, phase, UUID(portfolio), first, AS_OF, "ValueError: no")
    return blocked


async def schedule(api: Api, phase: str) -> Any:
    return (await api.rows("SELECT * FROM ledger.schedule WHERE phase = CAST(:p AS ledger.phase)", p=phase))[0]


async def test_only_what_could_be_done_is_asked_for(api: Api) -> None:
    """Bugs 9 and 19: the event of a creation is lost, and the history is completed all the same."""
    portfolio = await created(api)
    await api.run("DELETE FROM bus.outbox")
    assert await reconciler(api).run_once() == 0, "new work gets its half minute"
    for phases in (["ingest"], ["factors", "snapshots"], ["risk"], []):
        await due_now(api)
        await reconciler(api).run_once()
        assert [found[0] for found in await asked(api)] == phases
        for phase in phases:
            await api.complete(portfolio, phase=phase)


async def test_the_normal_path_gets_its_chance_after_upstream_completed(api: Api) -> None:
    portfolio = await created(api)
    await api.complete(portfolio, phase="ingest")
    await due_now(api)
    await api.run("DELETE FROM bus.outbox")
    assert await reconciler(api, grace=30.0).run_once() == 0
    await api.run("UPDATE ledger.units SET completed_at = now() - interval '31 seconds' WHERE phase = 'ingest'")
    await due_now(api)
    await reconciler(api, grace=30.0).run_once()
    assert [found[0] for found in await asked(api)] == ["factors", "snapshots"]


async def test_an_interior_hole_is_found(api: Api) -> None:
    """Bug 6: D5 and D7 are there, D6 is not; a newest date says nothing about it. Bug 17: only the missing phase runs."""
    portfolio = await created(api)
    await api.complete(portfolio)
    await api.run(
        "UPDATE ledger.units SET completed_revision = 0 WHERE phase = 'factors' AND session = :d", d=SESSIONS[3]
    )
    await due_now(api)
    await reconciler(api).run_once()
    assert await asked(api) == [("factors", str(SESSIONS[3]), str(SESSIONS[3]), 1)]


async def test_a_laggard_and_a_deleted_portfolio_touch_nobody_else(api: Api) -> None:
    """Bugs 3, 4 and 5: no range is anybody else's. A is at D7, B at D5; D8 falls due; C was deleted."""
    one, other, deleted = [await created(api) for _ in range(3)]
    for portfolio in (one, other):
        await api.complete(portfolio)
    await api.run("DELETE FROM ledger.units WHERE portfolio_id = :id AND session > :d", id=UUID(other), d=SESSIONS[4])
    await api.client.delete(f"{PREFIX}/portfolios/{deleted}")
    await api.run("DELETE FROM bus.outbox")

    await reconciler(api, as_of=date(2020, 12, 31)).run_once()

    new = await api.rows(
        "SELECT portfolio_id, min(session), max(session), count(*) FROM ledger.units WHERE completed_revision = 0 GROUP BY 1"
    )
    assert {str(row[0]): tuple(row[1:]) for row in new} == {
        one: (date(2020, 12, 31), date(2020, 12, 31), 4),
        other: (SESSIONS[5], date(2020, 12, 31), 12),
    }


async def test_a_chain_is_asked_for_only_where_it_can_begin(api: Api) -> None:
    portfolio = await created(api)
    await api.complete(portfolio, phase="ingest")
    await api.run(
        "UPDATE ledger.units SET completed_revision = 0 WHERE phase = 'ingest' AND session = :d", d=SESSIONS[0]
    )
    await due_now(api)
    await api.run("DELETE FROM bus.outbox")
    await reconciler(api).run_once()
    assert await asked(api) == [
        ("ingest", str(SESSIONS[0]), str(SESSIONS[0]), 1),
        ("factors", str(SESSIONS[1]), str(SESSIONS[-1]), 1),
    ], "no snapshot before the oldest one can be computed"
    row = await schedule(api, "snapshots")
    assert row.emits == 0, "looking and finding nothing is no emission"


async def test_who_waits_for_upstream_does_not_stand_before_the_others(api: Api) -> None:
    """A portfolio whose upstream is missing is looked at, put back, and the next turn sees the others."""
    early, ready = await created(api), await created(api)
    await api.complete(ready, phase="ingest")
    await due_now(api, "factors")
    await api.run(
        "UPDATE ledger.schedule SET next_at = now() - interval '1 hour' WHERE portfolio_id = :id", id=UUID(early)
    )
    async with api.context.engine.begin() as conn:
        found = [await missing.find_candidates(conn, Phase.FACTORS, grace=30.0, look=1) for _ in range(2)]
    assert found == [[], []], "completed a moment ago: grace"
    await api.run("UPDATE ledger.units SET completed_at = now() - interval '1 hour'")
    await due_now(api, "factors")
    await api.run(
        "UPDATE ledger.schedule SET next_at = now() - interval '1 hour' WHERE portfolio_id = :id", id=UUID(early)
    )
    async with api.context.engine.begin() as conn:
        first = await missing.find_candidates(conn, Phase.FACTORS, grace=30.0, look=1)
        second = await missing.find_candidates(conn, Phase.FACTORS, grace=30.0, look=1)
    assert first == []
    assert [str(candidate.portfolio_id) for candidate in second] == [ready]


@pytest.mark.parametrize("phase", [Phase.RISK, Phase.SNAPSHOTS])
def test_who_waited_longest_is_served_newest_sessions_first(phase: Phase) -> None:
    moment = Clock(AS_OF).now()
    old, new = uuid4(), uuid4()
    many = [uuid4() for _ in range(MAX_PORTFOLIOS + 1)]
    candidates = [
        Candidate(old, SESSIONS[0], SESSIONS[1], moment),
        Candidate(new, SESSIONS[4], SESSIONS[5], moment),
        *(Candidate(portfolio, SESSIONS[2], SESSIONS[2], moment) for portfolio in many),
    ]
    made = Reconciler(None, Clock(AS_OF), wake=lambda: None, pace=PACE)  # type: ignore[arg-type]
    works = made.rectangles(phase, candidates, 3)
    order = [(old,), tuple(many[:MAX_PORTFOLIOS]), (new,)]
    assert [work.portfolios for work in works] == (order if phase is Phase.SNAPSHOTS else order[::-1])
    assert [len(work.portfolios) for work in made.rectangles(phase, candidates, 9)].count(1) == 3


async def of_four(api: Api) -> Reconciler:
    """Four portfolios of different spans that wait, and a reconciler that may ask for three."""
    for day in ("21", "22", "23", "24"):
        await created(api, f"symbol,quantity,entry_date,entry_price\nAAPL,1,2020-12-{day},130\n")
    await due_now(api)
    await api.run("DELETE FROM bus.outbox")
    return reconciler(api, events=3)


async def test_no_more_events_are_outstanding_than_allowed(api: Api) -> None:
    leader = await of_four(api)
    assert await leader.run_once() == 3
    await asked(api)
    await api.run("UPDATE ledger.schedule SET next_at = now() + interval '1 minute' WHERE asked IS NOT NULL")
    assert await leader.run_once() == 0, "three are unanswered"
    answered = (await api.rows("SELECT portfolio_id FROM ledger.schedule WHERE asked IS NOT NULL LIMIT 1"))[0][0]
    async with api.admin.begin() as conn:
        await ledger.record_progress(conn, Phase.INGEST, [answered])
    assert await leader.run_once() == 1


async def test_what_is_asked_for_again_leaves_no_room_for_others(api: Api) -> None:
    """The consumers are slow, and nobody answers for minutes: three works are in the queue, however often they are repeated."""
    leader = await of_four(api)
    assert await leader.run_once() == 3
    first = sorted(await asked(api))
    again = "UPDATE ledger.schedule SET next_at = now() - interval '1 second' WHERE next_at > now()"
    for _ in range(4):
        await api.run(again)
        assert await leader.run_once() == 3, "a lost event costs seconds: its work is asked for again"
        assert sorted(await asked(api)) == first
    await api.run(
        "UPDATE bus.outbox SET created_at = created_at - make_interval(secs => :n)", n=missing.OVERDUE_SECONDS
    )
    await api.run(again)
    assert await leader.run_once() == 3
    assert sorted(await asked(api)) != first, "those who have not been asked for at all have waited longest"


async def test_what_is_done_is_answered_whoever_did_it(api: Api) -> None:
    leader = await of_four(api)
    assert await leader.run_once() == 3
    for (portfolio,) in await api.rows("SELECT portfolio_id FROM ledger.schedule WHERE asked IS NOT NULL"):
        await api.complete(str(portfolio), phase="ingest")
    async with api.context.engine.connect() as conn:
        assert await missing.count_outstanding(conn, Phase.INGEST) == 0


async def test_backoff_doubles_with_full_jitter_up_to_a_quarter_of_an_hour(api: Api) -> None:
    await created(api)
    waits: dict[int, list[float]] = {0: [], 3: [], 40: []}
    for emits, found in waits.items():
        for _ in range(40):
            await api.run("UPDATE ledger.schedule SET emits = :n, next_at = now() - interval '1 second'", n=emits)
            async with api.context.engine.begin() as conn:
                portfolio = (await api.rows("SELECT id FROM coordinator.portfolios"))[0][0]
                await missing.record_request(conn, Phase.RISK, {portfolio: uuid4()})
                wait = await conn.scalar(
                    text("SELECT extract(epoch FROM next_at - now()) FROM ledger.schedule WHERE phase = 'risk'")
                )
            found.append(float(str(wait)))
    for emits, found in waits.items():
        longest = min(900.0, 5.0 * 2 ** (emits + 1))
        assert all(0 <= wait <= longest for wait in found)
        assert min(found) < 0.25 * longest
        assert max(found) > 0.75 * longest


async def test_waiting_for_a_provider_never_counts_as_a_run(api: Api) -> None:
    portfolio = await created(api)
    for _ in range(3 * MAX_RUNS):
        async with api.admin.begin() as conn:
            later = await conn.scalar(text("SELECT now() + interval '20 minutes'"))
            await ledger.defer(conn, Phase.INGEST, [UUID(portfolio)], later, "waiting for a provider")
    row = await schedule(api, "ingest")
    assert (row.runs, row.last_error, row.next_at) == (0, "waiting for a provider", later)
    await api.run("DELETE FROM bus.outbox")
    assert await reconciler(api).run_once() == 0, "not before it"
    assert (await api.rows("SELECT count(*) FROM ledger.units WHERE blocked_reason IS NOT NULL"))[0][0] == 0


async def test_eight_failed_runs_block_with_a_dead_letter(api: Api) -> None:
    """Bug 28: a failure is seen as one; nobody polls for ever."""
    portfolio = await created(api)
    for phase in ("ingest", "factors", "snapshots"):
        await api.complete(portfolio, phase=phase)
    assert not await fail(api, portfolio, Phase.RISK, MAX_RUNS - 1)
    assert await fail(api, portfolio, Phase.RISK)
    assert await fail(api, portfolio, Phase.RISK) is False, "nothing is left to block"
    status = (await api.client.get(f"{PREFIX}/portfolios/{portfolio}/status")).json()
    assert status["state"] == "blocked"
    assert status["holes"][0]["reason"] == "ValueError: no"
    [letter] = (await api.client.get(f"{PREFIX}/admin/dead-letters")).json()["items"]
    assert (letter["reason"], letter["consumer"], letter["topic"]) == ("blocked", "risk", "leadline.phase-requested")
    await due_now(api)
    await api.run("DELETE FROM bus.outbox")
    assert await reconciler(api).run_once() == 0
    found = await audit(api.context.engine, Clock(AS_OF), portfolio=UUID(portfolio))
    assert "no_letter" not in {drift.kind for drift in found.drift}


async def test_blocked_units_are_probed_once_a_day(api: Api) -> None:
    portfolio = await created(api)
    for phase in ("ingest", "factors", "snapshots"):
        await api.complete(portfolio, phase=phase)
    await fail(api, portfolio, Phase.RISK, MAX_RUNS)
    await api.run("DELETE FROM bus.outbox")
    probe_in = (
        await api.rows("SELECT extract(epoch FROM probe_at - now()) FROM ledger.schedule WHERE probe_at IS NOT NULL")
    )[0][0]
    assert 86_300 < probe_in <= 86_400
    await api.run("UPDATE ledger.schedule SET probe_at = now() WHERE probe_at IS NOT NULL")
    await reconciler(api).run_once()
    await due_now(api)
    await reconciler(api).run_once()
    assert await asked(api) == [("risk", str(SESSIONS[0]), str(AS_OF), 1)]
    assert await fail(api, portfolio, Phase.RISK), "one more failure blocks again"
    assert len((await api.client.get(f"{PREFIX}/admin/dead-letters")).json()["items"]) == 1, "and is the same letter"
    await api.run("UPDATE ledger.schedule SET probe_at = now() WHERE probe_at IS NOT NULL")
    await reconciler(api).run_once()
    await api.complete(portfolio)
    await reconciler(api).run_once()
    assert (await api.client.get(f"{PREFIX}/admin/dead-letters")).json()["items"] == [], "completed after all"


async def test_what_stays_blocked_when_a_part_is_freed_is_still_probed(api: Api) -> None:
    """Two ranges are blocked, the letter of one is replayed: the other is tried again tomorrow all the same."""
    portfolio = await created(api)
    for span in ((SESSIONS[0], SESSIONS[1]), (SESSIONS[3], SESSIONS[4])):
        async with api.admin.begin() as conn:
            for _ in range(MAX_RUNS):
                await ledger.record_failure(conn, Phase.INGEST, UUID(portfolio), {span: "ValueError: no"})
    async with api.admin.begin() as conn:
        await acquire_commit_order_lock(conn)
        assert await ledger.unblock(conn, [UUID(portfolio)], SESSIONS[0], SESSIONS[1], Phase.INGEST) == 2
    await api.complete(portfolio, phase="factors")
    row = await schedule(api, "ingest")
    assert (row.runs, row.probe_at is None) == (0, False)
    await api.run("UPDATE ledger.schedule SET probe_at = now() WHERE probe_at IS NOT NULL")
    await reconciler(api).run_once()
    assert (await api.rows("SELECT count(*) FROM ledger.units WHERE blocked_reason IS NOT NULL"))[0][0] == 0
    row = await schedule(api, "ingest")
    assert (row.runs, row.probe_at) == (MAX_RUNS - 1, None), "one more failure blocks again"


async def test_a_probe_of_what_is_blocked_no_more_is_forgotten(api: Api) -> None:
    portfolio = await created(api)
    await fail(api, portfolio, Phase.INGEST, MAX_RUNS)
    await api.complete(portfolio)
    await api.run("UPDATE ledger.schedule SET probe_at = now() WHERE probe_at IS NOT NULL")
    await reconciler(api).run_once()
    assert (await schedule(api, "ingest")).probe_at is None


@pytest.mark.parametrize("remedy", ["raise", "new code", "rerun failed", "calculate", "replay"])
async def test_what_clears_a_block(api: Api, remedy: str) -> None:
    portfolio = await created(api)
    await releases.apply(api.context.engine, Clock(AS_OF), code="old", model="1")
    await fail(api, portfolio, Phase.INGEST, MAX_RUNS)
    blocked = "SELECT count(*) FROM ledger.units WHERE blocked_reason IS NOT NULL"
    assert (await api.rows(blocked))[0][0] == len(SESSIONS)
    await releases.apply(api.context.engine, Clock(AS_OF), code="old", model="1")
    assert (await api.rows(blocked))[0][0] == len(SESSIONS), "the same release changes nothing"
    if remedy == "raise":
        body = {"symbol": "MSFT", "quantity": 1, "entry_date": "2020-12-21", "entry_price": 220}
        await api.client.post(f"{PREFIX}/portfolios/{portfolio}/positions", json=body)
    elif remedy == "new code":
        await releases.apply(api.context.engine, Clock(AS_OF), code="new", model="1")
    elif remedy == "rerun failed":
        await api.client.post(f"{PREFIX}/admin/batch/run", params={"portfolio_id": portfolio, "what": "failed"})
    elif remedy == "calculate":
        await api.client.post(f"{PREFIX}/portfolios/{portfolio}/calculate")
    else:
        [letter] = (await api.client.get(f"{PREFIX}/admin/dead-letters")).json()["items"]
        answer = await api.client.post(f"{PREFIX}/admin/dead-letters/{letter['id']}/replay")
        assert answer.status_code == 202, answer.text
        assert ("ingest", str(SESSIONS[0]), str(AS_OF), 1) in await asked(api)
    assert (await api.rows(blocked))[0][0] == 0
    assert (await schedule(api, "ingest")).runs == 0


async def test_two_leaders_are_harmless(api: Api) -> None:
    """Bug 36. The lock saves work; without it (X5, a leader that lost it) an event comes twice and changes nothing."""
    for _ in range(5):
        await created(api)
    await due_now(api)
    await api.run("DELETE FROM bus.outbox")
    turns = await asyncio.gather(*(reconciler(api).run_once() for _ in range(4)))
    assert sum(turns) == 1
    assert await asked(api) == [("ingest", str(SESSIONS[0]), str(AS_OF), 5)]
    assert {row.emits for row in await api.rows("SELECT emits FROM ledger.schedule WHERE phase = 'ingest'")} == {1}


async def test_nothing_is_emitted_while_the_bus_stands_still(api: Api) -> None:
    await created(api)
    await due_now(api)
    await api.run("UPDATE bus.outbox SET created_at = now() - interval '31 seconds'")
    assert await reconciler(api).run_once() == 1, "a topic that cannot be sent to is not the one of requests"
    await due_now(api)
    await api.run("UPDATE bus.outbox SET created_at = now() - interval '31 seconds'")
    assert await reconciler(api).run_once() == 0
    await api.run("UPDATE bus.outbox SET sent_at = now()")
    assert await reconciler(api).run_once() == 1


async def test_at_start_nothing_waits_longer_than_five_seconds(api: Api) -> None:
    """Bug 12: whatever a coordinator that was killed had put off is taken up again at once."""
    await created(api)
    await api.run("UPDATE ledger.schedule SET next_at = now() + interval '15 minutes'")
    await reconciler(api).start()
    [(longest,)] = await api.rows("SELECT max(extract(epoch FROM next_at - now())) FROM ledger.schedule")
    assert longest <= 5


async def test_holes_are_counted_by_what_happens_about_them(api: Api) -> None:
    portfolio = await created(api)
    await fail(api, portfolio, Phase.RISK, MAX_RUNS)
    await fail(api, portfolio, Phase.FACTORS)
    await api.run(
        "UPDATE ledger.schedule SET lease_owner = 'x', lease_until = now() + interval '9 seconds' WHERE phase = 'snapshots'"
    )
    await api.run("UPDATE ledger.units SET required_at = now() - interval '1 hour' WHERE phase = 'ingest'")
    async with api.context.engine.connect() as conn:
        found = {hole.phase: hole for hole in await missing.holes(conn)}
    n = len(SESSIONS)
    assert {phase: (hole.reason, hole.units) for phase, hole in found.items()} == {
        Phase.RISK: ("blocked", n),
        Phase.FACTORS: ("failing", n),
        Phase.SNAPSHOTS: ("running", n),
        Phase.INGEST: ("queued", n),
    }
    assert 3_600 <= found[Phase.INGEST].oldest_seconds < 3_700
    assert found[Phase.FACTORS].oldest_seconds < 60


@pytest.mark.parametrize(
    "left",
    [
        "UPDATE ledger.schedule SET lease_owner = 'dead', lease_until = now() + interval '6 hours'",
        "UPDATE ledger.schedule SET next_at = now() + interval '6 hours'",
        "UPDATE ledger.schedule SET next_at = now() + interval '6 hours', runs = 3, last_error = 'ValueError: no'",
    ],
    ids=["lease", "first look", "backoff"],
)
async def test_what_a_clock_that_was_ahead_put_off_is_asked_for(api: Api, left: str) -> None:
    await created(api)
    await due_now(api)
    await api.run(left + " WHERE phase = 'ingest'")
    assert await reconciler(api).run_once() == 1
    assert [phase for phase, *_ in await asked(api)] == ["ingest"]


async def test_what_was_asked_or_completed_in_the_future_holds_nobody_up(api: Api) -> None:
    """Events of a clock that was ahead are not outstanding, and what completed then has had its time."""
    portfolio = await created(api)
    await api.complete(portfolio, phase="ingest")
    await due_now(api)
    turn = reconciler(api, grace=30.0, events=1)
    await api.run("UPDATE ledger.units SET completed_at = now() + interval '6 hours' WHERE phase = 'ingest'")
    assert await turn.run_once() == 2
    await asked(api)
    await api.run("UPDATE bus.outbox SET created_at = now() + interval '6 hours'")
    other = await created(api, CSV.replace("AAPL", "NVDA"))
    await api.complete(other, phase="ingest")
    await api.run("UPDATE ledger.units SET completed_at = now() - interval '1 hour' WHERE phase = 'ingest'")
    await due_now(api)
    await turn.run_once()
    assert [(phase, count) for phase, _, _, count in await asked(api)] == [("factors", 2), ("snapshots", 2)], (
        "one event a phase may be outstanding, and none is"
    )


async def test_a_clock_that_steps_back_ends_the_waits_for_providers_too(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wait for a provider may be long, so how long it is says nothing; that the clock stepped back does."""
    await created(api)
    wait = "UPDATE ledger.schedule SET next_at = now() + interval '20 hours', last_error = 'rate_limited (yahoo): AAPL'"
    turn = reconciler(api)
    await turn.run_once()
    await api.run(wait)
    await turn.run_once()
    later = "SELECT count(*) FROM ledger.schedule WHERE next_at > now() + interval '1 minute'"
    assert (await api.rows(later))[0][0] == 4, "nothing is wrong with it"
    turn._database_ahead += 6 * 3600
    await turn.run_once()
    assert (await api.rows(later))[0][0] == 0
