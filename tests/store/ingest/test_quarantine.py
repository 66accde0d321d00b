"""An operator's word about a price that was held back: what it restates, what it leaves alone, and that it is followed once."""

from __future__ import annotations

from datetime import date
from uuid import UUID

import pytest

from services.coordinator.reference import symbols
from services.ingest.providers.chain import Chain
from services.ingest.workflow import IngestWorker
from shared.clock import Clock
from shared.db.engine import acquire_commit_order_lock, create_engine
from shared.market.calendar import exchange_calendar
from shared.market.registry import PROXY_SYMBOLS, REFERENCE_ETFS
from shared.work import Phase
from tests.store.ingest.conftest import DAYS, LAST, Ingest, Market
from tests.store.ingest.test_actions import ENTRY, YESTERDAY, known_to_yesterday, second, slip
from tests.store.ingest.test_ingest import settle
from tests.support.databases import Database

BEFORE = DAYS.previous(YESTERDAY)
DOWNSTREAM = (Phase.FACTORS, Phase.SNAPSHOTS, Phase.RISK)


async def decide(ingest: Ingest, database: Database, decision: str, session: date = LAST) -> str:
    """Through the coordinator's own role: it may not write what is ingest's."""
    engine = create_engine(database.url("coordinator"), application="test-coordinator", pool_size=1)
    try:
        async with engine.begin() as conn:
            await acquire_commit_order_lock(conn)
            made = await symbols.decide(
                conn, "aaa", session, decision, reason="read the announcement", by="an operator"
            )
    finally:
        await engine.dispose()
    return str(made["state"])


async def held(ingest: Ingest, factor: float = 0.3) -> tuple[UUID, Market]:
    """AAA is priced up to yesterday; today's close jumped and the second provider disagrees."""
    ingest.market.quote("AAA", "BBB", *PROXY_SYMBOLS, *REFERENCE_ETFS)
    other = second(ingest)
    await known_to_yesterday(ingest)
    slip(ingest.market, factor)
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(portfolio)
    assert LAST not in await ingest.prices("AAA")
    return portfolio, other


async def test_a_release_restates_what_uses_the_price_and_nothing_else(ingest: Ingest, committed: Database) -> None:
    portfolio, _ = await held(ingest)
    bystander = await ingest.portfolio(("BBB", ENTRY))
    await ingest.run(bystander)
    # The next session came, the absence stood, all was computed without the price.
    await ingest.execute("UPDATE ingest.gaps SET terminal = true")
    await ingest.run(portfolio)
    await settle(ingest)
    assert await ingest.missing(portfolio) == []
    before = await ingest.prices("AAA")

    assert await decide(ingest, committed, "release") == "released"
    assert await ingest.worker.retry_due() == 1
    after = await ingest.prices("AAA")
    assert after[LAST].close == ingest.market.closes["AAA"][LAST]
    assert {day: row for day, row in after.items() if day < LAST} == before
    for phase in DOWNSTREAM:
        assert await ingest.missing(portfolio, phase) == [LAST]
        assert await ingest.missing(bystander, phase) == []
    assert await ingest.gaps("AAA") == []
    assert await ingest.rows("SELECT 1 FROM ingest.prices_history") == []
    [row] = await ingest.rows("SELECT released_at, released_by FROM ingest.quarantine")
    assert row.released_at is not None
    assert row.released_by == "an operator"

    await settle(ingest)
    assert await decide(ingest, committed, "release") == "released", "said twice"
    assert await ingest.worker.retry_due() == 0
    assert await ingest.missing(portfolio, Phase.SNAPSHOTS) == []
    assert len(await ingest.rows("SELECT 1 FROM coordinator.price_decisions")) == 1


async def test_a_rejected_bar_stays_out_and_the_sessions_after_it_are_taken(
    ingest: Ingest, committed: Database
) -> None:
    ingest.market.quote("AAA", *PROXY_SYMBOLS, *REFERENCE_ETFS)
    second(ingest)
    portfolio = await ingest.portfolio(("AAA", ENTRY), last=BEFORE)
    await ingest.run(portfolio, last=BEFORE)
    truth = ingest.market.closes["AAA"][YESTERDAY]
    for levels in (ingest.market.closes["AAA"], ingest.market.adjusted["AAA"]):
        levels[YESTERDAY] *= 10
    later = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(later)
    assert await ingest.gaps("AAA") == [(YESTERDAY, LAST, "quarantined", True)], "what follows a doubt is doubted"

    assert await decide(ingest, committed, "reject", YESTERDAY) == "rejected"
    assert await ingest.worker.retry_due() == 1
    found = await ingest.prices("AAA")
    assert found[LAST].close == ingest.market.closes["AAA"][LAST]
    assert found[LAST].total_return is None, "a return never spans a hole"
    assert await ingest.gaps("AAA") == [(YESTERDAY, YESTERDAY, "quarantined", True)]
    assert await ingest.worker.retry_due() == 0, "followed once, and not at every poll"

    # Asked again in its own time; once the vendor has corrected itself the price is a price.
    for levels in (ingest.market.closes["AAA"], ingest.market.adjusted["AAA"]):
        levels[YESTERDAY] = truth
    await ingest.execute("UPDATE ingest.gaps SET retry_at = now()")
    await ingest.worker.retry_due()
    found = await ingest.prices("AAA")
    assert (found[YESTERDAY].close, await ingest.gaps("AAA")) == (truth, [])
    assert found[LAST].total_return is not None


async def test_a_decision_is_followed_although_the_provider_was_away_and_the_second_is_gone(
    ingest: Ingest, committed: Database
) -> None:
    _, other = await held(ingest)
    await decide(ingest, committed, "release")
    ingest.market.limited.add("AAA")
    other.limited.add("AAA")
    assert await ingest.worker.retry_due() == 1
    assert [gap[2] for gap in await ingest.gaps("AAA")] == ["rate_limited"]
    assert await ingest.worker.retry_due() == 0, "a decision is no reason to ask who said to wait"
    ingest.market.limited.clear()
    ingest.worker = IngestWorker(ingest.worker._engine, Chain([ingest.market], exchange_calendar), Clock(LAST))
    await ingest.execute("UPDATE ingest.gaps SET retry_at = now()")
    await ingest.worker.retry_due()
    assert LAST in await ingest.prices("AAA")


async def test_a_rejection_is_followed_where_nobody_else_is_enabled(ingest: Ingest, committed: Database) -> None:
    await held(ingest)
    await decide(ingest, committed, "reject")
    ingest.worker = IngestWorker(ingest.worker._engine, Chain([ingest.market], exchange_calendar), Clock(LAST))
    await ingest.worker.retry_due()
    assert LAST not in await ingest.prices("AAA")


async def test_a_jump_that_comes_late_is_doubted_too(ingest: Ingest) -> None:
    """The provider was away on the day; what it then delivers into the hole is as new as a night's bar."""
    ingest.market.quote("AAA", *PROXY_SYMBOLS, *REFERENCE_ETFS)
    other = second(ingest)
    await known_to_yesterday(ingest)
    ingest.market.limited.add("AAA")
    other.limited.add("AAA")
    slip(ingest.market, 10.0)
    await ingest.run(await ingest.portfolio(("AAA", ENTRY)))
    ingest.market.limited.clear()
    await ingest.execute("UPDATE ingest.gaps SET retry_at = now()")
    await ingest.worker.retry_due()
    assert await ingest.gaps("AAA") == [(LAST, LAST, "quarantined", False)]


@pytest.mark.parametrize("decision", ["release", "reject"])
async def test_a_decision_about_nothing_is_refused(ingest: Ingest, committed: Database, decision: str) -> None:
    await held(ingest)
    with pytest.raises(Exception, match="No price of AAA"):
        await decide(ingest, committed, decision, YESTERDAY)
