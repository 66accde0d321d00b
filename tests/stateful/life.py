"""The real ledger, outbox, phase runner and reconciler on PostgreSQL; a bus that loses, repeats and reorders; toy computations.

The toys are quick and exact: an ingest figure is the price of its session, factors ten times that, a snapshot the one before it plus
quantity times price, risk the sum of the two. Whatever happens, at the end each must be what today's inputs give.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.coordinator.reconciler import Pace, Reconciler
from services.factors import handlers as factors
from services.ingest import handlers as ingest
from services.risk import handlers as risk
from services.snapshots import handlers as snapshots
from shared import ledger
from shared.clock import Clock
from shared.db.engine import next_change, order_lock
from shared.events.coordinator import PortfolioChanged, PortfolioCreated, PortfolioDeleted
from shared.events.envelope import WorkEvent
from shared.events.services import PricesRestated
from shared.events.topics import TOPIC_OF
from shared.ledger import Outcome, Raised
from shared.market.calendar import calendar
from shared.messaging import outbox
from shared.phase import PhaseRunner
from shared.work import Batch, Key, Phase
from tests.crash import checks
from tests.crash.checks import Noted
from tests.support import audit

DAYS = calendar().between(date(2024, 12, 20), date(2025, 1, 3))
LISTENS: Mapping[Phase, tuple[str, ...]] = {
    Phase.INGEST: ingest.TOPICS,
    Phase.FACTORS: factors.TOPICS,
    Phase.SNAPSHOTS: snapshots.TOPICS,
    Phase.RISK: risk.TOPICS,
}
KINDS = {topic: kind for kind, topic in TOPIC_OF.items() if issubclass(kind, WorkEvent)}
SCHEMA = (
    "CREATE SCHEMA toy",
    "CREATE TABLE toy.prices (session date PRIMARY KEY, price bigint NOT NULL)",
    "CREATE TABLE toy.quantities (portfolio_id uuid PRIMARY KEY, quantity bigint NOT NULL)",
    """CREATE TABLE toy.results (portfolio_id uuid, session date, phase text, revision bigint NOT NULL, value bigint NOT NULL,
        PRIMARY KEY (portfolio_id, session, phase))""",
    *checks.WATCH,
)
EMPTIED = (
    "TRUNCATE ledger.units, ledger.schedule, bus.outbox, bus.dead_letters, coordinator.portfolios,"
    " coordinator.runs, toy.prices, toy.quantities, toy.results, crash.history, crash.announced CASCADE"
)


class Died(BaseException):
    """The process is gone: nothing is cleaned up, nothing is handled."""


@dataclass
class Results:
    outcomes: dict[Key, Outcome]
    values: dict[Key, int]


class Toy:
    """One phase's computation. `dies_at` names where its process ends: before computing, or with everything written."""

    def __init__(self, phase: Phase, dies_at: str = "") -> None:
        self.phase = phase
        self.dies_at = dies_at

    async def load(self, conn: AsyncConnection, batch: Batch) -> Any:
        parameters = {"portfolios": list(batch.portfolios), "last": batch.last}
        prices = {row[0]: row[1] for row in await conn.execute(text("SELECT session, price FROM toy.prices"))}
        held = await conn.execute(text("SELECT portfolio_id, quantity FROM toy.quantities"))
        quantities = {row[0]: row[1] for row in held}
        rows = await conn.execute(
            text("""SELECT portfolio_id, session, phase, value FROM toy.results
                    WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND session <= :last"""),
            parameters,
        )
        return batch, prices, quantities, {(p, s, phase): value for p, s, phase, value in rows}

    def compute(self, inputs: Any) -> Results:
        batch, prices, quantities, known = inputs
        if self.dies_at == "compute":
            raise Died
        values: dict[Key, int] = {}
        for unit in batch.units:
            portfolio, session = unit.portfolio_id, unit.session
            if self.phase is Phase.INGEST:
                value = prices[session]
            elif self.phase is Phase.FACTORS:
                value = 10 * known[portfolio, session, "ingest"]
            elif self.phase is Phase.SNAPSHOTS:
                before = calendar().previous(session)
                value = values.get(Key(portfolio, before), known.get((portfolio, before, "snapshots"), 0))
                value += quantities[portfolio] * known[portfolio, session, "ingest"]
            else:
                value = known[portfolio, session, "factors"] + known[portfolio, session, "snapshots"]
            values[Key(portfolio, session)] = value
        return Results(dict.fromkeys(values, Outcome()), values)

    async def save(self, conn: AsyncConnection, results: Results, raised: Raised) -> None:
        for key, revision in raised.revision.items():
            await conn.execute(
                text("""INSERT INTO toy.results VALUES (:p, :s, :phase, :revision, :value)
                        ON CONFLICT (portfolio_id, session, phase)
                        DO UPDATE SET revision = excluded.revision, value = excluded.value"""),
                {"p": key.portfolio_id, "s": key.session, "phase": self.phase.value, "revision": revision}
                | {"value": results.values[key]},
            )
        if self.dies_at == "save":
            raise Died


@dataclass
class Life:
    """What there is, and what may happen to it."""

    engine: AsyncEngine
    due: int = 2
    """How many of `DAYS` are due."""
    portfolios: list[UUID] = field(default_factory=list)
    bus: list[tuple[str, str]] = field(default_factory=list)
    """Events sent and not yet handled by all: topic and payload."""

    @property
    def clock(self) -> Clock:
        return Clock(DAYS[self.due - 1])

    async def begin(self) -> None:
        async with self.engine.begin() as conn:
            await conn.execute(text(EMPTIED))
            await conn.execute(
                text(
                    "INSERT INTO toy.prices SELECT s, 100 + n FROM unnest(CAST(:days AS date[])) WITH ORDINALITY d (s, n)"
                ),
                {"days": DAYS},
            )

    # --- what people and vendors do

    async def create(self, first: int) -> None:
        portfolio = uuid4()
        sessions = DAYS[first : self.due]
        async with self.engine.begin() as conn:
            await order_lock(conn)
            await conn.execute(
                text("""INSERT INTO coordinator.portfolios (id, name, account_type, equity_balance, first_session)
                        VALUES (:p, 'life', 'taxable', 1, :first)"""),
                {"p": portfolio, "first": DAYS[first]},
            )
            await conn.execute(text("INSERT INTO toy.quantities VALUES (:p, 1)"), {"p": portfolio})
            await ledger.add_units(conn, [portfolio], sessions, await next_change(conn))
            await self._announce(conn, PortfolioCreated, portfolio, sessions)
        self.portfolios.append(portfolio)

    async def edit(self, portfolio: UUID, first: int, quantity: int) -> None:
        """A change of the quantity: everything from the portfolio's beginning on is another number."""
        async with self.engine.begin() as conn:
            await order_lock(conn)
            await conn.execute(
                text("UPDATE toy.quantities SET quantity = :q WHERE portfolio_id = :p"), {"p": portfolio, "q": quantity}
            )
            demands = [(portfolio, DAYS[0], DAYS[self.due - 1], Phase.SNAPSHOTS)]
            await ledger.require(conn, demands, await next_change(conn))
            await self._announce(conn, PortfolioChanged, portfolio, DAYS[first : self.due])

    async def delete(self, portfolio: UUID) -> None:
        async with self.engine.begin() as conn:
            await order_lock(conn)
            await conn.execute(
                text("UPDATE coordinator.portfolios SET deleted_at = now() WHERE id = :p"), {"p": portfolio}
            )
            await ledger.remove_units(conn, portfolio)
            await conn.execute(text("DELETE FROM toy.results WHERE portfolio_id = :p"), {"p": portfolio})
            await outbox.publish(conn, [PortfolioDeleted(portfolio_id=portfolio)], source="coordinator")
        self.portfolios.remove(portfolio)

    async def correct(self, day: int, price: int) -> None:
        async with self.engine.begin() as conn:
            await order_lock(conn)
            change = await next_change(conn)
            session = DAYS[day]
            await conn.execute(
                text("UPDATE toy.prices SET price = :price WHERE session = :s"), {"price": price, "s": session}
            )
            raised = await ledger.require(
                conn, [(portfolio, session, session, Phase.INGEST) for portfolio in self.portfolios], change
            )
            keys = {Key(p, s) for p, s, phase in raised if phase is not Phase.RISK}
            await outbox.publish_work(conn, PricesRestated, keys, DAYS, source="ingest")

    async def _announce(
        self, conn: AsyncConnection, kind: type[WorkEvent], portfolio: UUID, sessions: list[date]
    ) -> None:
        keys = [Key(portfolio, session) for session in sessions]
        await outbox.publish_work(conn, kind, keys, DAYS, source="coordinator")

    # --- what the machinery does

    async def relay(self) -> None:
        """Send what the outbox holds, as the relay selects it."""
        async with self.engine.begin() as conn:
            rows = await conn.execute(
                text(
                    """UPDATE bus.outbox SET sent_at = clock_timestamp() WHERE sent_at IS NULL RETURNING topic, payload"""
                )
            )
            self.bus += [(topic, payload) for topic, payload in rows if topic in KINDS]

    async def handle(self, event: tuple[str, str], order: Sequence[Phase] = tuple(Phase), dies_at: str = "") -> None:
        """Every service that listens hears the event, in any order; with `dies_at` each dies there, if it gets so far."""
        topic, payload = event
        body = KINDS[topic].model_validate(json.loads(payload))
        for phase in order:
            if topic in LISTENS[phase] and body.concerns(phase):
                await self._run(phase, lambda runner: runner.run(body.work.rectangle()), dies_at)

    async def _run(self, phase: Phase, act: Callable[[PhaseRunner], Any], dies_at: str) -> None:
        runner = PhaseRunner(self.engine, Toy(phase, dies_at), self.clock)
        if dies_at:
            setattr(runner, "_let_go", _nobody_lets_go)  # noqa: B010 (the type checker knows better)
        try:
            await act(runner)
        except Died:
            return

    async def expire(self) -> None:
        """Half a minute later by the database's clock."""
        await self._do("UPDATE ledger.schedule SET lease_until = now() - interval '1 s' WHERE lease_owner IS NOT NULL")

    async def reconcile(self, leaders: int) -> None:
        """A turn of one leader, or of two that both believe they are."""
        await self._do("UPDATE ledger.schedule SET next_at = now() - interval '1 s'")
        pace = Pace(grace=0.0, backlog=1e9, events=100)
        reconcilers = [Reconciler(self.engine, self.clock, wake=lambda: None, pace=pace) for _ in range(leaders)]
        await asyncio.gather(*(reconciler.turn() for reconciler in reconcilers))

    async def _do(self, statement: str) -> None:
        async with self.engine.begin() as conn:
            await conn.execute(text(statement))

    # --- what must be true

    async def rows(self, statement: str) -> list[Any]:
        async with self.engine.connect() as conn:
            return list(await conn.execute(text(statement)))

    async def always(self) -> None:
        """After every step: nothing is ahead of what is required; a result is there exactly where a completion is, at its revision;
        the due set is that of the portfolios there are."""
        wrong = await self.rows(
            """SELECT u.portfolio_id, u.session, u.phase, u.required_revision, u.completed_revision, r.revision
               FROM ledger.units u LEFT JOIN toy.results r
                   ON r.portfolio_id = u.portfolio_id AND r.session = u.session AND r.phase = CAST(u.phase AS text)
               WHERE u.completed_revision > u.required_revision OR u.completed_revision <> coalesce(r.revision, 0)"""
        )
        assert wrong == []
        strangers = await self.rows(
            """SELECT r.portfolio_id, r.session, r.phase FROM toy.results r LEFT JOIN ledger.units u
                   ON r.portfolio_id = u.portfolio_id AND r.session = u.session AND r.phase = CAST(u.phase AS text)
               WHERE u.portfolio_id IS NULL"""
        )
        assert strangers == [], "work on what was deleted lands nowhere"
        there = {row[0] for row in await self.rows("SELECT DISTINCT portfolio_id FROM ledger.units")}
        assert there <= set(self.portfolios)

    async def heal(self) -> None:
        """The bus behaves from now on: everything becomes complete, by the reconciler alone if it must."""
        self.bus.clear()
        for _ in range(40):
            await self.expire()
            await self.reconcile(1)
            await self.relay()
            while self.bus:
                await self.handle(self.bus.pop(0))
                await self.relay()
            [(missing,)] = await self.rows(
                "SELECT count(*) FROM ledger.units WHERE completed_revision < required_revision"
            )
            if not missing:
                return
        raise AssertionError(f"{missing} units are stranded")

    async def check(self) -> None:
        """When all is quiet: V1 to V5 of the plan, and every figure is what today's inputs give."""
        await self.always()
        for portfolio in self.portfolios:
            history = [
                Noted(*row)
                for row in await self.rows(
                    "SELECT seq, xid, session, phase, what, revision FROM crash.history"
                    f" WHERE portfolio_id = '{portfolio}' ORDER BY seq"
                )
            ]
            announced = await self.rows("SELECT xid, type, payload FROM crash.announced")
            assert checks.once_each(history) == []
            assert checks.dependencies(history) == []
            assert checks.unannounced(history, str(portfolio), [(row[0], row[1], row[2]) for row in announced]) == []
        assert await self.rows("SELECT 1 FROM bus.outbox WHERE sent_at IS NULL") == []
        assert await audit.drift(self.engine, DAYS[self.due - 1]) == []
        assert await self._found() == await self._expected()

    async def _found(self) -> dict[tuple[UUID, date, str], int]:
        rows = await self.rows("SELECT portfolio_id, session, phase, value FROM toy.results")
        return {(row[0], row[1], row[2]): row[3] for row in rows}

    async def _expected(self) -> dict[tuple[UUID, date, str], int]:
        """A plain loop over portfolios and sessions."""
        prices = {row[0]: row[1] for row in await self.rows("SELECT session, price FROM toy.prices")}
        rows = await self.rows(
            """SELECT p.id, p.first_session, q.quantity FROM coordinator.portfolios p
               JOIN toy.quantities q ON q.portfolio_id = p.id WHERE p.deleted_at IS NULL"""
        )
        expected = {}
        for portfolio, first, quantity in rows:
            snapshot = 0
            for session in DAYS[: self.due]:
                if session < first:
                    continue
                snapshot += quantity * prices[session]
                expected[portfolio, session, "ingest"] = prices[session]
                expected[portfolio, session, "factors"] = 10 * prices[session]
                expected[portfolio, session, "snapshots"] = snapshot
                expected[portfolio, session, "risk"] = 10 * prices[session] + snapshot
        return expected


async def _nobody_lets_go(*_: Any) -> None:
    """A dead process releases nothing."""
