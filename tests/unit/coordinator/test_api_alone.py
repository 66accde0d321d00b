"""The HTTP side alone: what it has of a coordinator and what it has not."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import SecretStr, ValidationError
from sqlalchemy.ext.asyncio import create_async_engine

from services.coordinator.app import create_api, create_app
from services.coordinator.control.reconciler import Reconciler
from services.coordinator.settings import CoordinatorSettings
from shared.clock import Clock
from shared.collection import COLLECT_AFTER, SWITCH_SECONDS
from shared.errors import ConfigurationError
from shared.service import Service

SETTINGS = CoordinatorSettings(database_url="postgresql://nobody@127.0.0.1:1/none", kafka="127.0.0.1:1")
NOBODY = "postgresql+asyncpg://nobody@127.0.0.1:1/none"
READ_ONLY = SETTINGS.model_copy(update={"read_only": True})


def routes(app: FastAPI) -> set[tuple[str, str]]:
    """Of the application and of what it includes."""

    def walk(found: Iterable[Any]) -> Iterator[tuple[str, str]]:
        for route in found:
            if isinstance(route, APIRoute):
                yield from ((route.path, method) for method in route.methods or ())
            elif (included := getattr(route, "original_router", None)) is not None:
                yield from walk(included.routes)

    served = set(walk(app.routes))
    assert len(served) > 150
    return served


def service(app: FastAPI) -> Service:
    found = app.state.service
    assert isinstance(found, Service)
    return found


def test_it_has_every_route_and_no_subscription_and_no_loop() -> None:
    whole, alone = create_app(SETTINGS), create_api(SETTINGS)
    assert routes(alone) == routes(whole)
    assert (whole.state.context.measures, alone.state.context.measures) == (True, False)
    assert len(service(whole).broker.subscribers) > 0
    assert list(service(alone).broker.subscribers) == []
    assert len(service(whole).background) == 6
    assert [loop.__name__ for loop in service(alone).background] == ["run_on_request"]
    assert service(alone).messaging, "it sends what it commits"


def test_a_thread_that_parses_lets_the_loop_go_on_within_a_millisecond() -> None:
    before = sys.getswitchinterval()
    try:
        sys.setswitchinterval(0.005)
        create_api(SETTINGS)
        assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
        assert gc.get_threshold() == COLLECT_AFTER
    finally:
        sys.setswitchinterval(before)


def test_one_that_only_reads_knows_no_broker_and_has_nothing_to_do_by_itself() -> None:
    alone = create_api(READ_ONLY)
    assert routes(alone) == routes(create_app(SETTINGS))
    assert service(alone).background == []
    assert not service(alone).messaging


def test_a_coordinator_that_may_not_write_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="create_api"):
        create_app(READ_ONLY)


def test_requests_go_to_the_database_as_their_own_role_where_there_is_one() -> None:
    database = "postgresql://coordinator@host/db?sslmode=require"
    alone = CoordinatorSettings(database_url=database, database_password=SecretStr("a/b"))
    assert alone.api_address == "postgresql://coordinator:a%2Fb@host/db?sslmode=require"
    own = CoordinatorSettings(api_database_url="postgresql://api@host/db", api_database_password=SecretStr("c:d"))
    assert own.api_address == "postgresql://api:c%3Ad@host/db"
    for address in (None, "postgresql://host/db", "postgresql://api:one@host/db"):
        with pytest.raises(ValidationError, match="LEADLINE_API_DATABASE_PASSWORD goes with"):
            CoordinatorSettings(api_database_url=address, api_database_password=SecretStr("two"))


async def test_a_turn_is_made_when_one_is_asked_for_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[float] = []

    async def turn(of: Reconciler) -> int:
        if of is not reconciler:
            # The services that flow tests share run in this process too, and their coordinator takes its turns.
            return 0
        turns.append(asyncio.get_running_loop().time())
        if len(turns) == 1:
            raise ConnectionError("the database is away")
        return 0

    monkeypatch.setattr(Reconciler, "run_once", turn)
    reconciler = Reconciler(create_async_engine(NOBODY), Clock(None), wake=lambda: None)
    running = asyncio.create_task(reconciler.run_on_request())
    for asked in (0, 1, 2):
        # More turns of the loop than it can need, however others share it.
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(turns) == asked, "a turn that failed does not end it"
        reconciler.wake()
    running.cancel()


async def test_what_a_turn_on_request_sees_is_left_in_no_gauge() -> None:
    """It would stand there until the next request, and alerts look at the highest of all processes."""
    reconciler = Reconciler(create_async_engine(NOBODY), Clock(None), wake=lambda: None)
    with pytest.raises(AttributeError):
        await reconciler._measure(None)  # type: ignore[arg-type]
    reconciler = Reconciler(create_async_engine(NOBODY), Clock(None), wake=lambda: None)
    running = asyncio.create_task(reconciler.run_on_request())
    await asyncio.sleep(0)
    await reconciler._measure(None)  # type: ignore[arg-type]
    running.cancel()
