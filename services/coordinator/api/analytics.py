"""Figures of ranges and of questions, worked out from what is stored when they are asked for. Nothing is stored by them."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from services.coordinator.api.bodies import WhatIfBody
from services.coordinator.api.context import Ctx
from services.coordinator.api.models import analytics as models
from services.coordinator.api.models import look_through as look_through_models
from services.coordinator.api.query_dates import Day, assert_in_order, session_snapshot
from services.coordinator.api.representation import DocumentRoute
from services.coordinator.results import attribution as attributions
from services.coordinator.results import liquidity as liquidities
from services.coordinator.results import look_through as look_throughs
from services.coordinator.results import performance as performances
from services.coordinator.results import replay as replays
from services.coordinator.results import sector_exposures as sector_exposures_
from services.coordinator.results import what_if as what_ifs
from services.coordinator.results.carry import Terms
from services.coordinator.results.what_if import Trade
from shared.db.engine import snapshot
from shared.market.registry import ADV_SHARE

router = APIRouter(route_class=DocumentRoute, tags=["results"])

From = Annotated[Day | None, Query(alias="from", description="First session; without it the portfolio's first")]
To = Annotated[Day | None, Query(alias="to", description="Last session; without it the newest with a snapshot")]
Session = Annotated[Day | None, Query(description="An exchange session; without it the newest completed one")]
Symbol = Annotated[str | None, Query(max_length=100, description="Such as SPY; its total returns stand beside")]


@router.get(
    "/portfolios/{portfolio_id}/performance",
    summary="Returns, ratios, drawdowns and a calendar of a range, beside a benchmark",
    response_model=models.PerformanceAnswer,
)
async def performance(
    portfolio_id: UUID,
    context: Ctx,
    first: From = None,
    last: To = None,
    benchmark: Symbol = None,
    interest: Annotated[bool, Query(description="Say what money would have earned and cost, in `carry`")] = False,  # noqa: FBT002
    margin_spread: Annotated[float, Query(ge=0.0, le=0.5, description="A year, over the bill; with `interest`")] = 0.0,
    borrow_rate: Annotated[float, Query(ge=0.0, le=2.0, description="A year, of what is short; with `interest`")] = 0.0,
) -> dict[str, Any]:
    """Time-weighted and money-weighted. As CSV: the months. A benchmark that is not stored is refused, never fetched."""
    assert_in_order(first, last)
    terms = Terms(margin_spread, borrow_rate) if interest else None
    async with snapshot(context.engine) as conn:
        return await performances.read(conn, portfolio_id, first, last, benchmark, terms)


@router.get(
    "/portfolios/{portfolio_id}/attribution",
    summary="Where a range's return came from: positions, sectors, factors, a benchmark's sectors",
    response_model=models.AttributionAnswer,
)
async def attribution(portfolio_id: UUID, context: Ctx, first: From = None, last: To = None) -> dict[str, Any]:
    """Linked by Carino: each of the three adds up to the time-weighted return. As CSV: the positions."""
    assert_in_order(first, last)
    async with snapshot(context.engine) as conn:
        return await attributions.read(conn, portfolio_id, first, last)


@router.get(
    "/portfolios/{portfolio_id}/stress/replay",
    summary="A dated stretch of the past with what a session holds",
    response_model=models.Replay,
)
async def replay(
    portfolio_id: UUID,
    context: Ctx,
    first: Annotated[Day, Query(alias="from", description="From this day's close")],
    last: Annotated[Day, Query(alias="to", description="To this day's close")],
    session: Session = None,
) -> dict[str, Any]:
    """By the proxies' returns and, where the stretch ended by the session, by the holdings' own. Nothing is fetched for it."""
    assert_in_order(first, last)
    async with session_snapshot(context, portfolio_id, session) as conn:
        return await replays.read(conn, context.clock, portfolio_id, first, last, session)


@router.get(
    "/portfolios/{portfolio_id}/liquidity",
    summary="How long a session's holdings take to sell",
    response_model=models.Liquidity,
)
async def liquidity(
    portfolio_id: UUID,
    context: Ctx,
    session: Session = None,
    share: Annotated[float, Query(gt=0.0, le=1.0, description="Of a day's mean volume that is sold a day")] = ADV_SHARE,
) -> dict[str, Any]:
    async with session_snapshot(context, portfolio_id, session) as conn:
        return await liquidities.read(conn, portfolio_id, session, share)


@router.get(
    "/portfolios/{portfolio_id}/look-through",
    summary="What stands behind a session's funds: sectors, names, concentration",
    response_model=look_through_models.LookThrough,
)
async def look_through(
    portfolio_id: UUID,
    context: Ctx,
    session: Session = None,
    most: Annotated[int, Query(ge=1, le=20_000, description="Names, the largest first")] = 100,
) -> dict[str, Any]:
    """With the lists of holdings dated on or before the session (`PUT /funds/…`); a fund without one stays a name. As CSV: the names."""
    async with session_snapshot(context, portfolio_id, session) as conn:
        return await look_throughs.read(conn, portfolio_id, session, most)


@router.get(
    "/portfolios/{portfolio_id}/sector-exposures",
    summary="Sensitivity to the funds of sectors, beyond the market's",
    response_model=look_through_models.SectorExposures,
)
async def sector_exposures(portfolio_id: UUID, context: Ctx, session: Session = None) -> dict[str, Any]:
    """Of the Select Sector funds (XLK and so on) whose 252 returns are stored; nothing is fetched. As CSV: the sectors."""
    async with session_snapshot(context, portfolio_id, session) as conn:
        return await sector_exposures_.read(conn, portfolio_id, session)


@router.post(
    "/portfolios/{portfolio_id}/what-if",
    summary="What trades would do to a session's risk; nothing is stored",
    response_model=models.WhatIf,
)
async def what_if(portfolio_id: UUID, context: Ctx, body: WhatIfBody) -> dict[str, Any]:
    """At the session's closes and without costs. A symbol without a stored price is refused (`not_fetched`)."""
    trades = [Trade(trade.symbol, trade.quantity) for trade in body.trades]
    async with session_snapshot(context, portfolio_id, body.session) as conn:
        return await what_ifs.read(conn, portfolio_id, trades, body.session)
