"""Wiring of the risk service. `uvicorn --factory services.risk.app:create_app`."""

from __future__ import annotations

from fastapi import FastAPI

from services.risk.handlers import TOPICS
from services.risk.settings import RiskSettings
from services.risk.workflow import RiskWorker, load_scenarios
from shared.service import create_phase_app


def create_app(settings: RiskSettings | None = None) -> FastAPI:
    """The application. Importing or building it connects nothing; its lifespan does."""
    settings = settings or RiskSettings()
    worker = RiskWorker(load_scenarios(settings.risk_scenarios))
    return create_phase_app("risk", settings, lambda _: worker, TOPICS)
