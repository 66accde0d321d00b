"""What wakes the coordinator. It computes nothing: prices that arrive let it settle what a lot's numbers mean."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol
from uuid import UUID

from shared.events import topics
from shared.events.envelope import WorkEvent
from shared.messaging.consumer import Subscribe

# A restated price may be one that was absent when the basis was settled without it.
TOPICS = (topics.PRICES_INGESTED, topics.PRICES_RESTATED)


class Settle(Protocol):
    """Settles the price bases of these portfolios that can be settled."""

    def __call__(self, portfolios: Sequence[UUID]) -> Awaitable[int]: ...


def register(subscribe: Subscribe, settle: Settle) -> None:
    """Subscribe to prices that became known."""

    @subscribe(*TOPICS, group="coordinator")  # type: ignore[untyped-decorator]
    async def on_prices(event: WorkEvent) -> None:
        await settle(event.work.portfolios)
