"""One Leadline as in production: five processes under a supervisor that starts them again, on Kafka and PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.embedded.process import free_port, tail
from shared.db.engine import create_engine
from shared.db.roles import SERVICES
from shared.messaging.broker import ensure_topics
from shared.settings import ServiceSettings
from tests.crash.checks import WATCH
from tests.support.brokers import TestBroker
from tests.support.databases import Database

if TYPE_CHECKING:
    from tests.crash.waiting import Vendor

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60.0
T = TypeVar("T")

# What a test may wait for. In CI a dead holder is given up after four seconds and a dead consumer after two.
QUICK: Mapping[str, float] = {"lease": 4.0, "session": 2.0, "cleanup": 1.0}
PRODUCTION: Mapping[str, float] = {"cleanup": 1.0}


class Zygote:
    """Forks services; see `zygote.py`. One serves any number of worlds."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        self._lock = threading.Lock()
        self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the zygote ended"
        return dict(json.loads(line))

    def _ask(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            return self._read()

    def start(self, service: str, *, port: int, log: Path, env: Mapping[str, str]) -> int:
        return int(self._ask(do="start", service=service, port=port, log=str(log), env=dict(env))["pid"])

    def status(self, pid: int) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        status: int | None = self._ask(do="status", pid=pid)["status"]
        return status

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


@dataclass
class Process:
    """A service that runs, and the file that names its crash point."""

    name: str
    service: str
    port: int
    pid: int
    log: Path
    arm_file: Path
    # Beside what all services have; whoever starts it again starts it with this.
    environment: dict[str, str] = field(default_factory=dict)
    # Somebody said that it may end.
    dismissed: bool = False


@dataclass(frozen=True)
class Death:
    name: str
    code: int
    at: float


@dataclass
class World:
    """Five processes. Whoever dies is started again at once, as an orchestrator does."""

    zygote: Zygote
    database: Database
    settings: ServiceSettings
    state: Path
    environment: dict[str, str]
    admin: AsyncEngine
    patience: Mapping[str, float]
    # Who has what the price file lacks, where the services ask anybody else.
    vendor: Vendor | None = None
    processes: dict[str, Process] = field(default_factory=dict)
    deaths: list[Death] = field(default_factory=list)
    # Where a process dies again that was started again.
    crash_when_back: dict[str, str] = field(default_factory=dict)
    slots: int = 0

    @property
    def quick(self) -> bool:
        return "lease" in self.patience

    @property
    def turn_seconds(self) -> float:
        """The longest until the reconciler looks at what was asked for just now."""
        return float(self.environment["LEADLINE_RECONCILE_SECONDS"]) + float(self.environment["LEADLINE_GRACE_SECONDS"])

    def url(self, name: str = "coordinator") -> str:
        return f"http://127.0.0.1:{self.processes[name].port}"

    def start(self, service: str, *, name: str = "", crash_at: str = "", **environment: str) -> Process:
        name = name or service
        before = self.processes.get(name)
        port = before.port if before else free_port()
        arm = self.state / f"{name}.arm"
        env = {
            **self.environment,
            "LEADLINE_DATABASE_URL": self.environment.get(f"url.{service}", self.database.url(service)),
            # Where faults are put between a service and its database, requests go the same way.
            **({} if f"url.{service}" in self.environment else {"LEADLINE_API_DATABASE_URL": self.database.url("api")}),
            "LEADLINE_ARM": str(arm),
            "LEADLINE_CRASH_AT": crash_at,
            "LEADLINE_TEST_PATIENCE": json.dumps(dict(self.patience)),
            **environment,
        }
        log = self.state / f"{name}.log"
        pid = self.zygote.start(service, port=port, log=log, env=env)
        self.processes[name] = process = Process(name, service, port, pid, log, arm, environment)
        return process

    def arm(self, name: str, spec: str) -> None:
        process = self.processes[name]
        process.arm_file.write_text(spec)
        os.kill(process.pid, signal.SIGUSR1)

    def send(self, name: str, how: signal.Signals) -> None:
        os.kill(self.processes[name].pid, how)

    async def ready(self, name: str) -> None:
        """Wait until the service says that traffic may come."""
        until = time.monotonic() + READY_SECONDS
        answer = "no answer"
        async with httpx2.AsyncClient(timeout=5) as client:
            while time.monotonic() < until:
                try:
                    response = await client.get(f"{self.url(name)}/readyz")
                    answer = response.text
                    if response.status_code == 200:
                        return
                except httpx2.TransportError as error:
                    answer = repr(error)
                await asyncio.sleep(0.1)
        raise AssertionError(f"{name} is not ready: {answer}\n{tail(self.processes[name].log)}")

    async def supervise(self) -> None:
        while True:
            for name, process in list(self.processes.items()):
                code = self.zygote.status(process.pid)
                if code is None:
                    continue
                if process.dismissed:
                    del self.processes[name]
                    continue
                self.deaths.append(Death(name, code, time.monotonic()))
                self.start(
                    process.service, name=name, crash_at=self.crash_when_back.pop(name, ""), **process.environment
                )
            await asyncio.sleep(0.1)

    async def died(self, name: str, since: int, *, within: float) -> Death | None:
        """The first death of a process after the `since`-th of all; None if it lives on."""
        until = time.monotonic() + within
        while True:
            for death in self.deaths[since:]:
                if death.name == name:
                    return death
            if time.monotonic() > until:
                return None
            await asyncio.sleep(0.05)

    async def dismiss(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """End a process for good."""
        self.processes[name].dismissed = True
        self.send(name, how)
        until = time.monotonic() + 60
        while name in self.processes:
            assert time.monotonic() < until, f"{name} does not end"
            await asyncio.sleep(0.05)

    # --- looking and touching, patient with a database that is away

    async def rows(self, statement: str, **parameters: Any) -> list[Any]:
        async def ask() -> list[Any]:
            async with self.admin.connect() as conn:
                return list(await conn.execute(text(statement), parameters))

        return await patiently(ask)

    async def execute(self, *statements: str, **parameters: Any) -> None:
        async def do() -> None:
            async with self.admin.begin() as conn:
                for statement in statements:
                    await conn.execute(text(statement), parameters)

        await patiently(do)

    async def call(
        self, method: str, path: str, *, key: str, within: float = 150.0, name: str = "coordinator", **values: Any
    ) -> Any:
        """A client that repeats until it is answered, always under the same idempotency key."""
        until = time.monotonic() + within
        problem = ""
        while time.monotonic() < until:
            try:
                async with httpx2.AsyncClient(base_url=f"{self.url(name)}/api/v1", timeout=15) as client:
                    answer = await client.request(method, path, headers={"Idempotency-Key": key}, **values)
            except httpx2.TransportError as error:
                problem = repr(error)
            else:
                if answer.status_code < 500:
                    assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
                    return answer.json() if answer.content else None
                problem = answer.text
            await asyncio.sleep(0.2)
        raise AssertionError(f"{method} {path} was not answered in {within:.0f} s: {problem}")


async def patiently(act: Callable[[], Awaitable[T]], within: float = 150.0) -> T:
    """Repeat what is idempotent while the database is away."""
    until = time.monotonic() + within
    while True:
        try:
            return await act()
        except (DBAPIError, OSError) as error:
            if time.monotonic() > until or not _away(error):
                raise
            await asyncio.sleep(0.2)


def _away(error: BaseException) -> bool:
    from shared.db.engine import is_transient

    return is_transient(error)


@contextlib.asynccontextmanager
async def running(
    zygote: Zygote,
    database: Database,
    broker: TestBroker,
    state: Path,
    *,
    prices: Path,
    patience: Mapping[str, float] = QUICK,
    as_of: str = "2020-12-31",
    urls: Mapping[str, str] | None = None,
    vendor: Vendor | None = None,
    variables: Mapping[str, str] | None = None,
    **environment: str,
) -> AsyncIterator[World]:
    """Start the five services and their supervisor; on the way out kill them all.

    urls : addresses of the database by service, where they are not the database's own
    """
    await asyncio.to_thread(state.mkdir, parents=True, exist_ok=True)
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LEADLINE_KAFKA": broker.bootstrap,
        "LEADLINE_KAFKA_IDEMPOTENCE": str(broker.idempotence).lower(),
        "LEADLINE_KAFKA_NAMESPACE": f"{database.name}.",
        "LEADLINE_KAFKA_PARTITIONS": "2",
        "LEADLINE_AS_OF": as_of,
        "LEADLINE_DATA": str(prices),
        "LEADLINE_PROVIDERS": "file",
        "LEADLINE_LOG_LEVEL": "WARNING",
        "LEADLINE_RECONCILE_SECONDS": "1",
        "LEADLINE_GRACE_SECONDS": "1",
        "LEADLINE_POOL_SIZE": "4",
        **{f"url.{service}": url for service, url in (urls or {}).items()},
        **environment,
        **(variables or {}),
    }
    settings = ServiceSettings(
        kafka=broker.bootstrap,
        kafka_namespace=f"{database.name}.",
        kafka_partitions=2,
        kafka_idempotence=broker.idempotence,
    )
    admin = create_engine(database.admin_url, application="leadline-tests", pool_size=4)
    world = World(zygote, database, settings, state, env, admin, patience, vendor)
    supervisor = None
    try:
        await ensure_topics(settings)
        await world.execute(*WATCH)
        for service in SERVICES:
            world.start(service)
        for service in SERVICES:
            await world.ready(service)
        supervisor = asyncio.create_task(world.supervise())
        yield world
    finally:
        if supervisor is not None:
            supervisor.cancel()
        for process in world.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        await admin.dispose()
