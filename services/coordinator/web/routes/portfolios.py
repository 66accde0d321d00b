"""The list of portfolios, and its live half."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from uuid import UUID

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from sse_starlette.sse import EventSourceResponse

from services.coordinator.context import Context, Ctx
from services.coordinator.control.unit_runs import refresh_all
from services.coordinator.results import grid, holdings, overview
from services.coordinator.web.rendering import HEADERS, live_part, page, text_of
from services.coordinator.web.routes.common import changes
from services.coordinator.web.routes.common import router as made
from services.coordinator.web.texts import gettext as _
from services.coordinator.web.views import home
from shared.db.closures import load_closures
from shared.db.engine import snapshot

router = made()
PAGE = 200


@router.get("/")
async def list_portfolios(request: Request, context: Ctx, cursor: UUID | None = None) -> Response:
    view = await _view(context, cursor)
    return page(request, "portfolios.html", next=view["next"], **live_part("_portfolios.html", **view))


@router.get("/live")
async def live(context: Ctx, seen: str = "") -> EventSourceResponse:
    async def read() -> str:
        return text_of("_portfolios.html", **await _view(context, None))

    return context.streams.respond(changes(context, "portfolios", read, seen))


async def _view(context: Context, cursor: UUID | None) -> dict[str, Any]:
    await refresh_all(context.engine)
    async with snapshot(context.engine) as conn:
        await load_closures(conn)
        found = await overview.page(conn, context.clock, limit=PAGE, after=cursor)
    rows = home.rows(found["items"])
    return {"rows": rows, "parts": home.sentence(rows), "day": home.day_of(found["items"]), "next": found["next"]}


@router.get("/places")
async def places(context: Ctx) -> Response:
    """Where one can go, for the keyboard: pages, portfolios, symbols."""
    async with snapshot(context.engine) as conn:
        named = await grid.names(conn)
        known = await holdings.universe(conn)
    found = [{"name": name, "kind": _("page"), "href": href} for name, href in _pages()]
    found += [
        {"name": name, "kind": _("portfolio"), "href": f"/p/{of}"}
        for of, name in sorted(named.items(), key=lambda pair: pair[1])
    ]
    found += [
        {
            "name": f"{item['symbol']} {item['name'] or ''}".strip(),
            "kind": _("symbol"),
            "href": f"/symbols/{quote(item['symbol'], safe='')}",
        }
        for item in known
    ]
    return JSONResponse(found, headers=HEADERS)


def _pages() -> list[tuple[str, str]]:
    return [
        (_("Portfolios"), "/"),
        (_("Import CSV"), "/import"),
        (_("Operations"), "/ops"),
        (_("Symbols"), "/symbols"),
        (_("Settings"), "/settings"),
        (_("API reference"), "/docs"),
    ]
