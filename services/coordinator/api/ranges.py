"""Many portfolios, sessions or values in one answer: what charts, grids and tables are drawn from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.api.context import Context, Ctx
from services.coordinator.api.models import explained as explained_models
from services.coordinator.api.models import portfolios as portfolios_models
from services.coordinator.api.models import ranges as ranges_models
from services.coordinator.api.models import results as results_models
from services.coordinator.api.models import symbols as symbols_models
from services.coordinator.api.query_dates import Day, assert_in_order
from services.coordinator.api.representation import DocumentRoute
from services.coordinator.control.unit_runs import refresh_all
from services.coordinator.errors import Invalid
from services.coordinator.explain import portfolios as explain
from services.coordinator.portfolios import flows as stored_flows
from services.coordinator.results import (
    figure_series,
    grid,
    portfolios,
    price_history,
    providers,
    restatement_causes,
    sessions,
    valued_lots,
)
from services.coordinator.results.values import UNKNOWN_CURSOR, to_json
from shared.db.engine import snapshot
from shared.work import Phase

router = APIRouter(route_class=DocumentRoute, tags=["results"])

T = TypeVar("T")
MOST_EXPLAINED = 50
From = Annotated[Day | None, Query(alias="from")]
To = Annotated[Day | None, Query(alias="to")]
Cursor = Annotated[str | None, Query(max_length=50, description="`next` of the page before")]
Figures = Annotated[
    str, Query(min_length=1, max_length=10_000, description="Names as `…/explain` lists them, separated by commas")
]


async def _read(
    context: Context,
    read: Callable[[AsyncConnection], Awaitable[T]],
    first: date | None = None,
    last: date | None = None,
) -> T:
    """What every answer here is: a range that is in order, read in one snapshot."""
    assert_in_order(first, last)
    async with snapshot(context.engine) as conn:
        return await read(conn)


def _names(figures: str) -> list[str]:
    """Each once."""
    return list(dict.fromkeys(name for part in figures.split(",") if (name := part.strip())))


@router.get(
    "/portfolios/{portfolio_id}/risk/series",
    summary="Any figures over time, a value a session",
    response_model=ranges_models.Series,
)
async def risk_series(
    portfolio_id: UUID, context: Ctx, figures: Figures, first: From = None, last: To = None
) -> dict[str, Any]:
    """Such as `figures=risk.var.historical.0.95,risk.volatility.realized_252,snapshots.nav`, at most 50."""
    names = _names(figures)
    return await _read(context, lambda conn: figure_series.read(conn, portfolio_id, names, first, last), first, last)


@router.get(
    "/completeness",
    summary="The state of every session of every portfolio and phase, as ranges",
    tags=["status"],
    response_model=ranges_models.Completeness,
)
async def completeness(
    context: Ctx,
    first: From = None,
    last: To = None,
    phase: Phase | None = None,
    portfolio_id: Annotated[list[UUID] | None, Query(max_length=1000, description="Repeat for several")] = None,
) -> dict[str, Any]:
    """`runs` are `[phase, state, from, to]`, positions in `sessions`, both ends within. Has an ETag: ask with `If-None-Match`."""

    async def read(conn: AsyncConnection) -> dict[str, Any]:
        return await grid.read(conn, context.clock, first=first, last=last, phase=phase, portfolios=portfolio_id)

    assert_in_order(first, last)
    # What changed in the last seconds is small; a moment more, and the answer is of now.
    await refresh_all(context.engine)
    return await _read(context, read, first, last)


@router.get(
    "/providers",
    summary="Who is asked for prices, what is left of each quota, and who is left alone",
    tags=["status"],
    response_model=ranges_models.Providers,
)
async def chain(context: Ctx) -> dict[str, Any]:
    return await _read(context, providers.chain)


@router.get(
    "/portfolios/{portfolio_id}/flows",
    summary="Money in and out, oldest first",
    tags=["portfolios"],
    response_model=portfolios_models.FlowList,
)
async def flows(portfolio_id: UUID, context: Ctx, first: From = None, last: To = None) -> dict[str, Any]:

    async def read(conn: AsyncConnection) -> dict[str, Any]:
        await portfolios.require_portfolio(conn, portfolio_id)
        rows = await stored_flows.find_flows(conn, portfolio_id)
        kept = [row for row in rows if (first or date.min) <= row["date"] <= (last or date.max)]
        return {"portfolio_id": str(portfolio_id), "items": [to_json(dict(row)) for row in kept]}

    return await _read(context, read, first, last)


@router.get(
    "/portfolios/{portfolio_id}/positions/range",
    summary="Every lot on every session of a range, oldest first",
    response_model=results_models.PositionsRange,
)
async def positions(
    portfolio_id: UUID,
    context: Ctx,
    first: From = None,
    last: To = None,
    limit: Annotated[
        int, Query(ge=1, le=2000, description="Sessions; fewer where they have more than 50,000 lots")
    ] = 250,
    cursor: Cursor = None,
) -> dict[str, Any]:

    async def read(conn: AsyncConnection) -> dict[str, Any]:
        try:
            after = None if cursor is None else date.fromisoformat(cursor)
        except ValueError as error:
            raise Invalid(UNKNOWN_CURSOR, code="unknown_cursor") from error
        return await valued_lots.read_range(conn, portfolio_id, first, last, limit=limit, after=after)

    return await _read(context, read, first, last)


@router.get(
    "/portfolios/{portfolio_id}/explain/bulk",
    summary="Several figures of a session, each with what is behind it",
    response_model=explained_models.ExplainedMany,
)
async def explain_bulk(
    portfolio_id: UUID,
    context: Ctx,
    figures: Figures,
    session: Annotated[Day | None, Query(description="Without it the newest completed one")] = None,
) -> dict[str, Any]:
    """At most 50. What is no figure of the session stands in `unknown` with why, and stops none of the others."""
    names = _names(figures)
    if not 1 <= len(names) <= MOST_EXPLAINED:
        raise Invalid(
            f"{len(names)} figures are named, and from 1 to {MOST_EXPLAINED} are explained at once. Ask for "
            f"{'the others in a second request' if names else 'figures=snapshots.nav,risk.beta.realized, say'}."
        )

    async def read(conn: AsyncConnection) -> dict[str, Any]:
        await sessions.check_of(conn, context.clock, portfolio_id, session)
        return await explain.explain_many(conn, portfolio_id, session, names)

    return await _read(context, read)


@router.get(
    "/portfolios/{portfolio_id}/restatements/causes",
    summary="Why figures were restated: by revision, newest first",
    response_model=ranges_models.RestatementCauses,
)
async def causes(
    portfolio_id: UUID,
    context: Ctx,
    first: From = None,
    last: To = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Cursor = None,
) -> dict[str, Any]:

    async def read(conn: AsyncConnection) -> dict[str, Any]:
        return await restatement_causes.page(conn, portfolio_id, first, last, limit=limit, cursor=cursor)

    return await _read(context, read, first, last)


@router.get(
    "/symbols/{symbol}/prices/history",
    summary="Every value that a symbol's prices had: what stands, what was replaced",
    response_model=symbols_models.PriceHistory,
)
async def symbol_price_history(
    symbol: str,
    context: Ctx,
    first: From = None,
    last: To = None,
    changed: Annotated[bool, Query(description="Only sessions whose price was replaced")] = False,  # noqa: FBT002
    limit: Annotated[int, Query(ge=1, le=2000, description="Sessions, however many values")] = 250,
    cursor: Cursor = None,
) -> dict[str, Any]:

    async def read(conn: AsyncConnection) -> dict[str, Any]:
        return await price_history.page(conn, symbol, first, last, changed=changed, limit=limit, cursor=cursor)

    return await _read(context, read, first, last)
