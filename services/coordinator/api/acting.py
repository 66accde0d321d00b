"""For which tenant a call of people's and tokens' administration acts: the caller's own, or one that the installation's operator names."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Request

from services.coordinator.api.context import Ctx
from services.coordinator.errors import InstallationOnly
from services.coordinator.tokens import people
from services.coordinator.tokens.authenticator import authenticator_of, identity_of
from services.coordinator.tokens.requests import sight_of
from shared.db.engine import snapshot
from shared.db.tenancy import WHOLE_INSTALLATION, see, use_sight


async def _act_for(
    request: Request,
    context: Ctx,
    tenant_id: Annotated[
        UUID | None,
        Query(description="Of which tenant; another one than its own only the installation's operator may name"),
    ] = None,
) -> UUID:
    identity = identity_of(request)
    if tenant_id is None or tenant_id == identity.tenant:
        return identity.tenant
    if not identity.operates_installation:
        raise InstallationOnly(
            "tenant_id names another tenant than the token's, which only an operator of the installation may. Nothing was done."
        )
    with use_sight(WHOLE_INSTALLATION):
        async with snapshot(context.engine) as conn:
            await people.get_tenant(conn, tenant_id)
    quotas = authenticator_of(request).quotas_of(tenant_id)
    said = sight_of(identity, request.scope, request.url.path, everything=False, quotas=quotas)
    see(said.of(tenant_id))
    return tenant_id


Acting = Annotated[UUID, Depends(_act_for)]
"""The tenant; what the call does from then on it does there."""
