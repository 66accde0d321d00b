"""What is asked for, counted at the vendors' doors: each symbol once, a second portfolio nothing, a dead symbol once a window."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pytest

from tests.contract.providers.conftest import needs_yahooquery
from tests.store.ingest.conftest import DAYS, LAST, Ingest
from tests.store.ingest.test_vendors import COMMON, quote, worker
from tests.support.markets import World
from tests.support.vendors import VendorServer, serving

ENTRY = DAYS.back(LAST, 9)
PROVIDERS = [
    pytest.param(name, marks=needs_yahooquery if name == "yahooquery" else ())
    for name in ("yahoo", "yahooquery", "massive", "fmp", "tiingo")
]


@dataclass
class Door:
    """One vendor's server and who was asked for there."""

    name: str
    ingest: Ingest
    world: World
    server: VendorServer

    def common(self) -> set[str]:
        """The proxies and reference funds that the vendor may be asked for: Tiingo has no indices."""
        return set(COMMON) - ({"^GSPC"} if self.name == "tiingo" else set())

    def priced(self) -> Counter[str]:
        """Questions about prices, by symbol as the vendor spells it."""
        found: Counter[str] = Counter()
        for call in self.server.calls:
            path = unquote(call.path)
            if match := re.search(r"/v8/finance/chart/([^/]+)|/v2/aggs/ticker/([^/]+)/", path):
                found[match[1] or match[2]] += 1
            elif path.endswith("/historical-price-eod/full"):
                found[call.query["symbol"]] += 1
            elif match := re.fullmatch(r"/tiingo/daily/([^/]+)/prices", path):
                found[match[1]] += 1
        return found


@contextmanager
def at(name: str, ingest: Ingest) -> Iterator[Door]:
    world = World()
    quote(world, *COMMON, "AAA")
    vendor = "yahoo" if name == "yahooquery" else name
    with serving(getattr(world, vendor)) as server:
        url = f"{server.url}/stable" if vendor == "fmp" else server.url
        choices: dict[str, Any] = {f"{vendor}_url": url, f"{vendor}_quota": "unlimited"}
        ingest.worker = worker(ingest, providers=name, **choices)
        yield Door(name, ingest, world, server)


@pytest.mark.parametrize("name", PROVIDERS)
async def test_thirteen_new_holdings_are_thirteen_questions_and_a_second_portfolio_is_none(
    ingest: Ingest, name: str
) -> None:
    names = [f"H{index:02d}" for index in range(13)]
    with at(name, ingest) as door:
        await ingest.run(await ingest.portfolio(("AAA", ENTRY)))
        assert door.priced() == dict.fromkeys({*door.common(), "AAA"}, 1), (
            "the holding, and the proxies that are missing"
        )
        quote(door.world, *names)
        door.server.calls.clear()
        portfolio = await ingest.portfolio(*((symbol, ENTRY) for symbol in names))
        await ingest.run(portfolio)
        assert door.priced() == dict.fromkeys(names, 1)
        assert await ingest.missing(portfolio) == []
        assert {row.provider for row in (await ingest.prices("H00")).values()} == {name}

        door.server.calls.clear()
        again = await ingest.portfolio(*((symbol, ENTRY) for symbol in [*names, "AAA"]))
        await ingest.run(again)
        assert await ingest.missing(again) == []
        assert door.server.calls == [], "not one call of any kind"


@pytest.mark.parametrize("name", PROVIDERS)
async def test_bug_22_a_dead_symbol_is_asked_for_once_a_window_over_135_sessions(ingest: Ingest, name: str) -> None:
    start = DAYS.back(LAST, 134)
    with at(name, ingest) as door:
        await ingest.run(await ingest.portfolio(("AAA", start)))
        door.server.calls.clear()
        dead = await ingest.portfolio(("DEAD", start))
        await ingest.run_by_fives(dead, start)
        assert await ingest.missing(dead) == []
        assert door.priced() == {"DEAD": 1}
        chain = len(door.server.calls)
        assert chain <= 4, "the prices, and at most three calls to learn why there are none"

        await ingest.execute("UPDATE ingest.gaps SET retry_at = now() WHERE reason = 'not_found'")
        await ingest.worker.retry_due()
        await ingest.worker.retry_due()
        assert door.priced() == {"DEAD": 2}, "the next window, once"
        assert len(door.server.calls) <= 2 * chain


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_night_asks_for_the_new_session_of_each_symbol_and_no_more(ingest: Ingest, name: str) -> None:
    yesterday = DAYS.previous(LAST)
    with at(name, ingest) as door:
        portfolio = await ingest.portfolio(("AAA", ENTRY))
        await ingest.run(portfolio, last=yesterday)
        door.server.calls.clear()
        await ingest.run(portfolio)
        if name == "massive":
            days = [call.path.rsplit("/", 1)[1] for call in door.server.asked("/grouped/")]
            assert days == [yesterday.isoformat(), LAST.isoformat()], (
                "two whole days are cheaper than a question a symbol"
            )
            assert door.priced() == {}
        else:
            assert door.priced() == dict.fromkeys({*door.common(), "AAA"}, 1)
        assert await ingest.missing(portfolio) == []
        if name in {"massive", "fmp"}:
            told = " ".join(f"{call.path} {sorted(call.query.items())}" for call in door.server.calls)
            assert yesterday.isoformat() in told
            assert DAYS.back(LAST, 2).isoformat() not in told, "from the priced session next to it"
