"""Symbols: the list of those that are known, one of them, and which security one means."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Form, Request
from fastapi.responses import Response

from services.coordinator.context import Ctx
from services.coordinator.errors import NotFound
from services.coordinator.reference import symbols as symbols_
from services.coordinator.results import holdings, identities, price_history, symbols
from services.coordinator.web.rendering import page
from services.coordinator.web.routes.common import Day, apply_change, back
from services.coordinator.web.routes.common import router as made
from services.coordinator.web.texts import gettext as _
from services.coordinator.web.views import symbol as views
from shared.db.engine import snapshot

router = made()
SHOWN_REPLACED = 20


@router.get("/symbols")
async def list_symbols(request: Request, context: Ctx, q: str = "") -> Response:
    async with snapshot(context.engine) as conn:
        found = await holdings.universe(conn)
    wanted = q.strip().upper()
    exact = [item for item in found if item["symbol"] == wanted]
    if len(exact) == 1:
        return back(f"/symbols/{quote(wanted, safe='')}")
    shown = [item for item in found if wanted in item["symbol"] or wanted in (item["name"] or "").upper()]
    return page(request, "symbols.html", items=shown, q=q, total=len(found))


@router.get("/symbols/{symbol}")
async def one(request: Request, symbol: str, context: Ctx) -> Response:
    async with snapshot(context.engine) as conn:
        facts = await identities.describe(conn, symbol)
        prices = await symbols.prices(conn, symbol, None, None)
        found: list[dict[str, Any] | None] = []
        for read in (symbols.metrics, symbols.factors):
            try:
                found.append(await read(conn, symbol, None))
            except NotFound:
                found.append(None)
        holders = await holdings.holders(conn, facts["symbol"])
        replaced = await price_history.find_replaced(conn, symbol, SHOWN_REPLACED)
    metrics, factors = found
    return page(request, "symbol.html", replaced=replaced, view=views.view(facts, prices, metrics, factors, holders))


@router.post("/symbols/{symbol}/resolve")
async def resolve(
    symbol: str,
    context: Ctx,
    chosen: Annotated[str, Form(max_length=30)],
    valid_from: Annotated[Day, Form()] = None,
    valid_to: Annotated[Day, Form()] = None,
) -> Response:
    await apply_change(context, lambda conn: symbols_.choose(conn, symbol, chosen, valid_from, valid_to))
    return back(f"/symbols/{quote(symbol, safe='')}", _("Saved. Its prices are asked for under that name."))
