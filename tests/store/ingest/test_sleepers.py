"""A worker that slept while its claim ran out, and wakes with an answer after somebody else had taken the symbol over."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest

from services.ingest.model.market import Answer, Request
from services.ingest.providers.chain import Chain
from services.ingest.workflow import IngestWorker
from services.ingest.workflow.symbol_lease import SymbolLeaseLost
from shared.clock import Clock
from shared.db.engine import create_engine
from shared.market.calendar import exchange_calendar
from shared.market.registry import PROXY_SYMBOLS, REFERENCE_ETFS
from tests.store.ingest.conftest import LAST, Ingest, Market
from tests.support.databases import Database

ENTRY = date(2020, 12, 21)


@dataclass
class Sleepy(Market):
    """A market whose answer about AAA is on its way until the test lets it come."""

    fell_asleep: threading.Event = field(default_factory=threading.Event)
    awake: threading.Event = field(default_factory=threading.Event)

    def fetch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        answers = list(super().fetch(requests))
        if any(request.symbol == "AAA" for request in requests):
            self.fell_asleep.set()
            assert self.awake.wait(30)
        yield from answers


async def overtaken(
    ingest: Ingest, committed: Database, slow: Sleepy, sleeper: Callable[[IngestWorker], Awaitable[Any]], overtake: Any
) -> tuple[Any, Any, Any]:
    """Let one worker fall asleep in `sleeper`, another do the work; (state before the first wakes, after, its end)."""
    engine = create_engine(committed.url("ingest"), application="test-sleeper", pool_size=4)
    try:
        asleep = asyncio.ensure_future(sleeper(IngestWorker(engine, Chain([slow], exchange_calendar), Clock(LAST))))
        assert await asyncio.to_thread(slow.fell_asleep.wait, 30)
        # A stopped process renews nothing.
        await ingest.execute(
            "UPDATE ingest.symbols SET claim_until = now() - interval '1 second' WHERE claim_owner IS NOT NULL"
        )
        await overtake()
        before = await state(ingest)
        slow.awake.set()
        await asyncio.wait([asleep])
        return before, await state(ingest), asleep.exception()
    finally:
        slow.awake.set()
        await engine.dispose()


async def state(ingest: Ingest) -> list[Any]:
    return [
        await ingest.rows("SELECT * FROM ingest.prices ORDER BY symbol_id, session"),
        await ingest.gaps("AAA"),
        await ingest.rows("SELECT symbol, covered_from, covered_to, claim_owner FROM ingest.symbols ORDER BY symbol"),
        await ingest.rows("SELECT * FROM ledger.units ORDER BY 1, 2, 3"),
    ]


@pytest.mark.parametrize("sleeper_knows", ["prices", "not_found", "rate_limited"])
async def test_who_lost_the_claim_writes_nothing(ingest: Ingest, committed: Database, sleeper_knows: str) -> None:
    slow = Sleepy()
    slow.quote(*PROXY_SYMBOLS, *REFERENCE_ETFS)
    if sleeper_knows == "prices":
        slow.quote("AAA")
    else:
        ingest.market.quote("AAA")
        slow.limited = {"AAA"} if sleeper_knows == "rate_limited" else set()
    portfolio = await ingest.portfolio(("AAA", ENTRY))

    async def batch(worker: IngestWorker) -> None:
        await Ingest(worker, slow, ingest.admin).run(portfolio)

    before, after, end = await overtaken(ingest, committed, slow, batch, lambda: ingest.run(portfolio))
    assert end is None, "the sleeper looks again, and finds everything known"
    assert await ingest.missing(portfolio) == []
    assert len(before[0]) > 0
    assert after == before


async def test_a_retry_that_was_overtaken_writes_nothing(ingest: Ingest, committed: Database) -> None:
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(portfolio)
    assert await ingest.gaps("AAA") != []
    slow = Sleepy()
    await ingest.execute("UPDATE ingest.gaps SET retry_at = now() - interval '1 second'")
    ingest.market.quote("AAA")
    before, after, end = await overtaken(
        ingest, committed, slow, lambda worker: worker.retry_due(), ingest.worker.retry_due
    )
    assert isinstance(end, SymbolLeaseLost)
    assert before[1] == []
    assert after == before
