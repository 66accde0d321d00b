"""The exchange was closed on a day the library calls a session: five services, real prices, and not one digit of it left."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from services.risk.store.results import FIGURE_COLUMNS
from shared.market.calendar import NO_CLOSURES, calendar
from tests.flow.holdings import book, lot
from tests.support import databases, pipeline
from tests.support.brokers import TestBroker
from tests.support.databases import Server
from tests.support.pipeline import FACTS, Pipeline

AS_OF = date(2020, 12, 31)
# KO is sold on it, and a flow of the Saturday before counts on it.
DAY = date(2020, 11, 16)
FIRST = date(2020, 9, 1)
SESSIONS = calendar(closures=NO_CLOSURES).between(FIRST, AS_OF)
FLOWS = [{"date": "2020-11-14", "amount": 5000.0, "note": None}]


def positions() -> list[dict[str, Any]]:
    return [*book(), lot("WMT", 30, "2020-11-16"), lot("HD", 20, "2020-11-17")]


async def create(leadline: Pipeline) -> list[str]:
    """Two portfolios: one that runs over the day, one that begins on it."""
    running = await leadline.create(positions(), flows=FLOWS)
    begins = await leadline.create([lot("PFE", 100, "2020-11-16"), lot("GE", -40, "2020-11-20")])
    return [running, begins]


async def figures(leadline: Pipeline, portfolio: str) -> dict[date, Any]:
    """All stored figures by session, without ids. Arrays as text: an unknown figure is NaN, which equals nothing."""
    columns = ", ".join(f"CAST(r.{column} AS text)" for column in FIGURE_COLUMNS)
    rows = await leadline.query(
        f"""
        SELECT s.session, CAST(to_jsonb(s) - ARRAY['portfolio_id', 'revision', 'computed_at'] AS text),
               CAST(to_jsonb(h) - ARRAY['portfolio_id', 'revision', 'position_ids'] AS text),
               r.quality, r.coverage, CAST(r.reasons AS text), CAST(r.risk AS text), {columns}
        FROM snapshots.snapshots s
        JOIN snapshots.holdings h USING (portfolio_id, session)
        JOIN risk.results r USING (portfolio_id, session)
        WHERE portfolio_id = :id ORDER BY s.session
        """,
        id=portfolio,
    )
    return {row[0]: tuple(row[1:]) for row in rows}


async def facts(leadline: Pipeline) -> dict[Any, Any]:
    """Symbol facts by table, symbol and session."""
    found: dict[Any, Any] = {}
    for table, columns in FACTS.items():
        rows = await leadline.query(
            f"""
            SELECT s.symbol, f.session, CAST(f AS text) FROM (SELECT symbol_id, {columns} FROM {table}) f
            JOIN ingest.symbols s ON s.id = f.symbol_id
            """
        )
        found |= {(table, symbol, session): text.partition(",")[2] for symbol, session, text in rows}
    return found


def differing(wanted: dict[Any, Any], found: dict[Any, Any]) -> list[Any]:
    """Facts of lots that are not held then any more may stay: nobody asks for them."""
    return [key for key, row in wanted.items() if found.get(key) != row]


async def revisions(leadline: Pipeline, before: date) -> list[Any]:
    return await leadline.query(
        "SELECT portfolio_id, session, phase, completed_revision, completed_at FROM ledger.units WHERE session < :day ORDER BY 1, 2, 3",
        day=before,
    )


@dataclass(frozen=True)
class Installation:
    """A running Leadline, its two portfolios, and what it said of them when they were complete."""

    leadline: Pipeline
    portfolios: list[str]
    figures: list[dict[date, Any]]
    facts: dict[Any, Any]


@contextlib.asynccontextmanager
async def installation(server: Server, broker: TestBroker, *, closed: bool) -> AsyncIterator[Installation]:
    """closed : whether it knows of the closure before anything is imported"""
    database = await databases.create(server)
    async with pipeline.running(database, broker, as_of=AS_OF) as leadline:
        if closed:
            answer = await leadline.api.put(f"/calendar/closures/{DAY}", json={"reason": "Day of mourning"})
            assert answer.status_code == 200, answer.text
        portfolios = await create(leadline)
        await leadline.complete(*portfolios)
        await leadline.quiet()
        found = [await figures(leadline, portfolio) for portfolio in portfolios]
        yield Installation(leadline, portfolios, found, await facts(leadline))
    await databases.drop(database)


@pytest.fixture(scope="module")
async def knew(server: Server, broker: TestBroker) -> AsyncIterator[Installation]:
    async with installation(server, broker, closed=True) as made:
        yield made


@pytest.fixture(scope="module")
async def never(server: Server, broker: TestBroker) -> AsyncIterator[Installation]:
    async with installation(server, broker, closed=False) as made:
        yield made


async def test_a_day_closed_afterwards_leaves_no_digit_behind_and_opened_again_all(
    never: Installation, knew: Installation
) -> None:
    leadline, portfolios, wanted = never.leadline, never.portfolios, knew.figures
    assert all(wanted)
    assert DAY not in wanted[0]
    assert len(wanted[0]) == len(SESSIONS) - 1
    untouched = await revisions(leadline, DAY)
    assert [DAY in rows for rows in never.figures] == [True, True]
    assert never.figures[0] != wanted[0], "the day matters to what follows"

    answer = await leadline.api.put(f"/calendar/closures/{DAY}", json={"reason": "Day of mourning"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["withdrawn_units"] == 4 * 2
    for status in await leadline.complete(*portfolios):
        assert status["holes"] == []
    await leadline.quiet()

    for portfolio, rows in zip(portfolios, wanted, strict=True):
        healed = await figures(leadline, portfolio)
        assert sorted(healed) == sorted(rows)
        assert [day for day in rows if healed[day] != rows[day]] == []
    assert differing(knew.facts, await facts(leadline)) == []
    assert await revisions(leadline, DAY) == untouched, "what was before the day was not looked at"
    run = (await leadline.api.get(f"/admin/runs/{answer.json()['run_id']}")).json()
    assert (run["state"], run["source"]) == ("complete", "settings")
    assert (await leadline.api.get("/admin/audit")).json()["drift"] == []
    await _reads(leadline, portfolios[0])

    answer = await leadline.api.delete(f"/calendar/closures/{DAY}")
    assert answer.status_code == 200, answer.text
    await leadline.complete(*portfolios)
    await leadline.quiet()
    for portfolio, rows in zip(portfolios, never.figures, strict=True):
        again = await figures(leadline, portfolio)
        assert sorted(again) == sorted(rows)
        assert [day for day in rows if again[day] != rows[day]] == []
    assert differing(never.facts, await facts(leadline)) == []
    assert await revisions(leadline, DAY) == untouched
    assert (await leadline.api.get("/admin/audit")).json()["drift"] == []
    assert await leadline.query("SELECT count(*) FROM bus.dead_letters") == [(0,)]


async def test_opened_again_a_day_nobody_ever_asked_for_is_fetched(never: Installation, knew: Installation) -> None:
    """The closure was a mistake, entered before the first import: prices of the day are asked for, and nothing shows that they
    came late."""
    leadline, late = knew.leadline, knew.portfolios
    assert await leadline.query("SELECT count(*) FROM ingest.prices WHERE session = :day", day=DAY) == [(0,)]
    assert (await leadline.api.delete(f"/calendar/closures/{DAY}")).status_code == 200
    await leadline.complete(*late)
    await leadline.quiet()
    opened = [await figures(leadline, portfolio) for portfolio in late]
    assert [
        [day for day in said if found.get(day) != said[day]] for said, found in zip(never.figures, opened, strict=True)
    ] == [[], []]
    assert differing(never.facts, await facts(leadline)) == []


async def _reads(leadline: Pipeline, portfolio: str) -> None:
    """What a reader is told of the day."""
    for path in ("risk", "positions", "explain"):
        answer = await leadline.api.get(f"/portfolios/{portfolio}/{path}", params={"session": str(DAY)})
        assert (answer.status_code, answer.json()["code"]) == (404, "closed"), answer.text
        assert "Day of mourning" in answer.json()["detail"]
    answer = await leadline.api.get(
        f"/portfolios/{portfolio}/restatements", params={"session": str(DAY), "figure": "snapshots.nav"}
    )
    [item] = answer.json()["items"]
    assert (item["withdrawn"], item["new"], item["new_revision"]) == (True, None, None)
    assert item["old"] > 0
    prices = (await leadline.api.get("/symbols/AAPL/prices", params={"from": "2020-11-13", "to": "2020-11-17"})).json()
    assert str(DAY) not in str(prices)
