"""Completeness: once, and as a stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from sse_starlette.sse import EventSourceResponse

from services.coordinator.api.context import Context, Ctx, handler_snapshot, reads_once
from services.coordinator.api.models import portfolios as portfolios_models
from services.coordinator.api.representation import DocumentRoute, encode
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
@reads_once
async def read(portfolio_id: UUID, context: Ctx) -> dict[str, Any]:
    async with handler_snapshot(context) as conn:
        document = await completeness.read(conn, context.clock, portfolio_id)
    if document is None:
        raise NotFound(f"There is no portfolio {portfolio_id}. It may have been deleted.")
    return document


@router.get(
    "/portfolios/{portfolio_id}/status/stream",
    summary="The same, as server-sent events, whenever it changes",
    response_class=EventSourceResponse,
)
async def stream(portfolio_id: UUID, context: Ctx) -> EventSourceResponse:
    context.streams.assert_room()
    await read(portfolio_id, context)
    return context.streams.respond(_events(context, portfolio_id))


async def _events(context: Context, portfolio_id: UUID) -> AsyncGenerator[dict[str, str], None]:
    """`status` events until the client leaves, the portfolio is deleted (`gone`), or the server stops."""

    async def told() -> str | None:
        document = await _document(context, portfolio_id)
        return None if document is None else (await asyncio.to_thread(encode, document)).decode()

    async with aclosing(context.streams.follow(("status", portfolio_id), told)) as followed:
        async for data in followed:
            if data is None:
                yield {"event": "gone", "data": json.dumps({"id": str(portfolio_id)})}
                return
            yield {"event": "status", "data": data}


async def _document(context: Context, portfolio_id: UUID) -> dict[str, Any] | None:
    async with snapshot(context.engine, keep_plans=True) as conn:
        await load_closures(conn)
        return await completeness.read(conn, context.clock, portfolio_id)
