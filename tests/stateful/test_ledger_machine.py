"""A random life, step by step, on a real database: people, vendors, the bus, crashes and the passing of time in any order.

What must be true is in `truth.py`, which of I1 to I25 and V1 to V7 that shows in `table.py`. `LEADLINE_STATEFUL_EXAMPLES=500
LEADLINE_STATEFUL_STEPS=60` is a run for a night: of other lives each time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Part
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import text

from shared.db.engine import create_engine
from tests.stateful.machine import Machine
from tests.stateful.toy import SCHEMA
from tests.support import databases
from tests.support.databases import Server

# Whoever only wants to know whether it fails does not wait for the smallest life that does.
PARTS = (Part.generate,) if os.environ.get("LEADLINE_STATEFUL_SHRINK") == "0" else tuple(Part)
settings.register_profile(
    "lives",
    stateful_step_count=40,
    max_examples=10,
    # The same lives each time: a change is answered for by what it changes. New ones are looked for at night.
    derandomize=True,
    deadline=None,
    database=None,
    phases=PARTS,
    suppress_health_check=list(HealthCheck),
)
LIVES = settings.get_profile("lives")
EXAMPLES = int(os.environ.get("LEADLINE_STATEFUL_EXAMPLES", "0"))
if EXAMPLES:
    steps = int(os.environ.get("LEADLINE_STATEFUL_STEPS", "60"))
    LIVES = settings(LIVES, max_examples=EXAMPLES, stateful_step_count=steps, derandomize=False)


def _unheard(*_: Any) -> NoReturn:
    raise structlog.DropEvent


@pytest.fixture
def silence() -> Iterator[None]:
    """Thousands of failures that are meant to be: to print their tracebacks would take longer than all else."""
    before = structlog.get_config()
    structlog.configure(processors=[_unheard])
    yield
    structlog.configure(**before)


@pytest.fixture
def constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypothesis draws some numbers from the constants of whatever modules happen to be imported; the same lives each time must not
    depend on which tests ran before."""
    if not EXAMPLES:
        monkeypatch.setattr(providers, "_get_local_constants", Constants)


@pytest.fixture
def machine(server: Server, silence: None, constants: None) -> Iterator[type[Machine]]:
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
@pytest.mark.timeout(600 + 30 * EXAMPLES)
def test_any_life_ends_with_every_figure_as_todays_inputs_give_it(
    machine: type[Machine], record_testsuite_property: Callable[[str, object], None]
) -> None:
    run_state_machine_as_test(machine, settings=LIVES)
    assert machine.steps >= LIVES.max_examples
    # Few lives may have none: which are drawn depends on what else was imported.
    assert machine.provisional > 0 or not EXAMPLES, "no life in which patience ran out"
    record_testsuite_property("steps", machine.steps)
