"""Settings: tokens, benchmarks, versions, how things are shown."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from fastapi import Request
from fastapi.responses import Response
from sqlalchemy import text

from services.coordinator.context import Context, Ctx
from services.coordinator.reference.benchmarks import store as benchmarks
from services.coordinator.tokens import store as tokens
from services.coordinator.tokens.model import Role
from services.coordinator.web import sign_in
from services.coordinator.web.rendering import page
from services.coordinator.web.routes.common import router as made
from services.coordinator.web.views import tokens as token_views
from shared.db.engine import snapshot
from shared.market.registry import MODEL_VERSION

router = made()


@router.get("/settings")
async def settings(request: Request, context: Ctx) -> Response:
    return await settings_page(request, context)


async def settings_page(request: Request, context: Context, *, fresh: tuple[str, str] | None = None) -> Response:
    """fresh : name and secret of a token that was just made; of the list of tokens an operator alone is told"""
    operator = sign_in.identity_of(request).role.includes(Role.OPERATOR)
    async with snapshot(context.engine) as conn:
        listed = await tokens.all_tokens(conn) if operator else None
        tables = await benchmarks.current(conn, None)
        chosen = await benchmarks.chosen(conn)
        server = await conn.scalar(text("SHOW server_version"))
    return page(
        request,
        "settings.html",
        token_set=await sign_in.needed(request),
        tokens=None if listed is None else token_views.view(listed, datetime.now(UTC)),
        roles=token_views.roles(),
        fresh=fresh,
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
