"""The one function every phase runs, whatever pulled the trigger.

Read what is missing and ready, compute it, and in one transaction raise what is completed, write the results and announce them.
The event that woke us says only where to look. Healing is the same call.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import ledger, progress
from shared.clock import Clock
from shared.db import closures
from shared.db.engine import describe_error, is_transient, snapshot
from shared.ledger import Completed, Lease
from shared.market.calendar import using_calendar
from shared.messaging import outbox
from shared.messaging.failpoints import failpoint
from shared.phase import batches, leases, room
from shared.phase.cutoff import BatchWithdrawn, Cutoff
from shared.phase.failures import DIED, Failures
from shared.phase.workers import (
    BatchWorker,
    InputsT,
    LocksSharedInputs,
    PhaseWorker,
    ResultsT,
    deferred_units,
    earliest_by_portfolio,
)
from shared.telemetry import BATCH_SECONDS, COMPLETED, log_context, logger, span
from shared.work import Batch, UnitKey, Work

log = logger(__name__)

RENEW_SECONDS = 10.0
# A computation holds two connections, its transaction's and its snapshot's. More at once than half the smallest pool would wait.
MAX_CONCURRENT_COMPUTATIONS = 2
# A run that lasts longer hands the rest on by an event: who does not poll for five minutes loses its partitions.
RUN_SECONDS = 120.0
# Work whose holders died so often in a row is done one portfolio at a time, so that one that kills its process is found.
SUSPICIOUS_DEATHS = 2
Bounds = tuple[date | None, date | None]
UNBOUNDED: Bounds = (None, None)


class PhaseRunner:
    """Runs one phase. Nothing in memory decides whether work may start, so nothing can be stuck "running"."""

    def __init__(
        self,
        engine: AsyncEngine,
        worker: PhaseWorker[InputsT, ResultsT] | BatchWorker,
        clock: Clock,
        *,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        # Of whatever inputs and results: they go from one method of the worker to the next, in `_compute`.
        self._worker: PhaseWorker[Any, Any] | BatchWorker = worker
        self._clock = clock
        self._wake = wake
        self._turns = asyncio.Semaphore(MAX_CONCURRENT_COMPUTATIONS)
        self.phase = worker.phase

    async def run(self, work: Work) -> int:
        """Complete what is missing and ready within the work; returns how many units were raised.

        Skips portfolios leased by another worker but raises their wake-up counter. Compares the counter before a lease is
        released, and reads what is missing again where it moved, so that no wake-up is lost. Portfolios whose processes died come
        last, each alone.
        """
        # Each batch is computed under the closures that belong to its inputs: whatever the caller ran under is none of them.
        with using_calendar(None):
            return await self._run(work)

    async def _run(self, work: Work) -> int:
        deadline = time.monotonic() + RUN_SECONDS
        bounds = work.first, work.last
        # What woke us was committed before this look. With nothing to do and nobody to tell, leases would be written for nothing.
        async with self._engine.connect() as conn:
            ready, unreleased = await ledger.look(conn, self.phase, work.portfolios, *bounds)
        if not ready and not unreleased:
            return 0
        suspicious = sorted((times, p) for p, times in unreleased.items() if times >= SUSPICIOUS_DEATHS)
        alone = [portfolio for _, portfolio in suspicious]
        others = [p for p in work.portfolios if unreleased.get(p, 0) < SUSPICIOUS_DEATHS]
        done = await self._run_leased(others, bounds, deadline)
        for at, portfolio in enumerate(alone):
            if at and time.monotonic() > deadline:
                async with self._engine.begin() as conn:
                    await outbox.publish_request(conn, self.phase, Work(tuple(alone[at:]), work.first, work.last))
                break
            done += await self._run_leased([portfolio], bounds, deadline)
        return done

    async def _run_leased(self, wanted: Sequence[UUID], bounds: Bounds, deadline: float) -> int:
        if not wanted:
            return 0
        owner, cutoff = uuid4().hex, Cutoff()
        async with self._engine.begin() as conn:
            held = await ledger.acquire(conn, self.phase, wanted, owner)
        failpoint("phase.after_lease")
        if not held:
            return 0
        deaths = max(lease.deaths for lease in held)
        done = 0
        async with leases.keep_renewed(self._engine, self.phase, owner, cutoff, RENEW_SECONDS):
            try:
                await self._count_deaths(held, bounds)
                while held:
                    portfolios = [lease.portfolio_id for lease in held]
                    raised, finished = await self._drain(portfolios, bounds, deadline, cutoff, deaths)
                    done += raised
                    async with self._engine.begin() as conn:
                        held = await ledger.release(conn, self.phase, held, owner, unconditionally=not finished)
                        if not finished:
                            with using_calendar(await closures.find_closures(conn)):
                                rest = Work(tuple(portfolios), self._clock.calendar().first, self._clock.last_due())
                            await outbox.publish_request(conn, self.phase, rest)
                    bounds = UNBOUNDED  # whoever left word did not say what for
            except BaseException:
                await leases.give_back(self._engine, self.phase, held, owner)
                raise
        return done

    async def _count_deaths(self, held: Sequence[Lease], bounds: Bounds) -> None:
        """A process that died of a portfolio again and again counts as a failed run of the batch that it was about to compute.

        The first death is none of the portfolio's: machines are switched off.
        """
        failures = Failures()
        for lease in held:
            if lease.deaths >= SUSPICIOUS_DEATHS:
                async with snapshot(self._engine) as conn:
                    with using_calendar(await closures.find_closures(conn)):
                        found = await self._next(conn, [lease.portfolio_id], bounds, (), lease.deaths - 1)
                if found is not None:
                    failures.parts.append((found.batch, DIED.format(deaths=lease.deaths)))
        await failures.record(self._engine, self.phase)

    async def _drain(
        self, portfolios: Sequence[UUID], bounds: Bounds, deadline: float, cutoff: Cutoff, deaths: int
    ) -> tuple[int, bool]:
        """Batch after batch, each in a snapshot of its own, until one was all there was and is settled, nothing is ready that was
        not tried at this revision, or until the deadline. Returns how many units were raised, and whether nothing is left."""
        attempted: list[Batch] = []
        failures = Failures()
        done = 0
        try:
            while True:
                async with snapshot(self._engine) as conn:
                    days = await closures.find_closures(conn)
                    with using_calendar(days):
                        found = await self._next(conn, portfolios, bounds, attempted, deaths)
                if found is None:
                    return done, True
                if attempted and time.monotonic() > deadline:
                    return done, False
                async with room.for_batch(self._worker, found.share) as given:
                    if not given:
                        return done, False
                    with using_calendar(days):
                        raised = await self._bisect_on_failure(found.batch, attempted, failures, cutoff)
                progress.report()
                done += len(raised.keys)
                if raised:
                    self._wake()
                if found.is_whole and raised.settles(found.batch):
                    # What becomes ready after it has a message of its own, and who comes with it while we hold the lease leaves word.
                    return done, True
        finally:
            # At the end: completing the portfolio's other units takes its failures for past ones.
            await failures.record(self._engine, self.phase)

    async def _next(
        self,
        conn: AsyncConnection,
        portfolios: Sequence[UUID],
        bounds: Bounds,
        attempted: Sequence[Batch],
        deaths: int,
    ) -> batches.NextBatch | None:
        units = await ledger.find_ready(conn, self.phase, portfolios, *bounds)
        return await batches.next_batch(conn, self.phase, units, self._clock.calendar(), attempted, deaths)

    async def _bisect_on_failure(
        self, batch: Batch, attempted: list[Batch], failures: Failures, cutoff: Cutoff
    ) -> Completed:
        """Run a batch; on permanent failure bisect it, so that one bad portfolio, or one bad session of it, fails alone.

        In a chain nothing behind what failed is ready, so there the later half is found to be empty.
        """
        with log_context(
            phase=self.phase.value,
            portfolio=batch.portfolios[0] if len(batch.portfolios) == 1 else f"{len(batch.portfolios)} portfolios",
            session=batch.first if len(batch.sessions) == 1 else f"{batch.first}/{batch.last}",
        ):
            try:
                with span(f"{self.phase.value} batch", portfolios=len(batch.portfolios), sessions=len(batch.sessions)):
                    async with cutoff.around(batch):
                        raised = await self._execute(batch, attempted)
            except BatchWithdrawn as withdrawn:
                log.info("batch_withdrawn", reason=str(withdrawn))
                attempted.append(batch)
                return Completed({})
            except Exception as problem:
                if is_transient(problem):
                    raise
                error = describe_error(problem)
                halves = failures.split(batch)
                if halves is None:
                    # The first with its traceback: where many fail, they mostly fail alike.
                    log.exception("batch_failed", error=str(problem)[:2000], exc_info=not failures.parts)
            else:
                for quality, count in Counter(raised.quality.values()).items():
                    COMPLETED.labels(self.phase.value, quality).inc(count)
                log.info("batch_done", units=len(batch), raised=len(raised.keys))
                return raised
        if halves is None:
            attempted.append(batch)
            failures.parts.append((batch, error))
            return Completed({})
        done = await self._bisect_on_failure(halves[0], attempted, failures, cutoff)
        done |= await self._bisect_on_failure(halves[1], attempted, failures, cutoff)
        failures.merge(batch, halves)
        return done

    async def _execute(self, batch: Batch, attempted: list[Batch]) -> Completed:
        worker = self._worker
        if not isinstance(worker, BatchWorker):
            return await self._compute(worker, batch, attempted)
        attempted.append(batch)
        with BATCH_SECONDS.labels(self.phase.value, "all").time():
            return await worker.run_batch(batch)

    async def _compute(self, worker: PhaseWorker[InputsT, ResultsT], batch: Batch, attempted: list[Batch]) -> Completed:
        async with self._turns, self._engine.begin() as conn, contextlib.AsyncExitStack() as calendar:
            if isinstance(worker, LocksSharedInputs):
                await worker.lock_inputs(conn, batch)
            # Revision, inputs and price versions in one snapshot, opened after the claim: what the last holder wrote is in it.
            with BATCH_SECONDS.labels(self.phase.value, "load").time():
                async with snapshot(self._engine) as view:
                    # And the calendar that belongs to them, until the results are written.
                    calendar.enter_context(using_calendar(await closures.find_closures(view)))
                    current = await self._current(view, batch)
                    if current is None:
                        return Completed({})
                    # Not the batch that was asked for: what fell out of it meanwhile is to be looked at again.
                    attempted.append(current)
                    inputs = await worker.load(view, current)
            failpoint("phase.before_compute")
            with BATCH_SECONDS.labels(self.phase.value, "compute").time():
                results = await asyncio.to_thread(worker.compute, inputs)
            # What was read is as large as what was made of it, and saving takes as long as computing.
            del inputs
            progress.report()
            with BATCH_SECONDS.labels(self.phase.value, "save").time():
                return await self._save(conn, worker, current, results)

    async def _current(self, conn: AsyncConnection, batch: Batch) -> Batch | None:
        """Re-read the batch in this snapshot: revisions may have risen, units may be complete or deleted."""
        return await batches.current_batch(conn, self.phase, batch, self._clock.calendar())

    async def _save(
        self, conn: AsyncConnection, worker: PhaseWorker[InputsT, ResultsT], batch: Batch, results: ResultsT
    ) -> Completed:
        # Asked for once: results may make it of their rows.
        found = results.outcomes
        outcomes = {
            unit: found[key] for unit in batch.units if (key := UnitKey(unit.portfolio_id, unit.session)) in found
        }
        raised = await ledger.complete(conn, self.phase, outcomes)
        failpoint("phase.after_completion")
        await worker.save(conn, results, raised)
        failpoint("phase.after_results")
        if raised:
            await outbox.publish_completions(conn, self.phase, raised.keys, batch.sessions)
            await ledger.record_progress(conn, self.phase, batch.portfolios)
        if deferred := earliest_by_portfolio(deferred_units(results)):
            await ledger.defer_each(conn, self.phase, deferred)
            failpoint("deferral.before_commit")
        failpoint("phase.before_commit")
        return raised
