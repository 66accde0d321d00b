"""Room for batches in this process: what each phase holds at most is bounded, and services that share a process share its memory.

One whole batch at a time, and as many small ones as fit beside each other: a night's are a hundredth of one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from weakref import WeakKeyDictionary

from shared.phase.workers import BatchWorker

# So long a batch waits for its room; then its run hands the work on, for who does not poll for five minutes loses its partitions.
WAIT_SECONDS = 60.0
# In whole batches, each as large as its phase may make one (`shared.work.MAX_ROWS`). The half is for what is quickly done.
CAPACITY = 1.5


class Room:
    """Shares of a whole batch, given in the order in which they were asked for, so that a large one is not passed by for good."""

    def __init__(self, capacity: float = CAPACITY) -> None:
        self._capacity = capacity
        self._taken = 0.0
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def take(self, share: float, within: float) -> AsyncIterator[bool]:
        """Hold a share while the block runs; False, and nothing held, if there was no room within so many seconds.

        What is larger than all there is waits until it is alone.
        """
        share = min(share, self._capacity)
        if not await self._admit(share, within):
            yield False
            return
        try:
            yield True
        finally:
            self._give_back(share)

    async def _admit(self, share: float, within: float) -> bool:
        if not self._waiting and self._fits(share):
            self._taken += share
            return True
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((share, turn))
        try:
            async with asyncio.timeout(within):
                await turn
        except TimeoutError:
            self._withdraw(share, turn)
            return False
        except BaseException:
            self._withdraw(share, turn)
            raise
        return True

    def _withdraw(self, share: float, turn: asyncio.Future[None]) -> None:
        """Of who no longer waits. Its turn may have come in the moment in which it gave up."""
        if turn.done() and not turn.cancelled():
            self._give_back(share)
        else:
            turn.cancel()
            self._call_next()

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


def for_batch(worker: object, share: float) -> contextlib.AbstractAsyncContextManager[bool]:
    """Room for a batch of a worker. Who asks vendors meanwhile needs none: its writes are small."""
    if isinstance(worker, BatchWorker):
        return contextlib.nullcontext(enter_result=True)
    return of_this_process().take(share, WAIT_SECONDS)
