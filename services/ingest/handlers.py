"""What wakes this service. The event says where to look; the ledger says what to do."""

from __future__ import annotations

from shared.events import topics

TOPICS = (
    topics.PORTFOLIO_CREATED,
    topics.PORTFOLIO_CHANGED,
    topics.DATE_DUE,
    topics.PHASE_REQUESTED,
)
