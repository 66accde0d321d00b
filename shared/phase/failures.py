"""Permanent failures of one run, isolated by bisecting the batch and recorded once when the run ends."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from shared import ledger
from shared.messaging import dead_letters
from shared.telemetry import BLOCKED, FAILURES, logger
from shared.work import Batch, Phase

log = logger(__name__)

# Tries that may fail before sessions are not told apart any more. One bad session among 5,000 takes thirteen; where this many
# fail, nearly all do, and finding that out unit by unit would take longer than the broker lets a handler run.
MOST_TRIES = 100
DIED = (
    "The process ended while it computed this, {deaths} times in a row, and said nothing. Memory is the usual cause: see the "
    "service's exit code and give it more"
)


@dataclass
class Failures:
    """Parts of batches, each of one portfolio and as small as could be found, with their errors in words."""

    parts: list[tuple[Batch, str]] = field(default_factory=list)
    tries: int = 0

    def split(self, batch: Batch) -> tuple[Batch, Batch] | None:
        """Split a failed batch for the next try; None when the limit of tries is reached and it fails as a whole."""
        self.tries += 1
        return batch.halves() if len(batch.portfolios) > 1 or self.tries < MOST_TRIES else None

    def merge(self, batch: Batch, halves: tuple[Batch, Batch]) -> None:
        """Merge two adjacent halves with the same error into one part, with one dead letter."""
        (first, error), (second, other) = self.parts[-2:] if len(self.parts) > 1 else ((batch, ""), (batch, ""))
        if len(batch.portfolios) == 1 and (first, second) == halves and error == other:
            self.parts[-2:] = [(batch, error)]

    async def record(self, engine: AsyncEngine, phase: Phase) -> None:
        """Record one failed run per portfolio; after eight the units are blocked, with a dead letter for each part."""
        errors: dict[UUID, dict[tuple[date, date], str]] = defaultdict(dict)
        for batch, error in self.parts:
            FAILURES.labels(phase.value).inc()
            errors[batch.portfolios[0]][batch.first, batch.last] = error
        for portfolio, found in errors.items():
            async with engine.begin() as conn:
                blocked = await ledger.record_failure(conn, phase, portfolio, found)
                if blocked:
                    for (first, last), error in found.items():
                        await dead_letters.record_blocked(conn, phase, portfolio, first, last, error)
            if blocked:
                BLOCKED.labels(phase.value).inc()
                log.error(
                    "units_blocked",
                    phase=phase.value,
                    portfolio=portfolio,
                    sessions=[f"{first}/{last}" for first, last in found],
                    remedy="fix the cause, then `leadline rerun ID --what failed`",
                )
