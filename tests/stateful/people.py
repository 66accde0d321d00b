"""What people and vendors do, by the functions that the product's API calls, in a transaction as the API makes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.coordinator.control.scheduler import add_due
from services.coordinator.errors import Conflict
from services.coordinator.portfolios import service, validation
from services.coordinator.runs import requests
from services.coordinator.runs import store as runs
from services.coordinator.runs.requests import Scope
from services.ingest.model.stored import Affected
from services.ingest.store import readiness
from shared import ledger
from shared.clock import Clock
from shared.db.engine import acquire_commit_order_lock, next_change_seq
from shared.events.services import PricesRestated
from shared.messaging import dead_letters, outbox
from shared.work import MissingUnit, Phase, UnitKey
from tests.stateful import toy, truth
from tests.stateful.bus import Bus
from tests.stateful.toy import DAYS, SYMBOLS, Bed

NOBODY: Callable[[], None] = lambda: None  # noqa: E731 (nobody waits to be woken)
Act = Callable[[AsyncConnection], Awaitable[Any]]


@dataclass
class People:
    """What there is, and what people may do to it."""

    engine: AsyncEngine
    due: int = 2
    """How many of `DAYS` are due."""
    bus: Bus = field(default_factory=Bus)
    portfolios: list[UUID] = field(default_factory=list)
    dead: dict[UUID, set[Any]] = field(default_factory=dict)
    """Deleted portfolios, with the results that they left."""
    faults: set[tuple[Phase, UUID, date]] = field(default_factory=set)
    """What cannot be computed for now."""
    sleepers: list[tuple[asyncio.Task[None], Bed]] = field(default_factory=list)
    provisional: int = 0
    """At the end of the life: units that were complete without a price that then came."""

    @property
    def clock(self) -> Clock:
        return Clock(DAYS[self.due - 1])

    async def begin(self) -> None:
        prices = [(symbol, day, 100 * n + m) for n, symbol in enumerate(SYMBOLS, 1) for m, day in enumerate(DAYS)]
        async with self.engine.begin() as conn:
            await conn.execute(text(toy.EMPTIED))
            await conn.execute(
                text("INSERT INTO toy.prices VALUES (:s, :d, :p)"),
                [{"s": symbol, "d": day, "p": price} for symbol, day, price in prices],
            )

    async def change(
        self,
        act: Act,
        portfolios: Collection[UUID],
        first: date | None,
        phase: Phase = Phase.INGEST,
        *,
        beside: bool = False,
    ) -> Any:
        """A change as the API makes it: one transaction, the commit-order lock first. None if the product refuses it.

        first, phase : from where on it may raise units, and of which phase first; None if it must raise none
        beside       : a session falls due, and the scheduler looks, before this commits
        """
        before, ticking = await self._required(), None
        if beside and self.due < len(DAYS):
            self.due += 1
        else:
            beside = False
        with suppress(Conflict):
            async with self.engine.begin() as conn:
                await acquire_commit_order_lock(conn)
                done = await act(conn)
                if beside:
                    ticking = asyncio.create_task(add_due(self.engine, self.clock, source="cron", wake=NOBODY))
                    await self._until_it_waits(ticking)
            if ticking is not None:
                await ticking
            truth.within(before, await self._required(), portfolios, first, phase)
            return done
        assert await self._required() == before, "a change that was refused left something"
        return None

    async def _required(self) -> dict[Any, int]:
        rows = await self.rows("SELECT portfolio_id, session, CAST(phase AS text), required_revision FROM ledger.units")
        return {(row[0], row[1], row[2]): row[3] for row in rows}

    async def _until_it_waits(self, task: asyncio.Task[Any]) -> None:
        while not task.done():
            await asyncio.sleep(0.005)
            if await self.rows("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
                return

    async def create(self, lots: Sequence[Mapping[str, Any]], flow: Mapping[str, Any] | None) -> None:
        body = {"name": "life", "account_type": "taxable", "equity_balance": 1000, "positions": list(lots)}
        draft = validation.from_json(body | {"flows": [flow] if flow else []}, self.clock)
        if not draft.issues.refused:

            async def act(conn: AsyncConnection) -> service.Imported:
                return await service.create(conn, self.clock, await service.prepare(conn, self.clock, draft))

            made = await self.change(act, (), None)
            self.portfolios.append(made.portfolio_id)

    async def delete(self, portfolio: UUID, *, beside: bool) -> None:
        async def act(conn: AsyncConnection) -> None:
            await service.delete(conn, portfolio)
            self.dead[portfolio] = await truth.results_of(conn, portfolio)

        self.portfolios.remove(portfolio)
        await self.change(act, (), None, beside=beside)

    async def correct(self, symbol: str, session: date, price: int) -> None:
        """Another close: the product says which units have used it, as its ingest does in the transaction that writes it."""

        async def act(conn: AsyncConnection) -> None:
            revision = await next_change_seq(conn)
            await conn.execute(
                text("UPDATE toy.prices SET price = :price WHERE symbol = :symbol AND session = :session"),
                {"price": price, "symbol": symbol, "session": session},
            )
            await self._restate(conn, symbol, session, revision)

        holders = {
            row[0]
            for row in await self.rows(
                f"SELECT portfolio_id FROM coordinator.positions WHERE deleted_at IS NULL AND symbol = '{symbol}'"
            )
        }
        before = await self._required()
        await self.change(act, holders, session)
        after = await self._required()
        assert [key for key in after if key[2] == "ingest" and after[key] != before[key]] == []

    async def await_price(self, symbol: str, session: date) -> None:
        """The vendor will be late with the close of a session that is not due yet."""
        await self.do(
            f"INSERT INTO toy.awaited (symbol, session) VALUES ('{symbol}', '{session}') ON CONFLICT DO NOTHING"
        )

    async def give_up(self) -> None:
        """Patience runs out for all that is waited for."""
        await self.do("UPDATE toy.awaited SET given_up = true")

    async def arrive(self, symbol: str, session: date) -> None:
        """The close comes: the product rewrites what ingest said of its units, and raises those that did without it."""

        async def act(conn: AsyncConnection) -> None:
            revision = await next_change_seq(conn)
            await conn.execute(
                text("DELETE FROM toy.awaited WHERE symbol = :symbol AND session = :session"),
                {"symbol": symbol, "session": session},
            )
            inputs = await toy.read_inputs(conn)
            done = await conn.execute(
                text(
                    "SELECT portfolio_id, session, completed_revision FROM ledger.units WHERE phase = 'ingest' AND provisional"
                )
            )
            outcomes = {
                MissingUnit(portfolio, of, revision_): ledger.Outcome(provisional=bool(inputs.waits(portfolio, of)))
                for portfolio, of, revision_ in done.all()
            }
            await ledger.restate_quality(conn, Phase.INGEST, outcomes)
            await self._restate(conn, symbol, session, revision)

        await self.change(act, set(self.portfolios), session)

    async def rerun(self, portfolios: tuple[UUID, ...] | None, first: date, phase: Phase | None, what: str) -> None:
        """Twice, as an impatient person does: the second joins the first while that has something to do."""
        scope = Scope(portfolios, first, None, phase)

        def ask(conn: AsyncConnection) -> Awaitable[UUID]:
            return requests.request(conn, self.clock, scope, source="cli", what=what)

        of = self.portfolios if portfolios is None else portfolios
        run = await self.change(ask, of, first if what == "all" else None, phase or Phase.INGEST)
        async with self.engine.connect() as conn:
            known = await runs.read(conn, run)
        assert known is not None
        if known.state == "running":
            assert await self.change(ask, (), None) == run, "two runs for one wish"

    async def _restate(self, conn: AsyncConnection, symbol: str, session: date, revision: int) -> None:
        """What looks at that close is required anew, and told."""
        affected = [
            Affected(symbol, Phase.FACTORS, session, self.clock.calendar().forward(session, 1)),
            Affected(symbol, Phase.SNAPSHOTS, session, session),
        ]
        raised = await ledger.require(conn, await readiness.affected_units(conn, affected, ()), revision)
        keys = {UnitKey(p, s) for p, s, phase in raised if phase is not Phase.RISK}
        await outbox.publish_work(conn, PricesRestated, keys, DAYS, source="ingest")

    async def replay(self, letter: int | None = None) -> None:
        """Send a letter again, or all of them, twice: the second time nothing is sent."""

        async def act(conn: AsyncConnection) -> None:
            await ledger.lock_blocked(conn)
            for each in await dead_letters.page(conn, limit=500) if letter is None else [letter]:
                id_ = each if isinstance(each, int) else each.id
                assert await dead_letters.replay(conn, id_)
                assert not await dead_letters.replay(conn, id_)

        await self.change(act, (), None)

    async def rows(self, statement: str) -> list[Any]:
        async with self.engine.connect() as conn:
            return await truth.rows(conn, statement)

    async def do(self, statement: str) -> None:
        async with self.engine.begin() as conn:
            await conn.execute(text(statement))
