"""Topic names and the registry of message types: one topic per event type."""

from __future__ import annotations

from shared.events.coordinator import DateDue, PhaseRequested, PortfolioChanged, PortfolioCreated, PortfolioDeleted
from shared.events.envelope import Event
from shared.events.services import FactorsComputed, PricesIngested, PricesRestated, RiskComputed, SnapshotsBuilt

PORTFOLIO_CREATED = "leadline.portfolio-created"
PORTFOLIO_CHANGED = "leadline.portfolio-changed"
PORTFOLIO_DELETED = "leadline.portfolio-deleted"
DATE_DUE = "leadline.date-due"
PRICES_INGESTED = "leadline.prices-ingested"
PRICES_RESTATED = "leadline.prices-restated"
FACTORS_COMPUTED = "leadline.factors-computed"
SNAPSHOTS_BUILT = "leadline.snapshots-built"
RISK_COMPUTED = "leadline.risk-computed"
PHASE_REQUESTED = "leadline.phase-requested"

TOPIC_OF: dict[type[Event], str] = {
    PortfolioCreated: PORTFOLIO_CREATED,
    PortfolioChanged: PORTFOLIO_CHANGED,
    PortfolioDeleted: PORTFOLIO_DELETED,
    DateDue: DATE_DUE,
    PricesIngested: PRICES_INGESTED,
    PricesRestated: PRICES_RESTATED,
    FactorsComputed: FACTORS_COMPUTED,
    SnapshotsBuilt: SNAPSHOTS_BUILT,
    RiskComputed: RISK_COMPUTED,
    PhaseRequested: PHASE_REQUESTED,
}
TOPICS: tuple[str, ...] = tuple(TOPIC_OF.values())
EVENT_TYPES: dict[str, type[Event]] = {event.name: event for event in TOPIC_OF}
