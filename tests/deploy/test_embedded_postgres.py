"""PostgreSQL of a state directory: crash, orphan, password, second start."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from deploy.embedded import postgres
from deploy.embedded.postgres import Postgres


@pytest.fixture
def state(scratch_directory: Path, request: pytest.FixtureRequest) -> Path:
    return scratch_directory / str(request.node.name)


@pytest.fixture
def running(state: Path) -> Iterator[list[Postgres]]:
    servers = [postgres.serve(state)]
    yield servers
    for server in servers:
        server.stop()


async def _value(server: Postgres, query: str) -> object:
    connection = await asyncpg.connect(server.url("postgres"))
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_what_was_committed_survives_a_crash(running: list[Postgres], state: Path) -> None:
    await _value(running[0], "CREATE TABLE kept AS SELECT 42 AS answer")
    running[0].kill()
    running.append(postgres.serve(state))
    assert await _value(running[-1], "SELECT answer FROM kept") == 42
    assert await _value(running[-1], "SHOW fsync") == "on"


async def test_a_server_left_behind_is_stopped_before_another_starts(running: list[Postgres], state: Path) -> None:
    await _value(running[0], "CREATE TABLE kept AS SELECT 42 AS answer")
    # As if the process that started it had been killed: nobody said stop.
    running.append(postgres.serve(state))
    assert not running[0].child.running
    assert await _value(running[-1], "SELECT answer FROM kept") == 42


async def test_a_server_that_has_ended_and_of_which_nobody_took_note_is_waited_for(
    running: list[Postgres], state: Path
) -> None:
    await _value(running[0], "CREATE TABLE kept AS SELECT 42 AS answer")
    dead = running[0].child.process
    # Its lock file stays, and until somebody asks how it ended, its number is that of a process.
    dead.kill()
    while psutil.Process(dead.pid).status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(0.01)
    late = threading.Timer(1.5, dead.wait)
    late.start()
    running.append(postgres.serve(state))
    late.join()
    assert await _value(running[-1], "SELECT answer FROM kept") == 42


async def test_nobody_gets_in_without_the_password(running: list[Postgres]) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(running[0].url("postgres", password="guess"))


def test_the_password_is_for_our_eyes_only(running: list[Postgres], state: Path) -> None:
    assert running[0].password
    assert (state / "postgres.password").stat().st_mode & 0o077 == 0
