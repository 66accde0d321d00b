"""The coordinator's application: wiring and lifespan only."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator import handlers
from services.coordinator.api import (
    admin,
    analytics,
    benchmarks,
    calendar,
    dead_letters,
    funds,
    imports,
    limits,
    openapi,
    people,
    portfolios,
    positions,
    problems,
    ranges,
    reads,
    status,
    symbols,
    tenants,
    tokens,
    webhooks,
)
from services.coordinator.api.access import AccessControl
from services.coordinator.api.access_rules import Access
from services.coordinator.api.capacity import Capacity
from services.coordinator.api.context import PREFIX
from services.coordinator.api.unknown_parameters import reject_unknown_parameters
from services.coordinator.context import Context, on_trading_days
from services.coordinator.control.auditor import Auditor
from services.coordinator.control.reconciler import Reconciler, ReconcilerSettings
from services.coordinator.control.retention import Keep, Retention
from services.coordinator.control.scheduler import Scheduler
from services.coordinator.control.unit_runs import UnitRunsLoop
from services.coordinator.notifications.delivery import Sender
from services.coordinator.notifications.loop import NotificationsLoop
from services.coordinator.portfolios.settlement import settle
from services.coordinator.settings import CoordinatorSettings
from services.coordinator.tokens.authenticator import Authenticator, reader_of, tells_details
from services.coordinator.tokens.openid import OpenId
from services.coordinator.tokens.rate import RateLimit
from services.coordinator.web import install as web
from shared.answers import SecurityHeaders
from shared.application import create_service_app
from shared.collection import collect_rarely, switch_often
from shared.db.engine import IDLE_SECONDS, create_engine
from shared.db.tenancy import confine
from shared.errors import ConfigurationError
from shared.measured_answers import MeasuredAnswers
from shared.messaging.consumer import subscribe
from shared.service import Service

SERVICE = "coordinator"


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
        analytics,
        symbols,
        benchmarks,
        funds,
        calendar,
        admin,
        dead_letters,
        tokens,
        people,
        tenants,
        limits,
        webhooks,
    ):
        router.include_router(module.router)
    return router


def create_app(settings: CoordinatorSettings | None = None) -> FastAPI:
    """Build the service without connecting to anything; the application's lifespan starts and stops it."""
    chosen = settings or CoordinatorSettings()
    if chosen.read_only:
        raise ConfigurationError(
            "LEADLINE_READ_ONLY is set, and a coordinator that writes nothing cannot do its work. Start "
            "services.coordinator.app:create_api to answer reads alone, or take the setting away"
        )
    service = Service.build(SERVICE, chosen)
    reconciler = _reconciler(service, chosen)
    handlers.register(
        partial(subscribe, service.broker, namespace=chosen.kafka_namespace),
        partial(settle, service.engine, service.clock, wake=service.wake_relay),
    )
    scheduler = Scheduler(service.engine, service.clock, wake=service.wake_relay)
    service.background += [
        scheduler.run,
        reconciler.run,
        Auditor(service.engine, service.clock).run,
        UnitRunsLoop(service.engine).run,
        Retention(service.engine, service.clock, Keep.of(chosen)).run,
        NotificationsLoop(service.engine, service.clock, Sender(private=chosen.webhook_private)).run,
    ]
    return _create_http_app(service, chosen, reconciler.wake, measures=True)


def create_api(settings: CoordinatorSettings | None = None) -> FastAPI:
    """The HTTP side alone: every route and the relay, no subscription and no loop. A `create_app` must run somewhere.

    With `LEADLINE_READ_ONLY` no relay either, and nothing connects to the broker: reads alone, from a database that is only read.
    """
    chosen = settings or CoordinatorSettings()
    service = Service.build(SERVICE, chosen, read_only=chosen.read_only)
    if chosen.read_only:
        return _create_http_app(service, chosen, lambda: None, measures=False)
    # The reconciler that loops is in another process: who asks for a turn here gets one here, and its events go through the outbox.
    reconciler = _reconciler(service, chosen)
    service.background.append(reconciler.run_on_request)
    return _create_http_app(service, chosen, reconciler.wake, measures=False)


def _reconciler(service: Service, settings: CoordinatorSettings) -> Reconciler:
    pace = ReconcilerSettings(period=settings.reconcile_seconds, grace=settings.grace_seconds)
    return Reconciler(
        service.engine, service.clock, wake=service.wake_relay, pace=pace, benchmark=settings.sector_benchmark
    )


def _create_http_app(
    service: Service, settings: CoordinatorSettings, wake_reconciler: Callable[[], None], *, measures: bool
) -> FastAPI:
    context = Context(
        engine=_request_engine(service, settings),
        clock=service.clock,
        settings=settings,
        wake_relay=service.wake_relay,
        wake_reconciler=wake_reconciler,
        stopping=service.stopping,
        measures=measures,
    )
    return serve(create_service_app(service, title="Leadline", routers=[api_router()], own_docs=True), context)


def _request_engine(service: Service, settings: CoordinatorSettings) -> AsyncEngine:
    """What HTTP requests are answered with, apart from the loops and the relay; with a role of their own where there is one."""
    engine = create_engine(
        settings.api_address,
        application="leadline-api",
        pool_size=settings.api_pool_size,
        idle_seconds=IDLE_SECONDS,
        read_only=settings.read_only,
    )
    service.engines.append(engine)
    return engine


def _openid(settings: CoordinatorSettings) -> OpenId | None:
    secret = settings.oidc_client_secret
    if settings.oidc_issuer is None or secret is None:
        return None
    return OpenId(settings.oidc_issuer, settings.oidc_client_id, secret.get_secret_value())


def serve(app: FastAPI, context: Context) -> FastAPI:
    """Give the handlers what they work with, errors their shape, people their page; let nothing in that `access` refuses."""
    collect_rarely()
    switch_often()
    given = context.settings
    confine(context.engine)
    secret = None if given.token is None else given.token.get_secret_value()
    reader = reader_of(context.engine, notes_use=not given.read_only)
    authenticator = Authenticator(secret, reader, closed=given.oidc_issuer is not None)
    app.state.context, app.state.authenticator = context, authenticator
    app.state.openid, app.state.rate = _openid(given), RateLimit(given.rate_limit)
    app.state.tells_details = partial(tells_details, authenticator)
    openapi.install(app)
    web.install(app)
    app.add_middleware(Capacity, limit=given.max_requests)
    problems.install(app, body_limit=context.settings.max_body_mb * 1024 * 1024)
    # Nearly the outermost: nothing has read any of the body yet.
    access = Access.of(
        given.hosts,
        open_docs=given.open_docs,
        open_metrics=given.open_metrics,
        alone=not given.without_token,
        reads=given.read_only,
    )
    app.add_middleware(AccessControl, access=access, authenticator=authenticator, rate=app.state.rate)
    # Around it, because refusals have headers too; it reads nothing.
    app.add_middleware(SecurityHeaders)
    app.add_middleware(MeasuredAnswers, service="coordinator")
    return app
