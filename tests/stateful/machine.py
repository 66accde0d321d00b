"""The rules: people, vendors, the bus, crashes and the passing of time, in any order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import date
from functools import partial
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.portfolios import service
from shared.work import Phase
from tests.stateful.life import Life
from tests.stateful.toy import DAYS, SYMBOLS

MOST_PORTFOLIOS, MOST_SLEEPERS, MOST_FAULTS = 3, 2, 3
index = st.integers(0, 1000)
# Which service hears of an event first is nobody's promise.
orders = st.permutations(list(Phase))
lots = st.fixed_dictionaries({
    "symbol": st.sampled_from(SYMBOLS), "quantity": st.integers(1, 9), "entry": index, "exit": st.none() | index,
})  # fmt: skip
edits = st.sampled_from(("name", "quantity", "exit", "exit_price", "sector", "symbol", "entry"))


class Machine(RuleBasedStateMachine):
    """One event loop and one database serve all examples."""

    runner: asyncio.Runner
    engine: Any
    steps = 0
    provisional = 0

    def __init__(self) -> None:
        super().__init__()
        self.life = Life(self.engine)
        self.do(self.life.begin())

    def do(self, what: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(what)

    def one(self, which: int) -> UUID:
        return self.life.portfolios[which % len(self.life.portfolios)]

    def day(self, which: int, first: int = 0) -> date:
        return DAYS[first + which % (self.life.due - first)]

    def lot(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """As a person writes it: a lot that is sold is sold on a session from its entry on that is due."""
        entry = drawn["entry"] % self.life.due
        lot = {"symbol": drawn["symbol"], "quantity": drawn["quantity"], "entry_price": 50, "entry_date": DAYS[entry]}
        if drawn["exit"] is not None:
            lot |= {"exit_date": self.day(drawn["exit"], entry), "exit_price": 60}
        # Without a basis it is settled later, by the reconciler.
        return lot if drawn["quantity"] % 3 == 0 else lot | {"price_basis": "as_traded"}

    def stored(self, portfolio: UUID, table: str) -> list[Any]:
        order = "entry_session, id" if table == "positions" else "session, id"
        return list(
            self.do(
                self.life.rows(
                    f"SELECT * FROM coordinator.{table} WHERE portfolio_id = '{portfolio}' AND deleted_at IS NULL ORDER BY {order}"
                )
            )
        )

    def change(self, act: Callable[[AsyncConnection], Awaitable[Any]], *where: Any, beside: bool = False) -> Any:
        return self.do(self.life.change(act, *where, beside=beside))

    # --- what people and vendors do

    @initialize(drawn=st.lists(lots, min_size=1, max_size=2))
    def begin_with_figures(self, drawn: list[Mapping[str, Any]]) -> None:
        """A life that begins with nothing seldom comes to figures that are complete, and to somebody who changes what they stand on."""
        self.do(self.life.create([self.lot(each) for each in drawn], None))
        self.do(self.life.heal())

    @precondition(lambda self: len(self.life.portfolios) < MOST_PORTFOLIOS)
    @rule(drawn=st.lists(lots, max_size=3), flow=st.none() | index)
    def create(self, drawn: list[Mapping[str, Any]], flow: int | None) -> None:
        money = None if flow is None else {"date": self.day(flow), "amount": 100 + flow}
        self.do(self.life.create([self.lot(each) for each in drawn], money))

    @precondition(lambda self: self.life.portfolios)
    @rule(which=index, drawn=lots, beside=st.booleans())
    def add_a_lot(self, which: int, drawn: Mapping[str, Any], beside: bool) -> None:
        portfolio, lot, clock = self.one(which), self.lot(drawn), self.life.clock
        where = ([portfolio], lot["entry_date"])
        self.change(lambda conn: service.add_position(conn, clock, portfolio, lot), *where, beside=beside)

    @precondition(lambda self: self.life.portfolios)
    @rule(which=index, at=index, what=edits, how=index)
    def edit_a_lot(self, which: int, at: int, what: str, how: int) -> None:
        portfolio = self.one(which)
        stored = self.stored(portfolio, "positions")
        if not stored:
            return
        lot = stored[at % len(stored)]
        entry = DAYS.index(lot.entry_session)
        body, first, phase = self._edit(what, how, lot, entry)
        clock = self.life.clock
        self.change(lambda conn: service.edit_position(conn, clock, portfolio, lot.id, body), [portfolio], first, phase)

    def _edit(self, what: str, how: int, lot: Any, entry: int) -> tuple[dict[str, Any], date | None, Phase]:
        """The body of an edit, and from which session and phase on it may raise."""
        sold = [] if lot.exit_session is None else [lot.exit_session]
        if what == "name":
            return {"name": f"label {how}"}, None, Phase.INGEST
        if what == "sector":
            return {"sector": "x" * (how % 5)}, lot.entry_session, Phase.RISK
        # Prices whose basis nobody stated are compared anew, and a doubt about them is said beside every snapshot of the lot.
        compared = [] if lot.basis_reason == "stated" else [lot.entry_session]
        if what == "exit_price" and sold:
            return {"exit_price": 1 + how}, min(sold + compared), Phase.INGEST if compared else Phase.SNAPSHOTS
        if what == "exit" and sold and how % 2:
            return {"exit_date": None, "exit_price": None}, min(sold + compared), Phase.INGEST
        if what in {"exit", "exit_price"}:
            day = self.day(how, entry)
            return {"exit_date": day, "exit_price": 1 + how}, min([day, *sold, *compared]), Phase.INGEST
        if what == "quantity":
            return {"quantity": 1 + how}, lot.entry_session, Phase.INGEST
        if what == "symbol":
            return {"symbol": SYMBOLS[how % 2]}, lot.entry_session, Phase.INGEST
        day = DAYS[how % (1 + DAYS.index(sold[0]) if sold else self.life.due)]
        return {"entry_date": day}, min(day, lot.entry_session), Phase.INGEST

    @precondition(lambda self: self.life.portfolios)
    @rule(which=index, at=st.sampled_from(["earliest", "last", "all"]), beside=st.booleans())
    def remove_a_lot(self, which: int, at: str, beside: bool) -> None:
        """The earliest moves the beginning, if it was alone there; the last of them, or all, may leave none."""
        portfolio, clock = self.one(which), self.life.clock
        stored = self.stored(portfolio, "positions")
        for lot in {"earliest": stored[:1], "last": stored[-1:], "all": stored}[at]:
            remove = partial(service.remove_position, clock=clock, portfolio=portfolio, position_id=lot.id)
            self.change(remove, [portfolio], lot.entry_session, beside=beside)

    @precondition(lambda self: self.life.portfolios)
    @rule(which=index, when=index, amount=st.integers(1, 500))
    def add_a_flow(self, which: int, when: int, amount: int) -> None:
        portfolio, day, clock = self.one(which), self.day(when), self.life.clock
        first = [lot.entry_session for lot in self.stored(portfolio, "positions")][:1]
        if not first or day < first[0]:
            return
        items = [{"date": day, "amount": -amount if amount % 2 else amount}]
        self.change(lambda conn: service.add_flows(conn, clock, portfolio, items), [portfolio], day, Phase.SNAPSHOTS)

    @precondition(lambda self: self.life.portfolios)
    @rule(which=index, at=index)
    def remove_a_flow(self, which: int, at: int) -> None:
        portfolio, clock = self.one(which), self.life.clock
        if stored := self.stored(portfolio, "flows"):
            flow = stored[at % len(stored)]
            where = ([portfolio], flow.session, Phase.SNAPSHOTS)
            self.change(lambda conn: service.remove_flow(conn, clock, portfolio, flow.id), *where)

    @precondition(lambda self: self.life.portfolios)
    @rule(which=index, equity=st.none() | st.integers(1, 9999))
    def edit_the_header(self, which: int, equity: int | None) -> None:
        """The capital moves figures, the name none."""
        portfolio, clock = self.one(which), self.life.clock
        body = {"name": "another"} if equity is None else {"equity_balance": equity}
        where = ([portfolio], None if equity is None else DAYS[0], Phase.SNAPSHOTS)
        self.change(lambda conn: service.edit(conn, clock, portfolio, body), *where)

    @precondition(lambda self: len(self.life.portfolios) > 1)
    @rule(which=index, beside=st.booleans())
    def delete(self, which: int, beside: bool) -> None:
        self.do(self.life.delete(self.one(which), beside=beside))

    @rule(symbol=st.sampled_from(SYMBOLS), day=index, price=st.integers(1, 500))
    def correct_a_price(self, symbol: str, day: int, price: int) -> None:
        self.do(self.life.correct(symbol, self.day(day), price))

    @rule()
    def patience_runs_out(self) -> None:
        self.do(self.life.give_up())

    @rule(which=index)
    def a_late_price_comes(self, which: int) -> None:
        awaited = self.do(self.life.rows("SELECT symbol, session FROM toy.awaited ORDER BY 1, 2"))
        if awaited:
            self.do(self.life.arrive(*awaited[which % len(awaited)]))

    @precondition(lambda self: self.life.portfolios)
    @rule(
        which=st.none() | index,
        day=index,
        phase=st.none() | st.sampled_from(Phase),
        what=st.sampled_from(["missing", "failed", "all"]),
    )
    def rerun(self, which: int | None, day: int, phase: Phase | None, what: str) -> None:
        scope = None if which is None else (self.one(which),)
        self.do(self.life.rerun(scope, self.day(day), phase, what))

    # --- what goes wrong, and is mended

    @precondition(lambda self: self.life.portfolios and len(self.life.faults) < MOST_FAULTS)
    @rule(which=index, day=index, phase=st.sampled_from(Phase), insist=st.booleans())
    def break_a_unit(self, which: int, day: int, phase: Phase, insist: bool) -> None:
        """It fails from now on; if somebody insists on it, until it is blocked."""
        portfolio, session = self.one(which), self.day(day)
        self.life.faults.add((phase, portfolio, session))
        if insist:
            self.do(self.life.rerun((portfolio,), session, phase, "all"))
            self.do(self.life.heal())

    @precondition(lambda self: self.life.faults)
    @rule()
    def mend(self) -> None:
        self.life.faults.clear()

    @rule(which=st.none() | index)
    def replay_letters(self, which: int | None) -> None:
        found = [row[0] for row in self.do(self.life.rows(
            "SELECT id FROM bus.dead_letters WHERE coalesce(replayed_at, purged_at, resolved_at) IS NULL ORDER BY id"
        ))]  # fmt: skip
        if found:
            self.do(self.life.replay(None if which is None else found[which % len(found)]))

    @rule()
    def a_day_passes(self) -> None:
        self.do(self.life.a_day_passes())

    # --- what the machinery does, and the bus

    @precondition(lambda self: self.life.due < len(DAYS))
    @rule(late=st.sampled_from((*SYMBOLS, None)))
    def tick(self, late: str | None) -> None:
        """A session falls due; the close of one symbol may not be out by then."""
        if late is not None:
            self.do(self.life.await_price(late, DAYS[self.life.due]))
        self.life.due += 1

    @rule(mute=st.booleans())
    def send(self, mute: bool) -> None:
        self.do(self.life.relay(mute=mute))

    @precondition(lambda self: self.life.bus.waiting)
    @rule(which=index, order=orders)
    def deliver(self, which: int, order: list[Phase]) -> None:
        waiting = self.life.bus.waiting
        self.do(self.life.handle(waiting.pop(which % len(waiting)), order))

    @precondition(lambda self: self.life.bus.waiting)
    @rule(which=index, order=orders)
    def deliver_to_two_at_once(self, which: int, order: list[Phase]) -> None:
        event = self.life.bus.waiting[which % len(self.life.bus.waiting)]

        async def both() -> None:
            await asyncio.gather(self.life.handle(event, order), self.life.handle(event))

        self.do(both())

    @precondition(lambda self: self.life.bus.waiting)
    @rule(which=index)
    def drop(self, which: int) -> None:
        self.life.bus.waiting.pop(which % len(self.life.bus.waiting))

    @precondition(lambda self: self.life.bus.waiting)
    @rule(which=index)
    def duplicate(self, which: int) -> None:
        self.life.bus.waiting.append(self.life.bus.waiting[which % len(self.life.bus.waiting)])

    @precondition(lambda self: self.life.bus.waiting)
    @rule(which=index, order=orders, where=st.sampled_from(["compute", "save", "transient"]))
    def crash(self, which: int, order: list[Phase], where: str) -> None:
        """Not acknowledged, so it stays on the bus; the leases of the dead stay taken."""
        self.do(self.life.handle(self.life.bus.waiting[which % len(self.life.bus.waiting)], order, where))

    @precondition(lambda self: self.life.bus.waiting and len(self.life.sleepers) < MOST_SLEEPERS)
    @rule(which=index, order=orders)
    def fall_asleep(self, which: int, order: list[Phase]) -> None:
        self.do(self.life.fall_asleep(self.life.bus.waiting[which % len(self.life.bus.waiting)], order))

    @precondition(lambda self: self.life.sleepers)
    @rule(which=index)
    def wake_up(self, which: int) -> None:
        """With what it read before, whoever has worked in its place since."""
        self.do(self.life.wake(which % len(self.life.sleepers)))

    @rule()
    def expire_leases(self) -> None:
        self.do(self.life.expire())

    @rule(leaders=st.sampled_from([1, 2]))
    def elect(self, leaders: int) -> None:
        self.do(self.life.reconcile(leaders))

    @rule()
    def night(self) -> None:
        """All is done that could be: what happens next happens to figures that are complete."""
        self.do(self.life.heal())
        self.do(self.life.still())

    @invariant()
    def nothing_is_wrong_in_between(self) -> None:
        Machine.steps += 1
        self.do(self.life.always())

    def teardown(self) -> None:
        self.do(self.life.end())
        Machine.provisional += self.life.provisional
