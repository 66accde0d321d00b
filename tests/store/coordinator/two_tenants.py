"""Two tenants on one installation, of which B has something of each kind; for the tests of what A can learn or do of it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from uuid import UUID

import httpx2
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.control.unit_runs import refresh_all
from services.coordinator.web import routes as page_routes
from tests.store.coordinator.conftest import CSV, PREFIX, Api, client, make_app

SERVER = "the-token-of-the-server"
# What no answer to anybody else may hold.
SECRET = "Stillwater"


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@dataclass
class World:
    """A client without a token, heads of both tenants' operators and of the server, and the ids of everything that is B's."""

    http: httpx2.AsyncClient
    app: FastAPI
    admin: AsyncEngine
    installation: Api
    server: dict[str, str]
    a: dict[str, str]
    b: dict[str, str]
    tenants: dict[str, UUID]
    theirs: dict[str, str] = field(default_factory=dict)

    async def call(self, method: str, path: str, head: dict[str, str], **more: Any) -> httpx2.Response:
        return await self.http.request(
            method, path if path.startswith("/") else f"{PREFIX}/{path}", headers=head, **more
        )

    async def made(self, path: str, head: dict[str, str], status: int = 201, **more: Any) -> Any:
        answer = await self.call("POST", path, head, **more)
        assert answer.status_code == status, (path, answer.text)
        return answer.json()

    @property
    def operations(self) -> list[tuple[str, str]]:
        return [
            (method.upper(), path)
            for path, methods in self.app.openapi()["paths"].items()
            if path.startswith("/api")
            for method in methods
        ]


async def upload(world: World, head: dict[str, str], name: str) -> dict[str, Any]:
    form = {"name": name, "equity_balance": "100000"}
    made = await world.made("portfolios/import", head, data=form, files={"file": ("p.csv", CSV.encode(), "text/csv")})
    return dict(made)


async def _settle(world: World) -> None:
    """B has something of each kind."""
    portfolio = (await upload(world, world.b, SECRET))["id"]
    document = (await world.call("GET", f"portfolios/{portfolio}", world.b)).json()
    flow = await world.made(f"portfolios/{portfolio}/flows", world.b, json={"date": "2020-12-29", "amount": 5})
    limit = await world.made(
        "limits", world.b, json={"name": SECRET, "figure": "status.missing", "op": ">", "value": 1}
    )
    webhook = await world.made(
        "admin/webhooks", world.b, json={"name": SECRET, "url": "https://example.org/stillwater"}
    )
    token = await world.made("admin/tokens", world.b, json={"name": SECRET, "role": "reader"})
    user = await world.made("admin/users", world.b, json={"name": f"{SECRET} desk", "role": "reader"})
    invitation = await world.made("admin/invitations", world.b, json={"name": SECRET, "role": "reader"})
    run = await world.made(f"portfolios/{portfolio}/calculate", world.b, 202)
    saved = await world.call("PUT", f"imports/mappings/{SECRET}", world.b, json={"dialect": "us"})
    assert saved.status_code == 200, saved.text
    async with world.admin.connect() as conn:
        imported = await conn.scalar(text("SELECT id FROM coordinator.imports LIMIT 1"))
        flow_id = await conn.scalar(text("SELECT id FROM coordinator.flows LIMIT 1"))
    assert flow
    world.theirs = {
        "portfolio_id": portfolio,
        "position_id": document["positions"][0]["id"],
        "flow_id": str(flow_id),
        "import_id": str(imported),
        "limit_id": limit["id"],
        "webhook_id": webhook["id"],
        "token_id": token["id"],
        "user_id": user["id"],
        "invitation_id": invitation["id"],
        "run_id": run["run_id"],
        "name": SECRET,
        "tenant_id": str(world.tenants["b"]),
    }


@asynccontextmanager
async def two_tenants(
    engine: AsyncEngine, engines: tuple[AsyncEngine, AsyncEngine], loops: AsyncEngine, **settings: Any
) -> AsyncIterator[World]:
    """On the emptied database; requests are answered by `engine`, as the API's role or as the coordinator's."""
    async with client(engines, loops) as api:
        app = make_app(engine, [], token=SERVER, limits=settings)
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as http:
            made = World(http, app, engines[1], api, bearer(SERVER), {}, {}, {})
            for name in ("a", "b"):
                tenant = (await made.made("admin/tenants", made.server, json={"name": name}))["id"]
                secret = await made.made(
                    f"admin/tokens?tenant_id={tenant}", made.server, json={"name": f"of {name}", "role": "operator"}
                )
                setattr(made, name, bearer(secret["token"]))
                made.tenants[name] = UUID(tenant)
            await _settle(made)
            # Marks of changes are worked in by the first list that is read: not by one of the tests.
            await refresh_all(loops)
            yield made


def needles(world: World) -> list[str]:
    """What no answer to A may hold."""
    return [SECRET, "stillwater", *world.theirs.values()]


async def belongings(world: World) -> list[str]:
    """Every row with an id of B's in it, but for when a token was last seen."""
    found: list[str] = []
    async with world.admin.connect() as conn:
        tables = await conn.scalars(
            text("SELECT CAST(polrelid AS regclass)::text FROM pg_policy WHERE polname = 'own_tenant' ORDER BY 1")
        )
        for table in list(tables):
            rows = await conn.scalars(
                text(f"SELECT CAST(to_jsonb(t) - 'last_used_at' AS text) FROM {table} t"),
            )
            found += sorted(f"{table} {row}" for row in rows if any(of in row for of in world.theirs.values()))
    return found


def concrete(path: str, ids: dict[str, str]) -> str:
    path = re.sub(r"\{[a-z_]*(day|date|session)\}", "2020-12-29", path)
    return re.sub(r"\{([a-z_]+)\}", lambda found: ids.get(found[1], "AAPL"), path)


def page_routes_of() -> list[APIRoute]:
    """Every route of the pages."""
    modules = [each for each in vars(page_routes).values() if isinstance(each, ModuleType)]
    routers = {id(found): found for each in modules for found in vars(each).values() if isinstance(found, APIRouter)}
    return [route for router in routers.values() for route in router.routes if isinstance(route, APIRoute)]
