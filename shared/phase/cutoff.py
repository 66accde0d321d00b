"""A batch is cut off once none of its portfolios is there any more: waiting statements and vendors' answers at once, what
computes in a thread at its next step."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Collection, Sequence
from uuid import UUID

from shared import progress
from shared.errors import PermanentError
from shared.work import Batch


class BatchWithdrawn(PermanentError):
    """Nobody waits for the batch any more; its transaction is rolled back."""

    code = "batch_withdrawn"


class Cutoff:
    """Of the one batch at a time that a run computes."""

    def __init__(self) -> None:
        self.portfolios: tuple[UUID, ...] = ()
        """Of the batch at hand; empty between two."""
        self._timeout: asyncio.Timeout | None = None
        self._stop = threading.Event()

    @contextlib.asynccontextmanager
    async def around(self, batch: Batch) -> AsyncIterator[None]:
        """Raises `BatchWithdrawn` where `keep` found that nobody needs the batch."""
        with progress.stoppable() as stop:
            try:
                async with asyncio.timeout(None) as timeout:
                    self.portfolios, self._timeout, self._stop = batch.portfolios, timeout, stop
                    yield
            except Exception as error:
                # Whatever a driver makes of the cancellation.
                if not stop.is_set():
                    raise
                raise BatchWithdrawn(f"{len(batch)} units of what was deleted meanwhile") from error
            finally:
                self.portfolios, self._timeout = (), None

    def keep(self, asked: Sequence[UUID], found: Collection[UUID]) -> None:
        """Of the portfolios asked about only those found are there. Cuts the batch off if it is theirs and none is."""
        if found or self._timeout is None or asked is not self.portfolios or self._stop.is_set():
            return
        self._stop.set()
        self._timeout.reschedule(asyncio.get_running_loop().time())
