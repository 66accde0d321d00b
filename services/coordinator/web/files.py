"""Static files: kept for ever under an address that names their content."""

from __future__ import annotations

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from services.coordinator.web.rendering import STATIC

FOR_EVER = "public, max-age=31536000, immutable"


class Kept(StaticFiles):
    """Serves the directory of static files, whose addresses carry a digest."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC)

    async def get_response(self, path: str, scope: Scope) -> Response:
        found = await super().get_response(path, scope)
        found.headers["X-Content-Type-Options"] = "nosniff"
        if found.status_code == 200 and b"v=" in scope["query_string"]:
            found.headers["Cache-Control"] = FOR_EVER
        return found
