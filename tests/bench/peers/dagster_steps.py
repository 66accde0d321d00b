"""Jobs of four ops with Dagster, in a process a core: in threads of one process its loggers block each other for good. Runs, events and
schedules are in PostgreSQL, what an op gave in files."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from dagster import DagsterInstance, FilesystemIOManager, job, op


@op
def first(pair: int) -> int:
    return pair


@op
def second(pair: int) -> int:
    return pair


@op
def third(pair: int) -> int:
    return pair


@op
def fourth(pair: int) -> int:
    return pair


@job(resource_defs={"io_manager": FilesystemIOManager(base_dir="results")})
def four(pair: int) -> None:
    fourth(third(second(first(pair))))


def run(pair: int) -> int:
    """Of the instance that DAGSTER_HOME names, which is kept for all jobs of a process."""
    global _instance  # noqa: PLW0603
    _instance = _instance or DagsterInstance.get()
    done = four.execute_in_process(input_values={"pair": pair}, instance=_instance)
    assert done.success
    return int(done.output_for_node("fourth"))


_instance: DagsterInstance | None = None


def main(url: str, pairs: int) -> None:
    home = Path.cwd()
    # Newer SQLAlchemy takes the other driver by default, which Dagster does not bring.
    url = url.replace("postgresql://", "postgresql+psycopg2://", 1)
    (home / "dagster.yaml").write_text(
        json.dumps({"storage": {"postgres": {"postgres_url": url}}, "telemetry": {"enabled": False}})
    )
    os.environ["DAGSTER_HOME"] = str(home)
    run(-1)  # makes the tables, before processes would make them at once
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        list(pool.map(run, range(-4 * cores, 0)))
        start = time.perf_counter()
        done = list(pool.map(run, range(pairs)))
        seconds = time.perf_counter() - start
    assert done == list(range(pairs))
    sys.stdout.write(json.dumps({"steps": 4 * pairs, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
