"""A random life, step by step, on a real database: create, edit, delete, correct, tick, deliver, drop, duplicate, crash, expire, elect.

Invariants I2 to I6, I9, I11, I12, I16 and I18 in their form for the ledger, and V1 to V5, after every step or when all is quiet.
`LEADLINE_STATEFUL_EXAMPLES=200` is the long run.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Part
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import text

from shared.db.engine import create_engine
from shared.work import Phase
from tests.stateful.life import DAYS, SCHEMA, Life
from tests.support import databases
from tests.support.databases import Server

EXAMPLES = int(os.environ.get("LEADLINE_STATEFUL_EXAMPLES", "12"))
# Whoever only wants to know whether it fails does not wait for the smallest life that does.
PHASES = (Part.generate,) if os.environ.get("LEADLINE_STATEFUL_SHRINK") == "0" else tuple(Part)
MOST_PORTFOLIOS = 3
index = st.integers(0, 1000)
# Which service hears of an event first is nobody's promise.
orders = st.permutations(list(Phase))


class Machine(RuleBasedStateMachine):
    """Rules in the words of the plan. One event loop and one database serve all examples."""

    runner: asyncio.Runner
    url: str
    engine: Any

    def __init__(self) -> None:
        super().__init__()
        self.life = Life(self.engine)
        self.do(self.life.begin())

    def do(self, what: Coroutine[Any, Any, None]) -> None:
        self.runner.run(what)

    @precondition(lambda self: len(self.life.portfolios) < MOST_PORTFOLIOS)
    @rule(first=st.integers(0, 1))
    def create(self, first: int) -> None:
        self.do(self.life.create(first))

    @precondition(lambda self: self.life.portfolios)
    @rule(which=index, quantity=st.integers(-5, 5))
    def edit(self, which: int, quantity: int) -> None:
        portfolio = self.life.portfolios[which % len(self.life.portfolios)]
        self.do(self.life.edit(portfolio, 1, quantity))

    @precondition(lambda self: len(self.life.portfolios) > 1)
    @rule(which=index)
    def delete(self, which: int) -> None:
        self.do(self.life.delete(self.life.portfolios[which % len(self.life.portfolios)]))

    @rule(day=index, price=st.integers(1, 500))
    def correct_a_price(self, day: int, price: int) -> None:
        self.do(self.life.correct(day % self.life.due, price))

    @precondition(lambda self: self.life.due < len(DAYS))
    @rule()
    def tick(self) -> None:
        self.life.due += 1

    @rule()
    def send(self) -> None:
        self.do(self.life.relay())

    @precondition(lambda self: self.life.bus)
    @rule(which=index, order=orders)
    def deliver(self, which: int, order: list[Phase]) -> None:
        self.do(self.life.handle(self.life.bus.pop(which % len(self.life.bus)), order))

    @precondition(lambda self: self.life.bus)
    @rule(which=index)
    def drop(self, which: int) -> None:
        self.life.bus.pop(which % len(self.life.bus))

    @precondition(lambda self: self.life.bus)
    @rule(which=index)
    def duplicate(self, which: int) -> None:
        self.life.bus.append(self.life.bus[which % len(self.life.bus)])

    @precondition(lambda self: self.life.bus)
    @rule(which=index, order=orders, where=st.sampled_from(["compute", "save"]))
    def crash(self, which: int, order: list[Phase], where: str) -> None:
        """Not acknowledged, so it stays on the bus; its leases stay taken."""
        self.do(self.life.handle(self.life.bus[which % len(self.life.bus)], order, where))

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

    @invariant()
    def nothing_is_wrong_in_between(self) -> None:
        self.do(self.life.always())

    def teardown(self) -> None:
        self.do(self.life.heal())
        self.do(self.life.check())


@pytest.fixture
def machine(server: Server) -> Iterator[type[Machine]]:
    """The machine, bound to a database and an event loop of its own."""
    database = databases.in_thread(lambda: databases.create(server))
    with asyncio.Runner() as runner:
        engine = create_engine(database.admin_url, application="test", pool_size=6)

        async def prepare() -> None:
            async with engine.begin() as conn:
                for statement in SCHEMA:
                    await conn.execute(text(statement))

        runner.run(prepare())
        Machine.runner, Machine.engine = runner, engine
        yield Machine
        runner.run(engine.dispose())
    databases.in_thread(lambda: databases.drop(database))


@pytest.mark.slow
@pytest.mark.timeout(120 + 10 * EXAMPLES)
def test_any_life_ends_with_every_figure_as_todays_inputs_give_it(machine: type[Machine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            deadline=None,
            derandomize=EXAMPLES <= 12,
            database=None,
            phases=PHASES,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
