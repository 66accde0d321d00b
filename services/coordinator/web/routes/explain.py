"""Why a number is what it is: of a portfolio, and of a symbol."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.context import Ctx
from services.coordinator.errors import NotFound
from services.coordinator.explain import portfolios, symbols
from services.coordinator.portfolios import store
from services.coordinator.results import restatements, sessions
from services.coordinator.web.rendering import page
from services.coordinator.web.routes.common import Session, portfolio_header
from services.coordinator.web.routes.common import router as made
from services.coordinator.web.views import explain as views
from shared.db.engine import snapshot

router = made()
Figure = Annotated[str, Query(max_length=300)]
BEFORE = 20


@router.get("/p/{portfolio_id}/explain")
async def of_portfolio(
    request: Request, portfolio_id: UUID, context: Ctx, figure: Figure = "", session: Session = None
) -> Response:
    async with snapshot(context.engine) as conn:
        _, head, _ = await portfolio_header(conn, context, portfolio_id, session)
        if not figure:
            listed = await portfolios.names(conn, portfolio_id, session)
            return await asyncio.to_thread(page, request, "explain_names.html", head=head, symbol=None, listed=listed)
        found = await portfolios.explain(conn, portfolio_id, session, figure, lots=views.SHOWN)
        when = date.fromisoformat(found["session"])
        lots = await _symbol_of_lot(conn, portfolio_id, found["figure"])
        said = await restatements.page(
            conn, portfolio_id, limit=BEFORE, cursor=None, session=when, figure=found["figure"]
        )
    before = [item for item in said["items"] if item["figure"] == found["figure"]]
    return page(request, "explain.html", head=head, symbol=None, view=views.view(head.name, found, before, lots))


async def _symbol_of_lot(conn: AsyncConnection, portfolio: UUID, figure: str) -> dict[str, str]:
    """The symbol of the lot that a figure is of, by the lot's id."""
    identity = f"{figure}.".split(".")[1]
    try:
        row = await store.position(conn, portfolio, UUID(identity)) if figure.startswith("positions.") else None
    except ValueError:
        return {}
    return {identity: row["symbol"]} if row is not None else {}


@router.get("/symbols/{symbol}/explain")
async def of_symbol(
    request: Request, symbol: str, context: Ctx, figure: Figure = "", session: Session = None
) -> Response:
    sessions.check(session, context.clock)
    async with snapshot(context.engine) as conn:
        if not figure:
            listed = await symbols.names(conn, symbol, session)
            return await asyncio.to_thread(
                page, request, "explain_names.html", head=None, symbol=listed["symbol"], listed=listed
            )
        found = await symbols.explain(conn, symbol, session, figure)
    if not found:
        raise NotFound(f"There is no figure {figure!r} of {symbol}.")
    return page(request, "explain.html", head=None, symbol=found["symbol"], view=views.view(found["symbol"], found, []))
