"""What ingest has stored about a day that is no session any more, against an installation that never took it for one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, time
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from services.coordinator.control import scheduler
from services.coordinator.reference.closures import service
from services.ingest.model.market import Action, Answer, History, Request
from services.ingest.providers.chain import Chain
from services.ingest.workflow import IngestWorker
from shared.clock import Clock
from shared.db.closures import CalendarMoved, load_closures
from shared.db.engine import acquire_commit_order_lock
from shared.market.calendar import NO_CLOSURES, calendar, closures, exchange_calendar, set_calendar, using_calendar
from shared.phase.runner import PhaseRunner
from shared.work import Phase, Work
from tests.store.ingest.conftest import DAYS, LAST, Ingest, Market

DAY = date(2020, 11, 16)
BEFORE, AFTER = date(2020, 11, 13), date(2020, 11, 17)
FIRST = date(2020, 11, 2)


@dataclass
class AsTraded(Market):
    """A vendor of raw closes and actions; returns must be put together."""

    def _answer(self, request: Request) -> Answer:
        found = super()._answer(request)
        if not isinstance(found, History):
            return found
        return replace(found, bars=replace(found.bars, split_adjusted=False), lists_splits=True)


@pytest.fixture(autouse=True)
async def _none_left_behind() -> AsyncIterator[None]:
    yield
    set_calendar(NO_CLOSURES)


async def enter(ingest: Ingest, day: date = DAY) -> None:
    await _change(ingest, day, entered=True)


async def take_back(ingest: Ingest, day: date = DAY) -> None:
    await _change(ingest, day, entered=False)


async def _change(ingest: Ingest, day: date, *, entered: bool) -> None:
    with using_calendar(closures()):
        async with ingest.admin.begin() as conn:
            await acquire_commit_order_lock(conn)
            await load_closures(conn)
            if entered:
                await service.add(conn, Clock(LAST), day, None, "storm")
            else:
                await service.remove(conn, Clock(LAST), day)


async def run(ingest: Ingest, portfolio: UUID) -> None:
    runner = PhaseRunner(ingest.admin, ingest.worker, Clock(LAST))
    await runner.run(Work((portfolio,), FIRST, LAST))


async def retry(ingest: Ingest) -> int:
    with using_calendar(closures()):
        async with ingest.admin.connect() as conn:
            await load_closures(conn)
        return await ingest.worker.retry_due()


async def stored(ingest: Ingest, symbol: str) -> tuple[Any, ...]:
    """Prices, actions, gaps and coverage of a symbol, to the last digit. Whatever only says when is left out."""
    prices = await ingest.rows(
        """
        SELECT p.session, p.close, p.adj_close, p.total_return, p.return_basis, p.basis FROM ingest.prices p
        JOIN ingest.symbols s ON s.id = p.symbol_id WHERE s.symbol = :s AND p.session >= '2020-10-01' ORDER BY 1
        """,
        s=symbol,
    )
    actions = await ingest.rows(
        """
        SELECT ex_session, type, value FROM ingest.actions a JOIN ingest.symbols s ON s.id = a.symbol_id
        WHERE s.symbol = :s ORDER BY 1, 2
        """,
        s=symbol,
    )
    covered = await ingest.rows("SELECT covered_from, covered_to FROM ingest.symbols WHERE symbol = :s", s=symbol)
    return prices, actions, await ingest.gaps(symbol), covered


def quoted(market: Market) -> None:
    """AAA trades every day and pays on the day itself and after it; BBB has only closes; CCC knew of the closure; DDD is listed
    on it and EEE is silent from it on; FFF is silent until it."""
    market.quote("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
    market.adjusted["BBB"] = {}
    del market.closes["CCC"][DAY], market.adjusted["CCC"][DAY]
    for symbol, keep in (
        ("DDD", lambda day: day >= DAY),
        ("EEE", lambda day: day < DAY),
        ("FFF", lambda day: not FIRST <= day <= DAY),
    ):
        for known in (market.closes[symbol], market.adjusted[symbol]):
            for day in [day for day in known if not keep(day)]:
                del known[day]
    market.actions["AAA"] = (Action(DAY, "dividend", 0.37), Action(AFTER, "dividend", 0.21))
    market.actions["BBB"] = (Action(DAY, "split", 3.0),)


SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "SPY")


@pytest.fixture(params=[Market, AsTraded])
def kind(request: pytest.FixtureRequest, ingest: Ingest) -> Ingest:
    """The same truth from a vendor of adjusted closes and from one of raw closes with actions."""
    made = request.param()
    made.closes, made.adjusted = ingest.market.closes, ingest.market.adjusted
    if request.param is AsTraded:
        made.adjusted = {}
    quoted(made)
    if request.param is AsTraded:
        made.adjusted = {}
    ingest.market = made
    ingest.worker = IngestWorker(ingest.worker._engine, Chain([made], exchange_calendar), Clock(LAST))
    return ingest


async def portfolio(ingest: Ingest) -> UUID:
    return await ingest.portfolio(*((symbol, FIRST) for symbol in SYMBOLS[:-1]))


async def emptied(ingest: Ingest) -> None:
    for table in ("prices", "prices_history", "actions", "actions_history", "gaps"):
        await ingest.execute(f"DELETE FROM ingest.{table}")
    await ingest.execute("DELETE FROM ingest.symbols")
    await ingest.execute("DELETE FROM ledger.units")
    await ingest.execute("DELETE FROM ledger.schedule")


async def test_what_is_stored_is_what_would_be_had_the_day_never_been_one(kind: Ingest) -> None:
    one = await portfolio(kind)
    await run(kind, one)
    assert await kind.missing(one) == []
    as_session = {symbol: await stored(kind, symbol) for symbol in SYMBOLS}
    asked = len(kind.market.asked)

    await enter(kind)
    healed = {symbol: await stored(kind, symbol) for symbol in SYMBOLS}
    await run(kind, one)
    assert await kind.missing(one) == []
    assert len(kind.market.asked) == asked, "nobody is asked again for what is known"

    await take_back(kind)
    again = {symbol: await stored(kind, symbol) for symbol in SYMBOLS}
    await retry(kind)
    await run(kind, one)
    assert await kind.missing(one) == []
    for symbol in SYMBOLS:
        assert again[symbol][0] == as_session[symbol][0], symbol
        assert (await stored(kind, symbol))[:2] == as_session[symbol][:2], symbol

    await emptied(kind)
    await enter(kind)
    other = await portfolio(kind)
    await kind.execute("DELETE FROM ledger.units WHERE session = :d", d=DAY)
    await run(kind, other)
    assert await kind.missing(other) == []
    for symbol in SYMBOLS:
        fresh = await stored(kind, symbol)
        assert [row for row in fresh[0] if row not in healed[symbol][0]] == [], symbol
        assert fresh == healed[symbol], symbol
    assert healed["AAA"][0] != as_session["AAA"][0]


async def test_the_return_over_the_closed_day_is_taken_from_the_prices_beside_it(ingest: Ingest) -> None:
    """By hand."""
    ingest.market.quote("AAA")
    one = await ingest.portfolio(("AAA", FIRST))
    await run(ingest, one)
    await enter(ingest)
    prices = await ingest.prices("AAA")
    assert DAY not in prices
    level = ingest.market.adjusted["AAA"]
    assert prices[AFTER].total_return == level[AFTER] / level[BEFORE] - 1.0
    history = await ingest.rows("SELECT session, close FROM ingest.prices_history WHERE session = :d", d=DAY)
    assert ingest.market.closes["AAA"][DAY] in {row.close for row in history}, "stored, not used"


async def test_an_answer_that_was_under_way_when_the_day_was_closed_is_not_written(ingest: Ingest) -> None:
    started, go_on = threading.Event(), threading.Event()
    ask: Callable[[Sequence[Request]], Iterator[Answer]] = ingest.market.fetch

    def slow(requests: Sequence[Request]) -> Iterator[Answer]:
        started.set()
        assert go_on.wait(30)
        return ask(requests)

    ingest.market.quote("AAA")
    ingest.market.fetch = slow  # type: ignore[method-assign]
    one = await ingest.portfolio(("AAA", FIRST))
    running = asyncio.create_task(run(ingest, one))
    assert await asyncio.to_thread(started.wait, 30)
    await enter(ingest)
    go_on.set()
    with pytest.raises(CalendarMoved):
        await running
    assert await ingest.rows("SELECT 1 FROM ingest.prices") == []
    assert len(await ingest.missing(one)) == len(DAYS.between(FIRST, LAST)) - 1
    await run(ingest, one)
    assert await ingest.missing(one) == []
    prices = await ingest.prices("AAA")
    assert DAY not in prices, "the source has a bar of the day; it is left out"
    assert prices[AFTER].total_return is not None


async def test_a_day_nobody_was_asked_about_is_asked_for_when_it_trades_after_all(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    await enter(ingest)
    one = await ingest.portfolio(("AAA", FIRST))
    await ingest.execute("DELETE FROM ledger.units WHERE session = :d", d=DAY)
    await run(ingest, one)
    assert await ingest.missing(one) == []
    ingest.market.asked.clear()
    await take_back(ingest)
    await run(ingest, one)
    assert DAY in await ingest.missing(one), "nothing is known of it yet"
    assert await retry(ingest) > 0
    spans = {(request.first, request.last) for request in ingest.market.asked}
    assert spans == {(BEFORE, AFTER)}, "the day, and the sessions that returns reach to"
    await run(ingest, one)
    assert await ingest.missing(one) == []
    prices, level = await ingest.prices("AAA"), ingest.market.adjusted["AAA"]
    for before, day in ((BEFORE, DAY), (DAY, AFTER)):
        assert prices[day].total_return == level[day] / level[before] - 1.0
    assert await ingest.gaps("AAA") == []


async def test_prices_of_another_security_do_not_come_back_with_the_day(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    one = await ingest.portfolio(("AAA", FIRST))
    await run(ingest, one)
    await enter(ingest)
    await ingest.execute("UPDATE ingest.symbols SET replaced = nextval('ledger.change') WHERE symbol = 'AAA'")
    await take_back(ingest)
    assert DAY not in await ingest.prices("AAA")
    assert [gap[:2] for gap in await ingest.gaps("AAA")] == [(DAY, DAY)]


async def test_the_last_known_session_closed_coverage_ends_before_it(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    one = await ingest.portfolio(("AAA", FIRST))
    await run(ingest, one)
    await enter(ingest, LAST)
    [(_, covered_to)] = (await stored(ingest, "AAA"))[3]
    assert covered_to == DAYS.previous(LAST)
    await run(ingest, one)
    assert await ingest.missing(one) == []
    await take_back(ingest, LAST)
    await scheduler.add_due(ingest.admin, Clock(LAST), source="cron", wake=lambda: None)
    await run(ingest, one)
    assert await ingest.missing(one) == []
    assert (await ingest.units(one, Phase.INGEST)).keys() >= {LAST}


async def test_an_early_close_moves_no_price(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    one = await ingest.portfolio(("AAA", FIRST))
    await run(ingest, one)
    before = await stored(ingest, "AAA")
    async with ingest.admin.begin() as conn:
        await acquire_commit_order_lock(conn)
        with using_calendar(NO_CLOSURES):
            await service.add(conn, Clock(LAST), DAY, time(13), "storm")
    assert await stored(ingest, "AAA") == before
    assert await ingest.missing(one) == []
    assert calendar().is_session(DAY)
    assert np.isfinite(before[0][-1].close)
