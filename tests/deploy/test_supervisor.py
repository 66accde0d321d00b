"""The supervisor on a real broker process: started again on its port, given up with a line, left alone once a stop has begun."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded import broker, process, supervisor
from deploy.embedded.broker import Broker
from deploy.embedded.stopping import stop_on_signals
from deploy.embedded.supervisor import Supervisor, Watched
from shared.errors import ConfigurationError

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(supervisor, "PAUSES_SECONDS", (0.1, 0.1, 0.1))


@pytest.fixture
def directory(scratch_directory: Path, request: pytest.FixtureRequest) -> Path:
    return scratch_directory / f"supervisor-{request.node.name[:40]}"


class Starts:
    """Starts the broker, as long as `works`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.works = True
        self.count = 0

    def __call__(self, port: int | None, _: threading.Event) -> Broker:
        self.count += 1
        if not self.works:
            raise ConfigurationError("the embedded broker ended with code 1; end of its log: no room")
        return broker.serve(self.directory, port=port)


@pytest.fixture
def starts(directory: Path) -> Starts:
    return Starts(directory)


@pytest.fixture
def server(starts: Starts) -> Iterator[Broker]:
    running = starts(None, threading.Event())
    yield running
    running.stop()


@pytest.fixture
def watching(directory: Path) -> Supervisor:
    return Supervisor(directory)


def kill(server: Broker) -> None:
    os.kill(server.child.process.pid, signal.SIGKILL)


async def restarted(watched: Watched, before: object) -> None:
    async with asyncio.timeout(60):
        while watched.server is before:  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0.05)


async def test_a_server_that_is_killed_is_started_again_on_its_port(
    watching: Supervisor, starts: Starts, server: Broker, capfd: pytest.CaptureFixture[str]
) -> None:
    after = asyncio.Event()

    async def then() -> None:
        after.set()

    watched = watching.watch(server, starts)
    watching.after_restart(server, then)
    try:
        async with watching.keep_watch():
            kill(server)
            await restarted(watched, server)
            await asyncio.wait_for(after.wait(), 30)
            assert watched.server.port == server.port
            assert not watching.failed.is_set()
            socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    finally:
        watched.stop()
    said = capfd.readouterr().err.splitlines()
    assert said[0] == (
        f"leadline: the embedded broker ended (SIGKILL); starting it again on port {server.port} (1 of 3)"
    )


async def test_a_server_that_does_not_start_again_is_given_up_with_a_line(
    watching: Supervisor, starts: Starts, server: Broker
) -> None:
    watching.watch(server, starts)
    starts.works = False
    async with watching.keep_watch():
        kill(server)
        await asyncio.wait_for(watching.failed.wait(), 60)
    assert starts.count == 1 + len(supervisor.PAUSES_SECONDS)
    assert watching.failure.startswith(
        "the embedded broker ended (it did not start) and does not stay up: started 3 times"
    )
    assert watching.failure.endswith("no room"), "the last reason is said"


async def test_what_is_to_follow_a_start_is_not_waited_for_on_a_server_that_died_again(
    watching: Supervisor, starts: Starts, server: Broker
) -> None:
    watched = watching.watch(server, starts)

    async def then() -> None:
        starts.works = False
        os.kill(watched.server.child.process.pid, signal.SIGKILL)
        await asyncio.Event().wait()

    watching.after_restart(server, then)
    async with watching.keep_watch():
        kill(server)
        await asyncio.wait_for(watching.failed.wait(), 60)


async def test_once_a_stop_has_begun_nothing_is_started_again(
    watching: Supervisor, starts: Starts, server: Broker
) -> None:
    watching.watch(server, starts)
    async with watching.keep_watch():
        watching.begin_stop()
        kill(server)
        await asyncio.sleep(1.0)
    assert starts.count == 1
    assert not watching.failed.is_set()


@pytest.fixture
def signals() -> Iterator[None]:
    names = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(name) for name in names]
    yield
    for name, handler in zip(names, before, strict=True):
        signal.signal(name, handler)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
async def test_a_stop_begins_while_the_event_loop_does_not_get_on(name: signal.Signals) -> None:
    """What ends the process after a time must be started then, whatever the loop is busy with."""
    begun = threading.Event()
    asked_to_stop = stop_on_signals(begun.set)
    os.kill(os.getpid(), name)
    until = time.monotonic() + 5
    while not begun.is_set() and time.monotonic() < until:
        time.sleep(0.01)  # noqa: ASYNC251 (the loop stands still)
    assert begun.is_set()
    async with asyncio.timeout(5):
        await asked_to_stop.wait()


def test_a_hard_stop_ends_what_computes_though_it_is_not_watched_yet(
    directory: Path, watching: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.mkdir(parents=True)
    starting = process.start(
        "what computes", ["sleep", "60"], pid_file=directory / "computation.pid", log=directory / "computation.err"
    )
    codes: list[int] = []
    monkeypatch.setattr("deploy.embedded.supervisor.os._exit", codes.append)
    watching._end(0, "")
    assert codes == [0]
    assert starting.process.wait(10) in {-signal.SIGQUIT, -signal.SIGKILL}
    assert not (directory / "computation.pid").exists()
