"""One example of every event, fixed, so that stored messages can be compared with it."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from shared.events.coordinator import PhaseRequested, PortfolioDeleted
from shared.events.envelope import Event, WorkBody, WorkEvent
from shared.events.topics import EVENT_TYPES
from shared.work import Phase

PORTFOLIOS = [UUID("0197a7c2-3f5e-7c11-9d2a-5b8e6f1a2c3d"), UUID("0197a7c2-3f5e-7c11-9d2a-5b8e6f1a2c3e")]


def example(name: str) -> Event:
    """The example of the event of that name."""
    kind = EVENT_TYPES[name]
    if kind is PortfolioDeleted:
        return PortfolioDeleted(portfolio_id=PORTFOLIOS[0])
    work = WorkBody(portfolios=PORTFOLIOS, first=date(2024, 12, 30), last=date(2025, 1, 8))
    assert issubclass(kind, WorkEvent)
    return kind(work=work, phase=Phase.SNAPSHOTS if kind is PhaseRequested else None)
