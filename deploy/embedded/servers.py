"""Starts the servers of `leadline up` side by side, has them watched, and stops them with the rest."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from deploy.embedded import postgres
from deploy.embedded.supervisor import Running, Supervisor, Watched
from shared.errors import ConfigurationError

Server = TypeVar("Server", bound=Running)


class Starting(Generic[Server]):
    """A server that starts in a thread, from now on; whoever needs it waits for it.

    A thread cannot be cancelled: it is told, and what it started is stopped all the same. It needs no event loop: what is imported
    meanwhile may hold that.
    """

    def __init__(
        self,
        stack: contextlib.AsyncExitStack,
        supervisor: Supervisor,
        serve: Callable[[int | None, threading.Event], Server],
        *,
        pauses: Sequence[float] | None = None,
    ) -> None:
        """stack : stops the server, in whatever state it is, in the order in which servers began to start"""
        self._supervisor, self._serve, self._pauses = supervisor, serve, pauses
        self._give_up = threading.Event()
        self._watched: Watched | None = None
        self._work = asyncio.get_running_loop().run_in_executor(None, serve, None, self._give_up)
        stack.push_async_callback(self._stop)

    async def wait(self) -> Server:
        """The server, once it runs; it is watched from then on."""
        server = await asyncio.shield(self._work)
        self._watched = self._supervisor.watch(server, self._serve, self._pauses)
        return server

    async def _stop(self) -> None:
        if self._watched is not None:
            self._watched.stop()
            return
        self._give_up.set()
        # What went wrong is told to who waited for it.
        with contextlib.suppress(ConfigurationError):
            (await self._work).stop()


async def create_database(database: postgres.Postgres) -> None:
    """Create our database where it is not there yet."""
    import asyncpg  # slow, and nobody needs it while the servers start

    connection = await asyncpg.connect(database.url(postgres.SUPERUSER))
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", postgres.DATABASE):
            await connection.execute(f"CREATE DATABASE {postgres.DATABASE}")
    finally:
        await connection.close()
