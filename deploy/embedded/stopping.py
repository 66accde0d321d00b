"""A start or a run that somebody ends: signals as an event, and a start that is broken off cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from shared.telemetry import logger

log = logger(__name__)
T = TypeVar("T")


async def unless_stopped(starting: Coroutine[Any, Any, T], asked_to_stop: asyncio.Event) -> T | None:
    """What `starting` returns; None if a signal comes first: then it is cancelled, and has cleaned up."""
    start, asked = asyncio.create_task(starting), asyncio.create_task(asked_to_stop.wait())
    await asyncio.wait([start, asked], return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if start.done():
        return await start
    asyncio.get_running_loop().set_exception_handler(_once_stopping)
    start.cancel()
    try:
        return await start
    except asyncio.CancelledError:
        return None


def _once_stopping(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A connection that was cut off while it was made leaves an error that nobody waits for: after a stop that is no news."""
    error = context.get("exception")
    if isinstance(error, ConnectionError):
        log.debug("connection_cut_off", error=str(error))
    else:
        loop.default_exception_handler(context)


def stop_on_signals(begin_stop: Callable[[], None]) -> asyncio.Event:
    """An event that Ctrl-C and SIGTERM set, in place of what they do otherwise; `begin_stop` is called with it, in a thread.

    Not by `add_signal_handler`, which waits for the loop's next turn: the loop may be what does not get on. And in a thread, because
    a handler may interrupt the very code that holds the lock it needs, another handler's too.
    """
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(*_: object) -> None:
        threading.Thread(target=begin_stop, name="begin-stop", daemon=True).start()
        with contextlib.suppress(RuntimeError):  # the loop is closed: everything has stopped
            loop.call_soon_threadsafe(asked_to_stop.set)

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, stop)
    return asked_to_stop
