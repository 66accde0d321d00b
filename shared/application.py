"""The web application of a service: the operational paths, its own routes, and a lifespan that runs the service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.routing import iter_route_contexts
from fastapi.telemetry import TelemetryConfig
from faststream.kafka.annotations import KafkaMessage
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from shared import reference
from shared.answers import SecurityHeaders, probe_answer
from shared.db.engine import is_retried_by_loops
from shared.db.migrate import at_head
from shared.events import asyncapi
from shared.events.envelope import WorkEvent
from shared.measured_answers import MeasuredAnswers
from shared.messaging.consumer import subscribe
from shared.messaging.partitions import take_own
from shared.phase.runner import PhaseRunner
from shared.phase.workers import BatchWorker, InputsT, PhaseWorker, ResultsT
from shared.service import Service
from shared.settings import ServiceSettings
from shared.telemetry import configure_logging, configure_tracing, hide_address
from shared.traced_requests import trace_where_wanted


class Liveness(BaseModel):
    live: bool
    problems: list[str] = []


class Readiness(BaseModel):
    """checks : by what was looked at, `ok` or what is wrong with it; where a token is needed, told to those with one"""

    ready: bool
    checks: dict[str, str] = {}


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
        problems = "; ".join(filter(None, [service.guard.limit.tripped, *service.problems()]))
        checks["consumers" if service.messaging else "process"] = problems or checks.get("process", "ok")
        ready = all(value == "ok" for value in checks.values())
        if service.messaging:
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
        # FastAPI makes what a route needs at the first request that gets as far; several hundred together would hold up the first ones.
        made = asyncio.create_task(asyncio.to_thread(lambda: list(iter_route_contexts(app.routes))), name="routes")
        try:
            async with service.lifespan():
                yield
        finally:
            await made

    # FastAPI's own spans would tell addresses, in which names and one-time codes stand; it looks whether somebody else instruments
    # it, and does not see who is wrapped.
    own: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
    app = FastAPI(title=title, version="1", lifespan=lifespan, docs_url=None, redoc_url=None, telemetry=own)
    app.state.service = service
    app.include_router(operational_routes(service))
    for router in routers:
        app.include_router(router)
    if not own_docs:
        app.add_api_route("/docs", lambda: _plain_docs(app), include_in_schema=False, response_class=HTMLResponse)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(MeasuredAnswers, service=service.name)
    FastAPIInstrumentor.instrument_app(app, excluded_urls="livez,readyz,metrics", server_request_hook=hide_address)
    trace_where_wanted(app)
    return app


def _plain_docs(app: FastAPI) -> HTMLResponse:
    return HTMLResponse(reference.operations(app.openapi()), headers=reference.HEADERS)


def create_phase_app(
    name: str,
    settings: ServiceSettings,
    make_worker: Callable[[Service], PhaseWorker[InputsT, ResultsT] | BatchWorker],
    topics: Sequence[str],
) -> FastAPI:
    """The application of one of the four computing services, woken by the topics upstream of its phase."""
    service = Service.build(name, settings)
    runner = PhaseRunner(service.engine, make_worker(service), service.clock, wake=service.wake_relay)

    @subscribe(service.broker, *topics, group=name, namespace=settings.kafka_namespace)  # type: ignore[untyped-decorator]
    async def on_upstream(event: WorkEvent, message: KafkaMessage) -> None:
        if event.concerns(runner.phase):
            await runner.run(take_own(event.work.rectangle(), message))

    return create_service_app(service, title=f"Leadline {name}")
