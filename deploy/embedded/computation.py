"""The process of the four computing services of `leadline up`, as whoever starts it sees it; what runs in it, and forks one of them
off, is `deploy.embedded.computing`.

What computes holds the interpreter for itself now and then, and takes memory: neither keeps the API from answering here. A process
that dies of a portfolio is started again by the supervisor, and its work is taken up by the ledger's rules.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.embedded import priority
from deploy.embedded.process import HEALTHY_SECONDS, Child, free_port, start, stop_orphan, wait_for_port
from shared.db.roles import PHASE_SERVICES
from shared.errors import ConfigurationError

PORT_ATTEMPTS = 5
# It is started again after each of these: one that a portfolio kills needs eight deaths until that portfolio is blocked.
PAUSES_SECONDS = (1.0,) * 30
LOOK_SECONDS = 0.02
# Secrets that it has no use for.
OF_THE_API = ("token", "api_database_url")


@dataclass(frozen=True)
class Computation:
    """The running process; what it says of itself is at `port` of 127.0.0.1: `/livez` and `/metrics`."""

    child: Child
    port: int

    def stop(self) -> None:
        self.child.stop(within=3.0)


def start_early(state: Path, values: Mapping[str, Any]) -> Computation:
    """Start the process before there is anything for it to work with: it imports, looks at the prices, and waits for what `serve`
    tells it.

    One that a killed run left behind is stopped first.

    values : settings of all services that are known by now, none of them a secret
    """
    stop_orphan(state / "computation.pid", within=5.0)
    for file in (instructions_file(state), verdict_file(state)):
        file.unlink(missing_ok=True)
    return _start(state, free_port(), json.dumps({name: str(value) for name, value in values.items()}))


async def assert_prices_readable(early: Computation, state: Path) -> None:
    """Wait until the process has looked at the prices. Raises `ConfigurationError` with their faults, or if it ended before that."""
    until = asyncio.get_running_loop().time() + HEALTHY_SECONDS
    while not verdict_file(state).exists():
        if not early.child.running or asyncio.get_running_loop().time() > until:
            raise ConfigurationError(
                f"{early.child.name} did not start; end of {early.child.log}:\n{early.child.log_tail()}"
            )
        await asyncio.sleep(LOOK_SECONDS)
    if faults := verdict_file(state).read_text():
        raise ConfigurationError(faults)


def serve(
    state: Path,
    urls: Mapping[str, str],
    values: Mapping[str, Any],
    log_limit: int,
    *,
    port: int | None = None,
    give_up: threading.Event | None = None,
    early: Computation | None = None,
) -> Computation:
    """Start the process and wait until its services are ready. Raises `ConfigurationError` if they do not become so.

    urls      : database address of each service
    values    : settings that all services share; they go by a file of the state directory, which only its owner reads
    log_limit : bytes of each log, and of what was before it
    early     : what `start_early` started, for the first attempt; without it, what is left of an earlier run is stopped
    """
    if early is None:
        stop_orphan(state / "computation.pid", within=5.0)
    said = {name: str(value) for name, value in values.items() if name not in OF_THE_API}
    write_whole(
        instructions_file(state),
        json.dumps({"urls": {name: urls[name] for name in PHASE_SERVICES}, "values": said, "log_limit": log_limit}),
    )
    for attempt in range(PORT_ATTEMPTS):
        started = early if early is not None and attempt == 0 else _start(state, port or free_port())
        try:
            wait_for_port(started.child, started.port, within=HEALTHY_SECONDS)
        except ConfigurationError:
            if port is not None or attempt == PORT_ATTEMPTS - 1 or (give_up is not None and give_up.is_set()):
                raise
            continue
        return started
    raise AssertionError("unreachable")


def instructions_file(state: Path) -> Path:
    """What the process is to do, from whoever starts it."""
    return state / "computation.json"


def verdict_file(state: Path) -> Path:
    """What it found wrong with the prices; empty: nothing."""
    return state / "computation.checked"


def write_whole(path: Path, content: str) -> None:
    """All at once, and for the owner only: somebody may be waiting for the file already."""
    draft = path.with_suffix(f"{path.suffix}.new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(content)
    draft.rename(path)


def _start(state: Path, port: int, check: str = "") -> Computation:
    """check : settings whose prices are looked at first"""
    child = start(
        "the process of the computing services",
        [sys.executable, "-m", "deploy.embedded.computing", state, str(port), str(os.getpid()), check],
        pid_file=state / "computation.pid",
        # What it says before it has a log, or after: why it did not start.
        log=state / "computation.err",
        env=_environment(),
    )
    # Before it has a thread: those that it starts take it over.
    priority.lower(child.process.pid)
    return Computation(child, port)


def _environment() -> dict[str, str]:
    """Ours, and where this tree is: the process may be started in any directory.

    What reads price files has the C library's memory, of which what is freed is given back or used again by all; Arrow's own kept 25 MB.
    """
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {"ARROW_DEFAULT_MEMORY_POOL": "system", **os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
