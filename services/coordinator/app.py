"""The coordinator's application: wiring and lifespan only."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Depends, FastAPI

from services.coordinator import handlers
from services.coordinator.api import (
    admin,
    benchmarks,
    calendar,
    dead_letters,
    imports,
    openapi,
    portfolios,
    positions,
    problems,
    ranges,
    reads,
    status,
    symbols,
    tokens,
)
from services.coordinator.api.access import Access, AccessControl
from services.coordinator.api.context import PREFIX
from services.coordinator.api.unknown_parameters import reject_unknown_parameters
from services.coordinator.context import Context, on_trading_days
from services.coordinator.control.auditor import Auditor
from services.coordinator.control.reconciler import Reconciler, ReconcilerSettings
from services.coordinator.control.scheduler import Scheduler
from services.coordinator.control.unit_runs import UnitRunsLoop
from services.coordinator.portfolios.settlement import settle
from services.coordinator.settings import CoordinatorSettings
from services.coordinator.tokens.authenticator import Authenticator, reader_of, tells_details
from services.coordinator.web import install as web
from shared.answers import SecurityHeaders
from shared.measured_answers import MeasuredAnswers
from shared.messaging.consumer import subscribe
from shared.service import Service, create_service_app


def api_router() -> APIRouter:
    """Everything under /api/v1; `serve` puts it behind the token. What a route does not know is refused."""
    router = APIRouter(prefix=PREFIX, dependencies=[Depends(on_trading_days), Depends(reject_unknown_parameters)])
    for module in (
        portfolios,
        imports,
        positions,
        status,
        ranges,
        reads,
        symbols,
        benchmarks,
        calendar,
        admin,
        dead_letters,
        tokens,
    ):
        router.include_router(module.router)
    return router


def create_app(settings: CoordinatorSettings | None = None) -> FastAPI:
    """Build the service without connecting to anything; the application's lifespan starts and stops it."""
    chosen = settings or CoordinatorSettings()
    service = Service.build("coordinator", chosen)
    pace = ReconcilerSettings(period=chosen.reconcile_seconds, grace=chosen.grace_seconds)
    reconciler = Reconciler(
        service.engine, service.clock, wake=service.wake_relay, pace=pace, benchmark=chosen.sector_benchmark
    )
    if chosen.control:
        _control(service, reconciler)
    context = Context(
        engine=service.engine,
        clock=service.clock,
        settings=chosen,
        wake_relay=service.wake_relay,
        wake_reconciler=reconciler.wake,
        stopping=service.stopping,
    )
    return serve(create_service_app(service, title="Leadline", routers=[api_router()], own_docs=True), context)


def _control(service: Service, reconciler: Reconciler) -> None:
    """What is done without being asked over HTTP. A process that only answers goes without; another one does it."""
    handlers.register(
        partial(subscribe, service.broker, namespace=service.settings.kafka_namespace),
        partial(settle, service.engine, service.clock, wake=service.wake_relay),
    )
    service.background += [
        Scheduler(service.engine, service.clock, wake=service.wake_relay).run,
        reconciler.run,
        Auditor(service.engine, service.clock).run,
        UnitRunsLoop(service.engine).run,
    ]


def serve(app: FastAPI, context: Context) -> FastAPI:
    """Give the handlers what they work with, errors their shape, people their page; let nothing in that `access` refuses."""
    given = context.settings
    secret = None if given.token is None else given.token.get_secret_value()
    authenticator = Authenticator(secret, reader_of(context.engine))
    app.state.context, app.state.authenticator = context, authenticator
    app.state.tells_details = partial(tells_details, authenticator)
    openapi.install(app)
    web.install(app)
    problems.install(app, body_limit=context.settings.max_body_mb * 1024 * 1024)
    # Nearly the outermost: nothing has read any of the body yet.
    access = Access.of(
        given.hosts, open_docs=given.open_docs, open_metrics=given.open_metrics, alone=not given.without_token
    )
    app.add_middleware(AccessControl, access=access, authenticator=authenticator)
    # Around it, because refusals have headers too; it reads nothing.
    app.add_middleware(SecurityHeaders)
    app.add_middleware(MeasuredAnswers, service="coordinator")
    return app
