"""Wiring of the risk service. `uvicorn --factory services.risk.app:create_app`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from fastapi import FastAPI

from services.risk.compute.scenarios import Scenarios
from services.risk.settings import RiskSettings
from services.risk.workflow import RiskWorker, load_scenarios
from services.risk.workflow.scenario_sets import activate_scenarios, refresh_windows
from shared.application import create_phase_app
from shared.collection import collect_rarely
from shared.db.engine import is_retried_by_loops
from shared.phase.topics import TOPICS_OF_PHASE
from shared.service import Service
from shared.telemetry import logger
from shared.work import Phase

log = logger(__name__)
AGAIN_SECONDS = 1.0
# How often windows that a scenario file leaves to stored prices are looked up: each look that finds
# other returns restates all risk, and prices of a first import come over minutes.
WINDOWS_SECONDS = 60.0


def create_app(settings: RiskSettings | None = None) -> FastAPI:
    """The application. Importing or building it connects nothing; its lifespan does."""
    collect_rarely()
    settings = settings or RiskSettings()
    scenarios = load_scenarios(settings.risk_scenarios)
    app = create_phase_app("risk", settings, lambda _: RiskWorker(scenarios), TOPICS_OF_PHASE[Phase.RISK])
    service: Service = app.state.service
    service.background.append(_take_up(service, scenarios))
    return app


def _take_up(service: Service, scenarios: Scenarios) -> Callable[[], Awaitable[None]]:
    """Once, as soon as the database lets us; until then the set that was in force computes nothing here. Windows again and again."""

    async def once() -> None:
        active = False
        while not service.stopping.is_set():
            try:
                if active:
                    await refresh_windows(service.engine, scenarios)
                else:
                    await activate_scenarios(service.engine, scenarios)
                active = True
                with contextlib.suppress(TimeoutError):
                    pause = WINDOWS_SECONDS if scenarios.windows() else None
                    await asyncio.wait_for(service.stopping.wait(), pause)
            except Exception as error:
                if not is_retried_by_loops(error):
                    raise
                log.warning("scenarios_postponed", error=str(error)[:200])
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(service.stopping.wait(), AGAIN_SECONDS)

    return once
