"""The reference of the API, offline: Swagger UI from our own files."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from services.coordinator.web.rendering import page

router = APIRouter(include_in_schema=False)


@router.get("/docs", response_class=HTMLResponse)
async def docs(request: Request) -> Response:
    return page(request, "docs.html")
