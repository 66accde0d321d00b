"""What a night costs in statements and messages, which no machine changes: as many for sixty portfolios as for six.

Portfolios of one night share a message and a batch, and everything about a batch is one statement for all of it. Whoever puts a
statement into a loop over portfolios, lots or symbols is found here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest
from sqlalchemy import event

from shared.db.roles import PHASE_SERVICES
from shared.messaging import outbox
from tests.support import databases, pipeline, secured_run
from tests.support.brokers import TestBroker
from tests.support.databases import Server
from tests.support.pipeline import Pipeline

EVENING, NIGHT = date(2020, 12, 30), date(2020, 12, 31)
FEW, MANY, LOTS = 6, 60, 5
SYMBOLS = ["AAPL", "MSFT", "JPM", "JNJ", "PG", "WMT", "HD", "KO", "PFE", "BAC", "XOM", "GE"]
# At most so many statements of a phase's handlers in a night of one batch, with what begins and commits transactions left out: a tenth
# more than was counted (49, 36, 24 and 34). That a phase is woken once more and finds nothing to do makes `LOOK` of difference.
MOST = {"ingest": 53, "factors": 39, "snapshots": 26, "risk": 37}
LOOK = 2
# One for each of what fell due, ingest, factors, snapshots and risk.
MESSAGES = 5
# So many portfolios that two partitions have enough each, whatever their ids are.
SHARED, PARTITIONS = 110, 2

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(secured_run.asked(), reason="looks into the process in which the services run"),
]


@dataclass
class Counts:
    statements: Counter[str] = field(default_factory=Counter)
    messages: int = 0


@contextmanager
def counted(leadline: Pipeline) -> Iterator[Counts]:
    """Count the statements that handlers of messages send, by service: not those of loops, which are the clock's."""
    counts = Counts()
    listeners = []
    for name in PHASE_SERVICES:

        def note(*_: Any, name: str = name) -> None:
            if outbox.causation.get() is not None:
                counts.statements[name] += 1

        engine = leadline.services.apps[name].state.service.engine.sync_engine
        event.listen(engine, "before_cursor_execute", note)
        listeners.append((engine, note))
    try:
        yield counts
    finally:
        for engine, note in listeners:
            event.remove(engine, "before_cursor_execute", note)


async def insert(leadline: Pipeline, portfolios: int) -> None:
    await leadline.execute(
        """WITH made AS (
               INSERT INTO coordinator.portfolios (name, account_type, equity_balance, first_session)
               SELECT 'Night ' || n, 'taxable', 100000, :day FROM generate_series(1, :portfolios) n RETURNING id, name
           )
           INSERT INTO coordinator.positions (portfolio_id, symbol, quantity, entry_date, entry_session, entry_price,
               investment_class, stated_quantity, stated_entry_price)
           SELECT id, (CAST(:symbols AS text[]))[1 + (hashtext(name) % 6 + 6 + k) % 12], 10 + k, :day, :day, 50, 'PUBLIC', 10 + k, 50
           FROM made CROSS JOIN generate_series(1, :lots) k""",
        day=EVENING,
        portfolios=portfolios,
        symbols=SYMBOLS,
        lots=LOTS,
    )


async def compute(leadline: Pipeline, session: date, portfolios: int) -> None:
    """The session falls due and the scheduler looks; until all four phases of all portfolios are complete and nothing is under way."""
    assert await pipeline.fall_due(leadline, session) == 4 * portfolios
    done = "SELECT count(*) FROM ledger.units WHERE session = :session AND completed_revision >= required_revision"
    async with asyncio.timeout(120):
        while (await leadline.query(done, session=session))[0][0] < 4 * portfolios:  # noqa: ASYNC110 (the rows are what is waited for)
            await asyncio.sleep(0.1)
    await leadline.quiet()


async def night(server: Server, broker: TestBroker, portfolios: int, partitions: int = 1) -> Counts:
    database = await databases.create(server)
    # Nobody asks for what is under way.
    patient: dict[str, Any] = {"reconcile_seconds": 120, "grace_seconds": 120, "kafka_partitions": partitions}
    async with pipeline.running(database, broker, as_of=EVENING, **patient) as leadline:
        await insert(leadline, portfolios)
        await compute(leadline, EVENING, portfolios)
        sent = "SELECT count(*) FROM bus.outbox"
        before = (await leadline.query(sent))[0][0]
        with counted(leadline) as counts:
            await compute(leadline, NIGHT, portfolios)
        counts.messages = (await leadline.query(sent))[0][0] - before
    await databases.drop(database)
    return counts


async def test_sixty_portfolios_cost_no_statement_more_than_six(server: Server, broker: TestBroker) -> None:
    few, many = await night(server, broker, FEW), await night(server, broker, MANY)

    assert (few.messages, many.messages) == (MESSAGES, MESSAGES)
    for phase, most in MOST.items():
        assert 0 < few.statements[phase] <= most, few
        assert many.statements[phase] <= few.statements[phase] + LOOK, (few, many)


async def test_a_night_cut_for_two_costs_one_that_reads_all_two_looks_a_phase(
    server: Server, broker: TestBroker
) -> None:
    """It does both pieces when the first message comes; the message of the other finds nothing left to do."""
    found = await night(server, broker, SHARED, PARTITIONS)

    assert found.messages == PARTITIONS * MESSAGES
    for phase, most in MOST.items():
        assert 0 < found.statements[phase] <= most + 2 * LOOK, found
