"""Prices that arrive in any order, patience that runs out in between, restarts: every unit ends as an undisturbed run has it.

The ingest phase, the ledger and the runner are the product's; factors, snapshots and risk are toys that write down which prices they saw.
After every step no unit counts as complete that saw other prices than stand there now: nothing is completed and never raised again.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.workflow import IngestWorker, symbol_lease, worker, write
from shared import ledger
from shared.clock import Clock
from shared.ledger import Completed, Outcome
from shared.market.registry import LOOKBACK
from shared.phase.runner import PhaseRunner
from shared.work import Batch, Phase, UnitKey, Work
from tests.store.ingest import conftest
from tests.store.ingest.conftest import DAYS, LAST, Ingest

committed, ingest = conftest.committed, conftest.ingest  # fixtures

SYMBOLS = [f"L{index}" for index in range(8)]
PROXY = "TLT"
FIRST = DAYS.back(LAST, 6)
SEEDS = range(int(os.environ.get("LEADLINE_PATIENCE_SEEDS", "2")))
STEPS = 24
SEEN = "CREATE TABLE IF NOT EXISTS public.seen (portfolio_id uuid, session date, phase text, digest numeric, PRIMARY KEY (1))"
# What a unit looks at: the closes of what is held, over its window or on the session; factors at a proxy's too.
DIGESTS = f"""
    SELECT k.portfolio_id, k.session, (
        SELECT coalesce(sum(round(CAST(p.close AS numeric), 6)), 0) FROM ingest.prices p JOIN ingest.symbols s ON s.id = p.symbol_id
        WHERE p.session BETWEEN CASE WHEN :phase = 'factors' THEN k.start ELSE k.session END AND k.session
          AND (s.symbol IN (SELECT x.symbol FROM coordinator.positions x
                            WHERE x.portfolio_id = k.portfolio_id AND x.entry_session <= k.session AND x.deleted_at IS NULL)
               OR :phase = 'factors' AND s.symbol = '{PROXY}')) AS digest
    FROM unnest(CAST(:portfolios AS uuid[]), CAST(:sessions AS date[]), CAST(:starts AS date[])) AS k (portfolio_id, session, start)
"""


async def digests(conn: AsyncConnection, phase: Phase, keys: list[UnitKey]) -> dict[UnitKey, Decimal]:
    rows = await conn.execute(
        text(DIGESTS),
        {
            "phase": phase.value,
            "portfolios": [key.portfolio_id for key in keys],
            "sessions": [key.session for key in keys],
            "starts": [DAYS.back(key.session, LOOKBACK) for key in keys],
        },
    )
    return {UnitKey(portfolio, session): digest for portfolio, session, digest in rows}


class Died(BaseException):
    """The process is gone."""


@dataclass
class Seen:
    outcomes: Mapping[UnitKey, Outcome]
    digests: Mapping[UnitKey, Decimal]


@dataclass
class Toy:
    """Computes nothing but what it saw, and passes on what is provisional: along the chain, and from upstream."""

    phase: Phase

    async def load(self, conn: AsyncConnection, batch: Batch) -> Seen:
        keys = [UnitKey(unit.portfolio_id, unit.session) for unit in batch.units]
        upstream = [Phase.INGEST] if self.phase is not Phase.RISK else [Phase.FACTORS, Phase.SNAPSHOTS]
        waits = await ledger.find_provisional(conn, upstream, batch.portfolios, batch.first, batch.last)
        if self.phase is Phase.SNAPSHOTS:
            before = DAYS.previous(batch.first)
            chained = await ledger.find_provisional(conn, [self.phase], batch.portfolios, before, before)
            began = {key.portfolio_id: before for key in chained}
            for key in sorted(waits):
                began.setdefault(key.portfolio_id, key.session)
            waits = {key for key in keys if began.get(key.portfolio_id, date.max) <= key.session}
        if self.phase is Phase.FACTORS and await conn.scalar(
            text(
                f"SELECT 1 FROM ingest.gaps g JOIN ingest.symbols s ON s.id = g.symbol_id WHERE NOT terminal AND symbol = '{PROXY}'"
            )
        ):
            waits |= set(keys)
        found = {key: Outcome(provisional=key in waits) for key in keys}
        return Seen(found, {} if self.phase is Phase.RISK else await digests(conn, self.phase, keys))

    def compute(self, inputs: Seen) -> Seen:
        return inputs

    async def save(self, conn: AsyncConnection, results: Seen, raised: Completed) -> None:
        for key in raised.keys:
            if key in results.digests:
                await conn.execute(
                    text("""
                        INSERT INTO public.seen VALUES (:p, :s, :phase, :digest)
                        ON CONFLICT (portfolio_id, session, phase) DO UPDATE SET digest = excluded.digest
                    """),
                    {
                        "p": key.portfolio_id,
                        "s": key.session,
                        "phase": self.phase.value,
                        "digest": results.digests[key],
                    },
                )


@dataclass
class Life:
    ingest: Ingest
    chance: random.Random
    portfolios: list[UUID] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)

    # --- the steps

    async def somebody_is_limited(self) -> None:
        self.ingest.market.limited |= set(self.chance.sample([*SYMBOLS, PROXY], 3))

    async def a_limit_passes(self) -> None:
        if self.ingest.market.limited:
            self.ingest.market.limited.remove(self.chance.choice(sorted(self.ingest.market.limited)))

    async def create(self) -> None:
        if len(self.portfolios) < 3:
            held = self.chance.sample(SYMBOLS, self.chance.randint(5, 8))
            lots = [(symbol, DAYS.forward(FIRST, self.chance.randint(0, 3))) for symbol in held]
            self.portfolios.append(await self.ingest.portfolio(*lots))

    async def fetch(self) -> None:
        if self.portfolios:
            await self.ingest.run(self.chance.choice(self.portfolios))

    async def ask_again(self) -> None:
        await self.ingest.execute("UPDATE ingest.gaps SET retry_at = now() WHERE NOT terminal AND random() < 0.7")
        await self.ingest.worker.retry_due()

    async def die(self) -> None:
        """The process ends at a point of the transaction that writes prices; its claims run out, and another one asks again."""
        point = self.chance.choice(
            [
                "phase.before_compute",
                "phase.after_completion",
                "phase.after_results",
                "phase.before_commit",
                "restatement.before_schedule",
                "restatement.before_commit",
                "deferral.before_commit",
                "symbols.after_lease",
                "symbols.before_release",
            ]
        )

        def dying(name: str) -> None:
            if name == point:
                raise Died(name)

        try:
            with (
                patch.object(write, "failpoint", dying),
                patch.object(worker, "failpoint", dying),
                patch.object(symbol_lease, "failpoint", dying),
            ):
                await self.ask_again()
                await self.fetch()
        except Died:
            await self.ingest.execute("UPDATE ingest.symbols SET claim_owner = NULL, claim_until = NULL")
            await self.restart()

    async def one_is_unknown(self) -> None:
        """Its vendor says that there is no such symbol, once it may be asked."""
        symbol = self.chance.choice(SYMBOLS)
        if len(self.gone) < 2 and not await self.ingest.prices(symbol):
            self.gone.add(symbol)
            self.ingest.market.closes.pop(symbol, None)
            self.ingest.market.adjusted.pop(symbol, None)

    async def patience_runs_out(self) -> None:
        await self.ingest.execute("UPDATE ledger.units SET required_at = required_at - interval '1 hour'")

    async def restart(self) -> None:
        old = self.ingest.worker
        self.ingest.worker = IngestWorker(old._engine, old._chain, Clock(LAST))

    async def compute(self) -> None:
        """Whoever is woken, in any order."""
        if self.portfolios:
            for phase in self.chance.sample([Phase.FACTORS, Phase.SNAPSHOTS, Phase.RISK], 2):
                await self.run(phase, self.chance.choice(self.portfolios))

    async def run(self, phase: Phase, *portfolios: UUID) -> None:
        await PhaseRunner(self.ingest.admin, Toy(phase), Clock(LAST)).run(Work(portfolios, FIRST, LAST))

    # --- what is always true

    async def check(self) -> None:
        async with self.ingest.admin.connect() as conn:
            rows = await conn.execute(
                text("""
                    SELECT u.portfolio_id, u.session, CAST(u.phase AS text) AS phase, s.digest FROM ledger.units u
                    LEFT JOIN public.seen s ON s.portfolio_id = u.portfolio_id AND s.session = u.session AND s.phase = CAST(u.phase AS text)
                    WHERE u.phase IN ('factors', 'snapshots') AND u.completed_revision >= u.required_revision
                """)
            )
            saw: dict[str, dict[UnitKey, Any]] = {"factors": {}, "snapshots": {}}
            for portfolio, session, phase, digest in rows:
                saw[phase][UnitKey(portfolio, session)] = digest
            for name, units in saw.items():
                assert units == await digests(conn, Phase(name), list(units)), f"{name} saw other prices: {self.told}"

    async def end(self) -> None:
        """Nobody is limited any more, and everybody is asked and woken."""
        self.ingest.market.limited.clear()
        for _ in range(3):
            await self.ingest.run(*self.portfolios)
            await self.ingest.execute("UPDATE ingest.gaps SET retry_at = now() WHERE NOT terminal")
            await self.ingest.worker.retry_due()
            for phase in (Phase.FACTORS, Phase.SNAPSHOTS, Phase.RISK):
                await self.run(phase, *self.portfolios)
        await self.check()
        left = await self.ingest.rows("""
            SELECT portfolio_id, session, phase, provisional, quality FROM ledger.units
            WHERE completed_revision < required_revision OR provisional
        """)
        assert left == [], self.told
        short = await self.ingest.rows("SELECT DISTINCT reasons FROM ledger.units WHERE quality = 'partial'")
        named = {(reason["symbol"], reason["reason"]) for (reasons,) in short for reason in reasons}
        assert named <= {(symbol, "not_found") for symbol in self.gone}, self.told
        assert await self.ingest.rows("SELECT 1 FROM ingest.gaps WHERE NOT terminal") == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
async def test_any_order_of_arrivals_ends_as_an_undisturbed_run(ingest: Ingest, seed: int) -> None:
    await ingest.execute(SEEN.replace("PRIMARY KEY (1)", "PRIMARY KEY (portfolio_id, session, phase)"))
    await ingest.execute("DELETE FROM public.seen")
    ingest.market.quote(*SYMBOLS, first=DAYS.back(LAST, 40))
    life = Life(ingest, random.Random(seed))
    steps = [
        life.somebody_is_limited, life.a_limit_passes, life.create, life.fetch, life.fetch, life.ask_again, life.ask_again,
        life.patience_runs_out, life.restart, life.compute, life.compute,
        life.die, life.one_is_unknown,
    ]  # fmt: skip
    await life.create()
    await life.somebody_is_limited()
    await life.fetch()
    for _ in range(STEPS):
        step = life.chance.choice(steps)
        life.told.append(step.__name__)
        await step()
        await life.check()
    await life.end()
