"""What a preview asks the price sources: known or not and what is meant, the company, the closes of the day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.model.market import Action, Answer, Listing, NoData, NoDataReason, Request
from services.ingest.providers.errors import ProviderDown
from services.ingest.providers.file.provider import FileProvider
from services.ingest.providers.quota.limits import Permit, Priority, Window
from services.ingest.providers.quota.rate_limited import RateLimitedProvider, SharedRateLimiter
from services.ingest.workflow.lookups import Network, answer_open, ask_network
from shared.db.engine import create_engine
from shared.market.calendar import exchange_calendar
from tests.store.ingest.conftest import Market
from tests.support.databases import Database

PRICES = "symbol,date,close\nKO,2020-12-18,30\nKO,2020-12-21,31\nPEP,2020-12-21,140\n"
ACTIONS = "symbol,ex_date,type,value\nKO,2020-12-28,split,2\n"


async def test_questions_are_answered_from_the_file(database: Database, tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(PRICES)
    (tmp_path / "corporate_actions.csv").write_text(ACTIONS)
    (tmp_path / "symbols.csv").write_text("symbol,asset_type,name\nKO,stock,Coca-Cola\n")
    coordinator = create_engine(database.url("coordinator"), application="test")
    ingest = create_engine(database.url("ingest"), application="test")
    try:
        async with coordinator.begin() as conn:
            await conn.execute(
                text(
                    "INSERT INTO coordinator.lookups (symbol, session) SELECT * FROM unnest(CAST(:s AS text[]), CAST(:d AS date[]))"
                ),
                {"s": ["KO", "KOO", "PEP"], "d": [date(2020, 12, 22), date(2020, 12, 22), date(2020, 6, 1)]},
            )
        assert await answer_open(ingest, FileProvider(tmp_path / "prices.csv", exchange_calendar)) == 3
        assert await answer_open(ingest, FileProvider(tmp_path / "prices.csv", exchange_calendar)) == 0
        async with coordinator.connect() as conn:
            rows = await conn.execute(
                text(
                    "SELECT symbol, found, company, close, adjusted, suggestions, provider FROM ingest.lookups ORDER BY symbol"
                )
            )
            assert [tuple(row) for row in rows] == [
                ("KO", True, "Coca-Cola", 62.0, 31.0, [], "file"),
                ("KOO", False, None, None, None, ["KO"], "file"),
                ("PEP", True, None, None, None, [], "file"),
            ]
    finally:
        await coordinator.dispose()
        await ingest.dispose()


DAY = date(2020, 12, 22)
LATER = (Action(date(2020, 12, 28), "split", 2.0),)


def test_a_source_with_adjusted_closes_alone_tells_what_it_has() -> None:
    vendor = stocked()
    vendor.closes["PEP"] = {}
    told = ask_network(network(limited(vendor, Spare(6, 60))), [("PEP", DAY)])
    assert (told["PEP", DAY].close, told["PEP", DAY].adjusted) == (None, vendor.adjusted["PEP"][DAY])


class Vendor(Market):
    """On the network, a call a request."""

    def calls(self, requests: Sequence[Request]) -> int:
        return len(requests)

    def _answer(self, request: Request) -> Answer:
        if request.symbol == "KOO":
            return NoData("KOO", NoDataReason.NOT_FOUND, candidates=(Listing("KO"), Listing("KOF")))
        return super()._answer(request)


class Spare:
    """A quota with so many calls to spare for the background, in a window of so many."""

    def __init__(self, spare: int, window: int) -> None:
        self.spare, self.windows, self.purposes = spare, (Window(window, 60.0),), list[Priority]()

    def reserve(self, wanted: int, least: int, priority: Priority) -> Permit:
        self.purposes.append(priority)
        if least > self.spare:
            return Permit(0, refused=ProviderDown("v", "closed", retry_at=datetime.now(UTC) + timedelta(hours=1)))
        return Permit(wanted, 1)

    def release(self, uses: Sequence[int], unused: int) -> None: ...


def limited(vendor: Vendor, quota: Any) -> RateLimitedProvider:
    return RateLimitedProvider(vendor, SharedRateLimiter(quota), quota, lambda _: False)  # type: ignore[arg-type]


def network(*vendors: RateLimitedProvider, at_most: int = 10) -> Network:
    return Network(vendors, lambda: None, at_most)


def stocked() -> Vendor:
    vendor = Vendor("yahoo")
    for symbol in ("KO", "PEP", "MSFT"):
        vendor.quote(symbol)
    vendor.actions = {"KO": LATER}
    return vendor


def test_the_network_is_asked_with_calls_to_spare_alone() -> None:
    vendor, quota = stocked(), Spare(spare=6, window=60)
    told = ask_network(network(limited(vendor, quota)), [(symbol, DAY) for symbol in ("KO", "KOO", "NONE")])
    assert quota.purposes == [Priority.BACKGROUND]
    assert vendor.asked == [Request(symbol, DAY - timedelta(days=10), DAY) for symbol in ("KO", "KOO", "NONE")]
    coke = told["KO", DAY]
    assert (coke.found, coke.provider, coke.close) == (True, "yahoo", 2 * vendor.closes["KO"][DAY])
    assert coke.adjusted == vendor.closes["KO"][DAY], "as the file's: before the split that is still to come"
    assert (told["KOO", DAY].found, told["KOO", DAY].suggestions) == (False, ("KO", "KOF"))
    assert told["NONE", DAY].found is False


@pytest.mark.parametrize(
    ("spare", "window", "at_most", "asked"),
    [
        (10, 1000, 10, 3), (10, 1000, 2, 2), (10, 1000, 0, 0), (1, 1000, 10, 1), (0, 1000, 10, 0),
        (10, 10, 10, 1), (10, 5, 10, 0),
    ],
    ids=["all", "the setting's", "off", "one to spare", "closed", "a tenth of the window", "a small quota"],
)  # fmt: skip
def test_a_preview_takes_no_more_than_it_may(spare: int, window: int, at_most: int, asked: int) -> None:
    vendor = stocked()
    told = ask_network(
        network(limited(vendor, Spare(spare, window)), at_most=at_most), [(s, DAY) for s in ("KO", "PEP", "MSFT")]
    )
    assert len(vendor.asked) == len(told) == asked


def test_the_second_is_asked_for_what_the_first_does_not_say() -> None:
    first, second = Vendor("fmp"), stocked()
    first.limited = {"KO"}
    told = ask_network(
        network(limited(first, Spare(9, 100)), limited(second, Spare(9, 100))), [("KO", DAY), ("NONE", DAY)]
    )
    assert told["KO", DAY].provider == "yahoo"
    assert told["NONE", DAY].found is False
    assert [request.symbol for request in second.asked] == ["KO", "NONE"]


async def answers(engine: AsyncEngine) -> list[tuple[Any, ...]]:
    async with engine.connect() as conn:
        rows = await conn.execute(text("SELECT symbol, found, provider FROM ingest.lookups ORDER BY symbol"))
        return [tuple(row) for row in rows]


async def test_what_the_file_lacks_the_network_is_asked_and_what_nobody_says_is_not_waited_for(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "prices.csv").write_text(PRICES)
    coordinator = create_engine(database.url("coordinator"), application="test")
    ingest = create_engine(database.url("ingest"), application="test")
    vendor = stocked()
    vendor.limited = {"TSLA"}
    try:
        async with coordinator.begin() as conn:
            await conn.execute(
                text(
                    "INSERT INTO coordinator.lookups (symbol, session) SELECT s, :d FROM unnest(CAST(:s AS text[])) s"
                ),
                {"s": ["KO", "MSFT", "TSLA"], "d": DAY},
            )
        file = FileProvider(tmp_path / "prices.csv", exchange_calendar)
        assert await answer_open(ingest, None, network(limited(vendor, Spare(9, 100)))) == 3
        assert await answers(coordinator) == [("KO", True, "yahoo"), ("MSFT", True, "yahoo"), ("TSLA", False, "")]
        async with coordinator.begin() as conn:
            await conn.execute(text("UPDATE coordinator.lookups SET asked_at = clock_timestamp()"))
        assert await answer_open(ingest, file, network(limited(vendor, Spare(9, 100)))) == 3
        assert await answers(coordinator) == [("KO", True, "file"), ("MSFT", True, "yahoo"), ("TSLA", False, "file")]
    finally:
        await coordinator.dispose()
        await ingest.dispose()
