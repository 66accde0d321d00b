"""Lots and flows of a portfolio. Each change raises what depends on it from the first affected session on."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator import serializers
from services.coordinator.api.bodies import FlowBody, PositionBody
from services.coordinator.api.context import Ctx
from services.coordinator.api.idempotent_writes import idempotent_write
from services.coordinator.api.models import common as common_models
from services.coordinator.api.models import portfolios as portfolios_models
from services.coordinator.api.representation import DocumentRoute
from services.coordinator.portfolios import service

router = APIRouter(route_class=DocumentRoute, tags=["portfolios"])


@router.post(
    "/portfolios/{portfolio_id}/positions",
    status_code=201,
    summary="Add a lot",
    response_model=portfolios_models.Imported,
)
async def add_position(request: Request, portfolio_id: UUID, body: PositionBody, context: Ctx) -> Response:
    given = body.given_fields()

    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        result = await service.add_position(conn, context.clock, portfolio_id, given, context.limits)
        return 201, serializers.import_answer(result) | {"position_id": str(result.position_id)}

    return await idempotent_write(request, context, act, json.dumps(given, sort_keys=True))


@router.patch(
    "/portfolios/{portfolio_id}/positions/{position_id}",
    summary="Change a lot; null clears an optional field",
    response_model=portfolios_models.Imported,
)
async def edit_position(
    request: Request, portfolio_id: UUID, position_id: UUID, body: PositionBody, context: Ctx
) -> Response:
    given = body.given_fields()

    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        limits = context.limits
        result = await service.edit_position(conn, context.clock, portfolio_id, position_id, given, limits)
        return 200, serializers.import_answer(result) | {"position_id": str(result.position_id)}

    return await idempotent_write(request, context, act, json.dumps(given, sort_keys=True))


@router.delete(
    "/portfolios/{portfolio_id}/positions/{position_id}",
    summary="Delete a lot, as if it had never been",
    response_model=common_models.Change,
)
async def delete_position(request: Request, portfolio_id: UUID, position_id: UUID, context: Ctx) -> Response:
    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        changed = await service.remove_position(conn, context.clock, portfolio_id, position_id)
        return 200, {"id": str(portfolio_id)} | serializers.change(changed)

    return await idempotent_write(request, context, act)


@router.post(
    "/portfolios/{portfolio_id}/flows",
    status_code=201,
    summary="Add a cash flow; positive is money in",
    response_model=portfolios_models.FlowAdded,
)
async def add_flow(request: Request, portfolio_id: UUID, body: FlowBody, context: Ctx) -> Response:
    given = body.given_fields()

    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        ids, changed = await service.add_flows(conn, context.clock, portfolio_id, [given])
        return 201, {"id": str(portfolio_id), "flow_id": str(ids[0])} | serializers.change(changed)

    return await idempotent_write(request, context, act, json.dumps(given, sort_keys=True))


@router.delete(
    "/portfolios/{portfolio_id}/flows/{flow_id}", summary="Delete a cash flow", response_model=common_models.Change
)
async def delete_flow(request: Request, portfolio_id: UUID, flow_id: UUID, context: Ctx) -> Response:
    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        changed = await service.remove_flow(conn, context.clock, portfolio_id, flow_id)
        return 200, {"id": str(portfolio_id)} | serializers.change(changed)

    return await idempotent_write(request, context, act)
