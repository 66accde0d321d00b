"""Work that grows with a portfolio is a thread's; what is small is done at once, because to wake a thread costs more than it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

FEW = 50
"""Lots or rows that are put together: some tenths of a millisecond; handing them to a thread and back costs one."""

ResultT = TypeVar("ResultT")


async def offload(items: int, function: Callable[[], ResultT], *, few: int | None = None) -> ResultT:
    """What the function gives: of more than a few items from a thread, so that the event loop answers others meanwhile."""
    return function() if items <= (FEW if few is None else few) else await asyncio.to_thread(function)
