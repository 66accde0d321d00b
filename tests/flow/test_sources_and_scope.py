"""Who pulls the trigger never decides what is done: the bugs of the engine this replaces, 1, 2, 2b, 3, 4, 6, 9, 10 and 11, as tests."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text

from deploy.embedded.choices import settings_of
from deploy.embedded.composition import create_app
from services.coordinator.control.scheduler import add_due
from shared import ledger
from shared.clock import Clock
from shared.db.engine import acquire_commit_order_lock, next_change_seq
from shared.events.services import COMPLETION
from shared.market import registry
from shared.market.calendar import calendar
from shared.work import Phase
from tests.flow.holdings import book, lot
from tests.support import databases, pipeline
from tests.support.brokers import TestBroker
from tests.support.databases import Server
from tests.support.pipeline import DONE, Pipeline

PHASES = ["ingest", "factors", "snapshots", "risk"]


async def keys(leadline: Pipeline, portfolio: str) -> set[tuple[date, str]]:
    """What is complete."""
    rows = await leadline.query(
        "SELECT session, CAST(phase AS text) FROM ledger.units"
        " WHERE portfolio_id = :id AND completed_revision >= required_revision",
        id=portfolio,
    )
    return {(row[0], row[1]) for row in rows}


async def forget(leadline: Pipeline, portfolio: str) -> None:
    """As if nothing had ever been completed, and nobody had been told."""
    await leadline.quiet()
    await leadline.execute(
        "UPDATE ledger.units SET completed_revision = 0, completed_at = NULL WHERE portfolio_id = :id", id=portfolio
    )
    await leadline.execute(
        "UPDATE ledger.schedule SET next_at = now() + interval '1 hour' WHERE portfolio_id = :id", id=portfolio
    )


async def told(leadline: Pipeline, portfolio: str, after: int) -> set[tuple[date, str]]:
    """What the phases announced as complete since an event of the outbox."""
    rows = await leadline.query(
        "SELECT type, payload FROM bus.outbox WHERE id > :after AND payload LIKE :about",
        after=after,
        about=f"%{portfolio}%",
    )
    phase_of = {event.type_name(): phase.value for phase, event in COMPLETION.items()}
    found = set()
    for kind, payload in rows:
        if kind in phase_of:
            work = json.loads(payload)["work"]
            days = calendar().between(date.fromisoformat(work["from"]), date.fromisoformat(work["to"]))
            found |= {(day, phase_of[kind]) for day in days}
    return found


async def pull(leadline: Pipeline, source: str, portfolio: str) -> None:
    """Pull one trigger."""
    if source == "cron":
        # Its units are gone, as those of sessions to come are not there yet; the tick is the scheduler's own.
        await leadline.execute("DELETE FROM ledger.units WHERE portfolio_id = :id", id=portfolio)
        await add_due(leadline.admin, Clock(date(2020, 12, 31)), source="cron", wake=lambda: None)
        return
    if source == "settings":
        answer = await leadline.api.post(f"/portfolios/{portfolio}/calculate")
    elif source == "reconciler":
        await leadline.execute("UPDATE ledger.schedule SET next_at = now() WHERE portfolio_id = :id", id=portfolio)
        answer = await leadline.api.post("/admin/reconcile")
    else:
        asked = {"portfolio_id": portfolio, "source": source, "what": "missing"}
        answer = await leadline.api.post("/admin/batch/run", params=asked)
    assert answer.status_code == 202, answer.text


async def test_every_source_leads_to_the_same_completions(server: Server, broker: TestBroker) -> None:
    """Bug 1: the admin's and the user's button ran different phases. The reconciler sleeps, for it would make good what a source left
    out; so of each source it is seen what the phases completed, and what they announced, after it alone."""
    database = await databases.create(server)
    async with pipeline.running(database, broker, as_of=date(2020, 12, 31), reconcile_seconds=3600.0) as leadline:
        portfolio = await leadline.create([lot("AAPL", 10, "2020-12-01"), lot("JPM", -5, "2020-12-10")])
        await leadline.complete(portfolio)
        expected = {(s, p) for s in calendar().between(date(2020, 12, 1), date(2020, 12, 31)) for p in PHASES}
        assert await keys(leadline, portfolio) == await told(leadline, portfolio, 0) == expected, "onboarding"
        for source in ("settings", "admin", "cli", "reconciler", "cron"):
            await forget(leadline, portfolio)
            [(last,)] = await leadline.query("SELECT max(id) FROM bus.outbox")
            assert await keys(leadline, portfolio) == set()
            await pull(leadline, source, portfolio)
            await leadline.complete(portfolio)
            assert await keys(leadline, portfolio) == expected, source
            assert await told(leadline, portfolio, last) == expected, source
    await databases.drop(database)


async def test_a_night_completes_every_phase_of_the_plan(server: Server, broker: TestBroker) -> None:
    """Bugs 2 and 9: the nightly path dropped phases, and missed portfolios whose onboarding event was lost."""
    database = await databases.create(server)
    async with pipeline.running(database, broker, as_of=date(2020, 12, 29)) as before:
        known = await before.create([lot("AAPL", 10, "2020-12-01")])
        await before.complete(known)
        await before.quiet()
    # A portfolio arrives while every other service, and the relay, are down: its event is never sent.
    app = create_app(
        "coordinator", settings_of("coordinator", database_url=database.url("coordinator"), as_of=date(2020, 12, 29))
    )
    import httpx2

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost/api/v1") as api:
        body = {"name": "Lost", "account_type": "taxable", "currency": "USD", "equity_balance": 1000, "flows": []}
        answer = await api.post("/portfolios", json={**body, "positions": [lot("KO", 3, "2020-12-07")]})
    assert answer.status_code == 201, answer.text
    lost = answer.json()["id"]
    async with pipeline.running(database, broker, as_of=date(2020, 12, 31)) as after:
        await after.execute("DELETE FROM bus.outbox WHERE sent_at IS NULL AND payload LIKE :about", about=f"%{lost}%")
        await after.reached(date(2020, 12, 31), known, lost)
        await after.complete(known, lost, within=90)
        for portfolio, first in ((known, date(2020, 12, 1)), (lost, date(2020, 12, 7))):
            expected = {(s, p) for s in calendar().between(first, date(2020, 12, 31)) for p in PHASES}
            assert await keys(after, portfolio) == expected
    await databases.drop(database)


async def test_a_weekend_runs_the_same_phases_as_a_tuesday(server: Server, broker: TestBroker) -> None:
    """Bug 2b: phases were skipped when the last date was before today."""
    done: dict[date, set[str]] = {}
    for as_of in (date(2020, 12, 19), date(2020, 12, 22)):  # a Saturday, a Tuesday
        database = await databases.create(server)
        async with pipeline.running(database, broker, as_of=as_of) as leadline:
            portfolio = await leadline.create([lot("AAPL", 10, "2020-12-14")])
            await leadline.complete(portfolio)
            done[as_of] = {phase for _, phase in await keys(leadline, portfolio)}
            last = max(session for session, _ in await keys(leadline, portfolio))
            assert last == calendar().on_or_before(as_of)
        await databases.drop(database)
    assert set(map(frozenset, done.values())) == {frozenset(PHASES)}


async def test_each_portfolio_catches_up_by_itself_and_deleted_ones_never(server: Server, broker: TestBroker) -> None:
    """Bugs 3 and 4: one global date hid whose days were missing, and deleted portfolios dragged it back."""
    database = await databases.create(server)
    async with pipeline.running(database, broker, as_of=date(2020, 12, 28)) as leadline:
        ahead = await leadline.create([lot("AAPL", 10, "2020-12-21")])
        laggard = await leadline.create([lot("MSFT", 10, "2020-12-21")])
        deleted = await leadline.create([lot("JPM", 10, "2020-12-21")])
        await leadline.complete(ahead, laggard, deleted)
        assert (await leadline.api.delete(f"/portfolios/{deleted}")).status_code in (200, 204)
        assert await leadline.query("SELECT count(*) FROM ledger.units WHERE portfolio_id = :id", id=deleted) == [(0,)]
        # The laggard lost its newest two sessions altogether, units and all.
        await leadline.execute(
            "DELETE FROM ledger.units WHERE portfolio_id = :id AND session > '2020-12-23'", id=laggard
        )
        before = await leadline.query("SELECT max(completed_at) FROM ledger.units WHERE portfolio_id = :id", id=ahead)
        await leadline.api.post("/admin/reconcile")
        await leadline.reached(date(2020, 12, 28), laggard)
        await leadline.complete(laggard)
        after = await leadline.query("SELECT max(completed_at) FROM ledger.units WHERE portfolio_id = :id", id=ahead)
        assert before == after, "nobody else is recomputed"
        assert await leadline.query("SELECT count(*) FROM ledger.units WHERE portfolio_id = :id", id=deleted) == [(0,)]
    await databases.drop(database)


async def test_an_interior_hole_is_filled_and_what_follows_is_recomputed(leadline: Pipeline) -> None:
    """Bug 6: a hole between two days was invisible to a maximum."""
    portfolio = await leadline.create(book("2020-12-01")[:5])
    await leadline.complete(portfolio)
    before = await leadline.digest(portfolio)
    hole = date(2020, 12, 15)
    answer = await leadline.api.post(
        "/admin/batch/run",
        params={"portfolio_id": portfolio, "start_date": str(hole), "end_date": str(hole), "force_rerun": "true"},
    )
    assert answer.status_code == 202, answer.text
    await leadline.complete(portfolio)
    rows: list[Any] = await leadline.query(
        "SELECT session, CAST(phase AS text), completed_revision FROM ledger.units WHERE portfolio_id = :id",
        id=portfolio,
    )
    newest = max(row[2] for row in rows)
    redone = {(row[0], row[1]) for row in rows if row[2] == newest}
    later = calendar().between(hole, date(2020, 12, 31))
    assert redone == {(s, p) for s in later for p in ("snapshots", "risk")} | {(hole, "ingest"), (hole, "factors")}
    assert await leadline.digest(portfolio) == before, "the same inputs give the same digits"


async def test_a_hole_that_a_lost_write_left_is_rebuilt_and_the_sessions_after_it_follow(leadline: Pipeline) -> None:
    """Bug 6: D5 and D7 are there, D6 is not. Money came in on D6; its demand was committed, its snapshot never, and no event tells."""
    before, hole, after = date(2020, 12, 14), date(2020, 12, 15), date(2020, 12, 16)
    flow = {"date": str(hole), "amount": 5000}
    twin = await leadline.create(book("2020-12-01")[:5], flows=[flow])
    portfolio = await leadline.create(book("2020-12-01")[:5])
    await leadline.complete(twin, portfolio)
    await leadline.quiet()
    figures = (
        "SELECT session, nav, cash, daily_pnl, daily_return, flow, cumulative_return, drawdown, xirr FROM snapshots.snapshots"
        " WHERE portfolio_id = :id ORDER BY session"
    )
    old = {row.session: row for row in await leadline.query(figures, id=portfolio)}
    async with leadline.admin.begin() as conn:
        await acquire_commit_order_lock(conn)
        await conn.execute(
            text("INSERT INTO coordinator.flows (portfolio_id, date, session, amount) VALUES (:id, :day, :day, 5000)"),
            {"id": UUID(portfolio), "day": hole},
        )
        await ledger.require(conn, [(UUID(portfolio), hole, hole, Phase.SNAPSHOTS)], await next_change_seq(conn))
        for statement in (
            "DELETE FROM snapshots.snapshots WHERE portfolio_id = :id AND session = :day",
            "DELETE FROM snapshots.holdings WHERE portfolio_id = :id AND session = :day",
            """UPDATE ledger.units SET completed_revision = 0, completed_at = NULL
               WHERE portfolio_id = :id AND session = :day AND phase = 'snapshots'""",
        ):
            await conn.execute(text(statement), {"id": UUID(portfolio), "day": hole})
        there = {row.session for row in await conn.execute(text(figures), {"id": UUID(portfolio)})}
    assert old.keys() - there == {hole}
    for _ in range(120):
        if (await leadline.status(portfolio))["state"] in DONE:
            break
        await leadline.execute("UPDATE ledger.schedule SET next_at = now() WHERE portfolio_id = :id", id=portfolio)
        assert (await leadline.api.post("/admin/reconcile")).status_code == 202
        await asyncio.sleep(0.5)
    new = {row.session: row for row in await leadline.query(figures, id=portfolio)}
    assert new == {row.session: row for row in await leadline.query(figures, id=twin)}, "to the last digit"
    assert new[before] == old[before]
    assert new[hole].flow == 5000
    assert [new[day].nav - old[day].nav for day in (hole, after, max(new))] == [5000] * 3
    assert new[after].daily_return != old[after].daily_return, "on more money than before"


async def test_a_scoped_run_leaves_other_symbols_alone_and_equals_a_universe_run(
    server: Server, broker: TestBroker
) -> None:
    """Bugs 10 and 11: scoped work overwrote everybody's factors, and fetched the universe."""
    facts = {}
    for name, books in (
        ("scoped", [["AAPL", "KO"]]),
        ("universe", [["GE", "XOM", "BAC", "PFE"], ["KO", "AAPL"], ["HD"]]),
    ):
        database = await databases.create(server)
        async with pipeline.running(database, broker, as_of=date(2020, 12, 31)) as leadline:
            for symbols in books:
                portfolio = await leadline.create([lot(symbol, 5, "2020-12-21") for symbol in symbols])
                await leadline.complete(portfolio)
                await leadline.quiet()
            fetched = {row[0] for row in await leadline.query("SELECT symbol FROM ingest.symbols")}
            everybodys = {*registry.PROXY_SYMBOLS, *registry.REFERENCE_ETFS, *registry.SECTOR_FUNDS.values()}
            assert fetched <= everybodys | {s for symbols in books for s in symbols}, "holdings and proxies, no more"
            assert "XLK" in fetched, "funds of sectors too, where asking costs nothing"
            facts[name] = [
                await leadline.query(
                    "SELECT s.symbol, e.session, market, market_shrunk, spreads, joint, joint_fit, e.n_obs, e.reasons::text,"
                    " m.price_return, m.total_return, m.volatility"
                    " FROM factors.exposures e JOIN ingest.symbols s ON s.id = e.symbol_id"
                    " JOIN factors.metrics m USING (symbol_id, session)"
                    " WHERE s.symbol IN ('AAPL', 'KO') ORDER BY 1, 2"
                )
            ]
            if name == "scoped":
                before = await leadline.query("SELECT max(computed_at) FROM factors.exposures")
                await leadline.create([lot("AAPL", 7, "2020-12-21")])
                await leadline.quiet()
                assert await leadline.query("SELECT max(computed_at) FROM factors.exposures") == before
        await databases.drop(database)
    assert len(facts["scoped"][0]) == 2 * len(calendar().between(date(2020, 12, 21), date(2020, 12, 31)))
    assert repr(facts["scoped"]) == repr(facts["universe"]), "identical in every stored digit"
