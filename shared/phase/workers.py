"""What a phase brings of its own: the protocols that the runner knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.ledger import Completed, Deferral, Outcome
from shared.work import Batch, Phase, UnitKey


class Results(Protocol):
    """What a computation returns: at least the outcome of each unit it computed. Units without one stay missing."""

    @property
    def outcomes(self) -> Mapping[UnitKey, Outcome]: ...


@runtime_checkable
class DefersUnits(Protocol):
    """Results that put units off: they stay missing, and their portfolio is looked at again then. No run is counted."""

    @property
    def deferred(self) -> Mapping[UnitKey, Deferral]: ...


@runtime_checkable
class PhaseWorker(Protocol):
    """A phase's own part. `load` and `save` are SQL on one connection; `compute` is pure and runs in a thread."""

    phase: Phase

    async def load(self, conn: AsyncConnection, batch: Batch) -> Any: ...

    def compute(self, inputs: Any) -> Any: ...

    async def save(self, conn: AsyncConnection, results: Any, raised: Completed) -> None: ...


@runtime_checkable
class LocksSharedInputs(Protocol):
    """A worker whose inputs portfolios share: nobody else is to compute them until the transaction ends."""

    async def lock_inputs(self, conn: AsyncConnection, batch: Batch) -> None: ...


@runtime_checkable
class BatchWorker(Protocol):
    """A worker that does a whole batch itself, because it leaves the database in between (ingest asks vendors)."""

    phase: Phase

    async def run_batch(self, batch: Batch) -> Completed: ...


def earliest(deferred: Mapping[UnitKey, Deferral]) -> dict[UUID, Deferral]:
    """When each portfolio is looked at again: when the first of its units may go on."""
    found: dict[UUID, Deferral] = {}
    for key, deferral in sorted(deferred.items()):
        known = found.get(key.portfolio_id)
        if known is None or deferral.until < known.until:
            found[key.portfolio_id] = deferral
    return found
