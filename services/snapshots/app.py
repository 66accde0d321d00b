"""The snapshots service: wiring only. `create_app` connects nothing; the application's lifespan does."""

from __future__ import annotations

from fastapi import FastAPI

from services.snapshots.handlers import TOPICS
from services.snapshots.settings import SnapshotsSettings
from services.snapshots.workflow import SnapshotsWorker
from shared.service import create_phase_app


def create_app(settings: SnapshotsSettings | None = None) -> FastAPI:
    """The application with its five operational paths, consumers and relay."""
    return create_phase_app("snapshots", settings or SnapshotsSettings(), lambda _: SnapshotsWorker(), TOPICS)
