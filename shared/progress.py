"""Progress of the message at hand: who works long is not stuck as long as it gets on, and who is to stop learns it here.

A handler's supervision asks for the age of its last report; whatever computes reports after each step, on the event loop or in
the thread that computes (`asyncio.to_thread` takes the context along).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar

from shared.errors import TransientError


class Progress:
    """When the handler began and when something of it was last finished, by the monotonic clock."""

    __slots__ = ("at", "since")

    def __init__(self) -> None:
        self.since = self.at = time.monotonic()

    def report(self) -> None:
        self.at = time.monotonic()


class WorkStopped(TransientError):
    """What is computed is not wanted any more."""

    code = "work_stopped"


_current: ContextVar[Progress | None] = ContextVar("progress", default=None)
_stop: ContextVar[threading.Event | None] = ContextVar("stop", default=None)


def report() -> None:
    """A step is finished. Without a handler around it, nobody asks. Raises `WorkStopped` if no more steps are wanted."""
    if (stop := _stop.get()) is not None and stop.is_set():
        raise WorkStopped("what is computed is not wanted any more")
    if (progress := _current.get()) is not None:
        progress.report()


@contextlib.contextmanager
def track_progress() -> Iterator[Progress]:
    """Around a handler: what it calls reports here."""
    progress = Progress()
    token = _current.set(progress)
    try:
        yield progress
    finally:
        _current.reset(token)


@contextlib.contextmanager
def stoppable() -> Iterator[threading.Event]:
    """Around work that may become unwanted: once the event is set, the next report raises `WorkStopped`, in a thread too."""
    stop = threading.Event()
    token = _stop.set(stop)
    try:
        yield stop
    finally:
        _stop.reset(token)
