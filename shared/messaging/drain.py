"""How a process that reads messages ends: drained on a signal, or at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import uvicorn

from shared.head_deadline import bound_heads


def exit_process(code: int) -> None:
    """End the process now. Not by an exception: what is stuck may be what would have to let it through."""
    logging.shutdown()
    os._exit(code)


@contextlib.contextmanager
def drain_on_signal(stopping: asyncio.Event, seconds: float) -> Iterator[None]:
    """On SIGTERM fail `/readyz` first, so that traffic goes elsewhere; then shut down. A server that is about to listen gets its
    bound on slow heads here too: its command line has none.

    uvicorn closes its port as the first thing, so nobody could read there that it is about to. A second signal, and servers
    other than uvicorn, are left as they are.
    """
    server = signal.getsignal(signal.SIGTERM)
    owner = getattr(server, "__self__", None)
    if isinstance(owner, uvicorn.Server):
        bound_heads(owner.config)
    ours = isinstance(owner, uvicorn.Server) and threading.current_thread() is threading.main_thread()
    if not ours or not callable(server):
        yield
        return
    loop = asyncio.get_running_loop()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stopping.is_set() or seconds <= 0:
            server(number, frame)
            return
        loop.call_soon_threadsafe(stopping.set)
        loop.call_soon_threadsafe(loop.call_later, seconds, server, number, None)

    signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is on_signal:
            signal.signal(signal.SIGTERM, server)
