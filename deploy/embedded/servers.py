"""Starts the servers of `leadline up`, has them watched, and stops them with the rest."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import asyncpg

from deploy.embedded import broker, computation, postgres
from deploy.embedded.supervisor import Supervisor
from shared.errors import ConfigurationError

Server = TypeVar("Server", postgres.Postgres, broker.Broker, computation.Computation)


async def start_server(
    stack: contextlib.AsyncExitStack,
    supervisor: Supervisor,
    serve: Callable[[int | None, threading.Event], Server],
    *,
    pauses: Sequence[float] | None = None,
) -> Server:
    """Start a server in a thread, have it watched, and stop it with `stack`. A thread cannot be cancelled: it is told, and what it
    started is stopped all the same."""
    give_up = threading.Event()
    work = asyncio.ensure_future(asyncio.to_thread(serve, None, give_up))
    try:
        server = await asyncio.shield(work)
    except asyncio.CancelledError:
        give_up.set()
        with contextlib.suppress(ConfigurationError):
            stack.callback((await work).stop)
        raise
    stack.callback(supervisor.watch(server, serve, pauses).stop)
    return server


async def start_database(
    stack: contextlib.AsyncExitStack, supervisor: Supervisor, directory: Path
) -> postgres.Postgres:
    """Start PostgreSQL, and import the coordinator while it does: that holds this thread, the server needs it for nothing."""
    starting = asyncio.create_task(
        start_server(stack, supervisor, lambda port, give_up: postgres.serve(directory, port=port, give_up=give_up))
    )
    try:
        # Until the thread that starts it runs.
        await asyncio.sleep(0.001)
        importlib.import_module("services.coordinator.app")
        return await asyncio.shield(starting)
    except BaseException:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        raise


async def create_database(database: postgres.Postgres) -> None:
    """Create our database where it is not there yet."""
    connection = await asyncpg.connect(database.url(postgres.SUPERUSER))
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", postgres.DATABASE):
            await connection.execute(f"CREATE DATABASE {postgres.DATABASE}")
    finally:
        await connection.close()
