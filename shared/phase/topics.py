"""Which topics wake which phase: those of its upstream, and those of the coordinator that can add units of it.

The event says where to look; the ledger says what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from shared.events import topics
from shared.work import Phase

TOPICS_OF_PHASE: Final[Mapping[Phase, tuple[str, ...]]] = MappingProxyType(
    {
        Phase.INGEST: (
            topics.PORTFOLIO_CREATED,
            topics.PORTFOLIO_CHANGED,
            topics.DATE_DUE,
            topics.PHASE_REQUESTED,
        ),
        Phase.FACTORS: (
            topics.PRICES_INGESTED,
            topics.PRICES_RESTATED,
            topics.PORTFOLIO_CHANGED,
            topics.PHASE_REQUESTED,
        ),
        Phase.SNAPSHOTS: (
            topics.PRICES_INGESTED,
            topics.PRICES_RESTATED,
            topics.PORTFOLIO_CHANGED,
            topics.PHASE_REQUESTED,
        ),
        Phase.RISK: (
            topics.FACTORS_COMPUTED,
            topics.SNAPSHOTS_BUILT,
            topics.PHASE_REQUESTED,
        ),
    }
)
