"""The product's own ledger, portfolio service, outbox, relay, phase runner, scheduler and reconciler on PostgreSQL.

Not the product's: the computations (`toy.py`), the bus, which loses, repeats and reorders, and the clock of the database, which is
pushed on where a life cannot wait for it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import KafkaConnectionError

from services.coordinator.control.reconciler import Reconciler, ReconcilerSettings
from shared import ledger
from shared.errors import TransientError
from shared.messaging.relay import Relay
from shared.phase.runner import PhaseRunner
from shared.phase.topics import TOPICS_OF_PHASE
from shared.work import Phase
from tests.stateful import truth
from tests.stateful.bus import KINDS, Event
from tests.stateful.people import NOBODY, People
from tests.stateful.toy import Bed, Died, Toy

# Turns of the reconciler until a hole is healed, if the bus behaves, nothing fails and waits are over: V6. A lease that a dead
# process left, or a settlement that raises what was just completed, costs one of them.
TURNS = 3
# A phase that fails is run once a turn, and blocked after eight; what stands behind it comes to its own failures then.
TURNS_TO_BLOCK = ledger.MAX_RUNS + 1


@dataclass
class Life(People):
    """The machinery that lives with what people do."""

    async def relay(self, *, mute: bool = False) -> None:
        """Send what the outbox holds. With `mute` it is sent, and the relay dies before it can mark it."""
        self.bus.mute = mute
        with suppress(KafkaConnectionError):
            while await Relay(self.engine, self.bus, service="test").send_some():
                pass
        self.bus.mute = False

    async def handle(self, event: Event, order: Sequence[Phase] = tuple(Phase), ends: str = "") -> None:
        """Every service that listens hears the event, in any order; `ends` as the toy has it: each process ends there."""
        for phase, runner, work in self._hear(event, order, ends):
            if ends in {"compute", "save"}:
                setattr(runner, "_let_go", _nobody_lets_go)  # noqa: B010 (the type checker knows better)
            before = await self._runs_counted(phase)
            try:
                await runner.run(work)
            except Died:
                continue
            except TransientError:
                assert await self._runs_counted(phase) == before, "a wait counted as a run"

    def _hear(self, event: Event, order: Sequence[Phase], ends: str = "", bed: Bed | None = None) -> list[Any]:
        topic, payload = event
        body = KINDS[topic].model_validate(json.loads(payload))
        heard = []
        for phase in order:
            if topic in TOPICS_OF_PHASE[phase] and body.concerns(phase):
                fails = frozenset((portfolio, day) for at, portfolio, day in self.faults if at is phase)
                runner = PhaseRunner(self.engine, Toy(phase, fails, ends, bed), self.clock)
                heard.append((phase, runner, body.work.rectangle()))
        return heard

    async def _runs_counted(self, phase: Phase) -> list[Any]:
        return await self.rows(f"SELECT portfolio_id, runs FROM ledger.schedule WHERE phase = '{phase}' ORDER BY 1")

    async def fall_asleep(self, event: Event, order: Sequence[Phase]) -> None:
        """Services hear the event until one stops in the middle of its computation: its lease taken, its inputs read."""
        for _, runner, work in self._hear(event, order, bed=(bed := Bed())):
            task = asyncio.create_task(runner.run(work))
            # Set in the thread that computes; the loop only looks.
            while not task.done() and not bed.asleep.is_set():  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            if bed.asleep.is_set():
                self.sleepers.append((task, bed))
                return
            await task

    async def wake(self, which: int) -> None:
        task, bed = self.sleepers.pop(which)
        bed.woken.set()
        await task

    async def expire(self) -> None:
        """Half a minute later by the database's clock."""
        await self.do("UPDATE ledger.schedule SET lease_until = now() - interval '1 s' WHERE lease_owner IS NOT NULL")

    async def a_day_passes(self) -> None:
        """For what is blocked: its probe is due."""
        await self.do("UPDATE ledger.schedule SET probe_at = now() - interval '1 s' WHERE probe_at IS NOT NULL")

    async def reconcile(self, leaders: int = 1) -> None:
        """A turn of one leader, or of two that both believe they are."""
        await self.do("UPDATE ledger.schedule SET next_at = now() - interval '1 s'")
        pace = ReconcilerSettings(grace=0.0, backlog=1e9, events=100)
        reconcilers = [Reconciler(self.engine, self.clock, wake=NOBODY, pace=pace) for _ in range(leaders)]
        await asyncio.gather(*(reconciler.run_once() for reconciler in reconcilers))

    async def heal(self) -> int:
        """The bus behaves from now on: all becomes complete, or blocked where it fails, within bounded turns (V6). Nobody waits any
        longer for prices; what is complete without them is provisional."""
        self.bus.waiting.clear()
        await self.give_up()
        bound = TURNS + TURNS_TO_BLOCK * len(self.faults)
        for turn in range(1, bound + 1):
            await self.expire()
            await self.reconcile()
            await self.relay()
            while self.bus.waiting:
                await self.handle(self.bus.waiting.pop(0))
                await self.relay()
            if not truth.still_moving(await self.rows(truth.UNITS)):
                return turn
        raise AssertionError(f"after {bound} turns stranded: {truth.still_moving(await self.rows(truth.UNITS))}")

    async def end(self) -> None:
        """What failed fails no more and is asked for again, what was late comes, who slept wakes: nothing is left to do, nothing is
        provisional, and nothing happened twice."""
        try:
            self.faults.clear()
            await self.replay()
            await self.heal()
            await self.quiet()
            self.provisional = len(await self.rows("SELECT 1 FROM ledger.units WHERE provisional"))
            for symbol, session in await self.rows("SELECT symbol, session FROM toy.awaited ORDER BY 1, 2"):
                await self.arrive(symbol, session)
        finally:
            while self.sleepers:
                await self.wake(0)
        await self.heal()
        # The reconciler closes the letters of what is done.
        await self.reconcile()
        await self.relay()
        await self.quiet()
        await self.always()
        assert await self.rows("SELECT id FROM bus.dead_letters WHERE coalesce(replayed_at, resolved_at) IS NULL") == []
        assert await self.rows("SELECT portfolio_id, session, phase FROM ledger.units WHERE provisional") == []
        await truth.history(self.engine, self.bus.published)

    async def always(self) -> None:
        await truth.always(self.engine, self.due, self.portfolios, self.dead)

    async def quiet(self) -> None:
        """At the end: nothing is missing."""
        await truth.quiet(self.engine, self.due, faulty=False)

    async def still(self) -> None:
        """In between: what is blocked may be missing, and stays so after its cause is mended, until its probe or its letter."""
        blocked = await self.rows("SELECT 1 FROM ledger.units WHERE blocked_reason IS NOT NULL LIMIT 1")
        await truth.quiet(self.engine, self.due, faulty=bool(self.faults or blocked))


async def _nobody_lets_go(*_: Any) -> None:
    """A dead process releases nothing."""
