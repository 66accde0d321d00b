"""What wakes this service. The event says where to look; the ledger says what to do."""

from __future__ import annotations

from shared.events import topics
from shared.events.envelope import WorkEvent
from shared.messaging.consumer import Subscribe
from shared.phase import PhaseRunner

TOPICS = (
    topics.PRICES_INGESTED,
    topics.PRICES_RESTATED,
    topics.PORTFOLIO_CHANGED,
    topics.PHASE_REQUESTED,
)


def register(subscribe: Subscribe, runner: PhaseRunner) -> None:
    """Subscribe to everything upstream of the factors phase."""

    @subscribe(*TOPICS, group="factors")  # type: ignore[untyped-decorator]
    async def on_upstream(event: WorkEvent) -> None:
        if event.concerns(runner.phase):
            await runner.run(event.work.rectangle())
