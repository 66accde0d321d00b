"""Settings: tokens, limits and webhooks, benchmarks, versions, how things are shown."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from fastapi import Request
from fastapi.responses import Response
from sqlalchemy import text

from services.coordinator.context import Context, Ctx
from services.coordinator.notifications import limit_store, webhook_store
from services.coordinator.notifications.evaluation import STATUS_FIGURES
from services.coordinator.reference.benchmarks import store as benchmarks
from services.coordinator.tokens import store as tokens
from services.coordinator.tokens import tenant_store
from services.coordinator.tokens.authenticator import authenticator_of, identity_of
from services.coordinator.tokens.model import Role
from services.coordinator.web import sign_in
from services.coordinator.web.rendering import page
from services.coordinator.web.routes.common import router as made
from services.coordinator.web.views import notifications as views
from services.coordinator.web.views import tokens as token_views
from shared.db.engine import snapshot
from shared.db.tenancy import WHOLE_INSTALLATION, only_own, tenant_filter, use_sight
from shared.market.registry import MODEL_VERSION

router = made()
_NAMES = f"SELECT id, name FROM coordinator.portfolios WHERE deleted_at IS NULL AND {only_own()} ORDER BY name, id"
_OFTEN = (
    "risk.var.historical.0.95", "risk.volatility.realized_252", "snapshots.nav", "snapshots.drawdown", "snapshots.coverage",
    "snapshots.daily_return",
)  # fmt: skip


@router.get("/settings")
async def settings(request: Request, context: Ctx) -> Response:
    return await settings_page(request, context)


# A longer list is no list to choose from; a limit of one portfolio is then set by `leadline limit add --portfolio`.
MOST_NAMES = 200


async def settings_page(
    request: Request,
    context: Context,
    *,
    fresh: tuple[str, str] | None = None,
    signing: tuple[str, str] | None = None,
) -> Response:
    """Tokens and webhooks are told to an operator alone.

    fresh   : name and secret of a token that was just made
    signing : the same of a webhook
    """
    identity = identity_of(request)
    # A token is of one tenant.
    user = None if identity.token_id is not None else identity.user_id
    mine = [] if user is None else [of.tenant for of in await authenticator_of(request).tenants_of(user)]
    operator = identity.role.includes(Role.OPERATOR)
    async with snapshot(context.engine) as conn:
        listed = await tokens.all_tokens(conn) if operator else None
        hooks = await webhook_store.all_webhooks(conn) if operator else []
        limits, standings = await limit_store.all_limits(conn), await limit_store.standings(conn)
        names = {row.id: row.name for row in await conn.execute(text(_NAMES), {"tenant": tenant_filter()})}
        tables = await benchmarks.current(conn, None)
        chosen = await benchmarks.find_comparison_code(conn)
        server = await conn.scalar(text("SHOW server_version"))
    # Of each that the reader is a member of, which a transaction of one tenant does not see.
    with use_sight(WHOLE_INSTALLATION):
        async with snapshot(context.engine) as conn:
            own = await tenant_store.names(conn, mine) if mine else []
    return page(
        request,
        "settings.html",
        token_set=await sign_in.requires_sign_in(request),
        tokens=None if listed is None else token_views.view(listed, datetime.now(UTC)),
        roles=token_views.roles(),
        fresh=fresh,
        operator=operator,
        account=None if identity.user_id is None else identity,
        tenants=own,
        limits=views.limits(limits, standings, names),
        webhooks=views.webhooks(hooks),
        signing=signing,
        watched=[*STATUS_FIGURES.items(), *((name, "") for name in _OFTEN)],
        portfolio_names=[(str(of), name) for of, name in names.items()][:MOST_NAMES],
        benchmarks=[
            {"code": of.code, "date": of.date.isoformat(), "sectors": len(of.sectors), "loaded_at": loaded_at}
            for of, loaded_at in tables
        ],
        compared_with=chosen,
        versions=[
            ("Leadline", _version("leadline")),
            ("Model", MODEL_VERSION),
            ("PostgreSQL", server),
            ("Python", platform.python_version()),
        ],
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "source"
