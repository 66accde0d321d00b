"""The ingest phase on a real database: what is asked for, what is written, what becomes complete."""

from __future__ import annotations

import asyncio
import json
from datetime import date, timedelta
from itertools import pairwise

import pytest

from services.ingest.model.market import Action
from services.ingest.store.universe import CLAIM
from services.ingest.workflow.symbol_lease import RENEW_SECONDS
from shared.clock import Clock
from shared.ledger import LEASE
from shared.market.registry import LOOKBACK, PROXY_SYMBOLS, REFERENCE_ETFS
from shared.phase.runner import PhaseRunner
from shared.telemetry import COMPLETED
from shared.work import Phase, Work
from tests.store.ingest.conftest import DAYS, LAST, Ingest

ENTRY = DAYS.back(LAST, 9)
EARLIEST = DAYS.back(ENTRY, LOOKBACK)
COMMON = {*PROXY_SYMBOLS, *REFERENCE_ETFS}


async def test_a_portfolio_becomes_complete_and_says_so(ingest: Ingest) -> None:
    ingest.market.quote("AAA", "BBB")
    portfolio = await ingest.portfolio(("AAA", ENTRY), ("BBB", ENTRY))
    [raised] = await ingest.run(portfolio)
    assert len(raised.keys) == 10
    units = await ingest.units(portfolio)
    assert {(unit.quality, unit.coverage) for unit in units.values()} == {("complete", 1.0)}
    [event] = await ingest.rows("SELECT topic, payload FROM bus.outbox")
    assert event.topic == "leadline.prices-ingested"
    assert json.loads(event.payload)["work"] == {
        "portfolios": [str(portfolio)], "from": ENTRY.isoformat(), "to": LAST.isoformat()
    }  # fmt: skip


async def test_what_is_held_and_the_proxies_are_asked_for_and_nothing_else(ingest: Ingest) -> None:
    ingest.market.quote("AAA", "BBB")
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(portfolio)
    assert {request.symbol for request in ingest.market.asked} == {"AAA"} | COMMON
    assert {(request.first, request.last) for request in ingest.market.asked} == {(EARLIEST, LAST)}
    assert len(ingest.market.asked) == 1 + len(COMMON)


async def test_a_second_portfolio_of_the_same_symbols_asks_for_nothing(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    await ingest.run(await ingest.portfolio(("AAA", ENTRY)))
    ingest.market.asked.clear()
    second = await ingest.portfolio(("AAA", DAYS.next(ENTRY)))
    await ingest.run(second)
    assert ingest.market.asked == []
    assert await ingest.missing(second) == []


async def test_only_missing_ranges_are_asked_for_with_the_session_next_to_them(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    yesterday = DAYS.previous(LAST)
    await ingest.run(await ingest.portfolio(("AAA", ENTRY), last=yesterday))
    ingest.market.asked.clear()
    await ingest.run(await ingest.portfolio(("AAA", DAYS.back(ENTRY, 3))))
    of_aaa = [(request.first, request.last) for request in ingest.market.asked if request.symbol == "AAA"]
    assert of_aaa == [(DAYS.back(EARLIEST, 3), EARLIEST), (yesterday, LAST)]


async def test_in_pieces_and_in_one_go_give_the_same_digits(ingest: Ingest) -> None:
    ingest.market.quote("AAA", first=date(2018, 1, 2))
    ingest.market.actions["AAA"] = (Action(date(2019, 6, 3), "split", 4.0), Action(date(2020, 12, 21), "split", 2.0))
    for last in (DAYS.back(LAST, 5), DAYS.back(LAST, 2), LAST):
        await ingest.run(await ingest.portfolio(("AAA", ENTRY), last=last))
    await ingest.run(await ingest.portfolio(("AAA", DAYS.back(ENTRY, 20))))
    found = await ingest.prices("AAA")
    closes = ingest.market.closes["AAA"]
    sessions = list(found)
    assert sessions == DAYS.between(max(DAYS.back(EARLIEST, 20), date(2018, 1, 2)), LAST)
    for session, row in found.items():
        splits = (4.0 if session < date(2019, 6, 3) else 1.0) * (2.0 if session < date(2020, 12, 21) else 1.0)
        assert row.close == closes[session] * splits
        assert row.adj_close == closes[session]
    for before, session in pairwise(sessions):
        assert found[session].total_return == closes[session] / closes[before] - 1.0, session
        split = session in {date(2019, 6, 3), date(2020, 12, 21)}
        assert found[session].return_basis == ("actions" if split else "adjusted")
    assert found[sessions[0]].total_return is None
    added = "SELECT 1 FROM ingest.prices_history WHERE total_return IS NOT NULL"
    assert await ingest.rows(added) == [], "first returns were added, none is another"


async def test_actions_are_stored_on_the_session_they_take_effect(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    saturday = date(2020, 12, 19)
    ingest.market.actions["AAA"] = (
        Action(saturday, "dividend", 0.25), Action(date(2020, 12, 21), "dividend", 0.5),
        Action(date(2021, 3, 1), "split", 2.0), Action(date(2021, 3, 1), "dividend", 1.0), Action(date(2010, 3, 1), "split", 3.0),
    )  # fmt: skip
    await ingest.run(await ingest.portfolio(("AAA", ENTRY)))
    found = await ingest.rows("SELECT ex_session, type, value FROM ingest.actions ORDER BY 1, 2")
    # Dividends after the last session are of no use yet; a later split is, since files are on its basis.
    assert [tuple(row) for row in found] == [(date(2020, 12, 21), "dividend", 0.75), (date(2021, 3, 1), "split", 2.0)]


async def test_a_symbol_without_a_price_makes_the_session_partial_by_its_share(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    portfolio = await ingest.portfolio(("AAA", ENTRY), ("QZZXQ", DAYS.next(ENTRY)))
    await ingest.run(portfolio)
    units = await ingest.units(portfolio)
    assert units[ENTRY].quality == "complete", "it was not held yet"
    assert {(u.quality, u.coverage) for s, u in units.items() if s > ENTRY} == {("partial", 0.5)}
    assert units[LAST].reasons == [{"figure": None, "symbol": "QZZXQ", "reason": "not_found"}]
    assert await ingest.gaps("QZZXQ") == [(DAYS.next(EARLIEST), LAST, "not_found", True)]


async def test_reasons_before_after_and_within_a_series(ingest: Ingest) -> None:
    ingest.market.quote("AAA", first=DAYS.back(LAST, 100), last=DAYS.back(LAST, 3))
    hole = DAYS.back(LAST, 6)
    del ingest.market.closes["AAA"][hole], ingest.market.adjusted["AAA"][hole]
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(portfolio)
    assert await ingest.gaps("AAA") == [
        (EARLIEST, DAYS.back(LAST, 101), "not_yet_listed", True),
        (hole, hole, "no_trade", True),
        (DAYS.back(LAST, 2), LAST, "no_trade", True),
    ]
    partial = [session for session, unit in (await ingest.units(portfolio)).items() if unit.quality == "partial"]
    assert partial == [hole, *DAYS.between(DAYS.back(LAST, 2), LAST)]
    found = await ingest.prices("AAA")
    assert found[DAYS.next(hole)].total_return is None


async def test_a_proxy_without_prices_is_not_the_portfolios_fault(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    del ingest.market.closes["TLT"], ingest.market.adjusted["TLT"]
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(portfolio)
    assert {unit.quality for unit in (await ingest.units(portfolio)).values()} == {"complete"}


async def test_private_holdings_are_neither_asked_for_nor_missed(ingest: Ingest) -> None:
    portfolio = await ingest.portfolio(("HOME_EQUITY", ENTRY), kind="PRIVATE")
    await ingest.run(portfolio)
    assert {request.symbol for request in ingest.market.asked} == COMMON
    assert {unit.quality for unit in (await ingest.units(portfolio)).values()} == {"complete"}


async def test_an_option_needs_its_underlying_too(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    option = "AAA210115C00100000"
    portfolio = await ingest.portfolio((option, ENTRY), kind="OPTIONS", underlying="AAA")
    await ingest.run(portfolio)
    assert {request.symbol for request in ingest.market.asked} == {option, "AAA"} | COMMON
    units = await ingest.units(portfolio)
    assert units[LAST].reasons == [{"figure": None, "symbol": option, "reason": "not_found"}]
    assert units[LAST].coverage == 0.0


async def test_an_exited_lot_is_needed_no_longer(ingest: Ingest) -> None:
    ingest.market.quote("AAA", "BBB", last=DAYS.back(LAST, 4))
    ingest.market.quote("BBB")
    portfolio = await ingest.portfolio(("AAA", ENTRY, DAYS.back(LAST, 4)), ("BBB", ENTRY))
    await ingest.run(portfolio)
    assert {unit.quality for unit in (await ingest.units(portfolio)).values()} == {"complete"}
    [asked] = [request for request in ingest.market.asked if request.symbol == "AAA"]
    assert asked.last == DAYS.back(LAST, 4)


async def test_a_limit_holds_units_back_until_the_provider_answers(ingest: Ingest) -> None:
    ingest.market.quote("AAA", "BBB")
    ingest.market.limited.add("AAA")
    portfolio = await ingest.portfolio(("AAA", ENTRY), ("BBB", ENTRY))
    await ingest.run(portfolio)
    assert await ingest.missing(portfolio) == DAYS.between(ENTRY, LAST)
    assert await ingest.gaps("AAA") == [(EARLIEST, LAST, "rate_limited", False)]
    [schedule] = await ingest.rows(
        "SELECT next_at > now() + interval '50 seconds' AS later, runs FROM ledger.schedule WHERE phase = 'ingest'"
    )
    assert (schedule.later, schedule.runs) == (True, 0)
    assert await ingest.worker.retry_due() == 0, "not before its time"

    ingest.market.limited.clear()
    await ingest.execute("UPDATE ingest.gaps SET retry_at = now()")
    ingest.market.asked.clear()
    assert await ingest.worker.retry_due() == 1
    assert [request.symbol for request in ingest.market.asked] == ["AAA"]
    assert await ingest.missing(portfolio) == []
    assert await ingest.gaps("AAA") == []
    assert {unit.quality for unit in (await ingest.units(portfolio)).values()} == {"complete"}


async def settle(ingest: Ingest) -> None:
    """As if every phase had done its part."""
    await ingest.execute("UPDATE ledger.units SET completed_revision = required_revision, quality = 'complete'")
    await ingest.execute("DELETE FROM bus.outbox")


async def test_a_price_that_arrives_late_demands_anew_what_its_absence_went_into(ingest: Ingest) -> None:
    ingest.market.quote("AAA", "BBB")
    hole = DAYS.back(LAST, 4)
    price = ingest.market.closes["AAA"].pop(hole)
    ingest.market.adjusted["AAA"].pop(hole)
    holder = await ingest.portfolio(("AAA", ENTRY))
    other = await ingest.portfolio(("BBB", ENTRY))
    await ingest.run(holder, other)
    await settle(ingest)

    ingest.market.closes["AAA"][hole] = ingest.market.adjusted["AAA"][hole] = price
    await ingest.execute("UPDATE ingest.gaps SET retry_at = now() WHERE reason = 'no_trade'")
    assert await ingest.worker.retry_due() == 1
    for phase in (Phase.FACTORS, Phase.SNAPSHOTS, Phase.RISK):
        assert await ingest.missing(holder, phase) == DAYS.between(hole, LAST)
        assert await ingest.missing(other, phase) == []
    assert await ingest.missing(holder) == [], "its ingest was complete and is"
    [event] = await ingest.rows("SELECT topic FROM bus.outbox")
    assert event.topic == "leadline.prices-restated"
    found = await ingest.prices("AAA")
    closes = ingest.market.closes["AAA"]
    for session in (hole, DAYS.next(hole)):
        assert found[session].total_return == closes[session] / closes[DAYS.previous(session)] - 1.0
    assert len({found[session].change for session in found}) == 2


async def test_a_corrected_price_is_a_new_version_and_the_old_one_is_kept(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    yesterday = DAYS.previous(LAST)
    portfolio = await ingest.portfolio(("AAA", ENTRY), last=yesterday)
    await ingest.run(portfolio)
    await settle(ingest)
    old = (await ingest.prices("AAA"))[yesterday]

    ingest.market.closes["AAA"][yesterday] *= 1.02
    ingest.market.adjusted["AAA"][yesterday] *= 1.02
    await ingest.run(await ingest.portfolio(("AAA", ENTRY)))
    found = (await ingest.prices("AAA"))[yesterday]
    assert found.close == pytest.approx(old.close * 1.02)
    assert found.change > old.change
    [kept] = await ingest.rows("SELECT * FROM ingest.prices_history")
    assert (kept.session, kept.close, kept.change) == (yesterday, old.close, old.change)
    assert await ingest.missing(portfolio, Phase.SNAPSHOTS) == [yesterday]
    assert await ingest.missing(portfolio, Phase.FACTORS) == [yesterday]


async def test_another_vintage_of_the_same_truth_is_no_correction(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    yesterday = DAYS.previous(LAST)
    portfolio = await ingest.portfolio(("AAA", ENTRY), last=yesterday)
    await ingest.run(portfolio)
    await settle(ingest)
    first = await ingest.prices("AAA")

    # A dividend of 1 % today: all earlier adjusted levels of the source move, no ratio does.
    for session in ingest.market.adjusted["AAA"]:
        if session < LAST:
            ingest.market.adjusted["AAA"][session] *= 0.99
    await ingest.run(await ingest.portfolio(("AAA", ENTRY)))
    found = await ingest.prices("AAA")
    levels = ingest.market.adjusted["AAA"]
    assert found[LAST].total_return == levels[LAST] / levels[yesterday] - 1.0
    assert found[LAST].adj_close == pytest.approx(
        first[yesterday].adj_close * (1 + found[LAST].total_return), rel=1e-12
    )
    assert found[yesterday] == first[yesterday]
    assert await ingest.missing(portfolio, Phase.FACTORS) == []
    assert await ingest.rows("SELECT 1 FROM ingest.prices_history") == []


async def test_a_restated_proxy_concerns_every_portfolio_but_not_its_snapshots(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    yesterday = DAYS.previous(LAST)
    portfolio = await ingest.portfolio(("AAA", ENTRY), last=yesterday)
    await ingest.run(portfolio)
    await settle(ingest)
    ingest.market.adjusted["SPY"][yesterday] *= 1.01
    ingest.market.closes["SPY"][yesterday] *= 1.01
    await ingest.run(await ingest.portfolio(("AAA", ENTRY)))
    assert await ingest.missing(portfolio, Phase.FACTORS) == [yesterday]
    assert await ingest.missing(portfolio, Phase.RISK) == [yesterday]
    assert await ingest.missing(portfolio, Phase.SNAPSHOTS) == []


async def test_an_earlier_range_is_no_correction(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(portfolio)
    await settle(ingest)
    await ingest.run(await ingest.portfolio(("AAA", DAYS.back(ENTRY, 30))))
    for phase in (Phase.FACTORS, Phase.SNAPSHOTS, Phase.RISK):
        assert await ingest.missing(portfolio, phase) == []
    edge = (await ingest.prices("AAA"))[EARLIEST]
    assert edge.total_return is not None


async def test_a_late_split_demands_snapshots_from_its_session_on(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    ingest.market.actions["AAA"] = (Action(date(2018, 1, 2), "dividend", 0.1),)
    hole = DAYS.back(LAST, 4)
    price = ingest.market.closes["AAA"].pop(hole)
    ingest.market.adjusted["AAA"].pop(hole)
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(portfolio)
    await settle(ingest)
    ingest.market.closes["AAA"][hole] = ingest.market.adjusted["AAA"][hole] = price
    ingest.market.actions["AAA"] += (Action(hole, "dividend", 0.5),)
    await ingest.execute("UPDATE ingest.gaps SET retry_at = now() WHERE reason = 'no_trade'")
    await ingest.worker.retry_due()
    assert await ingest.missing(portfolio, Phase.SNAPSHOTS) == DAYS.between(hole, LAST)


async def test_workers_that_need_the_same_symbols_fetch_each_once(ingest: Ingest) -> None:
    names = [f"S{i:02d}" for i in range(20)]
    ingest.market.quote(*names)
    portfolios = [await ingest.portfolio(*((name, ENTRY) for name in names[i : i + 12])) for i in range(9)]
    await asyncio.gather(*(ingest.run(portfolio) for portfolio in portfolios))
    asked = [request.symbol for request in ingest.market.asked]
    assert sorted(asked) == sorted({*names, *COMMON})
    for portfolio in portfolios:
        assert await ingest.missing(portfolio) == []
    assert await ingest.rows("SELECT 1 FROM ingest.symbols WHERE claim_owner IS NOT NULL") == []


async def test_whoever_writes_the_last_symbol_completes_the_portfolios_that_waited_for_it(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    first = await ingest.portfolio(("AAA", ENTRY))
    second = await ingest.portfolio(("AAA", ENTRY))
    [raised] = await ingest.run(first)
    assert {key.portfolio_id for key in raised.keys} == {first, second}
    assert await ingest.missing(second) == []


@pytest.mark.parametrize("ahead", ["1 second", "6 hours"])
async def test_a_dead_workers_claim_runs_out(ingest: Ingest, ahead: str) -> None:
    """However far away it is: beyond its own length, the database's clock was ahead when it was set."""
    ingest.market.quote("AAA")
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.execute(
        "INSERT INTO ingest.symbols (symbol, claim_owner, claim_until) "
        f"VALUES ('AAA', 'dead', now() + interval '{ahead}')"
    )
    await asyncio.wait_for(ingest.run(portfolio), timeout=20)
    assert await ingest.missing(portfolio) == []


def test_a_claim_is_short_enough_to_be_waited_for_by_whoever_needs_what_a_dead_process_had() -> None:
    """With the lease of half a minute and the reconciler's turn after it, work is done again within a minute."""
    assert timedelta(seconds=2 * RENEW_SECONDS) < CLAIM <= LEASE


async def test_the_same_batch_again_changes_nothing(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(portfolio)
    before = await ingest.rows("SELECT * FROM ingest.prices ORDER BY symbol_id, session")
    await ingest.execute("UPDATE ledger.units SET completed_revision = 0 WHERE phase = 'ingest'")
    ingest.market.asked.clear()
    await ingest.run(portfolio)
    assert ingest.market.asked == []
    assert await ingest.rows("SELECT * FROM ingest.prices ORDER BY symbol_id, session") == before
    assert await ingest.missing(portfolio) == []


async def test_a_replaced_file_is_asked_again_at_the_start(ingest: Ingest) -> None:
    portfolio = await ingest.portfolio(("NEW", ENTRY))
    await ingest.run(portfolio)
    assert (await ingest.units(portfolio))[LAST].quality == "partial"
    await settle(ingest)
    ingest.market.quote("NEW")
    assert await ingest.worker.ask_again() == 1
    assert await ingest.worker.retry_due() == 1
    assert await ingest.worker.retry_due() == 0
    assert await ingest.gaps("NEW") == []
    assert await ingest.missing(portfolio, Phase.FACTORS) == DAYS.between(ENTRY, LAST)


async def test_what_is_completed_is_counted_as_it_came_out(ingest: Ingest) -> None:
    """Nobody knows the second symbol, which is held from the last session on: nine units are complete, and one is partial."""

    def counted() -> dict[str, float]:
        return {quality: COMPLETED.labels("ingest", quality)._value.get() for quality in ("complete", "partial")}

    ingest.market.quote("AAA")
    portfolio = await ingest.portfolio(("AAA", ENTRY), ("NOBODY", LAST))
    before = counted()
    runner = PhaseRunner(ingest.admin, ingest.worker, Clock(LAST))
    assert await runner.run(Work((portfolio,), ENTRY, LAST)) == 10
    assert {quality: count - before[quality] for quality, count in counted().items()} == {"complete": 9, "partial": 1}


def test_the_clock_of_these_tests_stands_after_the_last_session() -> None:
    assert Clock(LAST).last_due() == LAST
