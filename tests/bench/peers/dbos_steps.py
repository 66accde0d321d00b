"""Workflows of four steps with DBOS, on PostgreSQL, from a pool of threads as large as the pool of connections."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from dbos import DBOS

WORKERS = 16


@DBOS.step()
def first(pair: int) -> int:
    return pair


@DBOS.step()
def second(pair: int) -> int:
    return pair


@DBOS.step()
def third(pair: int) -> int:
    return pair


@DBOS.step()
def fourth(pair: int) -> int:
    return pair


@DBOS.workflow()
def four(pair: int) -> int:
    return int(fourth(third(second(first(pair)))))


def main(url: str, pairs: int) -> None:
    DBOS(
        config={"name": "bench", "system_database_url": url, "sys_db_pool_size": WORKERS, "run_admin_server": False,
                "log_level": "WARNING"}
    )  # fmt: skip
    DBOS.launch()
    four(-1)
    start = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        done = list(pool.map(four, range(pairs)))
    seconds = time.perf_counter() - start
    assert done == list(range(pairs))
    DBOS.destroy()
    sys.stdout.write(json.dumps({"steps": 4 * pairs, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
