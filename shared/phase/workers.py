"""What a phase brings of its own: the protocols that the runner knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar, runtime_checkable
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.ledger import Completed, Deferral, Outcome
from shared.work import Batch, Phase, UnitKey


class Results(Protocol):
    """What a computation returns: at least the outcome of each unit it computed. Units without one stay missing."""

    @property
    def outcomes(self) -> Mapping[UnitKey, Outcome]: ...


InputsT = TypeVar("InputsT")
ResultsT = TypeVar("ResultsT", bound=Results)


@runtime_checkable
class DefersUnits(Protocol):
    """Results that put units off: they stay missing, and their portfolio is looked at again then. No run is counted."""

    @property
    def deferred(self) -> Mapping[UnitKey, Deferral]: ...


class PhaseWorker(Protocol[InputsT, ResultsT]):
    """A phase's own part. `load` and `save` are SQL on one connection; `compute` is pure and runs in a thread.

    What one of them returns, the next one takes: `load` its inputs, `compute` its results.
    """

    phase: Phase

    async def load(self, conn: AsyncConnection, batch: Batch) -> InputsT: ...

    def compute(self, inputs: InputsT) -> ResultsT: ...

    async def save(self, conn: AsyncConnection, results: ResultsT, raised: Completed) -> None: ...


@runtime_checkable
class LocksSharedInputs(Protocol):
    """A worker whose inputs portfolios share: nobody else is to compute them until the transaction ends."""

    async def lock_inputs(self, conn: AsyncConnection, batch: Batch) -> None: ...


@runtime_checkable
class BatchWorker(Protocol):
    """A worker that does a whole batch itself, because it leaves the database in between (ingest asks vendors).

    It returns all units it completed, with how they came out; also those of others that became ready by its work.
    """

    phase: Phase

    async def run_batch(self, batch: Batch) -> Completed: ...


def deferred_units(results: object) -> Mapping[UnitKey, Deferral]:
    """Units that the results put off; none of results that put nothing off."""
    return results.deferred if isinstance(results, DefersUnits) else {}


def earliest_by_portfolio(deferred: Mapping[UnitKey, Deferral]) -> dict[UUID, Deferral]:
    """When each portfolio is looked at again: when the first of its units may go on."""
    found: dict[UUID, Deferral] = {}
    for key, deferral in sorted(deferred.items()):
        known = found.get(key.portfolio_id)
        if known is None or deferral.until < known.until:
            found[key.portfolio_id] = deferral
    return found
