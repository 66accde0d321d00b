"""Room for batches in this process: what each phase holds at most is bounded, and services that share a process share its memory.

One whole batch at a time, and as many small ones as fit beside each other: a night's are a hundredth of one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from weakref import WeakKeyDictionary

# In whole batches, each as large as its phase may make one (`shared.work.MAX_ROWS`). The half is for what is quickly done.
CAPACITY = 1.5


class Room:
    """Shares of a whole batch, given in the order in which they were asked for, so that a large one is not passed by for good."""

    def __init__(self, capacity: float = CAPACITY) -> None:
        self._capacity = capacity
        self._taken = 0.0
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def take(self, share: float) -> AsyncIterator[None]:
        """Hold a share while the block runs. What is larger than all there is waits until it is alone."""
        share = min(share, self._capacity)
        if self._waiting or not self._fits(share):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((share, turn))
            try:
                await turn
            except BaseException:
                if turn.cancelled():
                    self._call_next()
                else:
                    # Its turn came and it was cancelled, both before it ran again.
                    self._give_back(share)
                raise
        else:
            self._taken += share
        try:
            yield
        finally:
            self._give_back(share)

    def _fits(self, share: float) -> bool:
        # Sums of shares are floats: what was given back may leave a trace.
        return self._taken + share <= self._capacity + 1e-9

    def _give_back(self, share: float) -> None:
        self._taken -= share
        self._call_next()

    def _call_next(self) -> None:
        while self._waiting:
            share, turn = self._waiting[0]
            if not turn.cancelled():
                if not self._fits(share):
                    return
                self._taken += share
                turn.set_result(None)
            self._waiting.popleft()


_rooms: WeakKeyDictionary[asyncio.AbstractEventLoop, Room] = WeakKeyDictionary()


def of_this_process() -> Room:
    """Of the running event loop, of which a process has one."""
    return _rooms.setdefault(asyncio.get_running_loop(), Room())
