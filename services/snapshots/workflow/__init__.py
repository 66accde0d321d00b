"""Load, compute, save: the snapshots phase as `shared.phase` runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from services.snapshots import store
from services.snapshots.compute import Inputs, roll_forward
from services.snapshots.workflow.inputs import load_inputs
from services.snapshots.workflow.rows import UnitRow, unit_rows
from shared.ledger import Completed, Outcome
from shared.market.registry import MODEL_VERSION
from shared.work import Batch, Phase, UnitKey


@dataclass(frozen=True)
class Results:
    """Rows of every unit computed, without their revision: that is known only once the units are raised."""

    rows: Mapping[UnitKey, UnitRow]

    @property
    def outcomes(self) -> Mapping[UnitKey, Outcome]:
        return {key: row.outcome for key, row in self.rows.items()}


class SnapshotsWorker:
    """Implements `shared.phase.workers.PhaseWorker`. Stateless; one instance a process."""

    phase = Phase.SNAPSHOTS

    async def load(self, conn: AsyncConnection, batch: Batch) -> Inputs:
        """Positions, flows, prices and the rows of the session before, from one snapshot of the database."""
        return await load_inputs(conn, batch)

    def compute(self, inputs: Inputs) -> Results:
        """Pure. Portfolios that are gone are in neither the inputs nor the results."""
        table, snapshots = roll_forward(inputs)
        return Results(unit_rows(inputs, table, snapshots))

    async def save(self, conn: AsyncConnection, results: Results, raised: Completed) -> None:
        """Write the raised units' rows, and only theirs."""
        if not raised:
            return
        await store.replace(
            conn,
            snapshots=[(*key, revision, *results.rows[key].snapshot) for key, revision in raised.revision.items()],
            holdings={key: results.rows[key].holdings for key in raised.revision},
            revisions=raised.revision,
            model_version=MODEL_VERSION,
        )
