"""Wiring of the ingest service. `uvicorn --factory services.ingest.app:create_app`."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from fastapi import FastAPI

from services.ingest.providers.base import Provider
from services.ingest.providers.chain import Chain
from services.ingest.providers.file.problems import BadPriceFile
from services.ingest.providers.file.provider import FileProvider
from services.ingest.providers.quota.limits import Quota, Window
from services.ingest.providers.quota.rate_limited import RateLimitedProvider
from services.ingest.providers.registry import create_providers, curve_sources
from services.ingest.settings import IngestSettings
from services.ingest.workflow import IngestWorker
from services.ingest.workflow.lookups import Network, answer_open
from services.ingest.workflow.measures import measure
from services.ingest.workflow.profiles import Profiles
from services.ingest.workflow.quotas import DatabaseQuota, Loop, account_of, announce
from services.ingest.workflow.yields import YieldCurves
from shared.application import create_phase_app
from shared.db.closures import load_closures
from shared.db.engine import is_retried_by_loops
from shared.market.calendar import exchange_calendar
from shared.phase.topics import TOPICS_OF_PHASE
from shared.service import Service
from shared.telemetry import logger
from shared.work import Phase

log = logger(__name__)

PROFILE_PAUSE = 1.0
PROFILE_POLL = 60.0
LOOKUP_PAUSE = 0.5
LOOKUP_PAUSE_AFTER_FAILURE = 15.0
YIELD_POLL = 10.0
MEASURE_SECONDS = 60.0


def create_app(settings: IngestSettings | None = None) -> FastAPI:
    """The application. Importing or building it connects to nothing and reads no file; its lifespan does."""
    chosen = settings or IngestSettings()

    def worker(service: Service) -> IngestWorker:
        loop = Loop()

        def quota(provider: str, counted: str, key: str, windows: tuple[Window, ...]) -> Quota:
            return DatabaseQuota(service.engine, loop, provider, account_of(counted, key), windows)

        providers = create_providers(chosen, exchange_calendar, quota, service.clock.last_due)
        made = IngestWorker(
            service.engine,
            Chain(providers, exchange_calendar),
            service.clock,
            bind=loop.bind,
            wake=service.wake_relay,
            patience=chosen.patience,
            everybodys=chosen.everybodys,
        )
        profiles = Profiles(service.engine, providers, loop.bind)
        service.background.append(
            _refresh_loop(service, "profiles", lambda: profiles.refresh_one(service.clock.last_due()), PROFILE_POLL)
        )
        if sources := curve_sources(chosen):
            curves = YieldCurves(service.engine, sources, service.clock)
            service.background.append(_refresh_loop(service, "yields", curves.refresh_one, YIELD_POLL))
        service.background.append(_retries(service, made, providers, chosen.retry_poll_seconds))
        service.background.append(_measures(service, providers))
        service.background.append(_lookups(service, providers, loop.bind, chosen.preview_symbols))
        return made

    return create_phase_app("ingest", chosen, worker, TOPICS_OF_PHASE[Phase.INGEST])


def _retries(
    service: Service, worker: IngestWorker, providers: list[Provider], seconds: float
) -> Callable[[], Awaitable[None]]:
    """Absences whose time has come are asked for again, whoever waits for them; a bad data file is told at the start."""

    async def loop() -> None:
        files = [provider for provider in providers if isinstance(provider, FileProvider)]
        for file in files:
            await asyncio.to_thread(file.load)
        first, read = True, [1] * len(files)
        while not service.stopping.is_set():
            asked = 0
            try:
                async with service.engine.connect() as conn:
                    await load_closures(conn)
                if first:
                    await announce(service.engine, providers, service.clock.last_due())
                    await worker.ask_again()
                    first = False
                if (reads := [await asyncio.to_thread(file.reads) for file in files]) != read:
                    await worker.ask_again(always=True)
                    read = reads
                asked = await worker.retry_due() + await worker.refresh()
            except Exception as error:
                if is_retried_by_loops(error):
                    log.warning("retries_postponed", error=str(error)[:200])
                else:
                    log.exception("retries_failed")
            if asked:
                service.wake_relay()
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(service.stopping.wait(), timeout=seconds)

    return loop


def _measures(service: Service, providers: list[Provider]) -> Callable[[], Awaitable[None]]:
    async def loop() -> None:
        while not service.stopping.is_set():
            try:
                await measure(service.engine, providers)
            except Exception as error:
                if not is_retried_by_loops(error):
                    raise
                log.warning("measures_postponed", error=str(error)[:200])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(service.stopping.wait(), timeout=MEASURE_SECONDS)

    return loop


def _refresh_loop(
    service: Service, what: str, refresh_one: Callable[[], Awaitable[bool]], poll: float
) -> Callable[[], Awaitable[None]]:
    """One question after the other, with pauses, for what comes after prices.

    what : names the events of the log
    poll : seconds to the next look where nothing was asked
    """
    postponed, failed = f"{what}_postponed", f"{what}_failed"

    async def loop() -> None:
        while not service.stopping.is_set():
            asked = False
            try:
                async with service.engine.connect() as conn:
                    await load_closures(conn)
                asked = await refresh_one()
            except Exception as error:
                if is_retried_by_loops(error):
                    log.warning(postponed, error=str(error)[:200])
                else:
                    log.exception(failed)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(service.stopping.wait(), timeout=PROFILE_PAUSE if asked else poll)

    return loop


def _lookups(
    service: Service, providers: list[Provider], bind: Callable[[], None], at_most: int
) -> Callable[[], Awaitable[None]]:
    """Previews wait for these answers, so the pause is short; one indexed query a turn, of a table that is nearly always empty."""
    file = next((provider for provider in providers if isinstance(provider, FileProvider)), None)
    network = Network([provider for provider in providers if isinstance(provider, RateLimitedProvider)], bind, at_most)

    async def loop() -> None:
        while not service.stopping.is_set():
            pause = LOOKUP_PAUSE
            try:
                await answer_open(service.engine, file, network)
            except Exception as error:
                pause = LOOKUP_PAUSE_AFTER_FAILURE
                if is_retried_by_loops(error) or isinstance(error, BadPriceFile):
                    log.warning("lookups_postponed", error=str(error)[:200])
                else:
                    log.exception("lookups_failed")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(service.stopping.wait(), timeout=pause)

    return loop
