"""A server that only reads: changes are refused before they are read, and its connections could not make any."""

from __future__ import annotations

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.app import create_api
from services.coordinator.settings import CoordinatorSettings
from shared.service import Service
from tests.store.coordinator.conftest import AS_OF, PREFIX, Api


async def test_it_answers_reads_without_a_broker_and_refuses_changes(
    api: Api, engines: tuple[AsyncEngine, AsyncEngine]
) -> None:
    portfolio = (await api.create())["id"]
    settings = CoordinatorSettings(
        database_url=engines[0].url.render_as_string(hide_password=False),
        # Nobody listens there: whoever connected would fail.
        kafka="127.0.0.1:1",
        as_of=AS_OF,
        hosts=("test",),
        read_only=True,
        drain_seconds=0,
    )
    app = create_api(settings)
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["checks"]) == (200, {"database": "ok", "process": "ok"})
        for path in (
            "/portfolios",
            f"/portfolios/{portfolio}/status",
            f"/portfolios/{portfolio}",
            "/completeness",
        ):
            ours, theirs = await api.client.get(PREFIX + path), await client.get(PREFIX + path)
            assert (theirs.status_code, theirs.json()) == (200, ours.json())
        assert (await client.get("/")).status_code == 200
        for method, path in (
            ("DELETE", f"/portfolios/{portfolio}"),
            ("PATCH", f"/portfolios/{portfolio}"),
            ("POST", "/portfolios/import"),
            ("POST", "/admin/reconcile"),
        ):
            refused = await client.request(method, PREFIX + path)
            assert (refused.status_code, refused.json()["code"]) == (403, "read_only"), (method, path)
        service = app.state.service
        assert isinstance(service, Service)
        async with service.engine.connect() as conn:
            with pytest.raises(DBAPIError, match="read-only transaction"):
                await conn.execute(text("UPDATE coordinator.portfolios SET name = 'theirs'"))
    assert await api.rows("SELECT 1 FROM coordinator.portfolios WHERE name = 'theirs' OR deleted_at IS NOT NULL") == []
