"""Toy computations: quick, exact, and made so that each figure hangs on what production says it hangs on.

Ingest counts what is held, factors look at two closes of what is or was held, a snapshot is the one before it plus lots and flows,
risk the sum of both and the sectors. A unit that an edit should have raised and did not is therefore a wrong figure.
Snapshots and risk are written to the product's own tables, so that what withdraws and audits those is tried, too.
A price that is awaited is nothing until it comes: ingest waits for it, or, once patience has run out, completes without it and
provisionally; what stands on that is provisional too.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import ledger
from shared.errors import TransientError
from shared.ledger import Completed, Outcome
from shared.market import registry
from shared.market.calendar import calendar
from shared.work import Batch, Phase, UnitKey
from tests.crash import checks

DAYS = calendar().between(date(2024, 12, 20), date(2025, 1, 3))
SYMBOLS = ("AAA", "BBB")
RESULTS = "toy.results"
SCHEMA = (
    "CREATE SCHEMA toy",
    "CREATE TABLE toy.prices (symbol text, session date, price bigint NOT NULL, PRIMARY KEY (symbol, session))",
    """CREATE TABLE toy.awaited (symbol text, session date, given_up boolean NOT NULL DEFAULT false, PRIMARY KEY (symbol, session))""",
    f"""CREATE TABLE {RESULTS} (portfolio_id uuid, session date, phase text, revision bigint NOT NULL, value bigint NOT NULL,
        PRIMARY KEY (portfolio_id, session, phase))""",
    *checks.WATCH,
)
EMPTIED = (
    "TRUNCATE ledger.units, ledger.schedule, bus.outbox, bus.dead_letters, coordinator.portfolios, coordinator.positions,"
    " coordinator.flows, coordinator.runs, snapshots.snapshots, snapshots.holdings, risk.results, toy.prices, toy.awaited, toy.results,"
    " crash.history, crash.announced CASCADE"
)
# The figures there are: of ingest and factors, which belong to nobody's portfolio in the product, in a table of the test's own.
FIGURES = f"""
    SELECT portfolio_id, session, phase, revision, value FROM {RESULTS}
    UNION ALL SELECT portfolio_id, session, 'snapshots', revision, CAST(nav AS bigint) FROM snapshots.snapshots
    UNION ALL SELECT portfolio_id, session, 'risk', revision, CAST(risk ->> 'value' AS bigint) FROM risk.results
"""


class Died(BaseException):
    """The process is gone: nothing is cleaned up, nothing is handled."""


@dataclass(frozen=True)
class Lot:
    symbol: str
    quantity: int
    entry: date
    exit: date | None
    exit_price: int
    sector: str

    def held(self, session: date) -> bool:
        return self.entry <= session and (self.exit is None or session < self.exit)

    def looked_at(self, session: date) -> bool:
        """On the day of its exit, too: somebody asks what it was sold at."""
        return self.entry <= session and (self.exit is None or session <= self.exit)


@dataclass
class Book:
    first: date | None
    equity: int
    lots: list[Lot] = field(default_factory=list)
    flows: Mapping[date, int] = field(default_factory=lambda: defaultdict(int))


@dataclass
class Inputs:
    """What people and vendors have said by now."""

    books: Mapping[UUID, Book]
    prices: Mapping[tuple[str, date], int]
    awaited: Mapping[tuple[str, date], bool] = field(default_factory=dict)
    """Prices that have not come, and whether patience has run out; 0 among the prices."""

    def waits(self, portfolio: UUID, session: date) -> set[bool]:
        """For what is held on the session and awaited: whether patience has run out."""
        held = [lot.symbol for lot in self.books[portfolio].lots if lot.looked_at(session)]
        return {self.awaited[symbol, session] for symbol in held if (symbol, session) in self.awaited}

    def ingest(self, portfolio: UUID, session: date) -> int:
        held = [lot for lot in self.books[portfolio].lots if lot.held(session)]
        return session.day + 1000 * sum(1 + SYMBOLS.index(lot.symbol) for lot in held)

    def factors(self, portfolio: UUID, session: date, ingest: int) -> int:
        days = (session, calendar().previous(session))
        seen = [lot.symbol for lot in self.books[portfolio].lots if lot.looked_at(session)]
        return ingest + sum(self.prices.get((symbol, day), 0) for symbol in seen for day in days)

    def snapshot(self, portfolio: UUID, session: date, before: int, ingest: int) -> int:
        """before : the snapshot of the session before; of the first session the capital"""
        book = self.books[portfolio]
        held = sum(lot.quantity * self.prices[lot.symbol, session] for lot in book.lots if lot.held(session))
        sold = sum(lot.quantity * lot.exit_price for lot in book.lots if lot.exit == session)
        return before + ingest + held + sold + book.flows.get(session, 0)

    def risk(self, portfolio: UUID, session: date, factors: int, snapshot: int) -> int:
        return (
            factors + snapshot + 7 * sum(len(lot.sector) for lot in self.books[portfolio].lots if lot.entry <= session)
        )


async def read_inputs(conn: AsyncConnection) -> Inputs:
    """In the snapshot of the connection."""
    heads = await conn.execute(
        text("SELECT id, first_session, CAST(equity_balance AS bigint) FROM coordinator.portfolios")
    )
    books = {row[0]: Book(row[1], row[2]) for row in heads}
    lots = await conn.execute(
        text("""
            SELECT portfolio_id, symbol, CAST(quantity AS bigint), entry_session, exit_session,
                   CAST(coalesce(exit_price, 0) AS bigint), coalesce(sector, '')
            FROM coordinator.positions WHERE deleted_at IS NULL
        """)
    )
    for portfolio, *lot in lots:
        books[portfolio].lots.append(Lot(*lot))
    flows = await conn.execute(
        text("SELECT portfolio_id, session, CAST(amount AS bigint) FROM coordinator.flows WHERE deleted_at IS NULL")
    )
    for portfolio, session, amount in flows:
        into: Any = books[portfolio].flows
        into[session] += amount
    awaited = {
        (row[0], row[1]): row[2]
        for row in await conn.execute(text("SELECT symbol, session, given_up FROM toy.awaited"))
    }
    prices = await conn.execute(text("SELECT symbol, session, price FROM toy.prices"))
    return Inputs(books, {(row[0], row[1]): row[2] for row in prices} | dict.fromkeys(awaited, 0), awaited)


def expected(inputs: Inputs, sessions: Sequence[date]) -> dict[tuple[UUID, date, str], int]:
    """Every figure from the beginning, by a plain loop: what an undisturbed world would have."""
    figures = {}
    for portfolio, book in inputs.books.items():
        snapshot = book.equity
        for session in sessions:
            if book.first is None or session < book.first:
                continue
            ingest = inputs.ingest(portfolio, session)
            factors = inputs.factors(portfolio, session, ingest)
            snapshot = inputs.snapshot(portfolio, session, snapshot, ingest)
            figures[portfolio, session, "ingest"] = ingest
            figures[portfolio, session, "factors"] = factors
            figures[portfolio, session, "snapshots"] = snapshot
            figures[portfolio, session, "risk"] = inputs.risk(portfolio, session, factors, snapshot)
    return figures


@dataclass
class Bed:
    """Where a process falls asleep in the middle of its computation, and what wakes it."""

    asleep: threading.Event = field(default_factory=threading.Event)
    woken: threading.Event = field(default_factory=threading.Event)


@dataclass
class Results:
    outcomes: dict[UnitKey, Outcome]
    values: dict[UnitKey, int]


@dataclass
class Toy:
    """One phase's computation.

    fails_at : units whose computation fails for good
    ends     : how the process ends: 'compute' or 'save' dies there, 'transient' finds that a provider is away
    bed      : where it sleeps, once
    """

    phase: Phase
    fails_at: frozenset[tuple[UUID, date]] = frozenset()
    ends: str = ""
    bed: Bed | None = None

    async def load(self, conn: AsyncConnection, batch: Batch) -> Any:
        rows = await conn.execute(
            text(f"""
                SELECT portfolio_id, session, phase, value FROM ({FIGURES}) f
                WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND session <= :last
            """),
            {"portfolios": list(batch.portfolios), "last": batch.last},
        )
        known = {(portfolio, session, phase): value for portfolio, session, phase, value in rows}
        inputs = await read_inputs(conn)
        return batch, inputs, known, await self._provisional(conn, batch, inputs)

    async def _provisional(self, conn: AsyncConnection, batch: Batch, inputs: Inputs) -> set[UnitKey]:
        """What is computed while something is waited for: by ingest's own word, and downstream by that of the phases before."""
        keys = [UnitKey(unit.portfolio_id, unit.session) for unit in batch.units]
        if self.phase is Phase.INGEST:
            return {key for key in keys if inputs.waits(*key)}
        before = [Phase.FACTORS, Phase.SNAPSHOTS] if self.phase is Phase.RISK else [Phase.INGEST]
        found = await ledger.find_provisional(conn, before, batch.portfolios, batch.first, batch.last)
        if self.phase is not Phase.SNAPSHOTS:
            return found
        eve = calendar().previous(batch.first)
        chained = await ledger.find_provisional(conn, [self.phase], batch.portfolios, eve, eve)
        began = {key.portfolio_id: eve for key in chained}
        for key in sorted(found):
            began.setdefault(key.portfolio_id, key.session)
        return {key for key in keys if began.get(key.portfolio_id, date.max) <= key.session}

    def compute(self, loaded: Any) -> Results:
        batch, inputs, known, provisional = loaded
        # The product's ingest judges in the transaction that completes: it cannot sleep over the arrival of what it waits for.
        judges = self.phase is Phase.INGEST and bool(inputs.awaited)
        if self.bed is not None and not self.bed.asleep.is_set() and not judges:
            self.bed.asleep.set()
            assert self.bed.woken.wait(60), "nobody woke the sleeper"
        if self.ends == "compute":
            raise Died
        if self.ends == "transient":
            raise TransientError("the provider is away", code="provider_away")
        if self.phase is Phase.INGEST and any(
            False in inputs.waits(unit.portfolio_id, unit.session) for unit in batch.units
        ):
            raise TransientError("a price may still come", code="late")
        values: dict[UnitKey, int] = {}
        for unit in sorted(batch.units):
            key = UnitKey(unit.portfolio_id, unit.session)
            if key in self.fails_at:
                raise ValueError(f"{self.phase.value} of {unit.session} cannot be computed")
            values[key] = self._value(inputs, known, values, key)
        return Results({key: Outcome(provisional=key in provisional) for key in values}, values)

    def _value(self, inputs: Inputs, known: Mapping[Any, int], values: Mapping[UnitKey, int], key: UnitKey) -> int:
        """Strict: what is not there, or not in this snapshot, is a `KeyError`."""
        if self.phase is Phase.INGEST:
            return inputs.ingest(*key)
        if self.phase is Phase.FACTORS:
            return inputs.factors(*key, known[*key, "ingest"])
        if self.phase is Phase.RISK:
            return inputs.risk(*key, known[*key, "factors"], known[*key, "snapshots"])
        book = inputs.books[key.portfolio_id]
        if key.session == book.first:
            before = book.equity
        else:
            last = UnitKey(key.portfolio_id, calendar().previous(key.session))
            before = values[last] if last in values else known[*last, "snapshots"]
        return inputs.snapshot(*key, before, known[*key, "ingest"])

    async def save(self, conn: AsyncConnection, results: Results, raised: Completed) -> None:
        parameters = {
            "portfolios": [key.portfolio_id for key in raised.revision],
            "sessions": [key.session for key in raised.revision],
            "revisions": list(raised.revision.values()),
            "figures": [results.values[key] for key in raised.revision],
        }
        for statement in _SAVES[self.phase]:
            await conn.execute(text(statement), parameters)
        if self.ends == "save":
            raise Died


_NEW = """FROM unnest(CAST(:portfolios AS uuid[]), CAST(:sessions AS date[]), CAST(:revisions AS bigint[]), CAST(:figures AS bigint[]))
    AS n (portfolio_id, session, revision, value)"""


def _facts(phase: str) -> tuple[str, ...]:
    return (
        f"""INSERT INTO {RESULTS} SELECT portfolio_id, session, '{phase}', revision, value {_NEW}
            ON CONFLICT (portfolio_id, session, phase) DO UPDATE SET revision = excluded.revision, value = excluded.value""",
    )


# The least that the product's tables take for a row.
_SAVES: Mapping[Phase, tuple[str, ...]] = {
    Phase.INGEST: _facts("ingest"),
    Phase.FACTORS: _facts("factors"),
    Phase.SNAPSHOTS: (
        f"""INSERT INTO snapshots.snapshots (portfolio_id, session, revision, model_version, nav, cash, long_value, short_value,
                gross_exposure, net_exposure, daily_pnl, cumulative_pnl, realized_pnl, unrealized_pnl, dividends, flow,
                cumulative_flow, positions, long_positions, short_positions, coverage, quality)
            SELECT portfolio_id, session, revision, '{registry.MODEL_VERSION}', value, value, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                   0, 0, 0, 1, 'complete' {_NEW}
            ON CONFLICT (portfolio_id, session) DO UPDATE
            SET revision = excluded.revision, nav = excluded.nav, cash = excluded.cash""",
        f"""INSERT INTO snapshots.holdings SELECT portfolio_id, session, revision, '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}',
                '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}' {_NEW}
            ON CONFLICT (portfolio_id, session) DO UPDATE SET revision = excluded.revision""",
    ),
    Phase.RISK: (
        f"""INSERT INTO risk.results (portfolio_id, session, revision, model_version, quality, coverage, risk)
            SELECT portfolio_id, session, revision, '{registry.MODEL_VERSION}', 'complete', 1, jsonb_build_object('value', value)
            {_NEW}
            ON CONFLICT (portfolio_id, session) DO UPDATE SET revision = excluded.revision, risk = excluded.risk""",
    ),
}
