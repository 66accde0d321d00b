"""Pages and static files, compressed on their way. The interface does it itself: its answers may be megabytes, and those are
packed off the event loop."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

# Below it the header costs more than compression saves.
FROM_BYTES = 1024
LEVEL = 5


class Compression:
    """Everything but the interface; streams of events are sent as they come, and a range of a file is that range."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._packed = GZipMiddleware(app, minimum_size=FROM_BYTES, compresslevel=LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        packs = (
            scope["type"] == "http" and not scope["path"].startswith("/api/") and "range" not in Headers(scope=scope)
        )
        await (self._packed if packs else self._app)(scope, receive, send)
