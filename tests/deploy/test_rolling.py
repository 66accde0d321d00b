"""An upgrade in flight: processes of an earlier commit and of this one side by side on this one's schema, and the way back.

`make rolling FROM=COMMIT`. The earlier commit is any whose schema this one's expands: between releases, the last release.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from shared.db.engine import create_engine
from shared.db.roles import SERVICES
from tests.flow.holdings import book
from tests.support import compose, databases
from tests.support.brokers import TestBroker
from tests.support.compose import ROOT, Process
from tests.support.databases import PASSWORDS, Database, Server, drop, in_thread
from tests.support.figures import digests

ASKED = "LEADLINE_TEST_ROLLING"
COMPLETE_SECONDS = 180.0
# A topic has six partitions, and a portfolio is a key: with fewer, one side might have nothing to do.
BESIDE = 8
BEARER = {"Authorization": "Bearer a token of the rolling upgrade"}
pytestmark = pytest.mark.timeout(900)
Start = Callable[[str, Path, tuple[str, ...]], AbstractContextManager[dict[str, Process]]]


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The tree of the earlier commit."""
    commit = os.environ.get(ASKED, "")
    if not commit:
        pytest.skip(f"runs ten processes for minutes: `make rolling FROM=COMMIT` runs it ({ASKED}=COMMIT)")
    done = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True)
    tree = tmp_path / "earlier"
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as files:
        files.extractall(tree, filter="data")
    return tree


@pytest.fixture
def empty(server: Server) -> Iterator[Database]:
    made = Database(databases.fresh_name(), server)
    in_thread(lambda: databases.execute(server.admin_url, f"CREATE DATABASE {made.name}"))
    yield made
    in_thread(lambda: drop(made))


@pytest.fixture
def start(empty: Database, broker: TestBroker, scratch_directory: Path) -> Start:
    variables = {f"LEADLINE_{service.upper()}_PASSWORD": password for service, password in PASSWORDS.items()}
    variables |= {"LEADLINE_MIGRATOR_PASSWORD": "test-migrator", "POSTGRES_PASSWORD": "unused"}
    variables |= {"LEADLINE_TOKEN": BEARER["Authorization"].removeprefix("Bearer "), "LEADLINE_AS_OF": "2020-12-31"}
    variables |= {"LEADLINE_KAFKA_NAMESPACE": f"{empty.name}."}

    def up(name: str, root: Path, jobs: tuple[str, ...]) -> AbstractContextManager[dict[str, Process]]:
        state = scratch_directory / f"rolling-{name}"
        return compose.up(state, variables=variables, database=empty, broker=broker, root=root, jobs=jobs)

    return up


def test_old_and_new_work_side_by_side_and_back_again(start: Start, earlier: Path, empty: Database) -> None:
    with start("old", earlier, compose.JOBS) as old:
        made = [computed(old, create(old, "Before"))]
        with start("new", ROOT, compose.JOBS) as new:
            done_before = {name: units(process) for name, process in old.items()}
            beside = [create((old, new)[number % 2], f"Beside {number}") for number in range(BESIDE)]
            made += [computed((new, old)[number % 2], portfolio) for number, portfolio in enumerate(beside)]
            by_old = {name: units(process) - done_before[name] for name, process in old.items() if name in _PHASES}
            by_new = {name: units(process) for name, process in new.items() if name in _PHASES}
            # One by one, as a rollout does.
            for process in old.values():
                process.child.stop(within=60.0)
            made.append(computed(new, create(new, "After")))
    assert min(by_old.values()) > 0, by_old
    assert min(by_new.values()) > 0, by_new
    with start("back", earlier, ()) as back:
        made.append(computed(back, create(back, "Back")))
    figures = {portfolio: asyncio.run(digests(empty, portfolio)) for portfolio in made}
    assert len({str(sorted(of.items())) for of in figures.values()}) == 1, figures
    assert asyncio.run(_dead_letters(empty)) == []


_PHASES = tuple(service for service in SERVICES if service != "coordinator")


def create(of: dict[str, Process], name: str) -> str:
    body = {"name": name, "account_type": "taxable", "currency": "USD", "equity_balance": 100_000, "flows": []}
    answer = httpx2.post(
        f"{of['coordinator'].url}/api/v1/portfolios",
        json=body | {"positions": book("2020-11-02")},
        headers=BEARER,
        timeout=30,
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def computed(of: dict[str, Process], portfolio: str) -> str:
    until = time.monotonic() + COMPLETE_SECONDS
    while True:
        url = f"{of['coordinator'].url}/api/v1/portfolios/{portfolio}/status"
        status: dict[str, Any] = httpx2.get(url, headers=BEARER, timeout=30).json()
        if status["completed"] == status["expected"] > 0:
            return portfolio
        assert time.monotonic() < until, status
        time.sleep(0.2)


def units(process: Process) -> float:
    """Units that the process has completed."""
    said = httpx2.get(f"{process.url}/metrics", headers=BEARER, timeout=30).text
    return sum(
        float(value) for value in re.findall(r"^leadline_units_completed_total\{.*\} (\S+)$", said, re.MULTILINE)
    )


async def _dead_letters(database: Database) -> list[str]:
    engine = create_engine(database.admin_url, application="test", pool_size=1)
    async with engine.connect() as conn:
        found = [str(error) for error in await conn.scalars(text("SELECT error FROM bus.dead_letters"))]
    await engine.dispose()
    return found
