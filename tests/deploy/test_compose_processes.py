"""The compose file's commands, environment and roles, as five processes on a real bus and database: a portfolio goes through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from shared.db.engine import create_engine
from shared.db.roles import API, SERVICES, role_of
from tests.flow.holdings import book
from tests.support import compose
from tests.support.brokers import TestBroker
from tests.support.compose import Process
from tests.support.databases import PASSWORDS, Database, Server, create, drop, in_thread

COMPLETE_SECONDS = 120.0
TOKEN = "a token of the compose tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
# Five interpreters start at once, on two cores perhaps.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[Database]:
    made = in_thread(lambda: create(server))
    yield made
    in_thread(lambda: drop(made))


@pytest.fixture(scope="module")
def services(database: Database, broker: TestBroker, scratch_directory: Path) -> Iterator[dict[str, Process]]:
    variables = {f"LEADLINE_{service.upper()}_PASSWORD": password for service, password in PASSWORDS.items()}
    variables |= {"LEADLINE_MIGRATOR_PASSWORD": "test-migrator", "POSTGRES_PASSWORD": "unused", "LEADLINE_TOKEN": TOKEN}
    variables |= {"LEADLINE_AS_OF": "2020-12-31", "LEADLINE_KAFKA_NAMESPACE": f"{database.name}."}
    with compose.up(scratch_directory / "compose", variables=variables, database=database, broker=broker) as running:
        yield running


def test_a_portfolio_goes_through_five_processes(services: dict[str, Process]) -> None:
    api = f"{services['coordinator'].url}/api/v1"
    body = {"name": "Compose", "account_type": "taxable", "currency": "USD", "equity_balance": 100_000, "flows": []}
    created = httpx2.post(
        f"{api}/portfolios", json=body | {"positions": book("2020-11-02")}, headers=BEARER, timeout=30
    )
    assert created.status_code == 201, created.text
    portfolio = created.json()["id"]

    until = time.monotonic() + COMPLETE_SECONDS
    while (status := _get(f"{api}/portfolios/{portfolio}/status"))["state"] not in ("complete", "partial"):
        assert time.monotonic() < until, status
        time.sleep(0.2)

    assert status["completed"] == status["expected"] > 0
    risk = _get(f"{api}/portfolios/{portfolio}/risk")
    assert risk["session"] == "2020-12-31"
    assert 0 < risk["volatility"]["realized_252"] < 2


async def test_each_process_is_connected_as_its_own_role_only(services: dict[str, Process], database: Database) -> None:
    await asyncio.gather(*(_ask_ready(process) for process in services.values()))
    engine = create_engine(database.admin_url, application="test", pool_size=4)
    async with engine.connect() as conn:
        rows = await conn.execute(
            text(
                "SELECT DISTINCT application_name, usename FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name LIKE 'leadline-%'"
            )
        )
        connected = {row.application_name: row.usename for row in rows}
    await engine.dispose()
    assert connected == {f"leadline-{service}": role_of(service) for service in (*SERVICES, API)}


def test_without_the_token_nobody_is_answered(services: dict[str, Process]) -> None:
    assert httpx2.get(f"{services['coordinator'].url}/api/v1/portfolios", timeout=30).status_code == 401


async def test_every_event_was_sent_by_the_role_that_wrote_it(services: dict[str, Process], database: Database) -> None:
    engine = create_engine(database.admin_url, application="test", pool_size=4)
    async with engine.connect() as conn:
        rows = await conn.execute(text("SELECT DISTINCT topic, written_by FROM bus.outbox WHERE sent_at IS NOT NULL"))
        wrote = {(topic, role) for topic, role in rows}
    await engine.dispose()
    assert {
        ("leadline.portfolio-created", "leadline_api"),
        ("leadline.prices-ingested", "leadline_ingest"),
        ("leadline.factors-computed", "leadline_factors"),
        ("leadline.snapshots-built", "leadline_snapshots"),
        ("leadline.risk-computed", "leadline_risk"),
    } <= wrote


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_serves_the_five_operational_paths(services: dict[str, Process], service: str) -> None:
    answers = {path: httpx2.get(f"{services[service].url}{path}").status_code for path in _PATHS}
    assert answers == dict.fromkeys(_PATHS, 200)


_PATHS = ("/livez", "/readyz", "/metrics", "/docs", "/asyncapi")


def _get(url: str) -> Any:
    return httpx2.get(url, headers=BEARER, timeout=30).json()


async def _ask_ready(process: Process) -> None:
    async with httpx2.AsyncClient() as client:
        assert (await client.get(f"{process.url}/readyz")).status_code == 200
