"""A price file that is replaced while the service runs: read again, compared, and restated exactly where it differs."""

from __future__ import annotations

import asyncio
import os
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from uuid import UUID

import pandas as pd
import pytest

from services.ingest.app import _retries
from services.ingest.providers.chain import Chain
from services.ingest.providers.file.provider import FileProvider
from services.ingest.workflow import IngestWorker
from shared.clock import Clock
from shared.market.calendar import exchange_calendar
from shared.market.registry import PROXY_SYMBOLS, REFERENCE_ETFS
from shared.service import Service
from shared.work import Phase
from tests.store.ingest.conftest import DAYS, LAST, Ingest
from tests.store.ingest.test_refresh import ENTRY, WRONG, rerun, settle


class Files:
    """A price file, written as a person would: a finished one renamed into the place of the old one."""

    def __init__(self, ingest: Ingest, directory: Path) -> None:
        self.path = directory / "prices.parquet"
        self.truth = ingest.market.closes
        self.write()
        self.provider = FileProvider(self.path, exchange_calendar)
        ingest.worker = IngestWorker(ingest.worker._engine, Chain([self.provider], exchange_calendar), Clock(LAST))

    def write(self, *, cut: int | None = None) -> None:
        rows = [(s, day, close, close) for s, closes in self.truth.items() for day, close in closes.items()]
        beside = self.path.with_suffix(".new")
        pd.DataFrame(rows, columns=["symbol", "date", "close", "adj_close"]).to_parquet(beside)
        if cut is not None:
            beside.write_bytes(beside.read_bytes()[:-cut])
        os.utime(beside, (beside.stat().st_mtime - 60,) * 2)
        beside.rename(self.path)


@pytest.fixture
def files(ingest: Ingest, tmp_path: Path) -> Files:
    ingest.market.closes.clear()
    ingest.market.quote("AAA", "BBB", *PROXY_SYMBOLS, *REFERENCE_ETFS, first=date(2018, 11, 1))
    return Files(ingest, tmp_path)


async def complete(ingest: Ingest) -> UUID:
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(portfolio)
    await settle(ingest)
    return portfolio


async def test_a_rerun_sees_the_new_file_and_restates_what_changed(ingest: Ingest, files: Files) -> None:
    one = await complete(ingest)
    holder, bystander = await ingest.portfolio(("AAA", ENTRY)), await ingest.portfolio(("BBB", ENTRY))
    await ingest.run(holder, bystander)
    await settle(ingest)
    before, untouched = await ingest.prices("AAA"), await ingest.prices("BBB")
    files.truth["AAA"][WRONG] *= 1.5
    files.write()
    await rerun(ingest, one)
    await ingest.run(one)

    after = await ingest.prices("AAA")
    assert after[WRONG].close == pytest.approx(1.5 * before[WRONG].close)
    changed = [day for day, row in after.items() if row.total_return != before[day].total_return]
    assert changed == [WRONG, DAYS.next(WRONG)], "its return, and the one from it"
    assert await ingest.prices("BBB") == untouched
    kept = await ingest.rows("SELECT session FROM ingest.prices_history ORDER BY session")
    assert [row.session for row in kept] == changed
    later = DAYS.between(WRONG, LAST)
    for phase in (Phase.FACTORS, Phase.SNAPSHOTS, Phase.RISK):
        assert await ingest.missing(holder, phase) == later
        assert await ingest.missing(bystander, phase) == []


async def test_a_half_written_file_changes_nothing_and_the_rerun_waits_for_a_whole_one(
    ingest: Ingest, files: Files
) -> None:
    one = await complete(ingest)
    before = await ingest.prices("AAA")
    files.truth["AAA"][WRONG] *= 1.5
    files.write(cut=100)
    await rerun(ingest, one)
    await ingest.run(one)
    assert await ingest.prices("AAA") == before
    assert await ingest.gaps("AAA") == []
    assert await ingest.missing(one) == [], "what is stored stands"
    assert await ingest.worker.refresh() == 0

    files.write()
    assert files.provider.reads() == 2
    await ingest.worker.ask_again(always=True)  # what the service does when it sees that
    assert await ingest.worker.refresh() > 0
    assert (await ingest.prices("AAA"))[WRONG].close == pytest.approx(1.5 * before[WRONG].close)


async def test_a_new_symbol_with_a_half_written_file_is_down_and_not_unknown(ingest: Ingest, files: Files) -> None:
    await complete(ingest)
    files.truth["CCC"] = dict(files.truth["AAA"])
    files.write(cut=100)
    portfolio = await ingest.portfolio(("CCC", ENTRY))
    await ingest.run(portfolio)
    assert {gap[2:] for gap in await ingest.gaps("CCC")} == {("provider_down", False)}
    assert await ingest.missing(portfolio)
    files.write()
    await ingest.worker.ask_again(always=True)
    assert await ingest.worker.retry_due() == 1
    assert await ingest.missing(portfolio) == []


async def test_a_days_prices_added_to_the_file_fill_the_hole_without_a_restart(ingest: Ingest, files: Files) -> None:
    """By the service's own loop: with a file an absence is terminal, and a new file is the reason to ask again."""
    today = {symbol: closes.pop(LAST) for symbol, closes in files.truth.items()}
    files.write()
    await ingest.run(await ingest.portfolio(("AAA", ENTRY)))
    assert await ingest.gaps("AAA") == [(LAST, LAST, "no_trade", True)]
    service = SimpleNamespace(
        engine=ingest.worker._engine, clock=Clock(LAST), stopping=asyncio.Event(), wake_relay=lambda: None
    )
    loop = asyncio.ensure_future(_retries(cast(Service, service), ingest.worker, [files.provider], 0.05)())
    try:
        await asyncio.sleep(0.5)
        assert LAST not in await ingest.prices("AAA")
        for symbol, close in today.items():
            files.truth[symbol][LAST] = close
        files.write()
        async with asyncio.timeout(20):
            while await ingest.gaps("AAA"):  # noqa: ASYNC110 - the database has no event for it
                await asyncio.sleep(0.05)
        assert (await ingest.prices("AAA"))[LAST].close == today["AAA"]
        files.write(cut=100)
        await asyncio.sleep(0.3)
        assert not loop.done(), "a bad file does not end the service"
    finally:
        service.stopping.set()
        await loop
