"""What still may come is waited for, but not for ever, and holds nothing but what it belongs to."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from services.ingest.compute.requests import refresh_requests
from services.ingest.model.market import Action
from services.ingest.providers.chain import Chain
from services.ingest.workflow import IngestWorker
from services.ingest.workflow.symbol_lease import lease_symbols
from shared.clock import Clock
from shared.db.engine import acquire_commit_order_lock
from shared.market.calendar import exchange_calendar
from shared.market.registry import LOOKBACK
from shared.work import Phase
from tests.store.ingest.conftest import DAYS, LAST, Ingest, Market

ENTRY = DAYS.back(LAST, 9)
EARLIEST = DAYS.back(ENTRY, LOOKBACK)
SESSIONS = DAYS.between(ENTRY, LAST)
HELD = [f"A{index}" for index in range(6)]
DOWNSTREAM = (Phase.FACTORS, Phase.SNAPSHOTS, Phase.RISK)


async def run_out(ingest: Ingest) -> None:
    """As if units had become required an hour ago."""
    await ingest.execute("UPDATE ledger.units SET required_at = required_at - interval '1 hour'")


async def computed(ingest: Ingest) -> None:
    """As if every phase had done its part of what is ready."""
    await ingest.execute("""
        UPDATE ledger.units u SET completed_revision = required_revision, quality = 'complete', completed_at = now(),
               provisional = CASE WHEN phase = 'ingest' THEN provisional ELSE EXISTS (
                   SELECT 1 FROM ledger.units i WHERE i.portfolio_id = u.portfolio_id AND i.phase = 'ingest' AND i.provisional) END
        WHERE phase <> 'ingest'
    """)
    await ingest.execute("UPDATE ledger.schedule SET withheld_until = NULL WHERE phase <> 'ingest'")
    await ingest.execute("DELETE FROM bus.outbox")


async def events(ingest: Ingest) -> list[str]:
    return [row.topic for row in await ingest.rows("SELECT topic FROM bus.outbox ORDER BY id")]


async def retry(ingest: Ingest) -> int:
    await ingest.execute("UPDATE ingest.gaps SET retry_at = now() WHERE NOT terminal")
    return await ingest.worker.retry_due()


async def one_of_six_waits(ingest: Ingest) -> UUID:
    """Patience ran out with a sixth of the cost waited for: completed without it."""
    ingest.market.quote(*HELD)
    ingest.market.limited.add("A0")
    portfolio = await ingest.portfolio(*((symbol, ENTRY) for symbol in HELD))
    await ingest.run(portfolio)
    assert await ingest.missing(portfolio) == SESSIONS, "patience is not over"
    await run_out(ingest)
    await ingest.run(portfolio)
    assert await ingest.missing(portfolio) == []
    return portfolio


# --- proxies


@pytest.mark.parametrize("silent", ["^GSPC", "SPY", "TLT"])
async def test_a_factor_proxy_that_is_waited_for_holds_no_unit(ingest: Ingest, silent: str) -> None:
    """People F5, mission 1: NAV needs none of them."""
    ingest.market.quote("AAA")
    ingest.market.limited.add(silent)
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(portfolio)
    units = await ingest.units(portfolio)
    assert {(unit.quality, unit.provisional) for unit in units.values()} == {("complete", False)}
    assert await events(ingest) == ["leadline.prices-ingested"]


async def test_a_proxy_that_arrives_late_demands_the_factors_of_everybody_and_nothing_else(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    ingest.market.limited.add("TLT")
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(portfolio)
    await computed(ingest)
    ingest.market.limited.clear()
    assert await retry(ingest) == 1
    assert await ingest.missing(portfolio, Phase.FACTORS) == SESSIONS
    assert await ingest.missing(portfolio, Phase.RISK) == SESSIONS
    assert await ingest.missing(portfolio, Phase.SNAPSHOTS) == []
    assert await events(ingest) == ["leadline.prices-restated"]


async def test_a_proxy_that_nobody_will_have_is_told_too(ingest: Ingest) -> None:
    """Who deferred because of it must hear that there is nothing to wait for."""
    ingest.market.quote("AAA")
    ingest.market.limited.add("TLT")
    del ingest.market.closes["TLT"], ingest.market.adjusted["TLT"]
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(portfolio)
    await computed(ingest)
    ingest.market.limited.clear()
    await retry(ingest)
    assert [gap[2:] for gap in await ingest.gaps("TLT")] == [("not_found", True)]
    assert await ingest.missing(portfolio, Phase.FACTORS) == SESSIONS


async def test_a_unit_completed_before_the_proxies_were_asked_for_writes_them_down(ingest: Ingest) -> None:
    """Otherwise their first prices would be news to nobody: they are the first that is known of them."""
    ingest.market.quote("AAA")
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(portfolio)
    # Another one completes it while nobody has asked for TLT.
    await ingest.execute(
        "DELETE FROM ingest.prices WHERE symbol_id = (SELECT id FROM ingest.symbols WHERE symbol = 'TLT')"
    )
    await ingest.execute("DELETE FROM ingest.symbols WHERE symbol = 'TLT'")
    early = DAYS.back(ENTRY, 5)
    await ingest.execute("UPDATE ledger.units SET completed_revision = 0 WHERE phase = 'ingest'")
    await complete_only(ingest, portfolio)
    assert await ingest.missing(portfolio) == []
    assert await ingest.gaps("TLT") == [(EARLIEST, LAST, "late", False)]
    await computed(ingest)
    assert await ingest.worker.retry_due() == 1, "due at once"
    assert await ingest.gaps("TLT") == []
    assert early not in await ingest.missing(portfolio, Phase.FACTORS)
    assert await ingest.missing(portfolio, Phase.FACTORS) == SESSIONS


async def complete_only(ingest: Ingest, portfolio: UUID) -> None:
    """The transaction that completes, as whoever writes the last holding does it."""
    async with ingest.worker._engine.begin() as conn:
        await acquire_commit_order_lock(conn)
        await ingest.worker._completer.complete(conn, [portfolio], SESSIONS)


# --- patience


async def test_patience_ends_the_wait_for_less_than_a_fifth_of_the_value(ingest: Ingest) -> None:
    portfolio = await one_of_six_waits(ingest)
    assert await ingest.gaps("A0") == [(EARLIEST, LAST, "rate_limited", False)], "it is still waited for"
    units = await ingest.units(portfolio)
    assert {(unit.quality, unit.provisional) for unit in units.values()} == {("partial", True)}
    assert units[LAST].coverage == pytest.approx(5 / 6)
    assert units[LAST].reasons == [{"figure": None, "symbol": "A0", "reason": "rate_limited"}]


async def test_a_fifth_of_the_value_is_waited_for_however_long_and_the_status_says_for_what(ingest: Ingest) -> None:
    ingest.market.quote(*HELD[:5])
    ingest.market.limited.add("A0")
    portfolio = await ingest.portfolio(*((symbol, ENTRY) for symbol in HELD[:5]))
    await ingest.run(portfolio)
    await run_out(ingest)
    await ingest.run(portfolio)
    assert await ingest.missing(portfolio) == SESSIONS
    [schedule] = await ingest.rows("""
        SELECT last_error, runs, extract(epoch FROM next_at - now()) AS seconds FROM ledger.schedule WHERE phase = 'ingest'
    """)
    assert (schedule.last_error, schedule.runs) == ("rate_limited (file): A0", 0)
    assert 50 < schedule.seconds <= 60, "the provider's own reckoning"


async def test_patience_is_looked_at_when_it_ends(ingest: Ingest) -> None:
    """Nothing arrives at that moment: somebody must look."""
    ingest.market.quote(*HELD)
    ingest.market.limited.add("A0")
    ingest.worker = IngestWorker(ingest.worker._engine, ingest.worker._chain, Clock(LAST), patience=30.0)
    portfolio = await ingest.portfolio(*((symbol, ENTRY) for symbol in HELD))
    await ingest.run(portfolio)
    [schedule] = await ingest.rows("""
        SELECT extract(epoch FROM next_at - now()) AS seconds FROM ledger.schedule WHERE phase = 'ingest'
    """)
    assert 20 < schedule.seconds <= 30


async def test_a_hole_in_the_window_is_told_beside_every_session_that_looks_at_it(ingest: Ingest) -> None:
    """Two hundred sessions before the first entry: no price of the session itself is missing."""
    hole = DAYS.back(ENTRY, 200)
    portfolio = await one_of_six_waits(ingest)
    await ingest.execute("UPDATE ingest.gaps SET first = :hole, last = :hole WHERE NOT terminal", hole=hole)
    await ingest.execute("UPDATE ledger.units SET completed_revision = 0 WHERE phase = 'ingest'")
    await run_out(ingest)
    await complete_only(ingest, portfolio)
    units = await ingest.units(portfolio)
    assert {(unit.provisional, unit.reasons[0]["reason"]) for unit in units.values()} == {(True, "rate_limited")}


# --- what arrives late


async def test_a_late_price_heals_the_unit_that_went_on_without_it_and_demands_the_rest_anew(ingest: Ingest) -> None:
    portfolio = await one_of_six_waits(ingest)
    before = await ingest.units(portfolio)
    await computed(ingest)
    ingest.market.limited.clear()
    assert await retry(ingest) == 1
    units = await ingest.units(portfolio)
    assert {(unit.quality, unit.coverage, unit.provisional) for unit in units.values()} == {("complete", 1.0, False)}
    assert {unit.reasons == [] for unit in units.values()} == {True}
    assert [unit.completed_revision for unit in units.values()] == [unit.completed_revision for unit in before.values()]
    for phase in DOWNSTREAM:
        assert await ingest.missing(portfolio, phase) == SESSIONS, phase
    assert await events(ingest) == ["leadline.prices-restated"], "nothing is waited for any more: at once"


async def test_a_wait_that_ends_without_a_price_clears_what_was_provisional(ingest: Ingest) -> None:
    portfolio = await one_of_six_waits(ingest)
    await computed(ingest)
    ingest.market.limited.clear()
    del ingest.market.closes["A0"], ingest.market.adjusted["A0"]
    assert await retry(ingest) == 1
    units = await ingest.units(portfolio)
    assert {(unit.quality, unit.provisional) for unit in units.values()} == {("partial", False)}
    assert units[LAST].reasons == [{"figure": None, "symbol": "A0", "reason": "not_found"}]
    for phase in DOWNSTREAM:
        assert await ingest.missing(portfolio, phase) == SESSIONS, phase


async def test_arrivals_are_taken_up_together_while_others_are_waited_for(ingest: Ingest) -> None:
    names = [f"A{index}" for index in range(12)]
    ingest.market.quote(*names)
    ingest.market.limited |= {"A0", "A1"}
    portfolio = await ingest.portfolio(*((symbol, ENTRY) for symbol in names))
    await ingest.run(portfolio)
    await run_out(ingest)
    await ingest.run(portfolio)
    await computed(ingest)

    ingest.market.limited.remove("A0")
    await retry(ingest)
    assert await ingest.missing(portfolio, Phase.SNAPSHOTS) == SESSIONS, "raised in the same transaction"
    assert await events(ingest) == [], "and told later"
    until = await withheld(ingest)
    assert all(800 < (moment - datetime.now(UTC)).total_seconds() <= 900 for moment in until.values()), (
        "four times an hour at most, however often the end of the wait slips"
    )

    # Another arrival does not push it on, and the time comes: nobody starves.
    await ingest.execute(
        "UPDATE ledger.schedule SET withheld_until = now() - interval '1 s' WHERE withheld_until IS NOT NULL"
    )
    passed = await withheld(ingest)
    hole = DAYS.back(LAST, 3)
    ingest.market.closes["A5"][hole] = ingest.market.adjusted["A5"][hole] = 77.0
    await correct(ingest, "A5")
    assert await withheld(ingest) == passed
    rows = await ingest.rows("SELECT next_at < now() AS due FROM ledger.schedule WHERE withheld_until IS NOT NULL")
    assert [row.due for row in rows] == [True] * 3

    ingest.market.limited.clear()
    await retry(ingest)
    assert await events(ingest) == ["leadline.prices-restated"], "nothing is waited for any more"
    assert await withheld(ingest) == {}
    [event] = await ingest.rows("SELECT payload FROM bus.outbox")
    assert json.loads(event.payload)["work"]["from"] == ENTRY.isoformat()


async def withheld(ingest: Ingest) -> dict[str, datetime]:
    rows = await ingest.rows("SELECT phase, withheld_until FROM ledger.schedule WHERE withheld_until IS NOT NULL")
    return {row.phase: row.withheld_until for row in rows}


async def correct(ingest: Ingest, symbol: str) -> None:
    """As a person wants a known symbol asked for anew."""
    async with lease_symbols(ingest.worker._engine, [symbol]) as claim:
        asks = refresh_requests(claim.symbols[0], ENTRY, LAST, (), DAYS)
        await ingest.worker._fetch_and_write(claim, asks, (), SESSIONS)


async def test_fifteen_minutes_are_the_longest_that_arrivals_are_held_back(ingest: Ingest) -> None:
    portfolio = await one_of_six_waits(ingest)
    await computed(ingest)
    await ingest.execute("UPDATE ingest.gaps SET retry_at = now() + interval '5 hours' WHERE NOT terminal")
    ingest.market.closes["A5"][LAST] = ingest.market.adjusted["A5"][LAST] = 77.0
    await correct(ingest, "A5")
    assert await ingest.missing(portfolio, Phase.SNAPSHOTS) == [LAST]
    until = await withheld(ingest)
    assert sorted(until) == ["factors", "risk", "snapshots"]
    assert all(800 < (moment - datetime.now(UTC)).total_seconds() <= 900 for moment in until.values())


# --- publication


class Evening(Market):
    """Publishes at a certain hour after midnight in New York of the session's day."""

    publishes: timedelta

    def __init__(self, publishes: timedelta) -> None:
        super().__init__("evening")
        self.publishes = publishes


async def publisher(ingest: Ingest, hours: float) -> Evening:
    """Its newest bar is missing; it publishes so many hours after now."""
    opened, _ = DAYS.hours(LAST)
    midnight = opened.astimezone(ZoneInfo("America/New_York")).replace(hour=0, minute=0, second=0, microsecond=0)
    market = Evening(datetime.now(UTC) - midnight + timedelta(hours=hours))
    market.closes, market.adjusted = ingest.market.closes, ingest.market.adjusted
    ingest.worker = IngestWorker(ingest.worker._engine, Chain([market], exchange_calendar), Clock(LAST))
    return market


async def test_a_bar_that_is_not_out_yet_is_late_and_waited_for_until_it_is(ingest: Ingest) -> None:
    ingest.market.quote("AAA", last=DAYS.back(LAST, 2))
    market = await publisher(ingest, 2.0)
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(portfolio)
    yesterday = DAYS.previous(LAST)
    assert await ingest.gaps("AAA") == [(yesterday, yesterday, "no_trade", True), (LAST, LAST, "late", False)]
    await run_out(ingest)
    await ingest.run(portfolio)
    assert await ingest.missing(portfolio) == [LAST], "it is all of the value"
    [schedule] = await ingest.rows("""
        SELECT extract(epoch FROM next_at - now()) / 3600 AS hours FROM ledger.schedule WHERE phase = 'ingest'
    """)
    assert 1.9 < schedule.hours <= 2.0, "the hour at which it is published"
    market.publishes -= timedelta(hours=3)
    await retry(ingest)
    assert await ingest.gaps("AAA") == [(yesterday, LAST, "no_trade", True)], "now it would be there"
    assert await ingest.missing(portfolio) == []


# --- held back


async def test_a_suspect_split_of_one_symbol_holds_nobody_when_nobody_else_can_be_asked(ingest: Ingest) -> None:
    """Books A3: the file lists a split that its closes are not adjusted for; the file will say the same for ever."""
    ingest.market.quote("AAA", "BBB")
    split = DAYS.back(LAST, 4)
    ingest.market.actions["BBB"] = (Action(split, "split", 4.0),)
    for levels in (ingest.market.closes["BBB"], ingest.market.adjusted["BBB"]):
        levels |= {day: close / 4 for day, close in levels.items() if day >= split}
    portfolio = await ingest.portfolio(("AAA", ENTRY), ("BBB", ENTRY))
    await ingest.run(portfolio)
    assert await ingest.missing(portfolio) == [], "its own line only, though it is half of the value"
    units = await ingest.units(portfolio)
    assert {unit.provisional for unit in units.values()} == {False}, "nothing is waited for"
    assert units[LAST].reasons == [{"figure": None, "symbol": "BBB", "reason": "quarantined"}]
    assert {gap[2:] for gap in await ingest.gaps("BBB")} == {("quarantined", True)}


async def test_a_bare_suspicion_of_the_only_provider_does_not_hold_its_price_back(ingest: Ingest) -> None:
    """A jump of ten standard deviations: with nobody to ask its word stands."""
    ingest.market.quote("AAA")
    eve = DAYS.previous(LAST)
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(portfolio, last=eve)
    for levels in (ingest.market.closes["AAA"], ingest.market.adjusted["AAA"]):
        levels[LAST] *= 1.1
    await ingest.run(portfolio)
    assert await ingest.missing(portfolio) == []
    assert await ingest.gaps("AAA") == []
