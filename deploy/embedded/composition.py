"""The five services in one process, or some of them. The same applications that compose starts one by one, the same handlers, the
same bus."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from deploy.embedded.choices import settings_of
from deploy.embedded.process import HEALTHY_SECONDS
from shared.db.roles import SERVICES
from shared.errors import ConfigurationError
from shared.head_deadline import bound_heads
from shared.messaging.broker import ensure_topics
from shared.service import Service
from shared.settings import ServiceSettings

HTTP_GOODBYE_SECONDS = 3


@dataclass
class Composition:
    """Running services. `stopped` is set once one of them ends, whether it was asked to or not."""

    port: int
    apps: dict[str, FastAPI] = field(default_factory=dict)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def create_app(service: str, settings: ServiceSettings) -> FastAPI:
    app = importlib.import_module(f"services.{service}.app").create_app(settings)
    assert isinstance(app, FastAPI)
    return app


@contextlib.asynccontextmanager
async def composition(
    urls: Mapping[str, str],
    listener: socket.socket | None,
    *,
    values: Mapping[str, Any],
    services: Sequence[str] = SERVICES,
) -> AsyncIterator[Composition]:
    """Run the five services, or some of them, until the block ends. Entered once all of them say they are ready.

    urls     : database address of each service, with its own role.
    listener : the socket that the coordinator serves HTTP on; None without a coordinator.
    values   : settings all services share: `kafka`, `kafka_idempotence`, `as_of`, …; each takes those it knows.
    """
    running = Composition(port=0 if listener is None else listener.getsockname()[1])
    # Nobody starts one of five services anew: one that cannot recover ends the composition.
    values = {"exit_when_stuck": False, **values}
    settings = {service: settings_of(service, database_url=urls[service], **values) for service in services}
    await create_topics(settings[services[0]])
    stop = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []
    starts: list[asyncio.Event] = []
    try:
        # All at once: a consumer's first join takes the embedded broker seconds (`deploy.embedded.groups`), whoever else is waiting.
        for service in services:
            started = asyncio.Event()
            if service == "coordinator":
                assert listener is not None
                run = _serve(running, listener, settings[service], started, stop)
            else:
                run = _live(running, service, settings[service], started, stop)
            # A task each, so that each has its own context: the log lines of a service carry its name.
            task = asyncio.create_task(run, name=service)
            task.add_done_callback(lambda _: running.stopped.set())
            tasks.append(task)
            starts.append(started)
        for started, task in zip(starts, tasks, strict=True):
            await _either(started, task)
        await _healthy(running, tasks, values.get("token"))
        yield running
    finally:
        stop.set()
        # One that is still starting looks at nothing else: whoever asked for the stop waits.
        for started, task in zip(starts, tasks, strict=True):
            if not started.is_set():
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for task, result in zip(tasks, results, strict=True):
        if isinstance(result, Exception):
            raise ConfigurationError(f"the {task.get_name()} service ended with an error: {result}") from result


async def _live(
    running: Composition, service: str, settings: ServiceSettings, started: asyncio.Event, stop: asyncio.Event
) -> None:
    app = create_app(service, settings)
    running.apps[service] = app
    async with app.router.lifespan_context(app):
        started.set()
        await _until(stop, app)


async def _until(stop: asyncio.Event, app: FastAPI) -> None:
    """Until asked to stop; raises if the service says that it cannot go on."""
    service: Service = app.state.service
    waiting = [asyncio.create_task(event.wait()) for event in (stop, service.failed)]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    if service.failed.is_set() and not stop.is_set():
        raise ConfigurationError(f"the {service.name} service cannot go on: {service.failure}")


class InnerServer(uvicorn.Server):
    """uvicorn takes over the signals of the process; here they belong to whoever composes the services."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


async def _serve(
    running: Composition,
    listener: socket.socket,
    settings: ServiceSettings,
    started: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    app = create_app("coordinator", settings)
    running.apps["coordinator"] = app
    # uvicorn runs a lifespan in a task of its own, which a stop during the start would not reach: it is ours.
    server = InnerServer(
        uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=HTTP_GOODBYE_SECONDS
        )
    )
    bound_heads(server.config)
    async with app.router.lifespan_context(app):
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        stopping = asyncio.create_task(_until(stop, app))
        started.set()
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
        if stopping.done():
            await stopping
        stopping.cancel()


async def create_topics(settings: ServiceSettings) -> None:
    """The broker accepts connections a moment before it can create topics."""
    until = asyncio.get_running_loop().time() + HEALTHY_SECONDS
    while True:
        try:
            await ensure_topics(settings)
        except Exception as error:
            if asyncio.get_running_loop().time() > until:
                raise ConfigurationError(f"could not create the topics on {settings.kafka}: {error}") from error
            await asyncio.sleep(0.5)
        else:
            return


async def _either(started: asyncio.Event, task: asyncio.Task[None]) -> None:
    """Wait until a service has started; if it ends instead, raise what ended it."""
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait([waiting, task], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        await task


async def _healthy(running: Composition, tasks: list[asyncio.Task[None]], token: SecretStr | None) -> None:
    """Ask each service whether it is ready, without a network in between; with the token it says what is not."""
    headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
    until = asyncio.get_running_loop().time() + HEALTHY_SECONDS
    waiting = dict(running.apps)
    answer = "no answer"
    while waiting:
        for service, app in list(waiting.items()):
            transport = httpx2.ASGITransport(app=app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
                response = await client.get("/readyz", headers=headers)
            answer = f"{service}: {response.text}"
            if response.status_code == 200:
                del waiting[service]
            # Nobody starts such a task again: waiting would only hide what it said.
            if ended := app.state.service.ended_tasks():
                raise ConfigurationError(f"the {service} service cannot go on: {'; '.join(ended)}")
        for task in tasks:
            if task.done():
                await task
        if waiting and asyncio.get_running_loop().time() > until:
            raise ConfigurationError(f"not ready after {HEALTHY_SECONDS:.0f} s; {answer}")
        if waiting:
            await asyncio.sleep(0.2)
