"""Ours beside programs made for durable steps, each as its documents say, in one run: DBOS, Prefect, Dagster and Celery.

Each is installed in an environment of its own, which needs a package index. One that cannot be installed or does not run is told as not
measured, with the reason. All write to this run's PostgreSQL but Celery, whose own place is a broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

from shared.telemetry import configure_logging
from tests.bench import steps
from tests.bench.measured import Found, Measured
from tests.support import databases, own_environment
from tests.support.databases import Server

HERE = Path(__file__).parent
GOAL, INSTALL_SECONDS, RUN_SECONDS = 50.0, 300.0, 240.0


class Peer(NamedTuple):
    """How it is run, and how many of the pairs it is given: as many as take it some ten seconds."""

    words: str
    share: float


PEERS: Mapping[str, Peer] = {
    "dbos": Peer("PostgreSQL, a pool of 16", 1.0),
    "prefect": Peer("a standing server on PostgreSQL, results persisted in files, 16 flows at once", 0.25),
    "dagster": Peer("a process a core, its storage in PostgreSQL, results in files", 0.25),
    "celery": Peer("Redis that writes each command to the disk, a process a core, acknowledged when done", 5.0),
}


@contextlib.contextmanager
def environment(name: str) -> Iterator[Path | str]:
    """The interpreter of an environment with one of them; or why there is none."""
    with tempfile.TemporaryDirectory(prefix="leadline-peers-") as folder:
        python = own_environment.create(Path(folder))
        install = own_environment.installing(python, HERE / f"{name}.txt")
        try:
            done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
        except subprocess.TimeoutExpired:
            yield f"not installed within {INSTALL_SECONDS:.0f} s"
            return
        yield python if done.returncode == 0 else f"not installed: {last_line(done.stderr)}"


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"


def measure(name: str, python: Path, server: Server, pairs: int) -> tuple[float | None, str]:
    """(steps a second, what of) one of them; (None, why) where it did not run."""
    database = databases.in_thread(lambda: databases.create_empty(server))
    count = max(1, round(pairs * PEERS[name].share))
    with tempfile.TemporaryDirectory(prefix="leadline-peers-") as folder:
        process = subprocess.Popen(
            [python, HERE / f"{name}_steps.py", database.admin_url, str(count)],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            said, complained = process.communicate(timeout=RUN_SECONDS)
        except subprocess.TimeoutExpired:
            # With the server or worker that it started.
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return None, f"did not end within {RUN_SECONDS:.0f} s"
    if process.returncode:
        return None, f"did not run: {last_line(complained)}"
    found = json.loads(last_line(said))
    return found["steps"] / found["seconds"], f"{count:,} pairs, {PEERS[name].words}"


def one_of_them(name: str, server: Server, pairs: int) -> tuple[float | None, str]:
    with environment(name) as python:
        return (None, python) if isinstance(python, str) else measure(name, python, server, pairs)


def run(portfolios: int, sessions: int, pairs: int) -> Found:
    configure_logging("bench", level="WARNING")
    with steps.servers() as (server, broker):
        mine, _ = asyncio.run(steps.both(server, broker, portfolios, sessions))
        rates = {name: one_of_them(name, server, pairs) for name in PEERS}
    return Found(figures(median(mine), rates))


def figures(mine: float, rates: Mapping[str, tuple[float | None, str]]) -> list[Measured]:
    """Each of them in steps a second, and ours over the best."""
    found = [
        Measured("peers", f"four durable steps with {name}", rate, "steps/s", note=note)
        for name, (rate, note) in rates.items()
    ]
    known = {name: rate for name, (rate, _) in rates.items() if rate is not None}
    best = max(known, key=lambda name: known[name], default=None)
    ratio = None if best is None else mine / known[best]
    note = f"ours {mine:,.0f} steps/s; the best is {best}" if best else "none of them ran"
    return [*found, Measured("peers", "ours against the best of them", ratio, "×", GOAL, "at least", note=note)]
