"""Portfolios: create, import, list, read, change, delete."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, File, Form, Query, Request, UploadFile
from fastapi.responses import Response
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator import serializers
from services.coordinator.api import import_forms
from services.coordinator.api.bodies import PortfolioBody, PortfolioPatch
from services.coordinator.api.context import Context, Ctx
from services.coordinator.api.idempotent_writes import idempotent_write
from services.coordinator.api.import_forms import Sent
from services.coordinator.api.models import common as common_models
from services.coordinator.api.models import portfolios as portfolios_models
from services.coordinator.api.representation import JSON, DocumentRoute, Encoded, encode
from services.coordinator.control.unit_runs import refreshed_snapshot
from services.coordinator.portfolios import flows, imports, lookups, service, store, validation
from services.coordinator.portfolios.additions import Adding
from services.coordinator.portfolios.estimate import estimate
from services.coordinator.portfolios.import_records import File as Described
from services.coordinator.portfolios.service import Imported
from services.coordinator.portfolios.store import Portfolio
from services.coordinator.portfolios.validation import Draft
from services.coordinator.results import providers
from services.coordinator.runs import requests
from services.coordinator.runs.requests import Scope
from shared import ledger
from shared.db.engine import snapshot
from shared.db.tenancy import tenant_filter

router = APIRouter(route_class=DocumentRoute, tags=["portfolios"])


@router.post("/portfolios", status_code=201, summary="Create a portfolio", response_model=portfolios_models.Imported)
async def create(request: Request, body: PortfolioBody, context: Ctx) -> Response:
    given = body.given_fields()
    draft = await asyncio.to_thread(validation.from_json, given, context.clock)
    return await _create(request, context, draft, json.dumps(given, sort_keys=True))


@router.post(
    "/portfolios/import",
    status_code=201,
    summary="Create a portfolio from a CSV file",
    response_model=portfolios_models.Imported,
    responses={200: {"model": portfolios_models.Imported, "description": "A dry run: nothing was saved"}},
)
async def import_new(
    request: Request,
    context: Ctx,
    sent: Sent,
    name: Annotated[str, Form()] = "",
    account_type: Annotated[str, Form()] = "",
    equity_balance: Annotated[str, Form()] = "",
    currency: Annotated[str, Form()] = "",
    allow_duplicate_name: Annotated[bool, Form(description="Even if a portfolio has that name")] = False,  # noqa: FBT002
    dry_run: Annotated[bool, Form()] = False,  # noqa: FBT002 (a form field)
    file: Annotated[UploadFile | None, File()] = None,
) -> Response:
    content, filename = await import_forms.content(file)
    async with snapshot(context.engine) as conn:
        options = await sent.options(conn, currency)
    draft = await asyncio.to_thread(
        validation.from_file,
        content,
        filename,
        name=name,
        account_type=account_type,
        equity=equity_balance,
        currency=currency,
        options=options,
        clock=context.clock,
    )
    described = Described(filename)
    if dry_run:
        return await _preview_answer(await _preview(context, draft))

    prepared: list[imports.PreparedFile] = []

    async def prepare(conn: AsyncConnection) -> None:
        prepared.append(
            await imports.prepare(
                conn, context.clock, draft, described, context.limits, allow_duplicate_name=allow_duplicate_name
            )
        )

    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        return 201, await _answer(await imports.create(conn, context.clock, prepared[0]))

    parts: tuple[bytes | str, ...] = (
        name,
        account_type,
        equity_balance,
        currency,
        str(allow_duplicate_name),
        *sent.parts(),
        content,
    )
    return await idempotent_write(request, context, act, *parts, prepare=prepare)


@router.post(
    "/portfolios/{portfolio_id}/import",
    summary="Add the positions of a CSV file",
    response_model=portfolios_models.Imported,
)
async def import_more(
    request: Request,
    portfolio_id: UUID,
    context: Ctx,
    sent: Sent,
    on_match: Annotated[str, Form(description="list what the file says anew of stored lots, or update them")] = "list",
    dry_run: Annotated[bool, Form()] = False,  # noqa: FBT002 (a form field)
    file: Annotated[UploadFile | None, File()] = None,
) -> Response:
    content, filename = await import_forms.content(file)
    update = import_forms.on_match(on_match)
    async with snapshot(context.engine) as conn:
        options = await sent.options(conn, (await service.get_existing(conn, portfolio_id)).currency)
    parsed = await asyncio.to_thread(validation.from_csv, content, filename, options, context.clock)
    described = Described(filename)

    previewed: list[Imported] = []
    adding = Adding(context.clock, portfolio_id, parsed, described, update, context.limits)

    async def add(conn: AsyncConnection) -> tuple[int, Any]:
        result = await adding.add(conn, dry_run=dry_run)
        body = await _answer(result, preview=dry_run)
        if dry_run:
            previewed.append(result)
            body["estimate"] = (await estimate(conn, context.clock, [lot for lot, _ in result.decisions])).document()
        return 200, body

    if dry_run:
        async with snapshot(context.engine) as conn:
            _, body = await add(conn)
        await lookups.annotate(context.engine, context.clock, previewed[0].decisions, body)
        return await _preview_answer(body)
    return await idempotent_write(request, context, add, on_match, *sent.parts(), content, prepare=adding.stage)


@router.get("/portfolios", summary="List portfolios", response_model=portfolios_models.PortfolioList)
async def page(
    context: Ctx,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
) -> Encoded:
    """Each with the figures of its newest session; unknown ones are null, and the status says why."""
    lists = context.lists.of(tenant_filter())
    async with lists.turn, refreshed_snapshot(context.engine) as conn:
        found = await lists.page(conn, context.clock, limit=limit, after=cursor)
        refusals = await providers.refusals(conn)
    return Encoded(b'{"items":[%b],"next":%b,"refusals":%b}' % (found.items, encode(found.further), encode(refusals)))


@router.get(
    "/portfolios/{portfolio_id}",
    summary="A portfolio, its lots and flows, as stated and as stored",
    response_model=portfolios_models.Portfolio,
)
async def read(portfolio_id: UUID, context: Ctx) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        found = await service.get_existing(conn, portfolio_id)
        positions = await store.positions(conn, portfolio_id)
        moved = await flows.find_flows(conn, portfolio_id)
    return await _document(found, positions, moved)


@router.patch(
    "/portfolios/{portfolio_id}",
    summary="Change name, account type, currency or equity",
    response_model=portfolios_models.Portfolio,
)
async def edit(request: Request, portfolio_id: UUID, body: PortfolioPatch, context: Ctx) -> Response:
    given = body.given_fields()

    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        changed = await service.edit(conn, context.clock, portfolio_id, given)
        found = await service.get_existing(conn, portfolio_id)
        rows = await store.positions(conn, portfolio_id), await flows.find_flows(conn, portfolio_id)
        return 200, await _document(found, *rows) | {"run_id": changed and serializers.change(changed)["run_id"]}

    return await idempotent_write(request, context, act, json.dumps(given, sort_keys=True))


@router.delete("/portfolios/{portfolio_id}", status_code=204, summary="Delete a portfolio; takes effect at once")
async def delete(request: Request, portfolio_id: UUID, context: Ctx) -> Response:
    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        await service.delete(conn, portfolio_id)
        return 204, None

    return await idempotent_write(request, context, act)


@router.post(
    "/portfolios/{portfolio_id}/calculate",
    status_code=202,
    summary="Ask for whatever is missing",
    response_model=common_models.RunAccepted,
)
async def calculate(request: Request, portfolio_id: UUID, context: Ctx) -> Response:
    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        await service.get_existing(conn, portfolio_id)
        # Who asks by hand has seen what blocked it.
        last_due = context.clock.last_due()
        await ledger.unblock(conn, [portfolio_id], context.clock.calendar().first, last_due, None)
        scope = Scope((portfolio_id,))
        return 202, {
            "run_id": str(await requests.request(conn, context.clock, scope, source="settings", what="missing"))
        }

    return await idempotent_write(request, context, act)


@router.post(
    "/portfolios/{portfolio_id}/price-basis",
    summary="Decide again whether prices are as traded, now that they are stored",
    response_model=portfolios_models.Imported,
)
async def settle_basis(
    request: Request,
    portfolio_id: UUID,
    context: Ctx,
    basis: Annotated[str, Query(description="auto, as_traded or split_adjusted")] = "auto",
    dry_run: Annotated[bool, Query()] = False,  # noqa: FBT002 (a query parameter)
) -> Response:
    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        result = await service.settle_basis(conn, context.clock, portfolio_id, basis, dry_run=dry_run)
        return 200, await _answer(result, preview=True)

    if dry_run:
        async with snapshot(context.engine) as conn:
            return await _preview_answer((await act(conn))[1])
    return await idempotent_write(request, context, act, basis)


async def _create(request: Request, context: Context, draft: Draft, *parts: bytes | str) -> Response:
    prepared: list[service.Prepared] = []

    async def prepare(conn: AsyncConnection) -> None:
        prepared.append(await service.prepare(conn, context.clock, draft, context.limits))

    async def act(conn: AsyncConnection) -> tuple[int, Any]:
        return 201, await _answer(await service.create(conn, context.clock, prepared[0]))

    return await idempotent_write(request, context, act, *parts, prepare=prepare)


# What is told of fifty thousand lots takes a second to put together, and meanwhile others are answered.


async def _answer(result: Imported, *, preview: bool = False) -> dict[str, Any]:
    return await asyncio.to_thread(serializers.import_answer, result, preview=preview)


async def _preview_answer(body: dict[str, Any]) -> Response:
    return Response(await asyncio.to_thread(encode, body), media_type=JSON)


async def _document(found: Portfolio, positions: Sequence[RowMapping], moved: Sequence[RowMapping]) -> dict[str, Any]:
    return await asyncio.to_thread(serializers.portfolio, found, positions, moved)


async def _preview(context: Context, draft: Draft) -> dict[str, Any]:
    """What the file would create, what it would cost in calls, and how its lots compare with the stated equity."""
    async with snapshot(context.engine) as conn:
        result = await imports.preview(conn, context.clock, draft, context.limits)
        body = await _answer(result, preview=True)
        body["estimate"] = (await estimate(conn, context.clock, [lot for lot, _ in result.decisions])).document()
    lots = [lot for lot, _ in result.decisions]
    body |= await asyncio.to_thread(imports.cost_against_equity, draft.account, lots)
    await lookups.annotate(context.engine, context.clock, result.decisions, body)
    return body
