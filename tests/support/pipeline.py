"""The whole of Leadline under test: five services in this process, as their own roles, on a real database and a real broker."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import httpx2
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.embedded.composition import Composition, composition
from services.coordinator.control import scheduler
from services.risk.store.results import FIGURE_COLUMNS
from shared.clock import Clock
from shared.db.engine import create_engine
from shared.db.roles import SERVICES
from tests.support.brokers import TestBroker
from tests.support.databases import Database

BUNDLED_PRICES = Path(__file__).parents[2] / "deploy" / "embedded" / "data" / "prices.parquet"
# What the pipeline wrote, by table: the columns that must be equal however it came about. Instants and revisions differ
# between runs by nature, surrogate symbol numbers by the order of arrival.
RESULTS = {
    "snapshots.snapshots": "portfolio_id, session, nav, cash, daily_pnl, daily_return, cumulative_return, drawdown, xirr,"
    " coverage, reasons",
    "snapshots.holdings": "portfolio_id, session, symbols, quantity, price, price_session, price_basis, market_value, daily_pnl, reason",
    "risk.results": f"portfolio_id, session, quality, coverage, reasons, risk, scenario_set, {', '.join(FIGURE_COLUMNS)}",
}
# States in which nothing is missing.
DONE = ("complete", "partial")
FACTS = {
    "factors.exposures": "session, market, market_shrunk, ir_beta, spreads, joint, joint_fit, n_obs, quality, reasons",
    "factors.metrics": "session, price, price_return, total_return, volatility, quality, reasons",
}


@dataclass(frozen=True)
class Processes:
    """Services that run elsewhere: their address is all that there is of them."""

    url: str


class Apart(Protocol):
    """A process that runs some of the services."""

    services: Sequence[str]

    def start(self, urls: Mapping[str, str], values: Mapping[str, Any]) -> None: ...

    def wait(self) -> None: ...

    def ask(self, question: str, value: str = "") -> Any: ...

    def stop(self) -> None: ...


@dataclass(frozen=True)
class Pipeline:
    """A running Leadline and the ways to look at it."""

    database: Database
    services: Composition
    api: httpx2.AsyncClient
    admin: AsyncEngine
    apart: Apart | None = None

    async def create(self, positions: Sequence[dict[str, Any]], **fields: Any) -> str:
        body = {"name": "Test", "account_type": "taxable", "currency": "USD", "equity_balance": 100_000, "flows": []}
        answer = await self.api.post("/portfolios", json={**body, **fields, "positions": list(positions)})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def import_csv(self, content: str, *, name: str = "Test", equity: int = 100_000) -> str:
        answer = await self.api.post(
            "/portfolios/import",
            data={
                "name": name,
                "account_type": "taxable",
                "equity_balance": str(equity),
                "allow_duplicate_name": "true",
            },
            files={"file": ("portfolio.csv", content.encode(), "text/csv")},
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def status(self, portfolio: str) -> dict[str, Any]:
        answer = await self.api.get(f"/portfolios/{portfolio}/status")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def complete(self, *portfolios: str, within: float = 60.0) -> list[dict[str, Any]]:
        """Wait until nothing is missing, complete or partial; fails with the last status otherwise."""
        until = asyncio.get_running_loop().time() + within
        found = []
        for portfolio in portfolios:
            while (status := await self.status(portfolio))["state"] not in DONE:
                assert status["state"] != "blocked", status
                assert asyncio.get_running_loop().time() < until, f"not complete after {within:.0f} s: {status}"
                await asyncio.sleep(0.1)
            found.append(status)
        return found

    async def reached(self, session: date, *portfolios: str, within: float = 90.0) -> None:
        """Wait until the session is required of the portfolios: what fell due is added soon after the start, and whoever was complete
        before it is complete until then."""
        until = asyncio.get_running_loop().time() + within
        for portfolio in portfolios:
            while (
                last := (
                    await self.query("SELECT max(session) FROM ledger.units WHERE portfolio_id = :id", id=portfolio)
                )[0][0]
            ) != session:
                assert asyncio.get_running_loop().time() < until, f"{portfolio} ends at {last} after {within:.0f} s"
                await asyncio.sleep(0.05)

    async def quiet(self, *, within: float = 60.0) -> None:
        """Wait until every event is sent, every consumer has committed all there is, and nothing was added meanwhile: everything that
        was delivered has been handled."""
        until = asyncio.get_running_loop().time() + within
        last = None
        while True:
            row = (
                await self.query(
                    "SELECT (SELECT count(*) FROM bus.outbox WHERE sent_at IS NULL AND failed_at IS NULL),"
                    " (SELECT max(completed_at) FROM ledger.units), (SELECT count(*) FROM bus.outbox)"
                )
            )[0]
            behind = await self._behind()
            if row == last and not row[0] and not behind:
                return
            last = row
            assert asyncio.get_running_loop().time() < until, f"still busy after {within:.0f} s: {row}, {behind}"
            await asyncio.sleep(0.05)

    async def _behind(self) -> list[str]:
        """Of which topics a consumer has not committed everything."""
        found = await unread(self.services)
        return found + (await asyncio.to_thread(self.apart.ask, "unread") if self.apart is not None else [])

    async def query(self, statement: str, **parameters: Any) -> list[Any]:
        """Rows, as the administrator sees them."""
        async with self.admin.connect() as conn:
            return list(await conn.execute(text(statement), parameters))

    async def execute(self, statement: str, **parameters: Any) -> None:
        async with self.admin.begin() as conn:
            await conn.execute(text(statement), parameters)

    async def digest(self, portfolio: str | None = None, *, facts: bool = False) -> dict[str, str]:
        """A hash of every stored digit of the results, by table; of one portfolio, or of all."""
        digests = {}
        for table, columns in RESULTS.items():
            where = "" if portfolio is None else f"WHERE portfolio_id = '{portfolio}'"
            digests[table] = await self._hash(f"SELECT {columns} FROM {table} {where} ORDER BY portfolio_id, session")
        if facts:
            for table, columns in FACTS.items():
                digests[table] = await self._hash(
                    f"SELECT s.symbol, {columns} FROM {table} JOIN ingest.symbols s ON s.id = symbol_id ORDER BY s.symbol, session"
                )
        return digests

    async def _hash(self, statement: str) -> str:
        rows = await self.query(f"SELECT CAST(row AS text) FROM ({statement}) AS row")
        return hashlib.sha256("\n".join(row[0] for row in rows).encode()).hexdigest()


async def unread(services: Composition) -> list[str]:
    """Of which topics a consumer has not committed everything."""
    found = []
    for app in services.apps.values():
        for subscriber in app.state.service.broker.subscribers:
            partitions = list(subscriber.consumer.assignment())
            ends = await subscriber.consumer.end_offsets(partitions)
            committed = {partition: await subscriber.consumer.committed(partition) for partition in partitions}
            found += [str(partition) for partition, end in ends.items() if end > (committed[partition] or 0)]
            # Between two assignments it has none, and nobody knows what it will be given.
            found += [] if partitions else ["no partition"]
    return found


def move_clock(app: FastAPI, session: date) -> None:
    # Frozen, for no service may move its own.
    object.__setattr__(app.state.service.clock, "as_of", session)


def move_clocks(services: Composition, session: date) -> None:
    for app in services.apps.values():
        move_clock(app, session)


async def fall_due(leadline: Pipeline, session: date) -> int:
    """The clocks of the services go on to a session, and the scheduler looks; how many units it added.

    As the scheduler's own role: that of requests sees no tenant's portfolios by itself. The coordinator's clock goes on last, or its own
    scheduler might have looked before.
    """
    coordinator = leadline.services.apps["coordinator"]
    for app in leadline.services.apps.values():
        if app is not coordinator:
            move_clock(app, session)
    if leadline.apart is not None:
        await asyncio.to_thread(leadline.apart.ask, "as_of", session.isoformat())
    service = coordinator.state.service
    added = await scheduler.add_due(service.engine, Clock(session), source="cron", wake=service.wake_relay)
    move_clock(coordinator, session)
    return added


@contextlib.asynccontextmanager
async def running(
    database: Database,
    broker: TestBroker,
    *,
    as_of: date,
    data: Path = BUNDLED_PRICES,
    apart: Apart | None = None,
    **values: Any,
) -> AsyncIterator[Pipeline]:
    """Start the five services, here or apart; on the way out stop them in order."""
    listener = socket.socket(proto=socket.IPPROTO_TCP)  # as `deploy.embedded.state.bind` says
    listener.bind(("127.0.0.1", 0))
    settings: dict[str, Any] = {
        "kafka": broker.bootstrap,
        "kafka_idempotence": broker.idempotence,
        # Other tests' services listen on the same broker.
        "kafka_namespace": f"{database.name}.",
        # Each creates ten topics of its own; one partition is enough for one consumer.
        "kafka_partitions": 1,
        # Requests with the rights of their own role, as often as tests ask.
        "api_database_url": database.url("api"),
        "rate_limit": 0,
        "as_of": as_of,
        "data": data,
        "providers": "file",
        "log_level": "WARNING",
        # Tests of healing would otherwise wait for the reconciler's patience.
        "reconcile_seconds": 1.0,
        "grace_seconds": 1.0,
        **values,
    }
    admin = create_engine(database.admin_url, application="leadline-tests", pool_size=4)
    here = [service for service in SERVICES if apart is None or service not in apart.services]
    try:
        if apart is not None:
            apart.start(database.urls, settings)
        async with (
            composition(database.urls, listener, values=settings, services=here) as services,
            httpx2.AsyncClient(base_url=f"{services.url}/api/v1", timeout=60) as api,
        ):
            if apart is not None:
                await asyncio.to_thread(apart.wait)
            yield Pipeline(database, services, api, admin, apart)
    finally:
        if apart is not None:
            apart.stop()
        await admin.dispose()
        listener.close()
