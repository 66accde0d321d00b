"""Flows of four tasks with Prefect, against a standing server of its own on PostgreSQL; what a task gave is persisted, so none is run
twice."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FLOWS_AT_ONCE = 16
READY_SECONDS = 180.0


@contextmanager
def server(url: str) -> Iterator[None]:
    """`prefect server start` on a free port; clients of this process are told where. Raises `RuntimeError` with its last words."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ |= {
        "PREFECT_HOME": str(Path.cwd() / "home"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": url.replace("postgresql://", "postgresql+asyncpg://", 1),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "DO_NOT_TRACK": "1",
    }
    log = Path("server.log")
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        until = time.monotonic() + READY_SECONDS
        while not _answers(f"http://127.0.0.1:{port}/api/health"):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server is not ready: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.3)
        yield
    finally:
        process.terminate()
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 (our own server's)
            return bool(answer.status == 200)
    except OSError:
        return False


async def steps(pairs: int) -> float:
    """Seconds of all flows. The first one is for the caches."""
    # Read at import: where the server is must be known by then.
    from prefect import flow, task

    @task(persist_result=True)
    async def first(pair: int) -> int:
        return pair

    @task(persist_result=True)
    async def second(pair: int) -> int:
        return pair

    @task(persist_result=True)
    async def third(pair: int) -> int:
        return pair

    @task(persist_result=True)
    async def fourth(pair: int) -> int:
        return pair

    @flow(persist_result=True)
    async def four(pair: int) -> int:
        return int(await fourth(await third(await second(await first(pair)))))

    turns = asyncio.Semaphore(FLOWS_AT_ONCE)

    async def one(pair: int) -> int:
        async with turns:
            return int(await four(pair))

    await four(-1)
    start = time.perf_counter()
    done = await asyncio.gather(*(one(pair) for pair in range(pairs)))
    seconds = time.perf_counter() - start
    assert done == list(range(pairs))
    return seconds


def main(url: str, pairs: int) -> None:
    with server(url):
        seconds = asyncio.run(steps(pairs))
    sys.stdout.write(json.dumps({"steps": 4 * pairs, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
