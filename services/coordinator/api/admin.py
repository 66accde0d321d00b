"""For operators: runs, the reconciler, messages that could not be handled."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator import serializers
from services.coordinator.api.context import Ctx
from services.coordinator.api.idempotent_writes import idempotent_write
from services.coordinator.api.models import admin as admin_models
from services.coordinator.api.models import common as common_models
from services.coordinator.api.query_dates import Day
from services.coordinator.api.representation import DocumentRoute
from services.coordinator.control import auditor
from services.coordinator.errors import Invalid, NotFound
from services.coordinator.results.values import to_json
from services.coordinator.runs import events, requests, store
from services.coordinator.runs.requests import Scope
from shared.db.engine import snapshot
from shared.db.tenancy import Sight, own_tenant, use_sight
from shared.work import Phase

router = APIRouter(route_class=DocumentRoute, prefix="/admin", tags=["admin"])


@router.post("/batch/run", status_code=202, summary="Ask for work again", response_model=common_models.RunAccepted)
async def batch_run(
    request: Request,
    context: Ctx,
    portfolio_id: Annotated[
        list[str] | None, Query(description="Repeat for several; without it all portfolios")
    ] = None,
    start_date: Day | None = None,
    end_date: Day | None = None,
    force_rerun: Annotated[
        bool | None, Query(description="Recompute what is complete too; the same as what=all")
    ] = None,
    phase: Phase | None = None,
    what: Annotated[str, Query(description="missing (default), failed or all")] = "",
    source: Literal["admin", "cli"] = "admin",
) -> Response:
    scope = Scope(None, start_date, end_date, phase)
    kind = requests.check(scope, context.clock, what=what, force=force_rerun)

    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        known, rejected = await _portfolios(conn, portfolio_id)
        wanted = Scope(None if known is None else tuple(known), start_date, end_date, phase)
        run_id = await requests.request(conn, context.clock, wanted, source=source, what=kind)
        return 202, {"run_id": str(run_id), "rejected": rejected}

    return await idempotent_write(
        request, context, act, json.dumps(scope.document(kind)), source, *sorted(portfolio_id or ())
    )


async def _portfolios(
    conn: AsyncConnection, given: list[str] | None
) -> tuple[list[UUID] | None, list[dict[str, object]]]:
    """The portfolios that exist among those named, and the others with the reason. A scope never widens: where none of them
    exists the request is refused, not run for all."""
    if given is None:
        return None, []
    rejected: list[dict[str, object]] = []
    ids: list[UUID] = []
    for name in given:
        try:
            ids.append(UUID(name))
        except ValueError:
            rejected.append(_rejection(name, "is not a portfolio id (a UUID)"))
    known = await store.find_portfolios(conn, ids)
    rejected += [_rejection(str(missing), "does not exist or was deleted") for missing in ids if missing not in known]
    if not known:
        raise Invalid("None of the portfolios named exists; nothing was started.", errors=rejected)
    return known, rejected


def _rejection(name: str, why: str) -> dict[str, object]:
    return {
        "row": None,
        "column": "portfolio_id",
        "code": "unknown_portfolio",
        "message": f"{name!r} {why}.",
        "value": name[:100],
    }


@router.get("/runs", summary="Runs, newest first", response_model=admin_models.Runs)
async def runs(
    context: Ctx,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: UUID | None = None,
    source: Literal["onboarding", "cron", "settings", "admin", "reconciler", "cli"] | None = None,
) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        found = await store.page(conn, limit=limit + 1, before=cursor, source=source)
    items = [serializers.run(run) for run in found[:limit]]
    return {"items": items, "next": items[-1]["id"] if len(found) > limit else None}


@router.get("/runs/{run_id}", summary="One run and how far it is", response_model=admin_models.Run)
async def run(run_id: UUID, context: Ctx) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        found = await store.read(conn, run_id)
    if found is None:
        raise NotFound(f"There is no run {run_id}.")
    return serializers.run(found)


@router.get(
    "/runs/{run_id}/events",
    summary="What happened in a run: completions, failures, what it waits for",
    response_model=admin_models.RunEvents,
)
async def run_events(run_id: UUID, context: Ctx, limit: Annotated[int, Query(ge=1, le=1000)] = 200) -> dict[str, Any]:
    """The newest `limit` of them, in the order they happened; `at` is null for what is going on now. Failures are kept 30 days."""
    async with snapshot(context.engine) as conn:
        if await store.read(conn, run_id) is None:
            raise NotFound(f"There is no run {run_id}.")
        found, total = await events.read(conn, run_id, limit)
    return {"id": str(run_id), "events": to_json(found), "events_total": total}


@router.post("/reconcile", status_code=202, summary="Look for missing work now", response_model=common_models.Accepted)
async def reconcile(context: Ctx) -> JSONResponse:
    context.wake_reconciler()
    return JSONResponse({"accepted": True}, status_code=202)


@router.get(
    "/audit",
    summary="Compare the ledger with what calendar and portfolios call for, now",
    response_model=admin_models.Audit,
)
async def audit(context: Ctx, portfolio_id: UUID | None = None) -> dict[str, object]:
    """Reads everything, so it takes seconds where there are millions of units; `portfolio_id` limits it to one portfolio."""
    # The outbox is of no tenant; that the portfolio is the caller's own was looked up before.
    with use_sight(Sight(own_tenant(), everything=True)):
        report = await auditor.audit(context.engine, context.clock, portfolio=portfolio_id)
    if portfolio_id is None and context.measures:
        auditor.publish(report)
    return report.document()
