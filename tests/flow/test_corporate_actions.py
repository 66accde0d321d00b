"""Splits, a dividend and a rename in the middle of a window, before and after import, asked for again: vendor to risk, against an oracle.

Each vendor delivers the same market in its own way (tests/support/markets.py), the real services take it over HTTP, and what the API
says is what plain loops come to (tests/support/actions.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.support import actions, databases, pipeline
from tests.support.actions import BOOK, END, EQUITY, EVE, LATER, Trade
from tests.support.brokers import TestBroker
from tests.support.databases import Database, Server
from tests.support.markets import World
from tests.support.pipeline import Pipeline
from tests.support.vendors import serving

# Who tells of the rename: Yahoo and Tiingo do not, so FMP stands behind them. A file has each security under one symbol.
CHAINS = {"yahoo": "yahoo,fmp", "massive": "massive", "fmp": "fmp", "tiingo": "tiingo,fmp", "file": "file"}


@dataclass
class Setting:
    """A market, its vendors' servers, and Leadline in front of one of them."""

    vendor: str
    world: World
    database: Database
    broker: TestBroker
    directory: Path
    values: dict[str, Any] = field(default_factory=dict)

    @asynccontextmanager
    async def running(self, today: date) -> AsyncIterator[Pipeline]:
        """The services, on an evening: the vendors know nothing later."""
        self.world.today = today
        data = actions.write_files(self.world, self.directory) if self.vendor == "file" else self.directory / "none.csv"
        if self.vendor == "file":
            self.values["data"] = data
        # Topics of its own for each start: the broker would wait 20 s for the consumers of the one before.
        kept: dict[str, Any] = {"kafka_namespace": f"{self.database.name}.{today}.", "retry_poll_seconds": 0.2}
        async with pipeline.running(self.database, self.broker, as_of=today, **(kept | self.values)) as leadline:
            yield leadline


# What differs between vendors is their answers, and tests/contract/providers reads those of each.
SHORT = ("file", "yahoo", "massive")


@pytest.fixture(params=[pytest.param(name, marks=() if name in SHORT else pytest.mark.long) for name in CHAINS])
async def setting(
    request: pytest.FixtureRequest, server: Server, broker: TestBroker, tmp_path: Path
) -> AsyncIterator[Setting]:
    made = actions.world()
    database = await databases.create(server)
    with ExitStack() as stack:
        urls = {
            name: stack.enter_context(serving(getattr(made, name))).url
            for name in ("yahoo", "massive", "fmp", "tiingo")
        }
        values = {
            "providers": CHAINS[request.param], "provider_loopback": True, "massive_api_key": "m", "fmp_api_key": "f",
            "tiingo_api_key": "t", "tiingo_url": urls["tiingo"], "tiingo_quota": "unlimited", "reference_providers": (),
            "yahoo_url": urls["yahoo"], "massive_url": urls["massive"], "fmp_url": f"{urls['fmp']}/stable",
            "yahoo_quota": "unlimited", "massive_quota": "unlimited", "fmp_quota": "unlimited",
        }  # fmt: skip
        yield Setting(request.param, made, database, broker, tmp_path, values)
    await databases.drop(database)


async def read(leadline: Pipeline, path: str, **parameters: Any) -> Any:
    answer = await leadline.api.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def check(leadline: Pipeline, setting: Setting, portfolio: str, book: Sequence[Trade], last: date) -> None:
    """What the API says of each session and of the last one is what the oracle says."""
    made = setting.world
    expected = actions.pnl(made, book, last)
    items = (await read(leadline, f"/portfolios/{portfolio}/snapshots"))["items"]
    assert [date.fromisoformat(item["session"]) for item in items] == list(expected)
    total = Fraction(0)
    for item, (day, gained) in zip(items, expected.items(), strict=True):
        total += gained
        assert item["daily_pnl"] == pytest.approx(float(gained), abs=0.01), day
        assert item["cumulative_pnl"] == pytest.approx(float(total), abs=0.01), day
        assert item["nav"] == pytest.approx(EQUITY + float(total), abs=0.01), day
        assert item["quality"] == "complete", day
        assert {reason["figure"] for reason in item["reasons"]} <= {"xirr"}, "which needs a year"
    held = (await read(leadline, f"/portfolios/{portfolio}/positions", session=last.isoformat()))["items"]
    wanted = [(trade.symbol, float(actions.quantity(made, trade, last))) for trade in book]
    assert sorted((lot["symbol"], round(lot["quantity"], 6)) for lot in held) == sorted(wanted)
    for symbol in actions.HELD:
        facts = await read(leadline, f"/symbols/{symbol}/factors", session=last.isoformat())
        market, rates = actions.betas(made, symbol, last)
        assert facts["market_beta"]["n_obs"] == 252
        assert facts["market_beta"]["beta"] == pytest.approx(market, rel=1e-9), symbol
        assert facts["ir_beta"]["beta"] == pytest.approx(rates, rel=1e-8, abs=1e-10), symbol
    risk = await read(leadline, f"/portfolios/{portfolio}/risk", session=last.isoformat())
    for window in (63, 252):
        exact = actions.volatility(made, book, EQUITY + total, last, window)
        assert risk["volatility"][f"realized_{window}"] == pytest.approx(exact, rel=1e-6)


async def units(leadline: Pipeline) -> dict[tuple[date, str], int]:
    rows = await leadline.query("SELECT session, CAST(phase AS text), required_revision FROM ledger.units")
    return {(session, phase): revision for session, phase, revision in rows}


async def asked_again(leadline: Pipeline, portfolio: str) -> None:
    answer = await leadline.api.post(
        "/admin/batch/run", params={"portfolio_id": portfolio, "phase": "ingest", "what": "all", "force_rerun": True,
                                    "start_date": str(actions.ENTRY), "end_date": str(END)},
    )  # fmt: skip
    assert answer.status_code == 202, answer.text
    await leadline.complete(portfolio)
    await leadline.quiet()


async def test_after_import_and_fetched_again(setting: Setting) -> None:
    book = [trade for trade in BOOK if trade.out is None]
    async with setting.running(EVE) as leadline:
        portfolio = await leadline.import_csv(actions.csv(setting.world, book, as_traded=True), equity=EQUITY)
        await leadline.complete(portfolio)
        await check(leadline, setting, portfolio, book, EVE)
        before = await units(leadline)
    async with setting.running(END) as leadline:
        await leadline.complete(portfolio)
        await leadline.quiet()
        await check(leadline, setting, portfolio, book, END)
        after = await units(leadline)
        assert {key: after[key] for key in before} == before, "actions of today restate nothing of yesterday"
        restated = "SELECT session FROM ingest.prices_history"
        assert await leadline.query(restated) == []
        stored = await leadline.digest(portfolio, facts=True)
        setting.world.symbols_asked.clear()
        await asked_again(leadline, portfolio)
        assert await leadline.digest(portfolio, facts=True) == stored
        assert await leadline.query(restated) == []
        if setting.vendor != "file":
            asked = [name for vendor, name in setting.world.symbols_asked if vendor == setting.vendor]
            assert asked.count("NEW") == 1
            # Massive files what was before the day under the old symbol; to the others it is dead.
            assert asked.count("OLD") == (1 if setting.vendor == "massive" else 0)
            assert await leadline.query("SELECT symbol, target FROM ingest.aliases") == [actions.RENAMED]


@pytest.mark.parametrize("setting", ["yahoo", "massive"], indirect=True)
async def test_before_import_as_traded_or_split_adjusted(setting: Setting) -> None:
    book = [*BOOK, LATER]
    async with setting.running(END) as leadline:
        found = []
        for as_traded in (True, False):
            content = actions.csv(setting.world, book, as_traded=as_traded)
            found.append(await leadline.import_csv(content, name=f"{as_traded}", equity=EQUITY))
        await leadline.complete(*found)
        await leadline.quiet()
        for portfolio in found:
            await check(leadline, setting, portfolio, book, END)
        if setting.vendor == "massive":
            prices = (await read(leadline, "/symbols/OLD/prices"))["items"]
            assert min(row["close"] for row in prices) > 20, "nothing of whoever had the new symbol before"
