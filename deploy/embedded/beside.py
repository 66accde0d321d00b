"""The service with most to compute, in a process forked from that of the others: two interpreters use two processors.

Forked once everything is imported, so that both share what they loaded. The two live and die together: the kernel ends the forked one
with the other, which ends where the forked one does, and the supervisor starts both again. Where there is no such kernel, all compute
in one process.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

import httpx2

from deploy.embedded.process import HEALTHY_SECONDS
from shared.errors import ConfigurationError
from shared.telemetry import logger

log = logger(__name__)

# Of a night it has as much to compute as the other three together.
SERVICES = ("risk",) if sys.platform == "linux" else ()
LOOK_SECONDS = 0.05
ANSWER_SECONDS = 2.0
# As whoever stops us gives.
STOP_SECONDS = 3.0
# A process that is stopped or hangs neither ends nor works: it is asked so often, and ended once it was silent so many times in a row.
ASK_SECONDS, PATIENT_SECONDS, MOST_SILENT = 10.0, 5.0, 6
_PR_SET_PDEATHSIG = 1


@dataclass
class Beside:
    """The forked process; what it says of itself is at `port` of 127.0.0.1: `/livez` and `/metrics`."""

    pid: int
    port: int
    ended: bool = False

    def look(self) -> bool:
        """Whether it still runs; what has ended is taken note of."""
        if not self.ended:
            try:
                self.ended = os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
            except ChildProcessError:  # Where whoever started us ignores the ends of children, nobody can wait for one.
                self.ended = True
        return not self.ended

    async def until_ready(self) -> None:
        """Raises `ConfigurationError` if it ends, or does not become ready."""
        until = asyncio.get_running_loop().time() + HEALTHY_SECONDS
        while asyncio.get_running_loop().time() < until:
            if not self.look():
                break
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(LOOK_SECONDS)
            else:
                writer.close()
                return
        raise ConfigurationError(f"the process of {', '.join(SERVICES)} did not become ready; its log says why")

    async def until_ended(self) -> None:
        while self.look():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(LOOK_SECONDS)

    def ask_to_stop(self) -> None:
        if self.look():
            os.kill(self.pid, signal.SIGTERM)

    async def stop(self) -> None:
        self.ask_to_stop()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.until_ended()
        except TimeoutError:
            self.kill()
            await self.until_ended()

    def kill(self) -> None:
        if self.look():
            os.kill(self.pid, signal.SIGKILL)

    async def end_when_silent(self, every: float = ASK_SECONDS, most: int = MOST_SILENT) -> None:
        """Ask again and again, and end the process once it has not answered so many times in a row; `until_ended` then returns."""
        silent = 0
        while silent < most:
            await asyncio.sleep(every)
            try:
                await self.get("/livez", within=PATIENT_SECONDS)
            except (httpx2.HTTPError, OSError):
                silent += 1
            else:
                silent = 0
        log.error("silent_process_killed", services=SERVICES, pid=self.pid)
        self.kill()

    async def get(self, path: str, within: float = ANSWER_SECONDS) -> httpx2.Response:
        # Nothing is encrypted here: to read the authorities' certificates for it takes ten times as long as to ask.
        async with httpx2.AsyncClient(timeout=within, trust_env=False, verify=False) as client:
            return await client.get(f"http://127.0.0.1:{self.port}{path}")


def give_back_memory() -> None:
    """What starting took and no longer needs, to the system, where the C library can."""
    if SERVICES:
        gc.collect()
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def listen_later(port: int = 0) -> socket.socket:
    """A socket that is bound and refuses connections: that it listens is how others learn that everything is ready."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


def fork(work: Callable[[socket.socket, int], None]) -> Beside:
    """Run `work` in a process forked from this one, which must have no event loop and no thread of Python's yet.

    work : is given the socket to listen on, and the process that it was forked from
    """
    listener, parent = listen_later(), os.getpid()
    # Importing leaves much behind. And what there is by now is never looked through again, or the pages it stands on would be copied.
    gc.collect()
    gc.freeze()
    pid = os.fork()
    if pid:
        with listener:
            return Beside(pid, listener.getsockname()[1])
    code = 1
    try:
        _end_with(parent)
        work(listener, parent)
        code = 0
    except BaseException:  # noqa: BLE001 (told, and the process ends: what follows is the other one's)
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def _end_with(parent: int) -> None:
    """Have the kernel end this process when its parent does. Nothing is lost: what was not committed is done again."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) or os.getppid() != parent:
        os._exit(1)
