"""What a symbol is, the answer to "which one do you mean", and to "is this price true"."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from services.coordinator.api.bodies import Body, Line, Words
from services.coordinator.api.context import Ctx
from services.coordinator.api.idempotent_writes import idempotent_write
from services.coordinator.api.models import symbols as symbols_models
from services.coordinator.api.query_dates import Day
from services.coordinator.api.representation import DocumentRoute
from services.coordinator.reference import symbols
from services.coordinator.results import identities, quarantine
from shared.db.engine import snapshot

router = APIRouter(route_class=DocumentRoute, tags=["symbols"])


class ResolveBody(Body):
    """The symbol vendors are to be asked for. Validity only where a symbol was used again for something else."""

    symbol: Line = Field(min_length=1, max_length=30, examples=["META"])
    valid_from: date | None = None
    valid_to: date | None = None


class DecisionBody(Body):
    """Why, and who says so. Both are kept, and shown where a figure rests on the price."""

    reason: Words = Field(min_length=1, max_length=500, examples=["reverse split announced 2026-11-20"])
    by: Line = Field(default="operator", min_length=1, max_length=100)


@router.get(
    "/symbols/quarantined",
    summary="Prices held back because nobody has confirmed their jump, newest first",
    response_model=symbols_models.HeldPrices,
)
async def quarantined(
    context: Ctx,
    state: Annotated[
        Literal["held", "rejected", "released", "corrected"] | None,
        Query(description="Without it held and rejected ones: those without a price"),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=50, description="`next` of the page before")] = None,
) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        return await quarantine.page(conn, state=state, limit=limit, cursor=cursor)


@router.get(
    "/symbols/{symbol}",
    summary="What a symbol is, what is missing of it, and what it may mean",
    response_model=symbols_models.SymbolFacts,
)
async def symbol_facts(symbol: str, context: Ctx) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        return await identities.describe(conn, symbol)


@router.post(
    "/symbols/{symbol}/resolve",
    summary="Say which security a symbol means; its prices are then asked for",
    response_model=symbols_models.SymbolFacts,
)
async def resolve(symbol: str, body: ResolveBody, request: Request, context: Ctx) -> Response:
    async def act(conn: Any) -> tuple[int, Any]:
        await symbols.choose(conn, symbol, body.symbol, body.valid_from, body.valid_to)
        return 200, await identities.describe(conn, symbol)

    return await idempotent_write(request, context, act, symbol, body.model_dump_json())


@router.post(
    "/symbols/{symbol}/quarantine/{session}/release",
    summary="Accept a price that was held back",
    response_model=symbols_models.HeldPrice,
)
async def release(symbol: str, session: Day, body: DecisionBody, request: Request, context: Ctx) -> Response:
    return await _decide("release", symbol, session, body, request, context)


@router.post(
    "/symbols/{symbol}/quarantine/{session}/reject",
    summary="Leave a price out that was held back; later ones come",
    response_model=symbols_models.HeldPrice,
)
async def reject(symbol: str, session: Day, body: DecisionBody, request: Request, context: Ctx) -> Response:
    return await _decide("reject", symbol, session, body, request, context)


async def _decide(
    decision: str, symbol: str, session: date, body: DecisionBody, request: Request, context: Ctx
) -> Response:
    async def act(conn: Any) -> tuple[int, Any]:
        return 200, await symbols.decide(conn, symbol, session, decision, reason=body.reason, by=body.by)

    return await idempotent_write(request, context, act, symbol, session.isoformat(), decision, body.model_dump_json())
