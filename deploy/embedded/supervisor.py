"""Watches the servers that `leadline up` started, and the process that computes: one that dies is started again where it was, or
everything ends with a line.

What a dead server takes with it is nothing: PostgreSQL replays its journal, and what the broker held in memory the reconciler asks
for again. A stop, too, may take as long as it likes only for so long: then it ends the hard way, which is as safe.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil

from deploy.embedded.process import Child, orphan
from shared.errors import ConfigurationError

LOOK_SECONDS = 0.5
# Started again after these pauses; a server that dies more often than this in ten minutes will not stay up.
PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
FORGET_SECONDS = 600.0
# A stop in good order takes a second or two. What is not through by then waits for something that is dead, or computes.
# Ten seconds in all, of which a machine under load needs some for the ending itself.
STOP_SECONDS = 5.0
# For the servers, after that: PostgreSQL ends its processes at once when it is told to quit, and recovers at the next start.
QUIT_SECONDS = 2.0
# The database and the broker.
SERVERS = 2


class Running(Protocol):
    """A server that was started, and how it is stopped."""

    @property
    def child(self) -> Child: ...

    @property
    def port(self) -> int: ...

    def stop(self) -> None: ...


Start = Callable[[int | None, threading.Event], Running]
"""Start a server on a port, or on a free one; gives up when the event is set."""


@dataclass
class Watched:
    """A server, how to start it on its port again, and what is to be done once it runs."""

    server: Running
    start: Start
    given_pauses: Sequence[float] | None = None
    then: Callable[[], Coroutine[Any, Any, None]] | None = None
    died: deque[float] = field(default_factory=deque)
    first: Running = field(init=False)
    """As it was started the first time, which is how others know it."""

    def __post_init__(self) -> None:
        self.first = self.server

    @property
    def pauses(self) -> Sequence[float]:
        """Before each time that it is started again within ten minutes."""
        return PAUSES_SECONDS if self.given_pauses is None else self.given_pauses

    def stop(self) -> None:
        self.server.stop()


class Supervisor:
    """Starts dead servers again until the stop; ends the process if the stop takes too long."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._watched: list[Watched] = []
        self._give_up = threading.Event()
        self._ending: threading.Timer | None = None
        self.failed = asyncio.Event()
        """Set once a server cannot be kept running; `failure` says which, and why."""
        self.failure = ""

    def watch(self, server: Running, start: Start, pauses: Sequence[float] | None = None) -> Watched:
        watched = Watched(server, start, pauses)
        self._watched.append(watched)
        return watched

    def after_restart(self, server: Running, then: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """What is to be done each time this server was started again."""
        for watched in self._watched:
            if watched.server is server:
                watched.then = then

    def current(self, server: Running) -> Running:
        """What runs in the place of a server now."""
        return next((of.server for of in self._watched if server in (of.server, of.first)), server)

    @contextlib.asynccontextmanager
    async def keep_watch(self) -> AsyncIterator[None]:
        """Watch until the block ends; then nothing is started again."""
        task = asyncio.create_task(self.run(), name="supervisor")
        try:
            yield
        finally:
            self._give_up.set()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def run(self) -> None:
        """Until cancelled, or a server cannot be kept running."""
        try:
            while not self._give_up.is_set():
                for watched in self._watched:
                    if not watched.server.child.running:
                        await self._restart(watched)
                await asyncio.sleep(LOOK_SECONDS)
        except Exception as error:  # noqa: BLE001 (who waits for `failed` raises it)
            self.failure = str(error) if isinstance(error, ConfigurationError) else f"{type(error).__name__}: {error}"
            self.failed.set()

    async def _restart(self, watched: Watched) -> None:
        """Start a dead server on its port. Raises `ConfigurationError` once that was tried too often."""
        child, port = watched.server.child, watched.server.port
        how = _how_ended(child.process.returncode)
        tail = child.log_tail()
        while True:
            now = time.monotonic()
            while watched.died and now - watched.died[0] > FORGET_SECONDS:
                watched.died.popleft()
            tried = len(watched.died)
            if tried == len(watched.pauses):
                raise ConfigurationError(
                    f"{child.name} ended ({how}) and does not stay up: started {tried} times again within "
                    f"{FORGET_SECONDS / 60:.0f} minutes; end of {child.log}:\n{tail}"
                )
            watched.died.append(now)
            _say(f"{child.name} ended ({how}); starting it again on port {port} ({tried + 1} of {len(watched.pauses)})")
            await asyncio.sleep(watched.pauses[tried])
            try:
                watched.server = await self._start(watched, port)
                if watched.then is not None:
                    await _unless_dead(watched.server, watched.then())
            except ConfigurationError as error:
                how, tail = "it did not start", str(error)
                continue
            _say(f"{child.name} is back on port {port}")
            return

    async def _start(self, watched: Watched, port: int) -> Running:
        """In a thread, which cannot be cancelled: it is told, and what it started is stopped all the same."""
        work = asyncio.ensure_future(asyncio.to_thread(watched.start, port, self._give_up))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self._give_up.set()
            with contextlib.suppress(ConfigurationError):
                watched.server = await work
            raise

    def begin_stop(self, code: int = 0, words: str = "") -> None:
        """From now on nothing is started again, and the process ends within `STOP_SECONDS` + `QUIT_SECONDS`, come what may.

        Not before both servers have run once: until then a stop waits for nothing that could be dead.

        code, words : what the process ends with, and says on the terminal, if it has to be ended
        """
        self._give_up.set()
        if self._ending is None and len(self._watched) >= SERVERS:
            self._ending = threading.Timer(STOP_SECONDS, self._end, [code, words])
            self._ending.daemon = True
            self._ending.start()

    def _end(self, code: int, words: str) -> None:
        """The hard way. In a thread of its own: the event loop may be what waits."""
        with contextlib.suppress(OSError), (self._directory / "leadline.log").open("a") as log:
            log.write(f"stopped without waiting any longer, {STOP_SECONDS:.0f} s after it was asked for\n")
        # By their pid files: one may be starting again just now, and is not known here yet.
        # What computes is watched only once it is ready.
        pid_files = [
            *{*(watched.server.child.pid_file for watched in self._watched), self._directory / "computation.pid"}
        ]
        until = time.monotonic() + QUIT_SECONDS
        for process in filter(None, map(orphan, pid_files)):
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGQUIT)
        while any(map(orphan, pid_files)) and time.monotonic() < until:
            time.sleep(0.05)
        for process in filter(None, map(orphan, pid_files)):
            with contextlib.suppress(psutil.Error):
                process.kill()
        for file in [*pid_files, self._directory / "running.json"]:
            file.unlink(missing_ok=True)
        if words:
            _say(words)
        os._exit(code)


async def _unless_dead(server: Running, work: Coroutine[Any, Any, None]) -> None:
    """Wait for work on a server; raise `ConfigurationError` if the server ends first."""
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=LOOK_SECONDS)
            if not task.done() and not server.child.running:
                raise ConfigurationError(f"{server.child.name} ended again; end of its log:\n{server.child.log_tail()}")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await task


def _how_ended(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"code {code}"


def _say(line: str) -> None:
    """On the terminal, past the log that the services' standard error goes to."""
    print(f"leadline: {line}", file=sys.__stderr__, flush=True)
