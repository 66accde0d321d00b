"""What every service is made of: an engine, a broker, a relay, and the five operational paths. Wiring and lifespan only."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query, Response
from fastapi.responses import HTMLResponse, JSONResponse
from faststream.kafka import KafkaBroker
from faststream.specification import AsyncAPI
from faststream.specification.asyncapi import get_asyncapi_html
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.clock import Clock
from shared.db.engine import create_engine
from shared.db.migrate import at_head
from shared.messaging.broker import create_broker, create_producer
from shared.messaging.consumer import Subscribe, subscribe
from shared.messaging.failpoints import failpoint
from shared.messaging.relay import Relay
from shared.phase import Computes, PhaseRunner, RunsBatches
from shared.settings import ServiceSettings
from shared.telemetry import configure_logging, configure_tracing, logger

log = logger(__name__)

START_ATTEMPTS_SECONDS = 60.0


@dataclass
class Service:
    """The running parts of one service. Built without connecting; `running` connects and cleans up."""

    name: str
    settings: ServiceSettings
    engine: AsyncEngine
    clock: Clock
    broker: KafkaBroker
    stopping: asyncio.Event
    relay: Relay | None = None
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    background: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """Coroutine functions that run until `stopping` is set: a scheduler, a reconciler."""

    @classmethod
    def build(cls, name: str, settings: ServiceSettings) -> Service:
        engine = create_engine(settings.database_url, application=f"leadline-{name}", pool_size=settings.pool_size)
        stopping = asyncio.Event()
        broker = create_broker(settings, service=name, database=engine, stopping=stopping)
        return cls(name, settings, engine, Clock(settings.as_of), broker, stopping)

    def wake_relay(self) -> None:
        """Send now what was just committed, rather than at the next poll."""
        if self.relay is not None:
            self.relay.wake()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start the relay, the consumers and the background loops; on the way out drain, in the reverse order."""
        producer = create_producer(self.settings, service=self.name)
        try:
            await _patiently(producer.start, "producer")
            self.relay = Relay(self.engine, producer, service=self.name, namespace=self.settings.kafka_namespace)
            self.tasks.append(asyncio.create_task(self.relay.run(), name=f"{self.name}-relay"))
            await _patiently(self.broker.start, "consumers")
            self.tasks += [
                asyncio.create_task(_until_stopped(loop), name=f"{self.name}-loop") for loop in self.background
            ]
            log.info("service_started", service=self.name)
            yield
        finally:
            log.info("service_stopping", service=self.name)
            self.stopping.set()
            failpoint("H10")
            # Consumers first: a handler that is running finishes and its offset is committed.
            with contextlib.suppress(Exception):
                await self.broker.stop()
            failpoint("H10")
            if self.relay is not None:
                with contextlib.suppress(Exception):
                    await self.relay.send_some()
                self.relay.stop()
            for task in self.tasks:
                if task.get_name().endswith("-loop"):
                    task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            with contextlib.suppress(Exception):
                await producer.stop()
            await self.engine.dispose()

    def problems(self) -> list[str]:
        """What is wrong inside this process, as far as it can tell without asking anybody."""
        found = [f"task {task.get_name()} ended" for task in self.tasks if task.done() and not self.stopping.is_set()]
        for subscriber in self.broker.subscribers:
            consume_tasks = getattr(subscriber, "tasks", [])
            if self.relay is not None and not self.stopping.is_set() and not any(not t.done() for t in consume_tasks):
                found.append("a consumer task ended")
        return found


async def _patiently(start: Callable[[], Awaitable[object]], what: str) -> None:
    """Start something that may have to wait for the broker to come up."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_ATTEMPTS_SECONDS
    while True:
        try:
            await start()
        except Exception as error:
            if loop.time() > deadline:
                raise
            log.warning("waiting_for_broker", what=what, error=str(error)[:200])
            await asyncio.sleep(1.0)
        else:
            return


async def _until_stopped(loop: Callable[[], Awaitable[None]]) -> None:
    await loop()


def operational_routes(service: Service) -> APIRouter:
    """`/livez`, `/readyz`, `/metrics` and `/asyncapi`; `/docs` is FastAPI's own."""
    router = APIRouter(tags=["operations"])

    @router.get("/livez", summary="Is this process able to work?")
    async def livez() -> JSONResponse:
        problems = service.problems()
        return JSONResponse({"live": not problems, "problems": problems}, status_code=503 if problems else 200)

    @router.get("/readyz", summary="Should traffic come here?")
    async def readyz() -> JSONResponse:
        checks: dict[str, str] = {}
        if service.stopping.is_set():
            checks["process"] = "stopping"
        try:
            async with asyncio.timeout(5):
                checks["database"] = (
                    "ok" if await at_head(service.engine) else "migrations are behind: run the migrate job"
                )
        except (DBAPIError, OSError, TimeoutError) as error:
            checks["database"] = f"unreachable: {str(error)[:200]}"
        problems = service.problems()
        checks["consumers"] = "; ".join(problems) or "ok"
        ready = all(value == "ok" for value in checks.values())
        return JSONResponse({"ready": ready, "checks": checks}, status_code=200 if ready else 503)

    @router.get("/metrics", summary="Prometheus metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @router.get("/asyncapi", summary="The messages this service reads, as an AsyncAPI document")
    async def asyncapi(html: Annotated[bool, Query()] = False) -> Response:  # noqa: FBT002 (a query parameter)
        schema = AsyncAPI(service.broker, title=f"Leadline {service.name}", version="1").to_specification()
        if html:
            return HTMLResponse(get_asyncapi_html(schema))
        return Response(schema.to_json(), media_type="application/json")

    return router


def create_service_app(
    service: Service,
    *,
    title: str,
    routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """A FastAPI application whose lifespan runs the service."""
    configure_logging(service.name, level=service.settings.log_level, json=service.settings.log_json)
    configure_tracing(service.name)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(title=title, version="1", lifespan=lifespan)
    app.state.service = service
    app.include_router(operational_routes(service))
    for router in routers:
        app.include_router(router)
    FastAPIInstrumentor.instrument_app(app, excluded_urls="livez,readyz,metrics")
    return app


def create_phase_app(
    name: str,
    settings: ServiceSettings,
    make_worker: Callable[[Service], Computes | RunsBatches],
    register: Callable[[Subscribe, PhaseRunner], None],
) -> FastAPI:
    """The application of one of the four computing services."""
    service = Service.build(name, settings)
    runner = PhaseRunner(service.engine, make_worker(service), service.clock, wake=service.wake_relay)
    register(partial(subscribe, service.broker, namespace=settings.kafka_namespace), runner)
    return create_service_app(service, title=f"Leadline {name}")
