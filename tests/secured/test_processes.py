"""Two replicas of each service as separate processes, with compose's commands and roles, on secured servers that know rights; one of
each computing service is killed on the way. What comes out is what comes out undisturbed."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from shared.db.roles import SERVICES
from tests.flow.holdings import book
from tests.support import databases, secured_run
from tests.support.compose import Process
from tests.support.databases import Database, Server, in_thread
from tests.support.figures import digests
from tests.support.secured import SecuredKafka
from tests.support.secured_run import BEARER

COMPLETE_SECONDS = 180.0
KILLED = ("ingest", "factors", "snapshots", "risk")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def guarded(secured_postgres: Server) -> Iterator[Database]:
    made = in_thread(lambda: databases.create(secured_postgres))
    yield made
    in_thread(lambda: databases.drop(made))


@pytest.fixture(scope="module")
def services(
    guarded: Database, restricted_kafka: SecuredKafka, scratch_directory: Path
) -> Iterator[dict[str, Process]]:
    with secured_run.processes(guarded, restricted_kafka, scratch_directory) as running:
        yield running


def test_a_killed_replica_changes_no_digit(services: dict[str, Process], guarded: Database) -> None:
    assert set(services) == {name for service in SERVICES for name in (service, f"{service}-2")}

    def kill(completed: int) -> bool:
        if completed == 0:
            return False
        for service in KILLED:
            services[service].child.stop(how=signal.SIGKILL, within=5.0)
        return True

    disturbed = _calculate(services, "Disturbed", kill)
    undisturbed = _calculate(services, "Undisturbed", lambda _: True)
    figures = {name: asyncio.run(digests(guarded, name)) for name in (disturbed, undisturbed)}
    assert figures[disturbed] == figures[undisturbed]
    assert all(count > 0 for count, _ in figures[disturbed].values())


def _calculate(services: dict[str, Process], name: str, disturb: Callable[[int], bool]) -> str:
    """Create a portfolio, wait until it is computed, disturb on the way; returns its id."""
    api = f"{services['coordinator-2'].url}/api/v1"
    body = {"name": name, "account_type": "taxable", "currency": "USD", "equity_balance": 100_000, "flows": []}
    created = httpx2.post(
        f"{api}/portfolios", json=body | {"positions": book("2020-03-02")}, headers=BEARER, timeout=30
    )
    assert created.status_code == 201, created.text
    portfolio = str(created.json()["id"])
    until, done = time.monotonic() + COMPLETE_SECONDS, False
    while (status := httpx2.get(f"{api}/portfolios/{portfolio}/status", headers=BEARER, timeout=30).json())[
        "state"
    ] not in (
        "complete",
        "partial",
    ):
        done = done or disturb(status["completed"])
        assert time.monotonic() < until, status
        time.sleep(0.05)
    assert done, "it was computed before anything could be killed"
    assert status["completed"] == status["expected"] > 0
    return portfolio
