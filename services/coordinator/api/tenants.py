"""Tenants and their quotas. For the installation's operator alone, reading included."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from services.coordinator.api.bodies import Body, Line
from services.coordinator.api.context import Ctx
from services.coordinator.api.models import people as models
from services.coordinator.api.representation import DocumentRoute
from services.coordinator.results.values import to_json
from services.coordinator.tokens import people, tenant_store
from services.coordinator.tokens.authenticator import authenticator_of
from services.coordinator.tokens.tenant_store import QUOTAS, Tenant
from shared.db.engine import snapshot

router = APIRouter(route_class=DocumentRoute, prefix="/admin/tenants", tags=["people"])
Count = Annotated[int | None, Field(ge=0, le=1_000_000_000)]


class QuotasBody(Body):
    max_portfolios: Count = None
    max_lots: Count = None
    max_streams: Count = None
    calls_per_second: Annotated[float | None, Field(gt=0, le=1e6)] = None


class TenantPatch(QuotasBody):
    """Quotas; null takes one away. `closed`: nobody of it is let in, and what it has stays."""

    closed: bool | None = None


class TenantBody(QuotasBody):
    name: Line = Field(min_length=1, max_length=100, examples=["family office"])


@router.get("", summary="Tenants, oldest first, with their quotas", response_model=models.Tenants)
async def listed(context: Ctx) -> dict[str, Any]:
    async with snapshot(context.engine) as conn:
        return {"items": [_tenant(each) for each in await tenant_store.all_tenants(conn)]}


@router.post("", status_code=201, summary="Create a tenant", response_model=models.Tenant)
async def create(body: TenantBody, request: Request, context: Ctx) -> Response:
    """Nobody can act for it yet: invite its first operator (`POST /admin/invitations?tenant_id=…`), or create a token."""
    async with context.engine.begin() as conn:
        made = await people.add_tenant(conn, body.name, body.model_dump(include=set(QUOTAS)))
    authenticator_of(request).forget()
    return JSONResponse(_tenant(made), status_code=201)


@router.patch("/{tenant_id}", summary="Change quotas; close a tenant, or open it again", response_model=models.Tenant)
async def change(tenant_id: UUID, body: TenantPatch, request: Request, context: Ctx) -> dict[str, Any]:
    given = body.model_dump(exclude_unset=True)
    closed = given.pop("closed", None)
    async with context.engine.begin() as conn:
        changed = await people.change_tenant(conn, tenant_id, given, closed=closed)
    authenticator_of(request).forget()
    return _tenant(changed)


def _tenant(of: Tenant) -> dict[str, Any]:
    return {
        "id": str(of.id),
        "name": of.name,
        "created_at": to_json(of.created_at),
        "closed_at": to_json(of.closed_at),
        "portfolios": of.portfolios,
        "users": of.users,
        **{column: getattr(of.quotas, name) for column, name in QUOTAS.items()},
    }
