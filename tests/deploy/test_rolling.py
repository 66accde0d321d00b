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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.control.auditor import Auditor
from shared.clock import Clock
from shared.db.engine import create_engine
from shared.db.roles import SERVICES
from shared.market import registry
from tests.flow.holdings import book
from tests.support import compose, databases
from tests.support.brokers import TestBroker
from tests.support.compose import ROOT, Process
from tests.support.databases import PASSWORDS, Database, Server, drop, in_thread
from tests.support.figures import differences, digests

ASKED = "LEADLINE_TEST_ROLLING"
COMPLETE_SECONDS = float(os.environ.get("LEADLINE_TEST_COMPLETE_SECONDS", "300"))
AS_OF = date(2020, 12, 31)
# A topic has six partitions, and a portfolio is a key: with fewer, one side might have nothing to do.
BESIDE = 8
BEARER = {"Authorization": "Bearer a token of the rolling upgrade"}
pytestmark = pytest.mark.timeout(1800)


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


@dataclass(frozen=True)
class Installation:
    """One database and one broker, for processes of two versions."""

    database: Database
    broker: TestBroker
    state: Path
    variables: Mapping[str, str]

    def migrate(self, tree: Path) -> None:
        for job in compose.JOBS:
            compose.run_job(job, variables=self.variables, database=self.database, broker=self.broker, root=tree)

    def start(self, name: str, tree: Path) -> AbstractContextManager[dict[str, Process]]:
        return compose.up(
            self.state / f"rolling-{name}",
            variables=self.variables,
            database=self.database,
            broker=self.broker,
            root=tree,
            jobs=(),
        )


@pytest.fixture
def installation(empty: Database, broker: TestBroker, scratch_directory: Path) -> Installation:
    variables = {f"LEADLINE_{service.upper()}_PASSWORD": password for service, password in PASSWORDS.items()}
    variables |= {"LEADLINE_MIGRATOR_PASSWORD": "test-migrator", "POSTGRES_PASSWORD": "unused"}
    variables |= {"LEADLINE_TOKEN": BEARER["Authorization"].removeprefix("Bearer "), "LEADLINE_AS_OF": str(AS_OF)}
    variables |= {"LEADLINE_KAFKA_NAMESPACE": f"{empty.name}."}
    return Installation(empty, broker, scratch_directory, variables)


def test_old_and_new_work_side_by_side_and_back_again(installation: Installation, earlier: Path) -> None:
    empty = installation.database
    installation.migrate(earlier)
    with installation.start("old", earlier) as old:
        made = [computed(old, create(old, "Before"))]
        installation.migrate(ROOT)
        made.append(computed(old, create(old, "On the new schema")))
        of_old, scenarios = _one(empty, made), asyncio.run(_scenarios(empty))
        with installation.start("new", ROOT) as new:
            same = _model(earlier) == registry.MODEL_VERSION and asyncio.run(_scenarios(empty)) == scenarios
            done_before = {name: units(process) for name, process in old.items()}
            beside = [create((old, new)[number % 2], f"Beside {number}") for number in range(BESIDE)]
            # Another set of scenarios is in force once a new process of risk has begun; an old one waits until it is replaced.
            phases = _PHASES if same else [phase for phase in _PHASES if phase != "risk"]
            asyncio.run(_worked(empty, beside, phases))
            by_old = {name: units(process) - done_before[name] for name, process in old.items() if name in phases}
            by_new = {name: units(process) for name, process in new.items() if name in phases}
            # One by one, as a rollout does.
            for process in old.values():
                process.child.stop(within=60.0)
            made += [computed(new, portfolio) for portfolio in beside]
            made.append(computed(new, create(new, "After")))
            of_new = _restated(empty, new, made)
    assert min(by_old.values()) > 0, by_old
    assert min(by_new.values()) > 0, by_new
    with installation.start("back", earlier) as back:
        made.append(computed(back, create(back, "Back")))
        assert all(computed(back, portfolio) for portfolio in made), "the old version serves what the new one computed"
        if same:
            assert of_old == of_new == _one(empty, made)
    with installation.start("forth", ROOT) as forth:
        assert _restated(empty, forth, made) == of_new
    assert asyncio.run(_dead_letters(empty)) == []


def _restated(database: Database, of: dict[str, Process], made: Sequence[str]) -> dict[str, tuple[int, str]]:
    """The figures of all, once what an old process completed is restated."""
    asyncio.run(_audited(database))
    return _one(database, [computed(of, portfolio) for portfolio in made])


def _one(database: Database, portfolios: Sequence[str]) -> dict[str, tuple[int, str]]:
    """The figures that all of the portfolios have, to the last digit."""
    figures = {portfolio: asyncio.run(digests(database, portfolio)) for portfolio in portfolios}
    first = portfolios[0]
    for other in portfolios[1:]:
        if figures[other] != figures[first]:
            differ = asyncio.run(differences(database, first, other))
            raise AssertionError(f"{first} and {other} differ in {len(differ)} figures:\n" + "\n".join(differ[:20]))
    return figures[first]


def _model(tree: Path) -> str:
    """Version of the model of an earlier tree."""
    [found] = re.findall(r'^MODEL_VERSION.* = "(.+)"$', (tree / "shared/market/registry.py").read_text(), re.MULTILINE)
    return str(found)


async def _audited(database: Database) -> None:
    """Until nothing is left that an old process completed with its model after the new coordinator began: the hourly audit finds it."""
    engine = create_engine(database.admin_url, application="test", pool_size=2)
    auditing = asyncio.create_task(Auditor(engine, Clock(as_of=AS_OF), period=timedelta(seconds=1)).run())
    until = time.monotonic() + COMPLETE_SECONDS
    try:
        while found := await _other_models(engine):
            assert not auditing.done(), auditing
            assert time.monotonic() < until, found
            await asyncio.sleep(0.5)
    finally:
        auditing.cancel()
        await asyncio.gather(auditing, return_exceptions=True)
        await engine.dispose()


async def _scenarios(database: Database) -> str:
    engine = create_engine(database.admin_url, application="test", pool_size=1)
    async with engine.connect() as conn:
        found = await conn.scalar(text("SELECT digest FROM risk.scenario_choice"))
    await engine.dispose()
    return str(found)


async def _worked(database: Database, portfolios: Sequence[str], phases: Sequence[str]) -> None:
    """Until nothing is missing in these phases."""
    engine = create_engine(database.admin_url, application="test", pool_size=1)
    until = time.monotonic() + COMPLETE_SECONDS
    while True:
        async with engine.connect() as conn:
            rows = await conn.execute(
                text("""
                    SELECT CAST(phase AS text), count(*), count(*) FILTER (WHERE completed_revision >= required_revision)
                    FROM ledger.units
                    WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND CAST(phase AS text) = ANY (CAST(:phases AS text[]))
                    GROUP BY phase
                """),
                {"portfolios": list(portfolios), "phases": list(phases)},
            )
            found = {phase: (there, done) for phase, there, done in rows.all()}
        if len(found) == len(phases) and all(there == done for there, done in found.values()):
            break
        assert time.monotonic() < until, found
        await asyncio.sleep(0.5)
    await engine.dispose()


async def _other_models(engine: AsyncEngine) -> dict[str, int]:
    async with engine.connect() as conn:
        rows = await conn.execute(
            text("""
                SELECT model_version, count(*) FROM (
                    SELECT model_version FROM snapshots.snapshots UNION ALL SELECT model_version FROM risk.results
                ) r WHERE model_version <> :model GROUP BY 1
            """),
            {"model": registry.MODEL_VERSION},
        )
        return {str(model): int(count) for model, count in rows.all()}


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
