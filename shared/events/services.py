"""Completion events of the four phases. Each says: these units are complete in the ledger, go and look."""

from __future__ import annotations

from typing import ClassVar

from shared.events.envelope import WorkEvent
from shared.work import Phase


class PricesIngested(WorkEvent):
    """Every price these units need is known, or known to be absent."""

    name: ClassVar[str] = "PricesIngested"


class PricesRestated(WorkEvent):
    """A price these units had already used was corrected, or arrived late."""

    name: ClassVar[str] = "PricesRestated"


class FactorsComputed(WorkEvent):
    name: ClassVar[str] = "FactorsComputed"


class SnapshotsBuilt(WorkEvent):
    name: ClassVar[str] = "SnapshotsBuilt"


class RiskComputed(WorkEvent):
    name: ClassVar[str] = "RiskComputed"


COMPLETION: dict[Phase, type[WorkEvent]] = {
    Phase.INGEST: PricesIngested,
    Phase.FACTORS: FactorsComputed,
    Phase.SNAPSHOTS: SnapshotsBuilt,
    Phase.RISK: RiskComputed,
}
