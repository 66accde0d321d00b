"""Faults are planted in five running processes, and a real Prometheus that watches them with our alerts says so; before, it is quiet.

`tests/deploy/test_alerts.py` plants series instead, for every alert, with the times that pass until one fires.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
import yaml
from aiokafka import AIOKafkaProducer
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import ledger
from shared.db.engine import create_engine
from shared.work import Phase
from tests.deploy.test_alerts import ALERTS
from tests.flow.holdings import book, lot
from tests.support import compose, prometheus
from tests.support.brokers import TestBroker
from tests.support.compose import Process
from tests.support.databases import PASSWORDS, Database, Server, create, drop, in_thread

# What is missing is counted once a minute.
WITHIN_SECONDS = 150.0
TOKEN = "a token of the planted faults"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
AS_OF = date(2020, 12, 31)
pytestmark = [pytest.mark.timeout(900), pytest.mark.long]


@dataclass(frozen=True)
class Watched:
    """Five processes, their database and broker, and the Prometheus that watches them."""

    services: dict[str, Process]
    database: Database
    broker: TestBroker
    prometheus: httpx2.Client

    def firing(self) -> set[tuple[str, str]]:
        """(alert, what it is about): the labels that tell one from another."""
        found = self.prometheus.get("/api/v1/alerts").raise_for_status().json()["data"]["alerts"]
        labels = ("phase", "kind", "reason", "service", "instance")
        return {
            (one["labels"]["alertname"], " ".join(one["labels"][name] for name in labels if name in one["labels"]))
            for one in found
            if one["state"] == "firing"
        }

    def until_firing(self, expected: set[tuple[str, str]]) -> None:
        """Until these fire and no others."""
        until = time.monotonic() + WITHIN_SECONDS
        while (found := self.firing()) != expected:
            said = f"silent: {sorted(expected - found)}; unexpected: {sorted(found - expected)}"
            assert time.monotonic() < until, said
            time.sleep(0.5)


@pytest.fixture
def watched(server: Server, broker: TestBroker, scratch_directory: Path) -> Iterator[Watched]:
    prometheus.require()
    state = scratch_directory / "planted"
    state.mkdir()
    database = in_thread(lambda: create(server))
    variables = {f"LEADLINE_{service.upper()}_PASSWORD": password for service, password in PASSWORDS.items()}
    variables |= {"LEADLINE_MIGRATOR_PASSWORD": "test-migrator", "POSTGRES_PASSWORD": "unused", "LEADLINE_TOKEN": TOKEN}
    variables |= {"LEADLINE_AS_OF": str(AS_OF), "LEADLINE_KAFKA_NAMESPACE": f"{database.name}."}
    try:
        with compose.up(state / "services", variables=variables, database=database, broker=broker) as services:
            _configure(state, services)
            with prometheus.serve(state) as (_, client):
                _scraping(client, len(services))
                yield Watched(services, database, broker, client)
    finally:
        in_thread(lambda: drop(database))


def _configure(state: Path, services: dict[str, Process]) -> None:
    """Compose's own files, a second where they have fifteen, and alerts that do not wait until they fire."""
    config = yaml.safe_load(ALERTS.with_name("prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    [job] = config["scrape_configs"]
    job["static_configs"] = [{"targets": [process.url.removeprefix("http://") for process in services.values()]}]
    (state / "prometheus.yml").write_text(yaml.safe_dump(config))
    rules = yaml.safe_load(ALERTS.read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule.pop("for", None)
    (state / "alerts.yml").write_text(yaml.safe_dump(rules))


def _scraping(client: httpx2.Client, targets: int) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            answer = client.get("/api/v1/targets")
            found = answer.json()["data"]["activeTargets"] if answer.status_code == 200 else []
        except httpx2.TransportError:
            found = []
        if len([one for one in found if one["health"] == "up"]) == targets:
            return
        assert time.monotonic() < until, found
        time.sleep(0.2)


def test_alerts_fire_on_planted_faults_and_on_nothing_else(watched: Watched) -> None:
    services = watched.services
    _complete(watched, _create(watched, "Well", book("2020-11-02")))
    _guess(watched, 11)
    # The prices are those of 2020: old they are.
    quiet = {("LeadlinePricesOld", "")}
    watched.until_firing(quiet)

    unknown = {**lot("AAPL", 1, "2020-12-21"), "symbol": "NOSUCHTHING", "quantity": 1000}
    _complete(watched, _create(watched, "Unknown", [unknown, lot("AAPL", 1, "2020-12-21")]))
    asyncio.run(_unreadable(watched))
    services["risk"].child.process.send_signal(signal.SIGKILL)
    services["risk"].child.process.wait()
    stuck = _create(watched, "Without risk", [lot("AAPL", 1, "2020-12-21")])
    asyncio.run(_in_the_database(watched, UUID(stuck)))
    drift = httpx2.get(f"{services['coordinator'].url}/api/v1/admin/audit", headers=BEARER, timeout=60).json()["drift"]
    _guess(watched, 100)

    expected = quiet | {
        *(("LeadlinePartial", f"{phase} not_found") for phase in ("ingest", "factors", "snapshots")),
        *(("LeadlinePartial", f"{phase} unpriceable") for phase in ("snapshots", "risk")),
        ("LeadlineCoverageLow", ""),
        *(("LeadlineDeadLetters", f"no_type {service}") for service in ("coordinator", "factors", "snapshots")),
        ("LeadlineDown", services["risk"].url.removeprefix("http://")),
        ("LeadlineUnitsBlocked", "risk"),
        ("LeadlineOutboxFailed", "factors"),
        ("LeadlineRequestsShed", "coordinator"),
        *(("LeadlineAuditDrift", kind) for kind in {one["kind"] for one in drift}),
    }
    assert drift
    watched.until_firing(expected)


def _create(watched: Watched, name: str, positions: list[dict[str, Any]]) -> str:
    body = {"name": name, "account_type": "taxable", "currency": "USD", "equity_balance": 100_000, "flows": []}
    url = f"{watched.services['coordinator'].url}/api/v1/portfolios"
    answer = httpx2.post(url, json=body | {"positions": positions}, headers=BEARER, timeout=30)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def _complete(watched: Watched, portfolio: str) -> None:
    until = time.monotonic() + WITHIN_SECONDS
    url = f"{watched.services['coordinator'].url}/api/v1/portfolios/{portfolio}/status"
    while (status := httpx2.get(url, headers=BEARER, timeout=30).json())["state"] not in ("complete", "partial"):
        assert time.monotonic() < until, status
        time.sleep(0.2)


def _guess(watched: Watched, times: int) -> None:
    """Tokens that are wrong: the first ten are answered 401, what is more is turned away."""
    with httpx2.Client(base_url=watched.services["coordinator"].url, timeout=30) as client:
        for number in range(times):
            client.get("/api/v1/portfolios", headers={"Authorization": f"Bearer a wrong token, number {number}"})


async def _unreadable(watched: Watched) -> None:
    """Half a message, without the header that says what it is."""
    producer = AIOKafkaProducer(bootstrap_servers=watched.broker.bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait(f"{watched.database.name}.leadline.prices-ingested", b"{half")
    finally:
        await producer.stop()


async def _in_the_database(watched: Watched, stuck: UUID) -> None:
    """Units that failed for good, an event larger than the broker takes, and units that nobody requires any more."""
    engine = create_engine(watched.database.admin_url, application="test", pool_size=2)
    try:
        for _ in range(ledger.MAX_RUNS):
            async with engine.begin() as conn:
                await ledger.record_failure(conn, Phase.RISK, stuck, {(AS_OF, AS_OF): "planted"})
        async with engine.begin() as conn:
            await _too_large(conn)
        async with engine.begin() as conn:
            await conn.execute(text("DELETE FROM ledger.units WHERE session = (SELECT min(session) FROM ledger.units)"))
    finally:
        await engine.dispose()


async def _too_large(conn: AsyncConnection) -> None:
    await conn.execute(
        text("""
            INSERT INTO bus.outbox (event_id, topic, type, payload, headers, written_by)
            VALUES (gen_random_uuid(), 'leadline.factors-computed', 'leadline.FactorsComputed.v1', '{}',
                    jsonb_build_object('note', repeat('x', 300000)), 'leadline_factors')
        """)
    )
