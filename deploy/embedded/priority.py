"""Who of `leadline up` gets the processor first: the API and the database's work for it, then what computes.

A person waits for the one, and nobody for the other. Two things have to be said, because Linux weighs either processes or, where it
groups them, sessions; each of PostgreSQL's processes is a session of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil

from shared.db.roles import PHASE_SERVICES, role_of

# A third of the weight of who has none. Not less: what computes holds locks now and then, and the API waits for those.
NICENESS = 5
LEAST = 19
LOOK_SECONDS = 2.0
# As PostgreSQL names its processes: the role that is served, or what they do for nobody in particular.
_LOW = tuple(f"postgres: {who} " for who in (*map(role_of, PHASE_SERVICES), "autovacuum worker"))


def lower(pid: int) -> bool:
    """Let a process and what it starts from now on come after this one. False if that was not possible now."""
    wanted = min(LEAST, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
    try:
        os.setpriority(os.PRIO_PROCESS, pid, wanted)
        group = Path(f"/proc/{pid}/autogroup")
        if group.exists():
            group.write_text(str(NICENESS))
    except OSError:  # It has ended, or the system takes one such change in a tenth of a second.
        return False
    return True


class Backends:
    """Lowers those of a server's processes that compute or clean up, each once."""

    def __init__(self, server: Callable[[], int]) -> None:
        """server : the process of the server as it runs now"""
        self._server = server
        self._lowered: set[int] = set()

    def look(self) -> None:
        try:
            children = psutil.Process(self._server()).children()
        except psutil.Error:
            return
        self._lowered &= {child.pid for child in children}
        for child in children:
            with contextlib.suppress(psutil.Error):
                if child.pid not in self._lowered and " ".join(child.cmdline()).startswith(_LOW) and lower(child.pid):
                    self._lowered.add(child.pid)


@contextlib.asynccontextmanager
async def keep_lowered(server: Callable[[], int]) -> AsyncIterator[None]:
    """Look again and again until the block ends: connections come and go."""

    async def run() -> None:
        backends = Backends(server)
        while True:
            await asyncio.to_thread(backends.look)
            await asyncio.sleep(LOOK_SECONDS)

    task = asyncio.create_task(run(), name="priority")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
