"""Completeness: once, and as a stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from sse_starlette.sse import EventSourceResponse

from services.coordinator.api.context import Context, Ctx
from services.coordinator.api.models import portfolios as portfolios_models
from services.coordinator.api.representation import DocumentRoute
from services.coordinator.errors import NotFound
from services.coordinator.results import completeness
from shared.db.closures import load_closures
from shared.db.engine import snapshot

router = APIRouter(route_class=DocumentRoute, tags=["status"])


@router.get(
    "/portfolios/{portfolio_id}/status",
    summary="What is expected, what is done, what is missing and why",
    response_model=portfolios_models.Status,
)
async def read(portfolio_id: UUID, context: Ctx) -> dict[str, Any]:
    document = await _document(context, portfolio_id)
    if document is None:
        raise NotFound(f"There is no portfolio {portfolio_id}. It may have been deleted.")
    return document


@router.get(
    "/portfolios/{portfolio_id}/status/stream",
    summary="The same, as server-sent events, whenever it changes",
    response_class=EventSourceResponse,
)
async def stream(portfolio_id: UUID, context: Ctx) -> EventSourceResponse:
    first = await read(portfolio_id, context)
    return EventSourceResponse(_events(context, portfolio_id, first))


async def _events(context: Context, portfolio_id: UUID, first: dict[str, Any]) -> AsyncIterator[dict[str, str]]:
    """`status` events until the client leaves, the portfolio is deleted (`gone`), or the server stops."""
    document: dict[str, Any] | None = first
    shown: dict[str, Any] | None = None
    while not context.stopping.is_set():
        if document is None:
            yield {"event": "gone", "data": json.dumps({"id": str(portfolio_id)})}
            return
        if document != shown:
            yield {"event": "status", "data": json.dumps(document, allow_nan=False)}
            shown = document
        await asyncio.sleep(context.settings.stream_seconds)
        document = await _document(context, portfolio_id)


async def _document(context: Context, portfolio_id: UUID) -> dict[str, Any] | None:
    async with snapshot(context.engine) as conn:
        await load_closures(conn)
        return await completeness.read(conn, context.clock, portfolio_id)
