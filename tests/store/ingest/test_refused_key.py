"""A provider whose key is refused stays so until a person acts: nobody else is asked more often for it, or less."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from services.ingest.model.market import Answer, NoData, NoDataReason, ProviderErrorKind, Request
from services.ingest.providers.base import Provider
from services.ingest.providers.chain import Chain
from services.ingest.store import profiles
from services.ingest.workflow import IngestWorker
from shared.clock import Clock
from shared.market.calendar import exchange_calendar
from tests.store.ingest.conftest import DAYS, LAST, Ingest

ENTRY = DAYS.back(LAST, 4)


class Refused:
    """Every question ends at the key."""

    name = "massive"

    def fetch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        for request in requests:
            again = datetime.now(UTC) + timedelta(hours=1)
            yield NoData(request.symbol, NoDataReason.PROVIDER_DOWN, again, fault=ProviderErrorKind.AUTH)


@pytest.mark.parametrize("order", ["before", "after"])
async def test_a_dead_symbol_is_asked_for_no_more_than_without_it(ingest: Ingest, order: str) -> None:
    ingest.market.name = "yahoo"
    chain: list[Provider] = [Refused(), ingest.market] if order == "before" else [ingest.market, Refused()]
    engine = ingest.worker._engine
    ingest.worker = IngestWorker(engine, Chain(chain, exchange_calendar), Clock(LAST))
    portfolio = await ingest.portfolio(("DEAD", ENTRY))
    await ingest.run(portfolio)
    assert [(reason, terminal) for _, _, reason, terminal in await ingest.gaps("DEAD")] == [("not_found", True)]
    assert await ingest.missing(portfolio) == [], "settled, not waiting for the key"
    async with ingest.admin.connect() as conn:
        assert not await profiles.prices_wait(conn)

    ingest.market.asked.clear()
    for _ in range(24):
        await ingest.execute("UPDATE ingest.gaps SET retry_at = retry_at - interval '1 hour'")
        await ingest.worker.retry_due()
    assert [request for request in ingest.market.asked if request.symbol == "DEAD"] == []

    # The next start asks once more, whoever is the one with a key now.
    await IngestWorker(engine, Chain(chain, exchange_calendar), Clock(LAST)).ask_again()
    await ingest.worker.retry_due()
    assert len([request for request in ingest.market.asked if request.symbol == "DEAD"]) == 1
