"""What wakes this service. The event says where to look; the ledger says what to do."""

from __future__ import annotations

from shared.events import topics

TOPICS = (
    topics.FACTORS_COMPUTED,
    topics.SNAPSHOTS_BUILT,
    topics.PHASE_REQUESTED,
)
