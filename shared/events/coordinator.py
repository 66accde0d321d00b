"""Messages the coordinator publishes."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from shared.events.envelope import Event, WorkEvent
from shared.work import Phase


class PortfolioCreated(WorkEvent):
    """A portfolio and its units are in the ledger."""

    name: ClassVar[str] = "PortfolioCreated"


class PortfolioChanged(WorkEvent):
    """Positions or flows changed: units from the first affected session on were raised, added or removed."""

    name: ClassVar[str] = "PortfolioChanged"


class PortfolioDeleted(Event):
    """A portfolio is gone, and its units with it."""

    name: ClassVar[str] = "PortfolioDeleted"

    portfolio_id: UUID

    def about(self) -> list[UUID]:
        return [self.portfolio_id]

    def subject(self) -> str:
        return str(self.portfolio_id)


class DateDue(WorkEvent):
    """Sessions fell due, and their units are in the ledger."""

    name: ClassVar[str] = "DateDue"


class PhaseRequested(WorkEvent):
    """The reconciler, or a person, wants one phase of this work done."""

    name: ClassVar[str] = "PhaseRequested"

    phase: Phase
