"""What wakes this service. The event says where to look; the ledger says what to do."""

from __future__ import annotations

from shared.events import topics

TOPICS = (
    topics.PRICES_INGESTED,
    topics.PRICES_RESTATED,
    topics.PORTFOLIO_CHANGED,
    topics.PHASE_REQUESTED,
)
