"""A symbol whose answer cannot be used is that symbol's affair: the others are priced, and the vendor stays open."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from services.ingest.workflow.quotas import Breaker
from tests.store.ingest.conftest import LAST, Ingest
from tests.store.ingest.test_vendors import COMMON, ENTRY, quote, worker
from tests.support.markets import World
from tests.support.vendors import Call, Reply, VendorServer, reply, serving

ODD = ("AAX", "AAY", "AAZ")
GOOD = ("ABA", "ABB", "ABC", "ABD")
NOTHING = reply({"chart": {"result": [], "error": None}})
UNANSWERABLE = {
    "no result": NOTHING,
    "a page for people": Reply(b"<html>Oops</html>", 200),
    "500": Reply(b"{}", 500),
    "422": Reply(b"{}", 422),
    "half": Reply(b'{"chart": {"result": [{"meta"', 200),
}


@dataclass
class OnYahoo:
    ingest: Ingest
    world: World
    server: VendorServer

    def odd(self, answer: Reply, about: Callable[[str], bool]) -> None:
        self.server.answer = lambda call: answer if about(self.symbol(call)) else self.world.yahoo(call)

    @staticmethod
    def symbol(call: Call) -> str:
        return call.path.rsplit("/", 1)[1] if "/chart/" in call.path else ""

    def asked(self) -> list[str]:
        return [self.symbol(call) for call in self.server.calls if "/chart/" in call.path]

    async def health(self) -> tuple[int, bool]:
        """Failures in a row, and whether the vendor is closed."""
        [row] = await self.ingest.rows(
            "SELECT failures, coalesce(closed_until > now(), false) AS shut FROM ingest.providers"
        )
        return row.failures, row.shut

    async def time_passes(self) -> None:
        await self.ingest.execute(
            "UPDATE ingest.providers SET closed_until = now() - interval '1 second', probe_until = NULL"
        )
        await self.ingest.execute(
            "UPDATE ingest.gaps SET retry_at = now() - interval '1 second' WHERE retry_at IS NOT NULL"
        )


@pytest.fixture
async def on_yahoo(ingest: Ingest) -> AsyncIterator[OnYahoo]:
    await ingest.execute("DELETE FROM ingest.quota_uses")
    await ingest.execute("DELETE FROM ingest.providers")
    world = World()
    quote(world, *COMMON, *ODD, *GOOD)
    with serving(world.yahoo) as server:
        ingest.worker = worker(
            ingest,
            Breaker(longest=timedelta(minutes=15)),
            providers="yahoo",
            yahoo_url=server.url,
            yahoo_quota="unlimited",
        )
        yield OnYahoo(ingest, world, server)


@pytest.mark.parametrize("answer", UNANSWERABLE.values(), ids=list(UNANSWERABLE))
async def test_three_odd_symbols_of_seven_leave_the_others_priced_and_the_vendor_open(
    on_yahoo: OnYahoo, answer: Reply
) -> None:
    on_yahoo.odd(answer, lambda symbol: symbol in ODD)
    ingest = on_yahoo.ingest
    await ingest.run(await ingest.portfolio(*((name, ENTRY) for name in (*ODD, *GOOD))))
    for name in (*GOOD, *COMMON):
        assert LAST in await ingest.prices(name), name
    for name in ODD:
        assert await ingest.prices(name) == {}
        assert {gap[2:] for gap in await ingest.gaps(name)} == {("provider_down", False)}
    assert await on_yahoo.health() == (0, False)


async def test_a_vendor_that_can_tell_about_nobody_is_closed_after_a_few_calls(on_yahoo: OnYahoo) -> None:
    on_yahoo.odd(NOTHING, bool)
    ingest = on_yahoo.ingest
    await ingest.run(await ingest.portfolio(*((name, ENTRY) for name in (*ODD, *GOOD))))
    assert (await on_yahoo.health())[1]
    assert len(on_yahoo.asked()) <= 8, "three, those under way at once, and the one that decides"
    for name in (*ODD, *GOOD, *COMMON):
        assert {gap[2:] for gap in await ingest.gaps(name)} == {("provider_down", False)}


async def test_a_closed_vendor_is_tried_with_another_symbol_than_those_that_failed(on_yahoo: OnYahoo) -> None:
    on_yahoo.odd(NOTHING, bool)
    ingest = on_yahoo.ingest
    await ingest.run(await ingest.portfolio(*((name, ENTRY) for name in (*ODD, *GOOD))))
    on_yahoo.odd(NOTHING, lambda symbol: symbol in ODD)
    await on_yahoo.time_passes()
    on_yahoo.server.calls.clear()
    await ingest.worker.retry_due()
    assert on_yahoo.asked()[0] in {"SPY", "QQQ"}
    for name in (*GOOD, *COMMON):
        assert LAST in await ingest.prices(name), name
    assert await on_yahoo.health() == (0, False)


async def test_the_symbol_to_try_with_is_one_that_was_answered_about(on_yahoo: OnYahoo) -> None:
    """Neither one that failed last nor a fund that this vendor may not have."""
    ingest = on_yahoo.ingest
    await ingest.run(await ingest.portfolio((GOOD[0], ENTRY)))
    on_yahoo.odd(NOTHING, lambda symbol: symbol in {*ODD, "SPY", "QQQ"})
    on_yahoo.server.calls.clear()
    await ingest.run(await ingest.portfolio(*((name, ENTRY) for name in (*ODD, *GOOD[1:]))))
    for name in GOOD[1:]:
        assert LAST in await ingest.prices(name), name
    assert not {"SPY", "QQQ"} & set(on_yahoo.asked())
    assert await on_yahoo.health() == (0, False)


async def test_what_the_gate_refuses_is_no_failure_of_the_vendor(on_yahoo: OnYahoo) -> None:
    ingest = on_yahoo.ingest
    await ingest.run(await ingest.portfolio((GOOD[0], ENTRY)))
    on_yahoo.server.fail(Reply(json.dumps({}).encode(), 429, {"Retry-After": "60"}), "/chart/")
    await ingest.run(await ingest.portfolio(*((name, ENTRY) for name in (*ODD, *GOOD[1:]))))
    [row] = await ingest.rows("SELECT failures, closed_by FROM ingest.providers")
    assert (row.failures, row.closed_by) == (0, "rate_limited")


async def test_a_symbol_whose_splits_cannot_be_leaves_the_others_of_fmp_priced(ingest: Ingest) -> None:
    await ingest.execute("DELETE FROM ingest.quota_uses")
    await ingest.execute("DELETE FROM ingest.providers")
    world = World()
    quote(world, *COMMON, *ODD, *GOOD)

    def answer(call: Call) -> Reply:
        if call.path.endswith("/splits") and call.query.get("symbol") in ODD:
            return Reply(b"{}", 500)
        return world.fmp(call)

    with serving(answer) as server:
        ingest.worker = worker(ingest, providers="fmp", fmp_url=f"{server.url}/stable", fmp_quota="unlimited")
        await ingest.run(await ingest.portfolio(*((name, ENTRY) for name in (*ODD, *GOOD))))
    for name in (*GOOD, *COMMON):
        assert LAST in await ingest.prices(name), name
    [row] = await ingest.rows("SELECT failures, closed_until FROM ingest.providers")
    assert (row.failures, row.closed_until) == (0, None)
