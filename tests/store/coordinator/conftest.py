"""The coordinator's API on a migrated database of its own, as the coordinator's role; no broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache, partial
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.routing import BaseRoute

from services.coordinator.api.context import Context
from services.coordinator.app import api_router, serve
from services.coordinator.settings import CoordinatorSettings
from shared.clock import Clock
from shared.db.engine import create_engine
from shared.db.roles import role_of
from tests.store.coordinator.provider import Provider
from tests.support import answers, databases
from tests.support.databases import Server

AS_OF = date(2020, 12, 30)
PREFIX = "/api/v1"
SERVER = "the-token-of-the-server"
# Children before parents.
WRITTEN = (
    "coordinator.notifications", "coordinator.subscriptions", "coordinator.limit_states", "coordinator.webhooks", "coordinator.limits",
    "coordinator.run_units", "coordinator.runs", "coordinator.flows", "coordinator.import_lots", "coordinator.trades",
    "coordinator.imports", "coordinator.import_mappings", "coordinator.positions",
    "coordinator.portfolios", "coordinator.idempotency", "coordinator.versions", "coordinator.benchmarks",
    "ledger.units", "ledger.schedule", "ledger.failures", "bus.outbox", "bus.dead_letters",
    "snapshots.snapshots", "snapshots.holdings", "risk.results",
    "factors.exposures", "factors.metrics", "factors.proxies", "ingest.symbol_profiles", "ingest.gaps", "ingest.actions",
    "ingest.actions_history",
    "ingest.prices", "ingest.prices_history",
    "ingest.candidates", "ingest.providers", "ingest.quarantine", "ingest.symbols", "coordinator.symbol_choices",
    "coordinator.price_decisions", "coordinator.closures", "ingest.lookups", "coordinator.lookups", "coordinator.tokens",
    "coordinator.audit_log", "coordinator.invitations", "coordinator.memberships", "coordinator.users",
)  # fmt: skip
CSV = """symbol,quantity,entry_date,entry_price,exit_date,exit_price
AAPL,100,2020-12-21,128.23,,
MSFT,-50,2020-12-23,221.02,2020-12-29,224.15
"""


@dataclass
class Api:
    """A client of the API, the engine of the test's administrator, what the coordinator's loops work with, and how often the relay
    and reconciler were woken."""

    client: httpx2.AsyncClient
    admin: AsyncEngine
    context: Context
    woken: list[str] = field(default_factory=list)

    async def rows(self, statement: str, **values: Any) -> list[Any]:
        async with self.admin.connect() as conn:
            return list((await conn.execute(text(statement), values)).all())

    async def run(self, statement: str, **values: Any) -> None:
        async with self.admin.begin() as conn:
            await conn.execute(text(statement), values)

    async def create(self, csv: str = CSV, **form: str) -> dict[str, Any]:
        data = {"name": "Test", "equity_balance": "100000", "allow_duplicate_name": "true"} | form
        answer = await self.client.post(
            f"{PREFIX}/portfolios/import", data=data, files={"file": ("p.csv", csv.encode(), "text/csv")}
        )
        assert answer.status_code in (200, 201), answer.text
        return dict(answer.json())

    async def complete(self, portfolio: str, *, phase: str | None = None) -> None:
        """Complete everything required, as the phases would."""
        await self.run(
            """
            UPDATE ledger.units SET completed_revision = required_revision, quality = 'complete', coverage = 1,
                   completed_at = now(), blocked_reason = NULL
            WHERE portfolio_id = :id AND (CAST(:phase AS text) IS NULL OR phase = CAST(CAST(:phase AS text) AS ledger.phase))
            """,
            id=UUID(portfolio),
            phase=phase,
        )

    async def missing(self, portfolio: str) -> set[tuple[str, date]]:
        rows = await self.rows(
            """
            SELECT CAST(phase AS text), session FROM ledger.units
            WHERE portfolio_id = :id AND completed_revision < required_revision
            """,
            id=UUID(portfolio),
        )
        return {(phase, session) for phase, session in rows}


def make_app(
    engine: AsyncEngine,
    woken: list[str],
    *,
    as_of: date = AS_OF,
    token: str | None = None,
    # What the clients of these tests call it.
    hosts: tuple[str, ...] = ("test",),
    limits: Mapping[str, int] | None = None,
) -> FastAPI:
    settings = CoordinatorSettings(
        database_url="postgresql://unused",
        as_of=as_of,
        token=None if token is None else SecretStr(token),
        hosts=hosts,
        stream_seconds=0.05,
        # These tests ask as fast as they can.
        rate_limit=0,
        **(limits or {}),  # type: ignore[arg-type]
    )
    context = Context(
        engine=engine,
        clock=Clock(as_of),
        settings=settings,
        wake_relay=lambda: woken.append("relay"),
        wake_reconciler=lambda: woken.append("reconciler"),
        stopping=asyncio.Event(),
    )
    app = FastAPI()
    # What a route takes and answers is worked out once a process: that takes a tenth of a second, and each test has an application.
    app.router.routes.extend(_routes())
    served = serve(app, context)
    served.openapi = partial(_describe_once, served.openapi)  # type: ignore[method-assign]
    return served


_described: dict[str, Any] = {}


def _describe_once(describe: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """All applications say the same of themselves, and to say it takes most of a second."""
    if not _described:
        _described.update(describe())
    return _described


@cache
def _routes() -> tuple[BaseRoute, ...]:
    described = FastAPI()
    there = len(described.router.routes)
    described.include_router(api_router())
    return tuple(described.router.routes[there:])


@pytest.fixture(scope="session")
async def engines(server: Server) -> AsyncIterator[tuple[AsyncEngine, AsyncEngine]]:
    """The HTTP side's engine, with its role's rights, and the administrator's, on one database that is emptied before each test:
    the API commits, so nothing can be rolled back, and a copy of the template for each test takes ten times as long."""
    database = await databases.create(server)
    engine = create_engine(database.url("api"), application="test-api", pool_size=4)
    admin = create_engine(database.admin_url, application="test-admin", pool_size=4)
    yield engine, admin
    await engine.dispose()
    await admin.dispose()
    await databases.drop(database)


@pytest.fixture(scope="session")
async def loops(engines: tuple[AsyncEngine, AsyncEngine]) -> AsyncIterator[AsyncEngine]:
    """As the coordinator's loops connect, to the same database."""
    url = engines[0].url.set(username=role_of("coordinator"), password=databases.PASSWORDS["coordinator"])
    engine = create_engine(url.render_as_string(hide_password=False), application="test-coordinator", pool_size=4)
    yield engine
    await engine.dispose()


@pytest.fixture
async def api(engines: tuple[AsyncEngine, AsyncEngine], loops: AsyncEngine) -> AsyncIterator[Api]:
    async with client(engines, loops) as made:
        yield made


@asynccontextmanager
async def client(engines: tuple[AsyncEngine, AsyncEngine], loops: AsyncEngine) -> AsyncIterator[Api]:
    """The API on the emptied database."""
    engine, admin = engines
    async with admin.begin() as conn:
        for table in WRITTEN:
            await conn.execute(text(f"DELETE FROM {table}"))
        await conn.execute(text("DELETE FROM coordinator.tenants WHERE name <> 'house'"))
    woken: list[str] = []
    app = make_app(engine, woken)
    transport = httpx2.ASGITransport(app=app)
    # Every answer that any test gets is one that the interface declares.
    hooks = {"response": [answers.checker(app)]}
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", event_hooks=hooks) as http:
        yield Api(http, admin, replace(app.state.context, engine=loops), woken)


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    with pytest.MonkeyPatch.context() as patch, Provider() as running:
        # The provider is reached by http on the loopback.
        patch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
        yield running


@pytest.fixture
async def browser(api: Api, provider: Provider) -> AsyncIterator[httpx2.AsyncClient]:
    given: Any = {"oidc_issuer": provider.issuer, "oidc_client_secret": "the-clients-own-secret"}
    app = make_app(api.context.engine, [], token=SERVER, limits=given)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as made:
        yield made
