"""A portfolio's parts that show what is stored, each a page of its own; ranges are in `ranges.py`, trades in `what_if.py`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Request
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncConnection
from sse_starlette.sse import EventSourceResponse

from services.coordinator import serializers
from services.coordinator.context import Context, Ctx
from services.coordinator.control.unit_runs import refresh_all
from services.coordinator.errors import NotFound
from services.coordinator.portfolios import flows, store
from services.coordinator.results import (
    figure_series,
    portfolios,
    restatement_causes,
    restatements,
    scorecard,
    snapshot_rows,
    symbols,
    valued_lots,
)
from services.coordinator.runs import store as runs
from services.coordinator.web.rendering import digest, page, text_of
from services.coordinator.web.routes.common import Session, portfolio_header, runs_up_to_date
from services.coordinator.web.routes.common import router as made
from services.coordinator.web.routes.parts import From, To, live_header, part_page, strip_of, whole_risk
from services.coordinator.web.routes.questions import USUAL_SHARE, Share, liquidity_of, replay_of
from services.coordinator.web.texts import locale
from services.coordinator.web.views import correlations as correlation_views
from services.coordinator.web.views import data as data_views
from services.coordinator.web.views import factors as factor_views
from services.coordinator.web.views import operations as operation_views
from services.coordinator.web.views import performance as performance_views
from services.coordinator.web.views import positions as position_views
from services.coordinator.web.views import risk as risk_views
from services.coordinator.web.views import stress as stress_views
from services.coordinator.web.views.header import Header
from services.coordinator.web.views.strip import Strip
from shared.db.closures import load_closures
from shared.db.engine import snapshot
from shared.market.registry import PROXY_SYMBOLS

router = made(runs_up_to_date)
RUNS = 100
CHANGES = 20
CAUSES = 10


@router.get("/p/{portfolio_id}")
async def performance(
    request: Request,
    portfolio_id: UUID,
    context: Ctx,
    session: Session = None,
    period: Literal["1m", "ytd", "1y", "max"] = "max",
    imported: bool = False,  # noqa: FBT001, FBT002 (a query parameter)
) -> Response:
    async with snapshot(context.engine) as conn:
        _, head, _ = await portfolio_header(conn, context, portfolio_id, session)
        lane = await strip_of(conn, context, portfolio_id)
        view = None
        if head.session is not None:
            view = await performance_of(conn, portfolio_id, date.fromisoformat(head.session), period)
    return page(
        request, "performance.html", **live_header(head, lane), part="performance", view=view, imported=imported
    )


async def performance_of(conn: AsyncConnection, portfolio_id: UUID, session: date, period: str) -> dict[str, Any]:
    """The view of a session, with the market's proxy of that session to compare with, where it has prices."""
    rows = (await snapshot_rows.read(conn, portfolio_id, None, session))["items"]
    benchmark, closes = await _benchmark(conn, portfolio_id, session)
    view = performance_views.view(str(portfolio_id), rows, period, benchmark, closes)
    view["morning"] = performance_views.summarize_day(rows[-1], await _var(conn, portfolio_id, session))
    return view


async def _benchmark(
    conn: AsyncConnection, portfolio_id: UUID, session: date
) -> tuple[str | None, dict[str, float | None]]:
    try:
        exposures = await portfolios.risk_document(conn, portfolio_id, "exposures", session)
        symbol = exposures["proxies"]["market"] or PROXY_SYMBOLS[0]
        prices = await symbols.prices(conn, symbol, None, session)
    except NotFound:
        return None, {}
    adjusted = all(item["adj_close"] is not None for item in prices["items"])
    return symbol, {item["session"]: item["adj_close" if adjusted else "close"] for item in prices["items"]}


async def _var(conn: AsyncConnection, portfolio_id: UUID, session: date) -> float | None:
    try:
        found = await portfolios.risk_document(conn, portfolio_id, "risk", session)
    except NotFound:
        return None
    said = [item["var"] for item in found["var"] or () if (item["method"], item["level"]) == ("historical", 0.95)]
    return said[0] if said else None


@router.get("/p/{portfolio_id}/risk")
async def risk(request: Request, portfolio_id: UUID, context: Ctx, session: Session = None) -> Response:
    async def view(conn: AsyncConnection, on: date) -> dict[str, Any]:
        return await risk_of(conn, portfolio_id, on)

    return await part_page(request, context, portfolio_id, session, "risk", view)


async def risk_of(conn: AsyncConnection, portfolio_id: UUID, on: date) -> dict[str, Any]:
    found = await whole_risk(conn, portfolio_id, "risk", on)
    # A portfolio that is young has no forecast yet on any session.
    over_time = await figure_series.read(conn, portfolio_id, risk_views.OVER_TIME, None, on, strict=False)
    exceeded = scorecard.exceedances(await scorecard.forecast_rows(conn, portfolio_id, on))
    scored = await portfolios.scorecard_document(conn, portfolio_id, on)
    return risk_views.view(str(portfolio_id), found, over_time, exceeded, scored)


@router.get("/p/{portfolio_id}/factors")
async def factors(request: Request, portfolio_id: UUID, context: Ctx, session: Session = None) -> Response:
    async def view(conn: AsyncConnection, on: date) -> dict[str, Any]:
        return factor_views.view(str(portfolio_id), await whole_risk(conn, portfolio_id, "exposures", on))

    return await part_page(request, context, portfolio_id, session, "factors", view)


@router.get("/p/{portfolio_id}/stress")
async def stress(
    request: Request,
    portfolio_id: UUID,
    context: Ctx,
    session: Session = None,
    scenario: str | None = None,
    first: From = None,
    last: To = None,
) -> Response:
    """With `from` and `to` also that stretch of the past with what the session holds."""

    async def view(conn: AsyncConnection, on: date) -> dict[str, Any]:
        found = await whole_risk(conn, portfolio_id, "stress", on)
        replayed = await replay_of(conn, context.clock, portfolio_id, on, first, last)
        return stress_views.view(str(portfolio_id), found, scenario) | {"replay": replayed}

    return await part_page(request, context, portfolio_id, session, "stress", view)


@router.get("/p/{portfolio_id}/correlations")
async def correlations(
    request: Request,
    portfolio_id: UUID,
    context: Ctx,
    session: Session = None,
    order: Literal["clusters", "names"] = "clusters",
) -> Response:
    async def view(conn: AsyncConnection, on: date) -> dict[str, Any]:
        found = await whole_risk(conn, portfolio_id, "correlations", on)
        return await asyncio.to_thread(correlation_views.view, str(portfolio_id), found, order)

    return await part_page(request, context, portfolio_id, session, "correlations", view)


@router.get("/p/{portfolio_id}/positions")
async def positions(
    request: Request,
    portfolio_id: UUID,
    context: Ctx,
    session: Session = None,
    share: Share = USUAL_SHARE,
    symbol: Annotated[str, Query(max_length=100)] = "",
    lots: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> Response:
    """share : percent of a day's mean volume that is sold a day; symbol : lots of it alone; lots : which part of them, from 1"""
    async with snapshot(context.engine) as conn:
        found, head, _ = await portfolio_header(conn, context, portfolio_id, session)
        lane = await strip_of(conn, context, portfolio_id)
        stored, moved = await store.positions(conn, portfolio_id), await flows.find_flows(conn, portfolio_id)
        document = await asyncio.to_thread(serializers.portfolio, found, stored, moved)
        held: dict[str, Any] = {"items": [], "session": None}
        selling = None
        if head.session is not None:
            on = date.fromisoformat(head.session)
            held = await valued_lots.read(conn, portfolio_id, on)
            selling = await liquidity_of(conn, portfolio_id, on, share)
    view = await asyncio.to_thread(
        position_views.view,
        str(portfolio_id),
        held,
        document["positions"],
        document["flows"],
        symbol=symbol,
        part=lots,
    )
    view["liquidity"] = selling
    return page(request, "positions.html", **live_header(head, lane), part="positions", view=view, account=document)


@router.get("/p/{portfolio_id}/data")
async def data(request: Request, portfolio_id: UUID, context: Ctx, session: Session = None) -> Response:
    async with snapshot(context.engine) as conn:
        found, head, document = await portfolio_header(conn, context, portfolio_id, session)
        lane = await strip_of(conn, context, portfolio_id)
        said = await restatements.page(conn, portfolio_id, limit=CHANGES, cursor=None, session=session)
        why = await restatement_causes.page(conn, portfolio_id, session, session, limit=CAUSES, cursor=None)
        recent = [serializers.run(run) for run in await runs.page(conn, limit=RUNS, before=None, source=None)]
    own = [run for run in recent if str(portfolio_id) in (run["scope"].get("portfolio_ids") or ())]
    # Of many lots without a price the document is megabytes, and the event loop has others to answer.
    view = await asyncio.to_thread(data_views.view, str(portfolio_id), document, said, why)
    return page(
        request,
        "data.html",
        **live_header(head, lane),
        part="data",
        account=serializers.portfolio(found, [], []),
        view=view,
        runs=operation_views.runs(own, {str(portfolio_id): found.name}),
    )


@router.get("/p/{portfolio_id}/live")
async def live(portfolio_id: UUID, context: Ctx, seen: str = "", was: str = "") -> EventSourceResponse:
    """The strip and the badge as they change; once the portfolio is done, the page is asked to fetch its figures."""
    return context.streams.respond(_events(context, portfolio_id, seen, was))


async def _events(context: Context, portfolio_id: UUID, seen: str, was: str) -> AsyncGenerator[dict[str, str], None]:
    """`seen` and `was` are what the page shows already: a portfolio that is done in between is noticed all the same."""

    async def read() -> tuple[Header, Strip] | None:
        await refresh_all(context.engine)
        try:
            async with snapshot(context.engine) as conn:
                await load_closures(conn)
                _, head, _ = await portfolio_header(conn, context, portfolio_id, None)
                return head, await strip_of(conn, context, portfolio_id)
        except NotFound:
            # Deleted while somebody watched: nothing more will come.
            return None

    async with aclosing(context.streams.follow(("portfolio", portfolio_id, str(locale())), read)) as followed:
        async for found in followed:
            if found is None:
                return
            head, lane = found
            now = head.state.name
            text = text_of("_live.html", head=head, strip=lane, arrived=was == "healing" and now != "healing")
            if digest(text) != seen:
                yield {"data": text}
                seen = digest(text)
            was = now
