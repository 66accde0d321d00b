"""Figures of a range of sessions that the reader chooses: returns, and where they came from."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any
from uuid import UUID

import numpy as np
from fastapi import Query, Request
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.context import Context, Ctx
from services.coordinator.errors import NotFetched
from services.coordinator.results import attribution as attributions
from services.coordinator.results import factor_returns
from services.coordinator.results import performance as performances
from services.coordinator.web.routes.common import Session, runs_up_to_date
from services.coordinator.web.routes.common import router as made
from services.coordinator.web.routes.parts import From, To, View, assert_in_order, part_page
from services.coordinator.web.views import attribution as attribution_views
from services.coordinator.web.views import returns as return_views
from shared.market.registry import PROXY_SYMBOLS

router = made(runs_up_to_date)
Benchmark = Annotated[str | None, Query(max_length=100, description="Such as SPY; left empty, nothing stands beside")]


@router.get("/p/{portfolio_id}/returns")
async def returns(
    request: Request,
    portfolio_id: UUID,
    context: Ctx,
    session: Session = None,
    first: From = None,
    last: To = None,
    benchmark: Benchmark = None,
) -> Response:
    """By default from the first session to the one that is looked at, beside the market's proxy where it has prices."""

    async def view(conn: AsyncConnection, on: date) -> dict[str, Any]:
        found = await _performance(conn, portfolio_id, first, last or on, on, benchmark)
        return return_views.view(str(portfolio_id), found, whole=first is None)

    return await _range_page(request, context, portfolio_id, session, "returns", (first, last), view)


async def _performance(
    conn: AsyncConnection, portfolio_id: UUID, first: date | None, last: date, on: date, benchmark: str | None
) -> dict[str, Any]:
    if benchmark is not None:
        return await performances.read(conn, portfolio_id, first, last, benchmark.strip() or None)
    [chosen], _ = await factor_returns.find_proxies(conn, np.array([on], dtype="datetime64[D]"))
    market = chosen[0] or PROXY_SYMBOLS[0]
    try:
        return await performances.read(conn, portfolio_id, first, last, market)
    except NotFetched:
        # Nobody asked for this one: without its prices the portfolio stands alone.
        return await performances.read(conn, portfolio_id, first, last)


@router.get("/p/{portfolio_id}/attribution")
async def attribution(
    request: Request,
    portfolio_id: UUID,
    context: Ctx,
    session: Session = None,
    first: From = None,
    last: To = None,
) -> Response:
    async def view(conn: AsyncConnection, on: date) -> dict[str, Any]:
        return attribution_views.view(str(portfolio_id), await attributions.read(conn, portfolio_id, first, last or on))

    return await _range_page(request, context, portfolio_id, session, "attribution", (first, last), view)


async def _range_page(
    request: Request,
    context: Context,
    portfolio_id: UUID,
    session: date | None,
    part: str,
    asked: tuple[date | None, date | None],
    view: View,
) -> Response:
    """A part over what was asked for, to the session that is looked at where no end was named."""

    async def ranged(conn: AsyncConnection, on: date) -> dict[str, Any]:
        assert_in_order(asked[0], asked[1] or on)
        return await view(conn, on) | {"asked": asked}

    return await part_page(request, context, portfolio_id, session, part, ranged, asked=asked != (None, None))
