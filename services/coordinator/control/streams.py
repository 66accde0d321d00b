"""Streams of server-sent events: those that look at the same thing share one look, and there are only so many.

A look is several queries. A hundred readers of one portfolio cost as much as one.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar
from uuid import UUID

from sse_starlette.sse import EventSourceResponse
from starlette.types import Receive, Scope, Send

from services.coordinator.errors import Busy
from shared.db.tenancy import own_tenant, quotas, tenant_filter

T = TypeVar("T")
# A client that takes nothing for so long is gone; it is told so by its socket, and comes again if it is not.
SEND_SECONDS = 20.0
# Of the time that a look may take: never more than a fifth is spent on looking, however much there is to read.
REST = 4.0


class Streams:
    """The open streams of this process.

    most     : streams at a time
    seconds  : between two looks, at least
    stopping : set when the process shuts down: streams end, so that it can
    """

    def __init__(self, most: int, seconds: float, stopping: asyncio.Event) -> None:
        self._most = most
        self._seconds = seconds
        self._stopping = stopping
        self._polls: dict[Hashable, _Poll[Any]] = {}
        self.open = 0
        self.open_of: Counter[UUID] = Counter()
        """By tenant."""

    def assert_room(self) -> None:
        """Raises `Busy` where as many streams are open as there may be, of all or of the tenant that asks."""
        quota = quotas().streams
        if quota is not None and self.open_of[own_tenant()] >= quota:
            raise Busy(
                f"{self.open_of[own_tenant()]} streams of the tenant are open, which is its quota. Ask for the status itself instead, or "
                "close streams that nobody watches; an operator of the installation sets the quota."
            )
        if self.open >= self._most:
            raise Busy(
                f"{self.open} streams are open, as many as this server serves at a time. Ask for the status itself instead, close "
                "streams that nobody watches, or raise LEADLINE_MAX_STREAMS."
            )

    def respond(self, events: AsyncGenerator[dict[str, str], None]) -> EventSourceResponse:
        """Events as a response, which counts as open from its start to its end. Raises `Busy`."""
        self.assert_room()
        return _Counted(self, events)

    async def follow(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> AsyncGenerator[T, None]:
        """What `read` returns, at first and whenever it is another, until the process stops. Raises what `read` raises.

        key : who follows under the same key shares the looks of the first of them, within a tenant: a look sees what its first reader may
        """
        key = tenant_filter(), key
        poll: _Poll[T] | None = self._polls.get(key)
        if poll is None or poll.ended:
            poll = self._polls[key] = _Poll(read, self._seconds, self._stopping)
        poll.readers += 1
        seen = 0
        try:
            while True:
                changed = poll.changed
                if poll.version > seen:
                    seen = poll.version
                    yield poll.value
                elif poll.error is not None:
                    raise poll.error
                elif poll.ended:
                    return
                else:
                    await changed.wait()
        finally:
            poll.readers -= 1
            if poll.readers == 0:
                poll.task.cancel()
                if self._polls.get(key) is poll:
                    del self._polls[key]


class _Poll(Generic[T]):
    """Looks again and again for as many readers as there are."""

    value: T

    def __init__(self, read: Callable[[], Awaitable[T]], seconds: float, stopping: asyncio.Event) -> None:
        self._read = read
        self._seconds = seconds
        self._stopping = stopping
        self.readers = 0
        self.version = 0
        self.error: Exception | None = None
        self.ended = False
        self.changed = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                value = await self._read()
                if self.version == 0 or value != self.value:
                    self.value, self.version = value, self.version + 1
                    self._wake()
                rest = max(self._seconds, REST * (time.monotonic() - began))
                try:
                    await asyncio.wait_for(self._stopping.wait(), rest)
                except TimeoutError:
                    continue
        except Exception as error:  # noqa: BLE001 (raised in every reader)
            self.error = error
        finally:
            self.ended = True
            self._wake()

    def _wake(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class _Counted(EventSourceResponse):
    def __init__(self, streams: Streams, events: AsyncGenerator[dict[str, str], None]) -> None:
        super().__init__(events, send_timeout=SEND_SECONDS)
        self._streams = streams
        self._events = events
        self._tenant = own_tenant()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._streams.open += 1
        self._streams.open_of[self._tenant] += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.open -= 1
            self._streams.open_of[self._tenant] -= 1
            await self._events.aclose()
