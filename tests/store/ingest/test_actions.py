"""Corporate actions and jumps: what they restate, what they leave alone, and what is not believed on one word (ECOSYSTEM §4, 2)."""

from __future__ import annotations

from datetime import date
from uuid import UUID

import pytest

from services.ingest.model.market import Action
from services.ingest.providers.chain import Chain
from services.ingest.workflow import IngestWorker
from shared.clock import Clock
from shared.market.calendar import exchange_calendar
from shared.market.registry import PROXY_SYMBOLS, REFERENCE_ETFS
from shared.work import Phase
from tests.store.ingest.conftest import DAYS, LAST, Ingest, Market
from tests.store.ingest.test_ingest import settle

ENTRY = DAYS.back(LAST, 9)
YESTERDAY = DAYS.previous(LAST)
REAL = Action(date(2018, 1, 2), "dividend", 0.1)


async def known_to_yesterday(ingest: Ingest, symbol: str = "AAA") -> UUID:
    portfolio = await ingest.portfolio((symbol, ENTRY), last=YESTERDAY)
    await ingest.run(portfolio)
    await settle(ingest)
    return portfolio


async def test_a_split_of_today_restates_nothing_and_the_day_is_the_markets_move(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    ingest.market.actions["AAA"] = (REAL,)
    await known_to_yesterday(ingest)
    before = await ingest.prices("AAA")
    traded = dict(ingest.market.closes["AAA"])
    # The vendor's whole series moves to the new basis.
    for levels in (ingest.market.closes["AAA"], ingest.market.adjusted["AAA"]):
        levels.update({day: level / 4 for day, level in levels.items()})
    ingest.market.actions["AAA"] = (REAL, Action(LAST, "split", 4.0))
    await ingest.run(await ingest.portfolio(("AAA", ENTRY)))
    after = await ingest.prices("AAA")
    assert {day: row for day, row in after.items() if day < LAST} == before
    assert after[LAST].close == pytest.approx(traded[LAST] / 4)
    assert after[LAST].total_return == pytest.approx(traded[LAST] / traded[YESTERDAY] - 1, abs=1e-12)
    assert await ingest.rows("SELECT 1 FROM ingest.prices_history") == []


async def test_a_dividend_of_today_restates_nothing(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    ingest.market.actions["AAA"] = (REAL,)
    await known_to_yesterday(ingest)
    before = await ingest.prices("AAA")
    closes = ingest.market.closes["AAA"]
    factor = 1 - 0.5 / closes[YESTERDAY]
    adjusted = ingest.market.adjusted["AAA"]
    adjusted.update({day: level * factor for day, level in adjusted.items() if day < LAST})
    ingest.market.actions["AAA"] = (REAL, Action(LAST, "dividend", 0.5))
    await ingest.run(await ingest.portfolio(("AAA", ENTRY)))
    after = await ingest.prices("AAA")
    assert {day: row for day, row in after.items() if day < LAST} == before
    assert after[LAST].total_return == pytest.approx((closes[LAST] + 0.5) / closes[YESTERDAY] - 1, abs=1e-12)
    assert await ingest.rows("SELECT 1 FROM ingest.prices_history") == []


async def test_a_dividend_taken_back_demands_what_used_it_and_is_kept_as_history(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    ingest.market.actions["AAA"] = (REAL, Action(YESTERDAY, "dividend", 0.5))
    portfolio = await known_to_yesterday(ingest)
    ingest.market.actions["AAA"] = (REAL,)
    await ingest.run(await ingest.portfolio(("AAA", ENTRY)))
    assert await ingest.rows("SELECT 1 FROM ingest.actions WHERE ex_session = :day", day=YESTERDAY) == []
    [kept] = await ingest.rows("SELECT ex_session, type, value FROM ingest.actions_history")
    assert tuple(kept) == (YESTERDAY, "dividend", 0.5)
    for phase in (Phase.FACTORS, Phase.SNAPSHOTS, Phase.RISK):
        assert await ingest.missing(portfolio, phase) == [YESTERDAY], "and nothing before it"


def second(ingest: Ingest) -> Market:
    """A second provider of the same truth."""
    other = Market("other")
    ingest.market.name = "first"
    other.closes = {name: dict(closes) for name, closes in ingest.market.closes.items()}
    other.adjusted = {name: dict(closes) for name, closes in ingest.market.adjusted.items()}
    ingest.worker = IngestWorker(ingest.worker._engine, Chain([ingest.market, other], exchange_calendar), Clock(LAST))
    return other


def slip(market: Market, factor: float) -> None:
    for levels in (market.closes["AAA"], market.adjusted["AAA"]):
        levels[LAST] *= factor


async def test_a_jump_nobody_confirms_is_not_stored_and_waits_for_a_confirmation(ingest: Ingest) -> None:
    ingest.market.quote("AAA", *PROXY_SYMBOLS, *REFERENCE_ETFS)
    other = second(ingest)
    await known_to_yesterday(ingest)
    slip(ingest.market, 10.0)
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(portfolio)
    assert LAST not in await ingest.prices("AAA")
    assert await ingest.gaps("AAA") == [(LAST, LAST, "quarantined", True)]
    assert await ingest.missing(portfolio) == [], "everybody has answered: nobody is waited for"
    [held] = await ingest.rows("SELECT * FROM ingest.quarantine")
    assert (held.session, held.provider, held.second, held.released_at) == (LAST, "first", "other", None)
    assert held.second_return == pytest.approx(other.closes["AAA"][LAST] / other.closes["AAA"][YESTERDAY] - 1)

    # Asked again it is still not believed; once the second says the same, it is.
    await ingest.execute("UPDATE ingest.gaps SET retry_at = now()")
    await ingest.worker.retry_due()
    assert LAST not in await ingest.prices("AAA")
    slip(other, 10.0)
    await ingest.execute("UPDATE ingest.gaps SET retry_at = now()")
    await ingest.worker.retry_due()
    assert (await ingest.prices("AAA"))[LAST].close == ingest.market.closes["AAA"][LAST]
    assert await ingest.missing(portfolio) == []
    [freed] = await ingest.rows("SELECT released_by FROM ingest.quarantine")
    assert freed.released_by == "confirmed"


async def test_an_operator_can_release_a_jump(ingest: Ingest) -> None:
    ingest.market.quote("AAA", *PROXY_SYMBOLS, *REFERENCE_ETFS)
    second(ingest)
    await known_to_yesterday(ingest)
    slip(ingest.market, 0.3)
    await ingest.run(await ingest.portfolio(("AAA", ENTRY)))
    assert LAST not in await ingest.prices("AAA")
    await ingest.execute("UPDATE ingest.quarantine SET released_at = now(), released_by = 'operator'")
    await ingest.execute("UPDATE ingest.gaps SET retry_at = now()")
    await ingest.worker.retry_due()
    assert (await ingest.prices("AAA"))[LAST].close == ingest.market.closes["AAA"][LAST]


@pytest.mark.parametrize("why", ["confirmed at once", "a split", "one provider", "nobody else has it"])
async def test_a_real_jump_is_stored_at_once(ingest: Ingest, why: str) -> None:
    ingest.market.quote("AAA", *PROXY_SYMBOLS, *REFERENCE_ETFS)
    if why != "one provider":
        other = second(ingest)
        if why == "confirmed at once":
            slip(other, 0.25)
        if why == "nobody else has it":
            del other.closes["AAA"], other.adjusted["AAA"]
    await known_to_yesterday(ingest)
    slip(ingest.market, 0.25)
    if why == "a split":
        # The vendor's whole series is on the new basis; the other one's is not yet.
        for levels in (ingest.market.closes["AAA"], ingest.market.adjusted["AAA"]):
            levels.update({day: level * 0.25 for day, level in levels.items() if day < LAST})
        ingest.market.actions["AAA"] = (REAL, Action(LAST, "split", 4.0))
    await ingest.run(await ingest.portfolio(("AAA", ENTRY)))
    assert (await ingest.prices("AAA"))[LAST].provider == ingest.market.name


async def test_a_split_before_the_first_session_there_is_multiplies_nothing(ingest: Ingest) -> None:
    """It would roll to that session: two of them would be one of their product, on a day that had none."""
    ingest.market.quote("OLD", first=DAYS.first, last=DAYS.forward(DAYS.first, 9))
    early = (Action(date(1987, 6, 1), "split", 2.0), Action(date(1983, 6, 1), "split", 3.0))
    ingest.market.actions["OLD"] = (*early, Action(DAYS.forward(DAYS.first, 5), "split", 2.0))
    await ingest.run(await ingest.portfolio(("OLD", DAYS.first), last=DAYS.forward(DAYS.first, 9)))
    stored = await ingest.rows(
        "SELECT ex_session, value FROM ingest.actions a JOIN ingest.symbols s ON s.id = a.symbol_id WHERE symbol = 'OLD'"
    )
    assert [tuple(row) for row in stored] == [(DAYS.forward(DAYS.first, 5), 2.0)]
    found = await ingest.prices("OLD")
    assert found[DAYS.first].close == pytest.approx(ingest.market.closes["OLD"][DAYS.first] * 2)
