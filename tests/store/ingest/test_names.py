"""Renames, aliases and ambiguous symbols (bugs 9 and 10 of ECOSYSTEM §4): found, kept, asked, never guessed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

import pytest
from sqlalchemy import event

from services.factors.store import changes
from services.ingest.model.market import Action, Answer, Listing, NoData, NoDataReason, Rename, Request
from services.ingest.providers.chain import Chain
from services.ingest.workflow import IngestWorker
from shared.clock import Clock
from shared.market.calendar import exchange_calendar
from shared.market.registry import PROXY_SYMBOLS, REFERENCE_ETFS
from shared.work import Phase
from tests.store.ingest.conftest import DAYS, LAST, Ingest, Market
from tests.store.ingest.test_refresh import settle

ENTRY = DAYS.back(LAST, 9)
RENAMED = DAYS.back(LAST, 4)


class Named(Market):
    """Knows META, that FB became it, and two securities called DUPE."""

    def fetch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        for request, answer in zip(requests, super().fetch(requests), strict=True):
            if request.symbol == "FB":
                yield NoData("FB", NoDataReason.NOT_FOUND, renamed=Rename("FB", "META", RENAMED))
            elif request.symbol == "DUPE":
                found = (Listing("DUPE.A", "One", "XNYS"), Listing("DUPE.B", "Two", "XTSE"))
                yield NoData("DUPE", NoDataReason.AMBIGUOUS, candidates=found)
            else:
                yield answer


def named(ingest: Ingest) -> Named:
    market = Named("vendor")
    market.quote(*PROXY_SYMBOLS, *REFERENCE_ETFS, "META", "DUPE.A")
    ingest.worker = IngestWorker(ingest.worker._engine, Chain([market], exchange_calendar), Clock(LAST))
    return market


async def test_a_renamed_holding_has_one_history_on_both_sides_of_the_day(ingest: Ingest) -> None:
    market = named(ingest)
    portfolio = await ingest.portfolio(("FB", ENTRY))
    before = DAYS.previous(LAST)
    await ingest.run(portfolio, last=before)
    found = await ingest.prices("FB")
    assert {day: row.close for day, row in found.items()} == {
        day: close for day, close in market.closes["META"].items() if min(found) <= day <= before
    }
    assert all(row.total_return is not None for day, row in found.items() if day > min(found))
    [alias] = await ingest.rows("SELECT symbol, target, renamed_on, provider FROM ingest.aliases")
    assert tuple(alias) == ("FB", "META", RENAMED, "vendor")

    market.asked.clear()
    await ingest.run(portfolio)
    assert [request.symbol for request in market.asked if request.symbol in {"FB", "META"}] == ["META"], "known now"
    assert {unit.quality for unit in (await ingest.units(portfolio)).values()} == {"complete"}


async def test_a_symbol_used_again_is_asked_for_under_its_own_name_after_the_alias_ends(ingest: Ingest) -> None:
    market = named(ingest)
    await ingest.execute(
        "INSERT INTO ingest.aliases (symbol, target, valid_to, provider) VALUES ('OLD', 'META', :last, 'user')",
        last=date(2020, 6, 30),
    )
    market.quote("OLD")
    await ingest.run(await ingest.portfolio(("OLD", ENTRY)))
    assert {request.symbol for request in market.asked} >= {"OLD"}
    assert "META" not in {request.symbol for request in market.asked}


async def test_an_ambiguous_symbol_is_a_question_and_the_answer_heals_it(ingest: Ingest) -> None:
    named(ingest)
    portfolio = await ingest.portfolio(("DUPE", ENTRY))
    written: list[str] = []
    event.listen(
        ingest.worker._engine.sync_engine,
        "before_cursor_execute",
        lambda _conn, _cursor, statement, *_: written.append(statement.split("(")[0].strip()),
    )
    await ingest.run(portfolio)
    assert written.count("INSERT INTO ingest.candidates") == 1, "the lock is not held for a statement each"
    assert {gap[2:] for gap in await ingest.gaps("DUPE")} == {("ambiguous", True)}
    asked = await ingest.rows("SELECT candidate, exchange FROM ingest.candidates ORDER BY 1")
    assert [tuple(row) for row in asked] == [("DUPE.A", "XNYS"), ("DUPE.B", "XTSE")]
    assert {unit.reasons[0]["reason"] for unit in (await ingest.units(portfolio)).values()} == {"ambiguous"}
    assert await ingest.worker.retry_due() == 0

    await ingest.execute("INSERT INTO coordinator.symbol_choices (symbol, chosen) VALUES ('DUPE', 'DUPE.A')")
    assert await ingest.worker.retry_due() == 1
    assert await ingest.gaps("DUPE") == []
    assert len(await ingest.prices("DUPE")) > 500
    assert await ingest.rows("SELECT 1 FROM ingest.candidates") == []
    assert await ingest.worker.retry_due() == 0


async def choose(ingest: Ingest, symbol: str, chosen: str) -> None:
    await ingest.execute(
        "INSERT INTO coordinator.symbol_choices (symbol, chosen) VALUES (:symbol, :chosen) ON CONFLICT (symbol, valid_from)"
        " DO UPDATE SET chosen = excluded.chosen, chosen_at = clock_timestamp()",
        symbol=symbol,
        chosen=chosen,
    )


async def of_the_wrong_one(ingest: Ingest) -> Named:
    """DUPE was said to be DUPE.A, with a dividend, prices from 2016 and a sector; it is DUPE.B, listed 400 sessions ago."""
    market = named(ingest)
    market.quote("AAA")
    market.quote("DUPE.B", first=DAYS.back(LAST, 400), start=7.0)
    market.actions["DUPE.A"] = (Action(ENTRY, "dividend", 0.5),)
    await choose(ingest, "DUPE", "DUPE.A")
    return market


async def test_prices_of_a_wrong_security_are_replaced_and_what_used_them_is_demanded_anew(ingest: Ingest) -> None:
    market = await of_the_wrong_one(ingest)
    mine, other = await ingest.portfolio(("DUPE", ENTRY)), await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(mine, other)
    await settle(ingest)
    assert len(await ingest.prices("DUPE")) > 500
    await ingest.execute(
        "INSERT INTO ingest.symbol_profiles (symbol_id, as_of, provider, name, sector, fetched_at)"
        " SELECT id, :day, 'vendor', 'One', 'Energy', now() FROM ingest.symbols WHERE symbol = 'DUPE'",
        day=ENTRY,
    )
    await ingest.execute(
        "INSERT INTO ingest.quarantine (symbol_id, session, provider, return, sigma)"
        " SELECT id, :day, 'vendor', 0.5, 0.01 FROM ingest.symbols WHERE symbol = 'DUPE'",
        day=ENTRY,
    )
    assert await ingest.worker.retry_due() == 0
    market.asked.clear()

    await choose(ingest, "DUPE", "DUPE.B")
    assert await ingest.worker.retry_due() == 1
    assert [request.symbol for request in market.asked] == ["DUPE.B"]
    found = await ingest.prices("DUPE")
    assert {day: row.close for day, row in found.items()} == market.closes["DUPE.B"]
    assert all(row.total_return is not None for day, row in found.items() if day > min(found))
    [gap] = await ingest.gaps("DUPE")
    assert gap[1:3] == (DAYS.previous(min(found)), "not_yet_listed")
    for table in ("actions", "quarantine", "symbol_profiles"):
        assert await ingest.rows(f"SELECT 1 FROM ingest.{table}") == [], table
    [kept] = await ingest.rows("SELECT count(*), min(close) FROM ingest.prices_history")
    assert (kept[0] > 500, kept[1]) == (
        True,
        min(close for day, close in market.closes["DUPE.A"].items() if day >= gap[0]),
    )
    [facts] = await ingest.rows("SELECT chosen, replaced IS NOT NULL FROM ingest.symbols WHERE symbol = 'DUPE'")
    assert tuple(facts) == ("DUPE.B", True)
    every = DAYS.between(ENTRY, LAST)
    for phase in (Phase.FACTORS, Phase.SNAPSHOTS, Phase.RISK):
        assert await ingest.missing(mine, phase) == every
        assert await ingest.missing(other, phase) == []
    assert await ingest.missing(mine) == []
    assert await ingest.worker.retry_due() == 0


async def test_another_name_of_the_same_security_changes_nothing(ingest: Ingest) -> None:
    market = await of_the_wrong_one(ingest)
    mine = await ingest.portfolio(("DUPE", ENTRY))
    await ingest.run(mine)
    await settle(ingest)
    before = await ingest.prices("DUPE")
    for levels in (market.closes, market.adjusted):
        levels["DUPE.OLD"] = levels["DUPE.A"]
    market.actions["DUPE.OLD"] = market.actions["DUPE.A"]
    await choose(ingest, "DUPE", "DUPE.OLD")
    assert await ingest.worker.retry_due() == 1
    assert await ingest.worker.retry_due() == 0, "the choice is followed"
    assert await ingest.prices("DUPE") == before
    assert await ingest.rows("SELECT 1 FROM ingest.prices_history") == []
    assert await ingest.missing(mine, Phase.SNAPSHOTS) == []


async def test_until_somebody_answers_about_the_one_that_is_meant_what_is_stored_stays(ingest: Ingest) -> None:
    market = await of_the_wrong_one(ingest)
    mine = await ingest.portfolio(("DUPE", ENTRY))
    await ingest.run(mine)
    await settle(ingest)
    before = await ingest.prices("DUPE")
    market.limited.add("DUPE.B")
    await choose(ingest, "DUPE", "DUPE.B")
    assert await ingest.worker.retry_due() == 0
    assert await ingest.prices("DUPE") == before
    market.limited.clear()
    assert await ingest.worker.remap_changed() == 0, "not at once"
    ingest.worker._replacing_not_before = 0.0
    assert await ingest.worker.remap_changed() == 1
    assert (await ingest.prices("DUPE"))[LAST].close == market.closes["DUPE.B"][LAST]


async def test_nobody_has_the_one_that_is_meant_then_no_price_is_better_than_a_wrong_one(ingest: Ingest) -> None:
    await of_the_wrong_one(ingest)
    mine = await ingest.portfolio(("DUPE", ENTRY))
    await ingest.run(mine)
    await settle(ingest)
    await choose(ingest, "DUPE", "NOBODY")
    assert await ingest.worker.retry_due() == 1
    assert await ingest.prices("DUPE") == {}
    assert {gap[2:] for gap in await ingest.gaps("DUPE")} == {("not_found", True)}
    assert await ingest.missing(mine, Phase.SNAPSHOTS) == DAYS.between(ENTRY, LAST)
    assert await ingest.worker.retry_due() == 0
    # No price is left whose change number would say that facts are behind; the symbol's own does, on every day.
    [(id_, replaced)] = await ingest.rows("SELECT id, replaced FROM ingest.symbols WHERE symbol = 'DUPE'")
    async with ingest.admin.connect() as conn:
        assert await changes(conn, [id_], ENTRY, LAST, of_prices=True) == {}
        [(days, numbers)] = (await changes(conn, [id_], ENTRY, LAST, of_prices=False)).values()
    assert set(days.tolist()) == set(range((LAST - ENTRY).days + 1))
    assert set(numbers.tolist()) == {replaced}


async def test_a_night_after_the_choice_never_joins_two_securities(ingest: Ingest) -> None:
    market = await of_the_wrong_one(ingest)
    mine = await ingest.portfolio(("DUPE", ENTRY))
    await ingest.run(mine, last=DAYS.previous(LAST))
    await settle(ingest)
    await choose(ingest, "DUPE", "DUPE.B")
    await ingest.run(mine)
    found = await ingest.prices("DUPE")
    assert {day: row.close for day, row in found.items()} == market.closes["DUPE.B"]
    assert found[LAST].total_return == pytest.approx(
        market.closes["DUPE.B"][LAST] / market.closes["DUPE.B"][DAYS.previous(LAST)] - 1
    )
