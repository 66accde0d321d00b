"""`rerun --phase ingest --what all` asks the providers again for what is known, once a run, and never waits for them.

Bug 17b: a rerun that skips what is there cannot repair a price.
"""

from __future__ import annotations

from datetime import date
from uuid import UUID

import pytest

from services.coordinator.runs import requests
from services.coordinator.runs.requests import Scope
from shared import ledger
from shared.clock import Clock
from shared.db.engine import acquire_commit_order_lock
from shared.market.calendar import calendar
from shared.messaging import outbox
from shared.work import Phase
from tests.store.ingest.conftest import LAST, Ingest

DAYS = calendar()
ENTRY = date(2020, 12, 1)
WRONG = date(2020, 12, 15)


async def rerun(ingest: Ingest, portfolio: UUID, phase: Phase | None = Phase.INGEST, first: date = ENTRY) -> None:
    async with ingest.admin.begin() as conn:
        await acquire_commit_order_lock(conn)
        scope = Scope((portfolio,), first, LAST, phase)
        await requests.request(conn, Clock(LAST), scope, source="cli", what="all")


async def settle(ingest: Ingest) -> None:
    await ingest.execute("UPDATE ledger.units SET completed_revision = required_revision WHERE phase <> 'ingest'")


async def two_portfolios(ingest: Ingest) -> tuple[UUID, UUID]:
    """Two that hold the symbol, complete; then the provider learns that a close was wrong."""
    ingest.market.quote("AAA", "BBB")
    one, other = await ingest.portfolio(("AAA", ENTRY)), await ingest.portfolio(("AAA", ENTRY), ("BBB", ENTRY))
    await ingest.run(one, other)
    await settle(ingest)
    for truth in (ingest.market.closes, ingest.market.adjusted):
        truth["AAA"][WRONG] *= 1.5
    ingest.market.asked.clear()
    return one, other


async def test_a_rerun_of_ingest_brings_a_correction_and_all_that_follows(ingest: Ingest) -> None:
    one, other = await two_portfolios(ingest)
    before = (await ingest.prices("AAA"))[WRONG].close
    await rerun(ingest, one)
    await ingest.run(one)

    assert (await ingest.prices("AAA"))[WRONG].close == pytest.approx(1.5 * before)
    [kept] = await ingest.rows(
        "SELECT close FROM ingest.prices_history WHERE session = :day AND close IS NOT NULL", day=WRONG
    )
    assert kept.close == before
    asked = [
        (request.symbol, request.first, request.last) for request in ingest.market.asked if request.symbol == "AAA"
    ]
    assert asked == [("AAA", DAYS.previous(ENTRY), LAST)], "the run's sessions, and the one before for the first return"
    assert "BBB" not in {request.symbol for request in ingest.market.asked}, "nobody in the run holds it"
    later = [day for day in DAYS.between(ENTRY, LAST) if day >= WRONG]
    for portfolio in (one, other):
        assert set(later) <= set(await ingest.missing(portfolio, Phase.SNAPSHOTS)), "D and every later date"
    assert await ingest.missing(other, Phase.SNAPSHOTS) == later, "of the other one nothing before it"
    assert await ingest.missing(one) == []


class Died(BaseException):
    """The process is gone; its transaction ends with it."""


@pytest.mark.parametrize("before", ["require", "publish_work"])
async def test_ingest_that_dies_in_the_middle_of_its_restatement_has_restated_nothing_and_does_it_again(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """New prices are written, nothing that used the old ones is required yet; or required, and nobody told."""
    one, other = await two_portfolios(ingest)
    known = await ingest.prices("AAA")
    await rerun(ingest, one)
    missing = await ingest.missing(other, Phase.SNAPSHOTS)

    async def die(*_: object, **__: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(ledger if before == "require" else outbox, before, die)
        with pytest.raises(Died):
            await ingest.run(one)
    assert await ingest.prices("AAA") == known
    assert await ingest.missing(other, Phase.SNAPSHOTS) == missing == []

    await ingest.execute("UPDATE ingest.symbols SET claim_until = now() - interval '1 s' WHERE claim_until IS NOT NULL")
    await ingest.run(one)
    assert (await ingest.prices("AAA"))[WRONG].close == pytest.approx(1.5 * known[WRONG].close)
    assert await ingest.missing(other, Phase.SNAPSHOTS) == [day for day in DAYS.between(ENTRY, LAST) if day >= WRONG]


async def test_each_run_asks_once(ingest: Ingest) -> None:
    one, _ = await two_portfolios(ingest)
    await rerun(ingest, one)
    await ingest.run(one)
    first = len(ingest.market.asked)
    assert first
    assert await ingest.worker.refresh() == 0
    assert await ingest.worker.refresh([one]) == 0
    assert len(ingest.market.asked) == first
    await settle(ingest)  # or the second run would join the first
    await rerun(ingest, one)
    await ingest.run(one)
    assert len(ingest.market.asked) == 2 * first


async def test_an_unlucky_moment_delays_the_refresh_and_nothing_else(ingest: Ingest) -> None:
    one, _ = await two_portfolios(ingest)
    ingest.market.limited.add("AAA")
    await rerun(ingest, one)
    await ingest.run(one)
    assert await ingest.missing(one) == [], "what is stored stands"
    assert await ingest.gaps("AAA") == [], "a price that is there is not absent"
    ingest.market.limited.clear()
    assert await ingest.worker.refresh() == 0, "not at once"
    ingest.worker._not_before = 0.0
    assert await ingest.worker.refresh() == 1
    assert (await ingest.rows("SELECT count(*) FROM ingest.prices_history WHERE session = :day", day=WRONG))[0][0] == 1
    assert WRONG in await ingest.missing(one, Phase.SNAPSHOTS)


async def test_a_rerun_of_everything_does_not_ask_again(ingest: Ingest) -> None:
    """It recomputes; a portfolio's whole history from a vendor is asked for only by who says so."""
    one, _ = await two_portfolios(ingest)
    await rerun(ingest, one, None)
    await ingest.run(one)
    assert await ingest.missing(one) == []
    assert ingest.market.asked == []


async def test_a_bar_that_the_source_lost_stays(ingest: Ingest) -> None:
    one, _ = await two_portfolios(ingest)
    day = date(2020, 12, 10)
    before = (await ingest.prices("AAA"))[day].close
    for truth in (ingest.market.closes, ingest.market.adjusted):
        del truth["AAA"][day]
    await rerun(ingest, one)
    await ingest.run(one)
    assert (await ingest.prices("AAA"))[day].close == before
    assert await ingest.gaps("AAA") == []
