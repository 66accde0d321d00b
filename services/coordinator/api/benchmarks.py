"""Sector weights of benchmarks: what portfolios' sectors are compared with."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.api.bodies import BenchmarkBody
from services.coordinator.api.context import Ctx
from services.coordinator.api.idempotent_writes import idempotent_write
from services.coordinator.api.models import admin as admin_models
from services.coordinator.api.query_dates import Day
from services.coordinator.api.representation import DocumentRoute
from services.coordinator.reference.benchmarks import rules, service, store
from services.coordinator.reference.benchmarks.rules import Weights
from services.coordinator.reference.benchmarks.service import Restated
from services.coordinator.results.values import to_json
from shared.db.engine import snapshot

router = APIRouter(route_class=DocumentRoute, prefix="/benchmarks", tags=["benchmarks"])

Code = Annotated[str, Path(max_length=100, description="Such as SP500; upper and lower case are the same")]
On = Annotated[Day, Path(alias="date", description="From when on the weights count, YYYY-MM-DD")]


@router.get(
    "",
    summary="Benchmarks and their sector weights, by code, newest date first",
    response_model=admin_models.Benchmarks,
)
async def listed(
    context: Ctx, code: Annotated[str | None, Query(max_length=100, description="Only this one")] = None
) -> dict[str, Any]:
    wanted = None if code is None else rules.code_of(code)
    async with snapshot(context.engine) as conn:
        chosen = await store.find_comparison_code(conn)
        found = await store.current(conn, wanted)
    return {"compared_with": chosen, "items": [_document(of, loaded_at) for of, loaded_at in found]}


@router.put(
    "/{code}/{date}",
    summary="Load or replace a benchmark's sector weights of a date",
    response_model=admin_models.BenchmarkOutcome,
)
async def load(
    request: Request,
    code: Code,
    day: On,
    body: BenchmarkBody,
    context: Ctx,
    dry_run: Annotated[bool, Query(description="Check, save nothing")] = False,  # noqa: FBT002
) -> Response:
    """Risk of the sessions from this date until the next one's is required anew. The same weights again change nothing."""
    of = rules.check(code, day, body.weights, context.clock.today())
    if dry_run:
        return JSONResponse(_document(of, None) | _outcome(None, changed=False))

    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        done = await service.load(conn, context.clock, of)
        return 200, _document(of, done.loaded_at) | _outcome(done.restated, changed=done.changed)

    return await idempotent_write(request, context, act, json.dumps(body.given_fields(), sort_keys=True))


@router.delete(
    "/{code}/{date}",
    summary="Take back a benchmark's sector weights of a date",
    response_model=admin_models.BenchmarkOutcome,
)
async def take_back(request: Request, code: Code, day: On, context: Ctx) -> Response:
    """Its sessions are compared with the table before it again, if there is one. Older results stay readable."""
    name = rules.code_of(code)

    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        restated = await service.remove(conn, context.clock, name, day)
        return 200, {"code": name, "date": day.isoformat()} | _outcome(restated, changed=True)

    return await idempotent_write(request, context, act)


def _document(of: Weights, loaded_at: datetime | None) -> dict[str, Any]:
    return {
        "code": of.code,
        "date": of.date.isoformat(),
        "weights": dict(zip(of.sectors, of.weights, strict=True)),
        "stated_sum": of.stated_sum,
        "loaded_at": to_json(loaded_at),
    }


def _outcome(restated: Restated | None, *, changed: bool) -> dict[str, Any]:
    """What the call did: `restated` is null where no figure moves, and the run waits for those that do."""
    span = None
    if restated is not None:
        span = {"from": restated.first.isoformat(), "to": restated.last.isoformat(), "units": restated.units}
    return {"changed": changed, "restated": span, "run_id": None if restated is None else str(restated.run_id)}
