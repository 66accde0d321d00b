"""A bound on how long a connection may take to say what it wants: uvicorn bounds the pause between requests and nothing else."""

from __future__ import annotations

import asyncio

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

# Far more than the head of a request needs on any line; whoever sends a byte now and then keeps a socket no longer than this.
HEAD_SECONDS = 10.0


class DeadlineProtocol(H11Protocol):
    """Closes a connection whose request line and headers are not there within `HEAD_SECONDS` of its opening, or of their first byte.

    Bodies are the application's to bound, and a request that is being answered has no deadline.
    """

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch_head()
        super().connection_lost(exc)

    def _watch_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._unwatch_head()
        elif self._head is None:
            self._head = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def _unwatch_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


def bound_heads(config: uvicorn.Config) -> None:
    """Have a server that has not begun to listen use it, unless another protocol than the usual one was asked for."""
    if not config.loaded:
        config.load()
    if config.http_protocol_class is H11Protocol:
        config.http_protocol_class = DeadlineProtocol
