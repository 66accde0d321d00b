"""The tear sheet: print-ready as a page, and as one file that needs nothing else."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any
from uuid import UUID

from fastapi import Request
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.context import Context, Ctx
from services.coordinator.errors import NotFound
from services.coordinator.results import attribution as attributions
from services.coordinator.results import performance as performances
from services.coordinator.results import portfolios, thinned, valued_lots
from services.coordinator.web.rendering import page
from services.coordinator.web.routes.common import Session, portfolio_header
from services.coordinator.web.routes.common import router as made
from services.coordinator.web.routes.portfolio import performance_of, risk_of
from services.coordinator.web.routes.questions import USUAL_SHARE, liquidity_of
from services.coordinator.web.views import attribution as attribution_views
from services.coordinator.web.views import factors as factor_views
from services.coordinator.web.views import positions as position_views
from services.coordinator.web.views import returns as return_views
from services.coordinator.web.views import stress as stress_views
from services.coordinator.web.views.reasons import group_by_reason
from shared.db.engine import snapshot

router = made()


@router.get("/report/{portfolio_id}")
async def report(
    request: Request,
    portfolio_id: UUID,
    context: Ctx,
    session: Session = None,
    inline: bool = False,  # noqa: FBT001, FBT002 (a query parameter)
) -> Response:
    """With `inline` the style sheet stands in the file and numbers link nowhere: it can be sent and opened anywhere."""
    async with snapshot(context.engine) as conn:
        view = await _read(conn, context, portfolio_id, session)
    answer = page(request, "report.html", inline=inline, **view)
    if inline:
        # The file's one style element is ours; the page that serves it may run nothing at all.
        answer.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        name = "".join(
            sign if sign.isascii() and (sign.isalnum() or sign in "-_") else "-" for sign in view["head"].name
        )
        answer.headers["Content-Disposition"] = f'attachment; filename="{name}-{view["head"].session}.html"'
    return answer


async def _read(conn: AsyncConnection, context: Context, portfolio_id: UUID, session: date | None) -> dict[str, Any]:
    _, head, _ = await portfolio_header(conn, context, portfolio_id, session)
    if head.session is None:
        raise NotFound("There is nothing to report yet: no session is computed.")
    on = date.fromisoformat(head.session)
    of = str(portfolio_id)
    view: dict[str, Any] = {
        "head": head,
        "model": None,
        "performance": await performance_of(conn, portfolio_id, on, "max"),
        "positions": await asyncio.to_thread(
            position_views.view, of, await valued_lots.read(conn, portfolio_id, on), [], []
        ),
        "risk": None,
        "thinned": False,
        "factors": None,
        "stress": None,
        "reasons": [],
        "returns": return_views.view(of, await performances.read(conn, portfolio_id, None, on), whole=True),
        "attribution": attribution_views.view(of, await attributions.read(conn, portfolio_id, None, on)),
        "liquidity": await liquidity_of(conn, portfolio_id, on, USUAL_SHARE),
    }
    try:
        view["risk"] = await risk_of(conn, portfolio_id, on)
        exposures = await portfolios.risk_document(conn, portfolio_id, "exposures", on)
        view["factors"] = factor_views.view(of, exposures)
        view["stress"] = stress_views.view(of, await portfolios.risk_document(conn, portfolio_id, "stress", on), None)
        view["reasons"], view["model"] = group_by_reason(exposures["reasons"]), exposures["model_version"]
    except thinned.ThinnedOut:
        view["thinned"] = True
    except NotFound:
        # Values are there and risk is not yet: the sheet says so in its place.
        view["risk"] = None
    return view
