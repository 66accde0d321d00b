"""A yield curve from the Treasury's page to a stress scenario: fetched by the running service, and what looked at none restated."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from shared.market.curve import Curve, long_bond
from tests.support import actions, databases, pipeline
from tests.support.actions import BOOK, DAYS, END, EQUITY, SESSIONS
from tests.support.brokers import TestBroker
from tests.support.curves import walk
from tests.support.databases import Server
from tests.support.vendors import Call, Reply, serving

CURVES = walk(SESSIONS)
HEADER = '"1 Mo","3 Mo","6 Mo","1 Yr","2 Yr","5 Yr","10 Yr","20 Yr","30 Yr"'


def treasury(call: Call) -> Reply:
    """A calendar year of the walk, as the Treasury prints it."""
    match = re.search(r"/daily-treasury-rates\.csv/(\d{4})/all$", call.path)
    assert match is not None
    rows = [
        f"{of.date:%m/%d/%Y}," + ",".join(f"{100 * value:.2f}" for value in of.yields)
        for of in reversed(CURVES)
        if of.date.year == int(match[1])
    ]
    return Reply("\n".join([f"Date,{HEADER}", *rows, ""]).encode(), content_type="text/csv")


async def test_a_curve_that_is_fetched_restates_what_goes_through_it(
    server: Server, broker: TestBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ingest.app.YIELD_POLL", 0.3)
    world = actions.world()
    database = await databases.create(server)
    data = actions.write_files(world, tmp_path)
    book = [trade for trade in BOOK if trade.symbol == "CALM"]
    with serving(treasury) as site:
        async with pipeline.running(
            database, broker, as_of=END, data=data, providers=("file",), kafka_namespace=f"{database.name}.",
            reference_providers=("treasury",), treasury_url=site.url, provider_loopback=True, retry_poll_seconds=0.2,
        ) as leadline:  # fmt: skip
            portfolio = await leadline.import_csv(actions.csv(world, book, as_traded=True), equity=EQUITY)
            for _ in range(600):
                if await leadline.query("SELECT 1 FROM ingest.yields WHERE date = :day", day=DAYS.previous(END)):
                    break
                await asyncio.sleep(0.1)
            await leadline.complete(portfolio)
            answer = await leadline.api.get(f"/portfolios/{portfolio}/stress", params={"session": END.isoformat()})
            assert answer.status_code == 200, answer.text
    await databases.drop(database)
    scenario = next(of for of in answer.json()["scenarios"] if of["id"] == "rates_up_100")
    newest = [of for of in CURVES if of.date < END][-1]
    printed = Curve(newest.date, newest.tenors, tuple(round(100 * value, 2) / 100 for value in newest.yields))
    bond = long_bond(printed)
    assert bond is not None
    assert scenario["duration_as_of"] == newest.date.isoformat()
    assert abs(scenario["shocks"]["rates"] - (-bond.duration * 0.01 + 0.5 * bond.convexity * 0.0001)) < 1e-9
    assert scenario["direct"]["money"] is not None
