"""Renames, aliases and ambiguous symbols (bugs 9 and 10 of ECOSYSTEM §4): found, kept, asked, never guessed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from services.ingest.providers.base import Absence, Absent, Answer, Listing, Rename, Request
from services.ingest.providers.chain import Chain
from services.ingest.workflow import IngestWorker
from shared.clock import Clock
from shared.market.registry import PROXY_SYMBOLS, REFERENCE_ETFS
from tests.store.ingest.conftest import DAYS, LAST, Ingest, Market

ENTRY = DAYS.back(LAST, 9)
RENAMED = DAYS.back(LAST, 4)


class Named(Market):
    """Knows META, that FB became it, and two securities called DUPE."""

    def fetch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        for request, answer in zip(requests, super().fetch(requests), strict=True):
            if request.symbol == "FB":
                yield Absent("FB", Absence.NOT_FOUND, renamed=Rename("FB", "META", RENAMED))
            elif request.symbol == "DUPE":
                found = (Listing("DUPE.A", "One", "XNYS"), Listing("DUPE.B", "Two", "XTSE"))
                yield Absent("DUPE", Absence.AMBIGUOUS, candidates=found)
            else:
                yield answer


def named(ingest: Ingest) -> Named:
    market = Named("vendor")
    market.quote(*PROXY_SYMBOLS, *REFERENCE_ETFS, "META", "DUPE.A")
    ingest.worker = IngestWorker(ingest.worker._engine, Chain([market], DAYS), Clock(LAST))
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
    await ingest.run(portfolio)
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
