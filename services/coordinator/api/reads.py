"""Results: one session of a portfolio, and symbol facts."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from services.coordinator.api.context import Ctx, handler_snapshot, reads_once
from services.coordinator.api.models import explained as explained_models
from services.coordinator.api.models import ranges as ranges_models
from services.coordinator.api.models import results as results_models
from services.coordinator.api.models import risk as risk_models
from services.coordinator.api.models import symbols as symbols_models
from services.coordinator.api.query_dates import Day, Instant, assert_in_order, session_snapshot
from services.coordinator.api.representation import DocumentRoute, Encoded
from services.coordinator.explain import portfolios as explain
from services.coordinator.explain import symbols as explain_symbols
from services.coordinator.results import portfolios, restatements, sessions, snapshot_rows, symbols, valued_lots
from shared.db.engine import snapshot

router = APIRouter(route_class=DocumentRoute, tags=["results"])

Session = Annotated[Day | None, Query(description="An exchange session; without it the newest completed one")]
From = Annotated[Day | None, Query(alias="from")]
To = Annotated[Day | None, Query(alias="to")]


@router.get(
    "/portfolios/{portfolio_id}/snapshots",
    summary="NAV, P&L and returns, a row a session, oldest first",
    response_model=results_models.Snapshots,
)
@reads_once
async def snapshots(portfolio_id: UUID, context: Ctx, first: From = None, last: To = None) -> Encoded:
    assert_in_order(first, last)
    async with handler_snapshot(context) as conn:
        return Encoded(await snapshot_rows.read_json(conn, portfolio_id, first, last))


@router.get(
    "/portfolios/{portfolio_id}/positions", summary="Every lot on a session", response_model=results_models.Positions
)
@reads_once
async def positions(portfolio_id: UUID, context: Ctx, session: Session = None) -> dict[str, Any]:
    async with session_snapshot(context, portfolio_id, session, once=True) as conn:
        return await valued_lots.read(conn, portfolio_id, session)


@router.get(
    "/portfolios/{portfolio_id}/factor-exposures",
    summary="Factor exposures, portfolio and positions",
    response_model=results_models.FactorExposures,
)
@reads_once
async def factor_exposures(portfolio_id: UUID, context: Ctx, session: Session = None) -> dict[str, Any]:
    async with session_snapshot(context, portfolio_id, session, once=True) as conn:
        return await portfolios.risk_document(conn, portfolio_id, "exposures", session)


@router.get(
    "/portfolios/{portfolio_id}/risk",
    summary="Volatility, beta, decomposition, tail, concentration, sectors",
    response_model=risk_models.Risk,
)
@reads_once
async def risk(portfolio_id: UUID, context: Ctx, session: Session = None) -> dict[str, Any]:
    async with session_snapshot(context, portfolio_id, session, once=True) as conn:
        return await portfolios.risk_document(conn, portfolio_id, "risk", session)


@router.get(
    "/portfolios/{portfolio_id}/scorecard",
    summary="How far the forecasts could be trusted, method by method",
    response_model=results_models.Scorecard,
)
@reads_once
async def forecasts_scored(portfolio_id: UUID, context: Ctx, session: Session = None) -> dict[str, Any]:
    async with session_snapshot(context, portfolio_id, session, once=True) as conn:
        return await portfolios.scorecard_document(conn, portfolio_id, session)


@router.get(
    "/portfolios/{portfolio_id}/correlations",
    summary="Correlations of holdings and of factors",
    response_model=results_models.Correlations,
)
@reads_once
async def correlations(portfolio_id: UUID, context: Ctx, session: Session = None) -> dict[str, Any]:
    async with session_snapshot(context, portfolio_id, session, once=True) as conn:
        return await portfolios.risk_document(conn, portfolio_id, "correlations", session)


@router.get(
    "/portfolios/{portfolio_id}/stress",
    summary="Stress scenarios with attribution",
    response_model=results_models.Stress,
)
@reads_once
async def stress(portfolio_id: UUID, context: Ctx, session: Session = None) -> dict[str, Any]:
    async with session_snapshot(context, portfolio_id, session, once=True) as conn:
        return await portfolios.risk_document(conn, portfolio_id, "stress", session)


@router.get(
    "/portfolios/{portfolio_id}/explain",
    summary="A figure: formula, parameters, and the data behind it",
    response_model=explained_models.Explained | explained_models.FigureNames,
)
async def explain_figure(
    portfolio_id: UUID,
    context: Ctx,
    session: Session = None,
    figure: Annotated[
        str | None,
        Query(max_length=300, description="Such as risk.var.historical.0.95; without it all names are listed"),
    ] = None,
) -> dict[str, Any] | Encoded:
    async with session_snapshot(context, portfolio_id, session) as conn:
        if figure is None:
            return Encoded(await explain.names_json(conn, portfolio_id, session))
        return await explain.explain(conn, portfolio_id, session, figure)


@router.get(
    "/portfolios/{portfolio_id}/restatements",
    summary="Figures that a later revision changed, old and new",
    response_model=ranges_models.Restatements,
)
async def restated(
    portfolio_id: UUID,
    context: Ctx,
    session: Annotated[Day | None, Query(description="Only this session")] = None,
    first: From = None,
    last: To = None,
    figure: Annotated[str | None, Query(max_length=300, description="Only names that begin with this")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Replaced sessions of a phase, however many figures")] = 20,
    cursor: Annotated[str | None, Query(max_length=200, description="`next` of the page before")] = None,
) -> dict[str, Any]:
    assert_in_order(first, last)
    async with snapshot(context.engine) as conn:
        return await restatements.page(
            conn, portfolio_id, limit=limit, cursor=cursor, session=session, figure=figure, first=first, last=last
        )


@router.get(
    "/symbols/{symbol}/factors", summary="A symbol's factor exposures", response_model=symbols_models.SymbolFactors
)
async def symbol_factors(symbol: str, context: Ctx, session: Session = None) -> dict[str, Any]:
    sessions.check(session, context.clock)
    async with snapshot(context.engine) as conn:
        return await symbols.factors(conn, symbol, session)


@router.get(
    "/symbols/{symbol}/metrics",
    summary="A symbol's returns and volatility",
    response_model=symbols_models.SymbolMetrics,
)
async def symbol_metrics(symbol: str, context: Ctx, session: Session = None) -> dict[str, Any]:
    sessions.check(session, context.clock)
    async with snapshot(context.engine) as conn:
        return await symbols.metrics(conn, symbol, session)


@router.get(
    "/symbols/{symbol}/explain",
    summary="A symbol's figure: formula, parameters, and the data behind it",
    response_model=explained_models.Explained | explained_models.FigureNames,
)
async def explain_symbol(
    symbol: str,
    context: Ctx,
    session: Session = None,
    figure: Annotated[
        str | None,
        Query(max_length=300, description="Such as factors.market_beta.beta; without it all names are listed"),
    ] = None,
) -> dict[str, Any]:
    sessions.check(session, context.clock)
    async with snapshot(context.engine) as conn:
        if figure is None:
            return await explain_symbols.names(conn, symbol, session)
        return await explain_symbols.explain(conn, symbol, session, figure)


@router.get(
    "/symbols/{symbol}/prices",
    summary="A symbol's prices as traded, its actions and its gaps",
    response_model=symbols_models.SymbolPrices,
)
async def symbol_prices(
    symbol: str,
    context: Ctx,
    first: From = None,
    last: To = None,
    known_at: Annotated[
        Instant | None,
        Query(description="Prices and actions as they were known at this instant, with its UTC offset"),
    ] = None,
) -> dict[str, Any]:
    assert_in_order(first, last)
    async with snapshot(context.engine) as conn:
        return await symbols.prices(conn, symbol, first, last, known_at)
