"""The toy service as processes that die, each a fork of one that has imported everything: to import takes three seconds a process.

`python -m tests.flow.forks` reads an environment a line, as JSON, runs `toy.main` with it in a fork until that ends, and answers with
how it did. When its standard input closes it ends, and what it forked with it.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine, Mapping
from functools import cache
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[2]
LOG = "FORKS_LOG"


@cache
def _started() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.flow.forks"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
    )
    assert process.stdin is not None
    atexit.register(process.stdin.close)
    return process


def run(environment: Mapping[str, str], log: Path) -> int:
    """Run the service until it ends, its output in `log`; returns its exit code, negative for a signal. One at a time."""
    process = _started()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({**environment, LOG: str(log)}) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer, "what forks them ended"
    return int(json.loads(answer))


def stop() -> None:
    """End it, and what it runs, where one does not die as it should."""
    _started().kill()
    _started().wait()
    _started.cache_clear()


def main() -> None:
    from shared.market.calendar import calendar
    from tests.flow import toy

    calendar()
    assert threading.active_count() == 1, "a fork takes only the thread that forks"
    for line in sys.stdin:
        environment = json.loads(line)
        pid = os.fork()
        if not pid:
            _child(environment, toy.main)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _child(environment: Mapping[str, str], serve: Callable[[], Coroutine[None, None, None]]) -> NoReturn:
    from shared.messaging import failpoints
    from tests.crash.zygote import die_with_parent

    try:
        die_with_parent()
        output = os.open(environment[LOG], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for number, descriptor in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
            os.dup2(descriptor, number)
        os.environ.clear()
        os.environ.update(environment)
        failpoints.arm(environment["LEADLINE_CRASH_AT"])
        asyncio.run(serve())
    except BaseException:  # noqa: BLE001 (a fork must never return into its parent's loop)
        traceback.print_exc()
    os._exit(1)


if __name__ == "__main__":
    main()
