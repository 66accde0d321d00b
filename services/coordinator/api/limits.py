"""Limits on figures: who breaches one, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.api.bodies import Body, Line
from services.coordinator.api.context import Ctx
from services.coordinator.api.idempotent_writes import idempotent_write
from services.coordinator.api.models import notifications as models
from services.coordinator.api.representation import DocumentRoute
from services.coordinator.notifications import limit_store, service
from services.coordinator.notifications.model import Limit, LimitState, Op, Standing
from services.coordinator.results.values import to_json
from shared.db.engine import snapshot

router = APIRouter(route_class=DocumentRoute, prefix="/limits", tags=["notifications"])


class LimitBody(Body):
    """Breached where `figure` `op` `value` holds. Any figure of `…/explain`, or `status.hours_late` and its like (docs/operations.md)."""

    name: Line = Field(min_length=1, max_length=100, examples=["VaR over 3 %"])
    figure: Line = Field(min_length=1, max_length=200, examples=["risk.var.historical.0.95"])
    op: Op = Field(examples=[">"])
    value: Annotated[float, Field(allow_inf_nan=False, examples=[0.03])]
    portfolio_id: UUID | None = None


@router.get("", summary="Limits, and how each portfolio stands to them", response_model=models.FigureLimits)
async def listed(context: Ctx) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        limits = await limit_store.all_limits(conn)
        standings = await limit_store.standings(conn)
    return {"items": [_document(limit, [of for of in standings if of.limit == limit.id]) for limit in limits]}


@router.post("", status_code=201, summary="Create a limit", response_model=models.FigureLimit)
async def create(body: LimitBody, request: Request, context: Ctx) -> Response:
    """Looked at within seconds, then whenever its figure changes."""

    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        made = await service.add_limit(conn, body.name, body.portfolio_id, body.figure, body.op, body.value)
        return 201, _document(made, [])

    return await idempotent_write(request, context, act, body.model_dump_json())


@router.delete("/{limit_id}", status_code=204, summary="Delete a limit; nobody is told")
async def delete(limit_id: UUID, request: Request, context: Ctx) -> Response:
    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        await service.delete_limit(conn, limit_id)
        return 204, None

    return await idempotent_write(request, context, act)


def _document(limit: Limit, standings: Sequence[Standing]) -> dict[str, Any]:
    return {
        "id": str(limit.id),
        "name": limit.name,
        "portfolio_id": to_json(limit.portfolio),
        "figure": limit.figure,
        "op": limit.op.value,
        "value": limit.value,
        "created_at": to_json(limit.created_at),
        "breached": sum(of.state is LimitState.BREACHED for of in standings),
        "standings": [
            {
                "portfolio_id": str(of.portfolio),
                "state": of.state.value,
                "since": to_json(of.since),
                "value": to_json(of.reading.value),
                "detail": of.reading.detail,
                "session": to_json(of.reading.session),
            }
            for of in standings
        ],
    }
