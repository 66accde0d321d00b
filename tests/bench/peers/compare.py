"""Ours beside programs made for durable steps, each as its documents say, in one run: DBOS so far.

They are installed in an environment of their own, which needs a package index. One that cannot be installed or does not run is told
as not measured, with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

from shared.telemetry import configure_logging
from tests.bench import steps
from tests.bench.measured import Found, Measured
from tests.support import databases, own_environment
from tests.support.databases import Server

HERE = Path(__file__).parent
PEERS: Mapping[str, str] = {
    "dbos": "PostgreSQL, a pool of 16",
}
GOAL, INSTALL_SECONDS, RUN_SECONDS = 50.0, 900.0, 600.0


@contextlib.contextmanager
def environment() -> Iterator[Path | str]:
    """The interpreter of an environment with all of them; or why there is none."""
    with tempfile.TemporaryDirectory(prefix="leadline-peers-") as folder:
        python = own_environment.create(Path(folder))
        install = own_environment.installing(python, HERE / "requirements.txt")
        done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
        yield python if done.returncode == 0 else f"not installed: {last_line(done.stderr)}"


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"


def measure(name: str, python: Path, server: Server, pairs: int) -> tuple[float | None, str]:
    """(steps a second, what of) one of them; (None, why) where it did not run."""
    database = databases.in_thread(lambda: databases.create_empty(server))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leadline-peers-")))
        variables = {"LEADLINE_BENCH_URL": database.admin_url}
        try:
            done = subprocess.run(
                [python, HERE / f"{name}_steps.py", database.admin_url, str(pairs)],
                env=os.environ | variables, cwd=folder, capture_output=True, text=True, check=False, timeout=RUN_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return None, f"did not end within {RUN_SECONDS:.0f} s"
    if done.returncode:
        return None, f"did not run: {last_line(done.stderr)}"
    found = json.loads(last_line(done.stdout))
    return found["steps"] / found["seconds"], f"{pairs} pairs, {PEERS[name]}"


def run(portfolios: int, sessions: int, pairs: int) -> Found:
    configure_logging("bench", level="WARNING")
    with steps.servers() as (server, broker):
        mine, _ = asyncio.run(steps.both(server, broker, portfolios, sessions))
        with environment() as python:
            sys.stdout.flush()
            rates = {
                name: (None, python) if isinstance(python, str) else measure(name, python, server, pairs)
                for name in PEERS
            }
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
