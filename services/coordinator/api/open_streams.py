"""An open stream ends when whoever opened it may no longer read: a token that is revoked or expires closes what it has open."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.coordinator.errors import Unavailable
from services.coordinator.tokens.authenticator import Authenticator
from services.coordinator.tokens.model import Identity
from shared.telemetry import logger

log = logger(__name__)

CHECK_SECONDS = 2.0
_STREAM = b"text/event-stream"


@dataclass
class OpenStream:
    """One request, between the server and the application: passes on what is sent until the identity is none any more.

    Then the answer ends, and the application hears that its client has left.
    """

    scope: Scope
    receive: Receive
    send: Send
    authenticator: Authenticator
    check_seconds: float = CHECK_SECONDS
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _sending: asyncio.Lock = field(default_factory=asyncio.Lock)
    _watch: asyncio.Task[None] | None = None

    async def run(self, app: ASGIApp) -> None:
        try:
            await app(self.scope, self._receive, self._send)
        finally:
            if self._watch is not None:
                self._watch.cancel()
                await asyncio.wait([self._watch])

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_stream(message):
            # Who it is was decided on the way in: by the token here, or by the page's session.
            identity = self.scope.get("state", {}).get("identity")
            if isinstance(identity, Identity):
                self._watch = asyncio.create_task(self._end_with(identity))
        async with self._sending:
            if not self._ended.is_set():
                await self.send(message)

    async def _receive(self) -> Message:
        if self._watch is None:
            return await self.receive()
        ended = asyncio.ensure_future(self._ended.wait())
        message = asyncio.ensure_future(self.receive())
        try:
            await asyncio.wait([ended, message], return_when=asyncio.FIRST_COMPLETED)
            return message.result() if message.done() else {"type": "http.disconnect"}
        finally:
            ended.cancel()
            message.cancel()

    async def _end_with(self, identity: Identity) -> None:
        try:
            while await self._is_in_force(identity):  # noqa: ASYNC110 (the table of tokens tells nobody that it changed)
                await asyncio.sleep(self.check_seconds)
            log.info("stream_ended", token=str(identity.token_id))
        except Exception:
            # Whose right cannot be looked at any more reads nothing more.
            log.exception("stream_ended_unchecked", token=str(identity.token_id))
        async with self._sending:
            self._ended.set()
            with contextlib.suppress(OSError):  # the client left at the same moment
                await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _is_in_force(self, identity: Identity) -> bool:
        try:
            return await self.authenticator.refresh_identity(identity) is not None
        except Unavailable:
            # The stream reads the same database: it has nothing to tell until it is back.
            return True


def _is_stream(message: Message) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(_STREAM) for name, value in message["headers"])
