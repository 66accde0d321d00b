"""What a start loads before its servers begin to start, and that each of them is stopped, however far it came."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded import computation
from deploy.embedded.process import Child
from deploy.embedded.process import start as start_process
from deploy.embedded.servers import Starting
from deploy.embedded.supervisor import Supervisor
from shared.collection import collect_from_now_on
from shared.errors import ConfigurationError

SERVES = {
    "aiokafka",
    "alembic",
    "asyncpg",
    "fastapi",
    "faststream",
    "numpy",
    "pandas",
    "pyarrow",
    "sqlalchemy",
    "uvicorn",
}


def test_nothing_that_serves_is_loaded_before_the_servers_start() -> None:
    code = f"import sys, deploy.embedded.run; print(sorted({SERVES!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@dataclass
class Fake:
    """A server that takes its time to start."""

    name: str
    stopped: list[str]
    child: Any = None
    port: int = 1
    go_on: threading.Event = field(default_factory=threading.Event)

    def serve(self, _: int | None, give_up: threading.Event) -> Fake:
        while not self.go_on.wait(0.01):
            if give_up.is_set():
                raise ConfigurationError("nobody wants it")
        return self

    def stop(self) -> None:
        self.stopped.append(self.name)


async def test_servers_are_stopped_in_the_opposite_order_whichever_ran_first(tmp_path: Path) -> None:
    stopped: list[str] = []
    first, second = Fake("first", stopped), Fake("second", stopped)
    supervisor = Supervisor(tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        starting = [Starting(stack, supervisor, each.serve) for each in (first, second)]
        second.go_on.set()
        assert await starting[1].wait() is second
        first.go_on.set()
        assert await starting[0].wait() is first
    assert stopped == ["second", "first"]


async def test_what_nobody_waited_for_is_stopped_or_told_to_give_up(tmp_path: Path) -> None:
    stopped: list[str] = []
    runs, waits = Fake("runs", stopped), Fake("waits", stopped)
    runs.go_on.set()
    async with contextlib.AsyncExitStack() as stack:
        for each in (runs, waits):
            Starting(stack, Supervisor(tmp_path), each.serve)
    assert stopped == ["runs"]


@pytest.fixture
def child(tmp_path: Path) -> Child:
    return start_process("the process", [sys.executable, "-c", ""], pid_file=tmp_path / "pid", log=tmp_path / "log")


async def test_the_verdict_on_prices_is_raised_in_its_words(child: Child, tmp_path: Path) -> None:
    early = computation.Computation(child, 1)
    computation.write_whole(computation.verdict_file(tmp_path), "")
    await computation.assert_prices_readable(early, tmp_path)
    computation.write_whole(computation.verdict_file(tmp_path), "row 3 is wrong")
    with pytest.raises(ConfigurationError, match=r"^row 3 is wrong$"):
        await computation.assert_prices_readable(early, tmp_path)


async def test_a_process_that_ends_without_a_verdict_is_not_waited_for(child: Child, tmp_path: Path) -> None:
    child.process.wait()
    began = time.monotonic()
    with pytest.raises(ConfigurationError, match="the process did not start; end of"):
        await computation.assert_prices_readable(computation.Computation(child, 1), tmp_path)
    assert time.monotonic() - began < 5


def test_cycles_are_looked_for_again_after_a_start_but_not_among_what_there_is() -> None:
    gc.disable()
    try:
        collect_from_now_on()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()
        gc.enable()
