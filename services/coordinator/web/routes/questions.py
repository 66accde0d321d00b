"""What a portfolio's pages ask for beside what is stored: days to sell, and a stretch of the past once more."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import Contradictory, NotFound
from services.coordinator.results import liquidity, replay
from services.coordinator.web.texts import gettext as _
from services.coordinator.web.views import liquidity as liquidity_views
from services.coordinator.web.views import replay as replay_views
from shared.clock import Clock
from shared.market.registry import ADV_SHARE

USUAL_SHARE = 100 * ADV_SHARE
Share = Annotated[float, Query(gt=0.0, le=100.0, description="Percent of a day's mean volume that is sold a day")]


async def liquidity_of(conn: AsyncConnection, portfolio_id: UUID, session: date, share: float) -> dict[str, Any] | None:
    """None where the session has no holdings yet. share : percent"""
    try:
        found = await liquidity.read(conn, portfolio_id, session, share / 100)
    except NotFound:
        return None
    return liquidity_views.view(str(portfolio_id), found, usual=share == USUAL_SHARE)


async def replay_of(
    conn: AsyncConnection, clock: Clock, portfolio_id: UUID, session: date, first: date | None, last: date | None
) -> dict[str, Any]:
    """The form, and what it asks for: a range that cannot be is said beside the form, which keeps it."""
    known = {
        "windows": replay_views.windows(clock.calendar().first, clock.last_due()),
        "first": first,
        "last": last,
        "problem": "",
        "result": None,
    }
    if first is None and last is None:
        return known
    if first is None or last is None:
        return known | {"problem": _("A stretch has two ends: give both days.")}
    if first > last:
        return known | {"problem": _("From {first} is after to {last}. Swap them.").format(first=first, last=last)}
    try:
        found = await replay.read(conn, clock, portfolio_id, first, last, session)
    except (Contradictory, NotFound) as refused:
        return known | {"problem": str(refused)}
    return known | {"result": replay_views.view(found)}
