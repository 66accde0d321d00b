"""The snapshots service: wiring only. `create_app` connects nothing; the application's lifespan does."""

from __future__ import annotations

from fastapi import FastAPI

from services.snapshots.settings import SnapshotsSettings
from services.snapshots.workflow import SnapshotsWorker
from shared.application import create_phase_app
from shared.phase.topics import TOPICS_OF_PHASE
from shared.work import Phase


def create_app(settings: SnapshotsSettings | None = None) -> FastAPI:
    """The application with its five operational paths, consumers and relay."""
    return create_phase_app(
        "snapshots", settings or SnapshotsSettings(), lambda _: SnapshotsWorker(), TOPICS_OF_PHASE[Phase.SNAPSHOTS]
    )
