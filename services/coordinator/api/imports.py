"""What was imported, taking it back, and how files are read: layouts and saved mappings."""

from __future__ import annotations

import json
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator import serializers
from services.coordinator.api.bodies import Body, Line
from services.coordinator.api.context import Ctx
from services.coordinator.api.idempotent_writes import idempotent_write
from services.coordinator.api.import_forms import options
from services.coordinator.api.models import imports as models
from services.coordinator.api.representation import DocumentRoute
from services.coordinator.errors import NotFound
from services.coordinator.importer.presets import presets
from services.coordinator.portfolios import import_store, mapping_store, service
from services.coordinator.portfolios.undoing import Undoing
from services.coordinator.results.values import to_json
from shared.db.engine import snapshot

router = APIRouter(route_class=DocumentRoute, tags=["imports"])
Name = Annotated[str, Path(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")]


class MappingBody(Body):
    """How files are read under a name: fields as in an import's form."""

    dialect: Line = Field(default="", examples=["us"])
    preset: Line = Field(default="", examples=["schwab-positions"])
    map: dict[Line, Line] = Field(default_factory=dict, examples=[{"symbol": "Ticker"}])
    symbols: dict[Line, Line] = Field(default_factory=dict, examples=[{"US0378331005": "AAPL"}])


@router.get(
    "/portfolios/{portfolio_id}/imports",
    summary="The files that were imported, newest first",
    response_model=models.ImportedFiles,
)
async def listed(portfolio_id: UUID, context: Ctx) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        await service.get_existing(conn, portfolio_id)
        rows = await import_store.imports(conn, portfolio_id)
    return {"items": [to_json(dict(row)) for row in rows]}


@router.delete(
    "/portfolios/{portfolio_id}/imports/{import_id}", summary="Take an import back", response_model=models.ImportUndone
)
async def undo(request: Request, portfolio_id: UUID, import_id: UUID, context: Ctx) -> Response:
    undoing = Undoing(context.clock, portfolio_id, import_id)

    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        done = await undoing.undo(conn)
        return 200, {
            "import_id": str(done.import_id),
            "removed": done.removed,
            "restored": done.restored,
            **serializers.change(done.change),
            "warnings": [issue.document() for issue in done.issues.warnings],
        }

    return await idempotent_write(request, context, act, prepare=undoing.stage)


@router.get(
    "/imports/presets",
    summary="Layouts of brokers' files that are recognised by their header",
    response_model=models.Layouts,
)
async def layouts() -> dict[str, Any]:
    return {
        "items": [
            {
                "name": preset.name,
                "title": preset.title,
                "kind": preset.kind,
                "dialect": preset.dialect.name,
                "columns": {ours: list(theirs) for ours, theirs in preset.columns.items()},
                "documented": preset.documented,
            }
            for preset in presets().values()
        ]
    }


@router.get("/imports/mappings", summary="Saved mappings", response_model=models.Mappings)
async def mappings(context: Ctx) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        return {"items": [{"name": name, **settings} for name, settings in await mapping_store.mappings(conn)]}


@router.put("/imports/mappings/{name}", summary="Save how files are read, under a name", response_model=models.Mapping)
async def save(request: Request, name: Name, body: MappingBody, context: Ctx) -> Response:
    given = body.model_dump()
    # Refuses what no import could use, while the one who writes it is there.
    options(dialect=body.dialect, preset=body.preset, columns=dict(body.map), symbols=dict(body.symbols))

    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        await mapping_store.save_mapping(conn, name, given)
        return 200, {"name": name, **given}

    return await idempotent_write(request, context, act, json.dumps(given, sort_keys=True))


@router.delete("/imports/mappings/{name}", status_code=204, summary="Forget a saved mapping")
async def forget(request: Request, name: Name, context: Ctx) -> Response:
    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        if not await mapping_store.delete_mapping(conn, name):
            raise NotFound(f"There is no saved mapping {name!r}. GET /imports/mappings lists them.")
        return 204, None

    return await idempotent_write(request, context, act)
