"""Wiring of the factors service. `uvicorn --factory services.factors.app:create_app`."""

from __future__ import annotations

from fastapi import FastAPI

from services.factors.settings import FactorsSettings
from services.factors.workflow import FactorsWorker
from shared.application import create_phase_app
from shared.phase.topics import TOPICS_OF_PHASE
from shared.work import Phase


def create_app(settings: FactorsSettings | None = None) -> FastAPI:
    """The application. Importing or building it connects nothing; its lifespan does."""
    chosen = settings or FactorsSettings()
    return create_phase_app("factors", chosen, lambda _: FactorsWorker(chosen.patience), TOPICS_OF_PHASE[Phase.FACTORS])
