"""docker-compose.yml without Docker: its services as processes, with its commands, its environment and its roles.

Only addresses change: `postgres:5432` and `kafka:9092` become the test's, and each service gets a port of its own.
"""

from __future__ import annotations

import copy
import functools
import itertools
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml
from sqlalchemy.engine import make_url

from deploy import env_file
from deploy.embedded.process import Child, free_port, start
from tests.support.brokers import TestBroker
from tests.support.databases import Database

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
JOBS = ("roles", "migrate", "topics")
READY_SECONDS = 120.0
SIGNING_IN = {f"LEADLINE_KAFKA_{name}" for name in ("SECURITY_PROTOCOL", "SASL_MECHANISM", "USERNAME", "PASSWORD")}
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?+])([^}]*))?\}")


@dataclass(frozen=True)
class Process:
    """A service that runs."""

    name: str
    child: Child
    url: str


@functools.cache
def _read(text: str) -> dict[str, Any]:
    return dict(yaml.safe_load(text))


def document() -> dict[str, Any]:
    """The compose file, anchors resolved, variables not; the caller's own."""
    return copy.deepcopy(_read(FILE.read_text()))


def load() -> dict[str, Any]:
    """The services of the compose file without those that a profile adds."""
    services: dict[str, Any] = document()["services"]
    return {name: service for name, service in services.items() if "profiles" not in service}


def application_services() -> list[str]:
    """The long-running services that are ours."""
    return [name for name, service in load().items() if "build" in service and name not in JOBS]


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """`${NAME:-default}`, `${NAME:+instead}` and `${NAME:?message}` as compose reads them. Raises `LookupError` with the message."""

    def value(found: re.Match[str]) -> str:
        given = variables.get(found[1])
        if not given and found[2] == "?":
            raise LookupError(f"{found[1]}: {found[3]}")
        if found[2] == "+":
            return found[3] if given else ""
        return given or found[3] or ""

    return _VARIABLE.sub(value, text)


def environment(
    service: str, *, variables: Mapping[str, str], database: Database, broker: TestBroker
) -> dict[str, str]:
    """What compose would set, with the test's addresses. A name without a value is passed through, if it is there."""
    resolved: dict[str, str] = {}
    # Who signs in at the test's broker, and whether at all, is the test's to say.
    variables = {name: "unused" for name in env_file.NAMES if name.startswith("KAFKA_")} | dict(variables)
    for name, value in (load()[service].get("environment") or {}).items():
        if value is not None:
            resolved[name] = interpolate(str(value), variables)
        elif name in variables:
            resolved[name] = variables[name]
    for name, value in resolved.items():
        if value.startswith("postgresql://"):
            ours, there = make_url(value), make_url(database.admin_url)
            # The administrator of the test's server is given; a service's role and password stay the compose file's.
            if ours.username == "postgres":
                ours = ours.set(username=there.username, password=there.password)
            query = database.server.query(str(ours.username))
            ours = ours.set(host=there.host, port=there.port, database=database.name, query=query)
            resolved[name] = ours.render_as_string(hide_password=False)
        elif value == "kafka:9092":
            resolved[name] = broker.bootstrap
        elif value.startswith("/data/"):
            # What the volume mounts there.
            source = interpolate(load()[service]["volumes"][0], variables).partition(":")[0]
            resolved[name] = str((ROOT / source / value.removeprefix("/data/")).resolve())
    if "LEADLINE_KAFKA" in resolved:
        resolved = {name: value for name, value in resolved.items() if name not in SIGNING_IN}
        resolved |= broker.variables(service)
    if not broker.idempotence:
        resolved["LEADLINE_KAFKA_IDEMPOTENCE"] = "false"
    return resolved


def command(service: str, *, port: int) -> list[str]:
    """The compose file's command, with this interpreter's programs and a port of 127.0.0.1."""
    words = [str(word) for word in load()[service]["command"]]
    program = [sys.executable] if words[0] == "python" else [sys.executable, "-m", words[0]]
    swapped = {"0.0.0.0": "127.0.0.1", "8000": str(port)}
    return program + [swapped.get(word, word) for word in words[1:]]


def run_job(
    service: str, *, variables: Mapping[str, str], database: Database, broker: TestBroker, root: Path = ROOT
) -> str:
    """Run `migrate` or `topics` to its end; returns what it printed. Raises if it fails."""
    env = _base(root) | environment(service, variables=variables, database=database, broker=broker)
    done = subprocess.run(
        command(service, port=0), env=env, cwd=root, capture_output=True, text=True, check=False, timeout=90
    )
    if done.returncode != 0:
        raise AssertionError(f"{service} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def up(
    state: Path,
    *,
    variables: Mapping[str, str],
    database: Database,
    broker: TestBroker,
    services: list[str] | None = None,
    replicas: int = 1,
    root: Path = ROOT,
    jobs: Sequence[str] = JOBS,
    beside: Mapping[str, str] | None = None,
) -> Iterator[dict[str, Process]]:
    """Jobs first, then all services; yields once each says that it is ready. Stopped with SIGTERM on the way out.

    The first of several replicas has the service's name, the others are numbered: `risk`, `risk-2`.

    root   : whose code runs, this tree's or that of another version
    beside : variables of the services that the compose file does not know
    """
    state.mkdir(parents=True, exist_ok=True)
    for job in jobs:
        run_job(job, variables=variables, database=database, broker=broker, root=root)
    with ExitStack() as stack:
        running: dict[str, Process] = {}
        for service, number in itertools.product(services or application_services(), range(1, replicas + 1)):
            name = service if number == 1 else f"{service}-{number}"
            port = free_port()
            child = start(
                name,
                command(service, port=port),
                pid_file=state / f"{name}.pid",
                log=state / f"{name}.log",
                env=_base(root)
                | environment(service, variables=variables, database=database, broker=broker)
                | dict(beside or {}),
                cwd=root,
            )
            stack.callback(child.stop, within=60.0)
            running[name] = Process(name, child, f"http://127.0.0.1:{port}")
        for process in running.values():
            wait_until_ready(process)
        yield running


def _base(root: Path) -> dict[str, str]:
    """As empty as a container's: nothing of the developer's shell steers the services."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"}


def wait_until_ready(process: Process) -> None:
    until = time.monotonic() + READY_SECONDS
    answer = "no answer"
    while time.monotonic() < until and process.child.running:
        try:
            response = httpx2.get(f"{process.url}/readyz", timeout=5)
            answer = response.text
            if response.status_code == 200:
                return
        except httpx2.TransportError as error:
            answer = repr(error)
        time.sleep(0.2)
    raise AssertionError(f"{process.name} is not ready: {answer}\n{process.child.log_tail()}")
