"""Worlds for the tests of crashes and faults: made when the first asks, gone with the session."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.crash import story, world
from tests.crash.world import World, Zygote
from tests.support import databases
from tests.support.brokers import TestBroker
from tests.support.databases import Server

WORLDS = 3
SLOTS = 60


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    started = Zygote()
    yield started
    started.close()


@pytest.fixture(scope="session")
def prices(scratch_directory: Path) -> Path:
    return story.price_file(scratch_directory / "crash" / "prices.parquet", SLOTS)


@pytest.fixture(scope="module")
async def worlds(
    zygote: Zygote, server: Server, apache_kafka: TestBroker, scratch_directory: Path, prices: Path
) -> AsyncIterator[list[World]]:
    """Some Leadlines side by side: most of a case is waiting, so they share the processors well."""
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for number in range(WORLDS):
            database = await databases.create(server)
            stack.push_async_callback(databases.drop, database)
            state = scratch_directory / "crash" / f"world{number}"
            made.append(
                await stack.enter_async_context(world.running(zygote, database, apache_kafka, state, prices=prices))
            )
        yield made
