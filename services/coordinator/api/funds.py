"""What funds hold: the lists that a book is looked through with."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.api.bodies import FundHoldingsBody
from services.coordinator.api.context import Ctx
from services.coordinator.api.idempotent_writes import idempotent_write
from services.coordinator.api.models import admin as admin_models
from services.coordinator.api.query_dates import Day
from services.coordinator.api.representation import DocumentRoute
from services.coordinator.errors import NotFound
from services.coordinator.reference.funds import rules, store
from services.coordinator.reference.funds.rules import FundHoldings
from services.coordinator.results.values import to_json
from shared.db.engine import snapshot

router = APIRouter(route_class=DocumentRoute, prefix="/funds", tags=["benchmarks"])

Symbol = Annotated[str, Path(max_length=100, description="Of the fund, such as SPY")]
On = Annotated[Day, Path(alias="date", description="From when on the list counts, YYYY-MM-DD")]


@router.get("", summary="What funds hold, by fund, newest date first", response_model=admin_models.FundLists)
async def listed(
    context: Ctx, symbol: Annotated[str | None, Query(max_length=100, description="Only this fund")] = None
) -> dict[str, Any]:
    wanted = None if symbol is None else rules.symbol_of(symbol)
    async with snapshot(context.engine) as conn:
        found = await store.find_loaded(conn, wanted)
    return {"items": [_document(of, loaded_at) for of, loaded_at in found]}


@router.put(
    "/{symbol}/holdings/{date}",
    summary="Load or replace what a fund holds from a date on",
    response_model=admin_models.FundOutcome,
)
async def load(
    request: Request,
    symbol: Symbol,
    day: On,
    body: FundHoldingsBody,
    context: Ctx,
    dry_run: Annotated[bool, Query(description="Check, save nothing")] = False,  # noqa: FBT002
) -> Response:
    """Nothing that is stored rests on it: `…/look-through` uses it when it is asked. The same list again changes nothing."""
    of = rules.check(symbol, day, [row.given_fields() for row in body.holdings], context.clock.today())
    if dry_run:
        return JSONResponse(_document(of, None) | {"changed": False})

    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        loaded_at, changed = await store.save(conn, of)
        return 200, _document(of, loaded_at) | {"changed": changed}

    return await idempotent_write(request, context, act, json.dumps(body.given_fields(), sort_keys=True, default=str))


@router.delete(
    "/{symbol}/holdings/{date}",
    summary="Take back what a fund holds from a date on",
    response_model=admin_models.FundOutcome,
)
async def take_back(request: Request, symbol: Symbol, day: On, context: Ctx) -> Response:
    """From the date on the list before it counts again, if there is one."""
    fund = rules.symbol_of(symbol)

    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        if not await store.remove(conn, fund, day):
            raise NotFound(f"There is no list of what {fund} holds dated {day}. GET /api/v1/funds lists them.")
        return 200, {"symbol": fund, "date": day.isoformat(), "changed": True}

    return await idempotent_write(request, context, act)


def _document(of: FundHoldings, loaded_at: datetime | None) -> dict[str, Any]:
    return {
        "symbol": of.symbol,
        "date": of.date.isoformat(),
        "told": sum(of.weights),
        "holdings": [
            {"symbol": name, "weight": weight, "sector": sector or None}
            for name, weight, sector in zip(of.holdings, of.weights, of.sectors, strict=True)
        ],
        "loaded_at": to_json(loaded_at),
    }
