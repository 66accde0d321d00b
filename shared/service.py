"""What every service is made of: an engine, a broker, a relay, and the five operational paths. Wiring and lifespan only."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from faststream.kafka import KafkaBroker
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import reference
from shared.answers import SecurityHeaders, probe_answer
from shared.clock import Clock
from shared.db.engine import create_engine, is_retried_by_loops
from shared.db.migrate import at_head
from shared.errors import LeadlineError
from shared.events import asyncapi
from shared.events.envelope import WorkEvent
from shared.measured_answers import MeasuredAnswers
from shared.messaging.broker import create_broker, create_producer
from shared.messaging.consumer import subscribe
from shared.messaging.drain import drain_on_signal, exit_process
from shared.messaging.failpoints import failpoint
from shared.messaging.monitor import ConsumerMonitor
from shared.messaging.relay import Relay
from shared.messaging.retry_middleware import RetryDeadLetterMiddleware
from shared.phase.runner import PhaseRunner
from shared.phase.workers import BatchWorker, PhaseWorker
from shared.settings import ServiceSettings
from shared.telemetry import configure_logging, configure_tracing, logger

log = logger(__name__)

START_ATTEMPTS_SECONDS = 60.0
# A statement may take two minutes, a send nine seconds.
RELAY_SILENT_SECONDS = 300.0
# A problem seen this many times in a row, this far apart, does not go away by itself.
SUPERVISION_SECONDS = 5.0
SUPERVISION_PATIENCE = 6
FINAL_LOG_SECONDS = 10.0
EXIT_STUCK = 70


class Liveness(BaseModel):
    live: bool
    problems: list[str] = []


class Readiness(BaseModel):
    """checks : by what was looked at, `ok` or what is wrong with it; where a token is needed, told to those with one"""

    ready: bool
    checks: dict[str, str] = {}


@dataclass
class Service:
    """The running parts of one service. Built without connecting; `running` connects and cleans up."""

    name: str
    settings: ServiceSettings
    engine: AsyncEngine
    clock: Clock
    broker: KafkaBroker
    stopping: asyncio.Event
    guard: RetryDeadLetterMiddleware
    watch: ConsumerMonitor
    relay: Relay | None = None
    failed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the process cannot recover by itself; `failure` says why."""
    failure: str = ""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    background: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """Coroutine functions that run until `stopping` is set: a scheduler, a reconciler."""

    @classmethod
    def build(cls, name: str, settings: ServiceSettings) -> Service:
        engine = create_engine(settings.database_address, application=f"leadline-{name}", pool_size=settings.pool_size)
        stopping = asyncio.Event()
        guard = RetryDeadLetterMiddleware(
            service=name, engine=engine, stopping=stopping, namespace=settings.kafka_namespace
        )
        broker = create_broker(settings, service=name, guard=guard)
        watch = ConsumerMonitor(name, settings, broker, guard, stopping=stopping)
        return cls(name, settings, engine, Clock(settings.as_of), broker, stopping, guard, watch)

    def wake_relay(self) -> None:
        """Send now what was just committed, rather than at the next poll."""
        if self.relay is not None:
            self.relay.wake()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start the relay, the consumers and the background loops; on the way out drain, in the reverse order."""
        producer = create_producer(self.settings, service=self.name)
        try:
            await _retry_start(producer.start, "producer")
            self.relay = Relay(self.engine, producer, service=self.name, namespace=self.settings.kafka_namespace)
            self._start(self.relay.run(), "relay")
            await _retry_start(self.broker.start, "consumers")
            for loop in self.background:
                self._start(_until_stopped(loop), "loop")
            self._start(self.watch.run(), "watch-loop")
            self._start(self._exit_when_stuck(), "supervision-loop")
            log.info("service_started", service=self.name)
            with drain_on_signal(self.stopping, self.settings.drain_seconds):
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
        """What only a restart would mend. Empty before the start and while stopping."""
        if self.relay is None or self.stopping.is_set():
            return []
        found = self.ended()
        silent = time.monotonic() - self.relay.last_turn
        if silent > RELAY_SILENT_SECONDS:
            found.append(f"the relay has not looked for {silent:.0f} s")
        return found + self.watch.problems()

    def ended(self) -> list[str]:
        """The tasks that should run until the stop and do not, each with what ended it: nobody starts them again."""
        if self.stopping.is_set():
            return []
        return [_task_result(task) for task in self.tasks if task.done()]

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=f"{self.name}-{name}")
        task.add_done_callback(self._note_end)
        self.tasks.append(task)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """Log what ended a task when it happens: whoever gathers the tasks at the stop would drop it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task_ended", service=self.name, task=task.get_name(), error=str(error), exc_info=error)
        elif not self.stopping.is_set():
            log.error("task_ended", service=self.name, task=task.get_name(), error=_task_result(task))

    async def _exit_when_stuck(self) -> None:
        """A problem that stays is one this process does not get over: end it, for whoever started it to start it anew.

        Everything is safe to lose: what was not committed is done again.
        """
        seen = 0
        while not self.stopping.is_set():
            await asyncio.sleep(SUPERVISION_SECONDS)
            problems = self.problems()
            seen = seen + 1 if problems else 0
            if seen < SUPERVISION_PATIENCE:
                continue
            self.failure = "; ".join(problems)
            log.critical("service_cannot_recover", service=self.name, problems=problems)
            self.failed.set()
            if not self.settings.exit_when_stuck:
                await self.stopping.wait()
                return
            self.stopping.set()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self.broker.stop(), FINAL_LOG_SECONDS)
            exit_process(EXIT_STUCK)


async def _retry_start(start: Callable[[], Awaitable[object]], what: str) -> None:
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


def _task_result(task: asyncio.Task[None]) -> str:
    said = f"task {task.get_name()} ended"
    if task.cancelled():
        return f"{said}: it was cancelled"
    error = task.exception()
    if error is None:
        return said
    # Ours are written to be read alone; of others the class is half of what they say.
    return f"{said}: {error if isinstance(error, LeadlineError) else f'{type(error).__name__}: {error}'}"


async def _until_stopped(loop: Callable[[], Awaitable[None]]) -> None:
    await loop()


def operational_routes(service: Service) -> APIRouter:
    """`/livez`, `/readyz`, `/metrics` and `/asyncapi`; `/docs` knows the whole application."""
    router = APIRouter(tags=["operations"])

    unable = {"description": "It is not; the answer says why"}

    @router.get("/livez", summary="Is this process able to work?", response_model=Liveness, responses={503: unable})
    async def livez(request: Request) -> JSONResponse:
        problems = service.problems()
        return await probe_answer(request, "live", ok=not problems, problems=problems)

    @router.get("/readyz", summary="Should traffic come here?", response_model=Readiness, responses={503: unable})
    async def readyz(request: Request) -> JSONResponse:
        checks: dict[str, str] = {}
        if service.stopping.is_set():
            checks["process"] = "stopping"
        try:
            async with asyncio.timeout(5):
                checks["database"] = (
                    "ok" if await at_head(service.engine) else "migrations are behind: run the migrate job"
                )
        except Exception as error:
            if not is_retried_by_loops(error):
                raise
            checks["database"] = f"unreachable: {str(error)[:200]}"
        checks["consumers"] = "; ".join(filter(None, [service.guard.limit.tripped, *service.problems()])) or "ok"
        ready = all(value == "ok" for value in checks.values())
        # Said, but no reason to send traffic elsewhere: the API answers, and what it accepts waits in the outbox.
        checks["broker"] = f"unreachable: {service.watch.unknown}" if service.watch.unknown else "ok"
        return await probe_answer(request, "ready", ok=ready, checks=checks)

    @router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @router.get(
        "/asyncapi",
        summary="The messages this service reads and sends, as an AsyncAPI document",
        response_model=dict[str, Any],
    )
    async def messages(html: Annotated[bool, Query()] = False) -> Response:  # noqa: FBT002 (a query parameter)
        if html:
            found = asyncapi.describe(service.name, service.broker, service.settings.kafka_namespace)
            return HTMLResponse(reference.messages(found), headers=reference.HEADERS)
        return JSONResponse(asyncapi.describe(service.name, service.broker, service.settings.kafka_namespace))

    return router


def create_service_app(
    service: Service,
    *,
    title: str,
    routers: Sequence[APIRouter] = (),
    own_docs: bool = False,
) -> FastAPI:
    """A FastAPI application whose lifespan runs the service.

    own_docs : the service has a /docs of its own; else it is a plain page. FastAPI's loads its script from another server.
    """
    configure_logging(service.name, level=service.settings.log_level, json=service.settings.log_json)
    configure_tracing(service.name)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(title=title, version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    app.include_router(operational_routes(service))
    for router in routers:
        app.include_router(router)
    if not own_docs:
        app.add_api_route("/docs", lambda: _plain_docs(app), include_in_schema=False, response_class=HTMLResponse)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(MeasuredAnswers, service=service.name)
    FastAPIInstrumentor.instrument_app(app, excluded_urls="livez,readyz,metrics")
    return app


def _plain_docs(app: FastAPI) -> HTMLResponse:
    return HTMLResponse(reference.operations(app.openapi()), headers=reference.HEADERS)


def create_phase_app(
    name: str,
    settings: ServiceSettings,
    make_worker: Callable[[Service], PhaseWorker | BatchWorker],
    topics: Sequence[str],
) -> FastAPI:
    """The application of one of the four computing services, woken by the topics upstream of its phase."""
    service = Service.build(name, settings)
    runner = PhaseRunner(service.engine, make_worker(service), service.clock, wake=service.wake_relay)

    @subscribe(service.broker, *topics, group=name, namespace=settings.kafka_namespace)  # type: ignore[untyped-decorator]
    async def on_upstream(event: WorkEvent) -> None:
        if event.concerns(runner.phase):
            await runner.run(event.work.rectangle())

    return create_service_app(service, title=f"Leadline {name}")
