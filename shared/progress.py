"""Progress of the message at hand: who works long is not stuck as long as it gets on.

A handler's supervision asks for the age of its last report; whatever computes reports after each step, on the event loop or in
the thread that computes (`asyncio.to_thread` takes the context along).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar


class Progress:
    """When the handler began and when something of it was last finished, by the monotonic clock."""

    __slots__ = ("at", "since")

    def __init__(self) -> None:
        self.since = self.at = time.monotonic()

    def report(self) -> None:
        self.at = time.monotonic()


_current: ContextVar[Progress | None] = ContextVar("progress", default=None)


def report() -> None:
    """A step is finished. Without a handler around it, nobody asks."""
    if (progress := _current.get()) is not None:
        progress.report()


@contextlib.contextmanager
def tracked() -> Iterator[Progress]:
    """Around a handler: what it calls reports here."""
    progress = Progress()
    token = _current.set(progress)
    try:
        yield progress
    finally:
        _current.reset(token)
