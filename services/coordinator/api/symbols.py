"""What a symbol is, and the answer to "which one do you mean"."""

from __future__ import annotations

from datetime import date
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from services.coordinator.api.bodies import Body
from services.coordinator.api.changes import change
from services.coordinator.api.context import Ctx
from services.coordinator.reads import names
from shared.db.engine import snapshot

router = APIRouter(tags=["symbols"])


class ResolveBody(Body):
    """The symbol vendors are to be asked for. Validity only where a symbol was used again for something else."""

    symbol: str = Field(min_length=1, max_length=30, examples=["META"])
    valid_from: date | None = None
    valid_to: date | None = None


@router.get("/symbols/{symbol}", summary="What a symbol is, what is missing of it, and what it may mean")
async def symbol_facts(symbol: str, context: Ctx) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        return await names.facts(conn, symbol)


@router.post("/symbols/{symbol}/resolve", summary="Say which security a symbol means; its prices are then asked for")
async def resolve(symbol: str, body: ResolveBody, request: Request, context: Ctx) -> Response:
    async def act(conn: Any) -> tuple[int, Any]:
        await names.choose(conn, symbol, body.symbol, body.valid_from, body.valid_to)
        return 200, await names.facts(conn, symbol)

    return await change(request, context, act, symbol, body.model_dump_json())
