"""Puts the page into the application: its routes and its static files."""

from __future__ import annotations

from fastapi import FastAPI

from services.coordinator.web.compression import Compression
from services.coordinator.web.files import Kept
from services.coordinator.web.routes import (
    docs,
    editing,
    entry,
    explain,
    importing,
    notifications,
    openid,
    operations,
    portfolio,
    portfolios,
    ranges,
    report,
    settings,
    symbols,
    tokens,
    what_if,
)
from services.coordinator.web.sessions import Sessions


def install(app: FastAPI) -> None:
    """Explanations stand before symbols and portfolios: their paths are the longer ones."""
    app.state.page_sessions = Sessions()
    for module in (
        entry,
        docs,
        portfolios,
        importing,
        explain,
        portfolio,
        ranges,
        what_if,
        editing,
        symbols,
        operations,
        settings,
        tokens,
        notifications,
        report,
        openid,
    ):
        app.include_router(module.router)
    app.include_router(openid.settings_router)
    app.add_middleware(Compression)
    app.mount("/static", Kept(), name="static")
