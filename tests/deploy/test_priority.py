"""Who computes comes after who answers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded import priority
from deploy.embedded.priority import Backends, lower

SECONDS = "30"


@pytest.fixture
def started() -> Iterator[dict[str, int]]:
    """Processes with the names that PostgreSQL gives its own."""
    names = [
        "risk leadline 127.0.0.1(1) idle",
        "api leadline 127.0.0.1(2) SELECT",
        "riskier leadline 127.0.0.1(3) idle",
    ]
    named = [f"postgres: leadline_{name}" for name in names] + ["postgres: autovacuum worker leadline"]
    running = [subprocess.Popen([name, SECONDS], executable="/bin/sleep", start_new_session=True) for name in named]
    yield {name.split()[1]: process.pid for name, process in zip(named, running, strict=True)}
    for process in running:
        process.kill()
        process.wait()


def niceness(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def test_the_databases_processes_for_what_computes_come_second_and_no_others(started: dict[str, int]) -> None:
    own = niceness(0)
    Backends(os.getpid).look()
    second = min(priority.LEAST, own + priority.NICENESS)
    assert {name: niceness(pid) for name, pid in started.items()} == {
        "leadline_risk": second, "leadline_api": own, "leadline_riskier": own, "autovacuum": second,
    }  # fmt: skip


def test_a_process_is_lowered_and_its_session_where_sessions_are_weighed(started: dict[str, int]) -> None:
    pid = started["leadline_api"]
    assert lower(pid)
    assert niceness(pid) > niceness(0)
    group = Path(f"/proc/{pid}/autogroup")
    if group.exists():
        assert group.read_text().split()[-1] == str(priority.NICENESS)


def test_one_that_has_ended_is_nobodys_error() -> None:
    ended = subprocess.Popen(["/bin/true"])
    ended.wait()
    assert not lower(ended.pid)
    Backends(lambda: ended.pid).look()
