"""What the pages of a portfolio's parts share: its head, its strip, and the page of a part whose figures may not be there yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.context import Context
from services.coordinator.errors import Contradictory, NotFound
from services.coordinator.results import grid, portfolios, thinned
from services.coordinator.web.rendering import live_part, page
from services.coordinator.web.routes.common import Day, portfolio_header
from services.coordinator.web.texts import gettext as _
from services.coordinator.web.views.header import Header
from services.coordinator.web.views.strip import Strip, strip
from shared.db.engine import snapshot

From = Annotated[Day, Query(alias="from", description="First session of a range")]
To = Annotated[Day, Query(alias="to", description="Last session of a range")]
View = Callable[[AsyncConnection, date], Awaitable[dict[str, Any]]]


def live_header(head: Header, lane: Strip) -> dict[str, Any]:
    """What every part's page shows of the portfolio, and the piece of it that the stream writes again."""
    return {"head": head, "strip": lane, **live_part("_live.html", head=head, strip=lane, arrived=False)}


async def strip_of(conn: AsyncConnection, context: Context, portfolio_id: UUID) -> Strip:
    return strip(await grid.read(conn, context.clock, portfolios=[portfolio_id]))


async def part_page(
    request: Request,
    context: Context,
    portfolio_id: UUID,
    session: date | None,
    part: str,
    view: View,
    *,
    asked: bool = False,
) -> Response:
    """A part whose figures may not be there yet, or no more: without any, the page says how far it is, or how they are had again.

    asked : the reader named a range; one without figures is then refused, and not a matter of waiting
    """
    async with snapshot(context.engine) as conn:
        _, head, _ = await portfolio_header(conn, context, portfolio_id, session)
        lane = await strip_of(conn, context, portfolio_id)
        found, gone = None, False
        if head.session is not None:
            try:
                found = await view(conn, date.fromisoformat(head.session))
            except thinned.ThinnedOut:
                gone = True
            except NotFound:
                if asked:
                    raise
                # Values are there and risk is not yet.
                found = None
    # A matrix of two hundred holdings is eight megabytes of page.
    header = live_header(head, lane)
    return await asyncio.to_thread(page, request, f"{part}.html", **header, part=part, view=found, thinned=gone)


async def whole_risk(conn: AsyncConnection, portfolio_id: UUID, which: str, on: date) -> dict[str, Any]:
    """What risk stored of the session, as `portfolios.risk_document` has it. Raises `ThinnedOut` where only its exposures are left."""
    found = await portfolios.risk_document(conn, portfolio_id, which, on)
    if which != "exposures" and thinned.is_thinned(found):
        raise thinned.ThinnedOut(on)
    return found


def assert_in_order(first: date | None, last: date) -> None:
    if first is not None and first > last:
        raise Contradictory(_("From {first} is after to {last}. Swap them.").format(first=first, last=last))
