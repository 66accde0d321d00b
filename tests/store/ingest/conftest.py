"""A database of the test's own, a market under the test's control, and the ingest worker with its own role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest.model.market import Action, Answer, Bars, History, NoData, NoDataReason, Profile, Request
from services.ingest.providers.chain import Chain
from services.ingest.workflow import IngestWorker
from shared import ledger
from shared.clock import Clock
from shared.db.engine import acquire_commit_order_lock, create_engine, next_change_seq
from shared.ledger import Completed
from shared.market.calendar import calendar, exchange_calendar
from shared.market.registry import PROXY_SYMBOLS, REFERENCE_ETFS
from shared.work import Phase, Work, cut, group_units
from tests.support import databases
from tests.support.databases import Database, Server
from tests.support.ledger import missing_within

DAYS = calendar()
LAST = date(2020, 12, 30)


@cache
def _path(symbol: str, first: date, last: date, start: float) -> Mapping[date, float]:
    """A random walk, the same for the same symbol. Most tests quote the same forty."""
    sessions = DAYS.between(first, last)
    rng = np.random.default_rng(sum(map(ord, symbol)))
    path = start * np.cumprod(1 + rng.normal(0, 0.01, len(sessions)))
    return dict(zip(sessions, path.tolist(), strict=True))


@dataclass
class Market:
    """A provider whose truth the test writes. Remembers what it was asked."""

    name: str = "file"
    closes: dict[str, dict[date, float]] = field(default_factory=dict)
    adjusted: dict[str, dict[date, float]] = field(default_factory=dict)
    actions: dict[str, tuple[Action, ...]] = field(default_factory=dict)
    profiles: dict[str, Profile] = field(default_factory=dict)
    limited: set[str] = field(default_factory=set)
    asked: list[Request] = field(default_factory=list)

    def quote(self, *symbols: str, first: date = date(2016, 1, 4), last: date = LAST, start: float = 100.0) -> None:
        for symbol in symbols:
            self.closes[symbol] = dict(_path(symbol, first, last, start))
            self.adjusted[symbol] = dict(self.closes[symbol])

    def fetch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        self.asked += requests
        for request in requests:
            yield self._answer(request)

    def _answer(self, request: Request) -> Answer:
        if request.symbol in self.limited:
            return NoData(request.symbol, NoDataReason.RATE_LIMITED, datetime.now(UTC) + timedelta(minutes=1))
        closes = self.closes.get(request.symbol, {})
        levels = self.adjusted.get(request.symbol, {})
        known = sorted(closes.keys() | levels.keys())
        if not known:
            return NoData(request.symbol, NoDataReason.NOT_FOUND)
        days = [day for day in known if request.first <= day <= request.last]
        nothing = np.full(len(days), np.nan)
        bars = Bars(
            sessions=np.array(days, dtype="datetime64[D]"),
            open=nothing,
            high=nothing,
            low=nothing,
            close=np.array([closes.get(day, np.nan) for day in days]),
            adj_close=np.array([levels.get(day, np.nan) for day in days]),
            volume=nothing,
            split_adjusted=True,
        )
        actions = self.actions.get(request.symbol, ())
        profile = self.profiles.get(request.symbol)
        return History(request.symbol, bars, actions, bool(actions), profile, listed_from=known[0])


@dataclass
class Ingest:
    """The worker and the ways to look at what it did. woken : an entry for each time that whoever sends events was woken"""

    worker: IngestWorker
    market: Market
    admin: AsyncEngine
    woken: list[None] = field(default_factory=list)

    async def portfolio(
        self,
        *lots: tuple[str, date] | tuple[str, date, date],
        last: date = LAST,
        kind: str = "PUBLIC",
        underlying: str | None = None,
    ) -> UUID:
        """Create a portfolio of lots (symbol, entry session[, exit session]) with units up to `last`."""
        first = min(lot[1] for lot in lots)
        async with self.admin.begin() as conn:
            await acquire_commit_order_lock(conn)
            revision = await next_change_seq(conn)
            portfolio = await conn.scalar(
                text("""
                    INSERT INTO coordinator.portfolios (name, account_type, equity_balance, first_session)
                    VALUES ('test', 'taxable', 100000, :first) RETURNING id
                """),
                {"first": first},
            )
            assert isinstance(portfolio, UUID)
            for lot in lots:
                await conn.execute(
                    text("""
                        INSERT INTO coordinator.positions
                            (portfolio_id, symbol, quantity, entry_date, entry_session, entry_price, exit_date, exit_session,
                             exit_price, investment_class, underlying_symbol, stated_quantity, stated_entry_price)
                        VALUES (:portfolio, :symbol, 10, :entry, :entry, :price, :exit, :exit, :exit_price, :class, :underlying, 10, :price)
                    """),
                    {
                        "portfolio": portfolio,
                        "symbol": lot[0],
                        "entry": lot[1],
                        "exit": lot[2] if len(lot) > 2 else None,
                        "exit_price": 100 if len(lot) > 2 else None,
                        "price": 100,
                        "class": kind,
                        "underlying": underlying,
                    },
                )
            await ledger.add_units(conn, [portfolio], DAYS.between(first, last), revision)
        return portfolio

    async def run_by_fives(self, portfolio: UUID, first: date) -> None:
        """All sessions from `first` on, five a run."""
        sessions = calendar().between(first, LAST)
        for five in (sessions[start : start + 5] for start in range(0, len(sessions), 5)):
            await self.run(portfolio, first=five[0], last=five[-1])

    async def run(self, *portfolios: UUID, first: date | None = None, last: date = LAST) -> list[Completed]:
        """Run all missing ingest units, as the phase runner would cut them."""
        async with self.admin.connect() as conn:
            units = await missing_within(conn, Work(portfolios, first or DAYS.first, last), Phase.INGEST)
        if not units:
            return []
        sessions = DAYS.between(min(u.session for u in units), max(u.session for u in units))
        return [await self.worker.run_batch(batch) for batch in cut(group_units(units), sessions)]

    async def rows(self, statement: str, **parameters: Any) -> list[Any]:
        async with self.admin.connect() as conn:
            return list(await conn.execute(text(statement), parameters))

    async def prices(self, symbol: str) -> dict[date, Any]:
        found = await self.rows(
            """
            SELECT p.* FROM ingest.prices p JOIN ingest.symbols s ON s.id = p.symbol_id
            WHERE s.symbol = :symbol ORDER BY session
            """,
            symbol=symbol,
        )
        return {row.session: row for row in found}

    async def gaps(self, symbol: str) -> list[tuple[date, date, str, bool]]:
        found = await self.rows(
            """
            SELECT g.first, g.last, g.reason, g.terminal FROM ingest.gaps g JOIN ingest.symbols s ON s.id = g.symbol_id
            WHERE s.symbol = :symbol ORDER BY g.first
            """,
            symbol=symbol,
        )
        return [tuple(row) for row in found]

    async def units(self, portfolio: UUID, phase: Phase = Phase.INGEST) -> dict[date, Any]:
        found = await self.rows(
            "SELECT * FROM ledger.units WHERE portfolio_id = :p AND phase = CAST(:phase AS ledger.phase) ORDER BY session",
            p=portfolio,
            phase=phase.value,
        )
        return {row.session: row for row in found}

    async def missing(self, portfolio: UUID, phase: Phase = Phase.INGEST) -> list[date]:
        units = await self.units(portfolio, phase)
        return [session for session, unit in units.items() if unit.completed_revision < unit.required_revision]

    async def execute(self, statement: str, **parameters: Any) -> None:
        async with self.admin.begin() as conn:
            await conn.execute(text(statement), parameters)


# Everything a test here writes; emptied rather than created anew, since copying a database of 140 partitions takes seconds.
WRITTEN = (
    "ingest.prices", "ingest.prices_history", "ingest.quarantine", "ingest.actions", "ingest.actions_history",
    "ingest.gaps", "ingest.aliases", "ingest.candidates",
    "ingest.statements", "ingest.symbol_profiles", "ingest.profile_schedule",
    "coordinator.symbol_choices", "coordinator.price_decisions", "coordinator.closures", "ingest.symbols", "ledger.units",
    "ledger.schedule", "coordinator.positions", "coordinator.portfolios", "bus.outbox",
)  # fmt: skip


@pytest.fixture(scope="module")
async def committed(server: Server) -> AsyncIterator[Database]:
    """A database in which the tests of a module really commit, one after the other."""
    created = await databases.create(server)
    yield created
    await databases.drop(created)


@pytest.fixture
async def ingest(committed: Database) -> AsyncIterator[Ingest]:
    """Every proxy and reference fund has prices; the clock stands just after LAST."""
    market = Market()
    market.quote(*PROXY_SYMBOLS, *REFERENCE_ETFS)
    engine = create_engine(committed.url("ingest"), application="test-ingest", pool_size=8)
    admin = create_engine(committed.admin_url, application="test-admin", pool_size=4)
    async with admin.begin() as conn:
        for table in WRITTEN:
            await conn.execute(text(f"DELETE FROM {table}"))
    woken: list[None] = []
    worker = IngestWorker(engine, Chain([market], exchange_calendar), Clock(LAST), wake=lambda: woken.append(None))
    yield Ingest(worker, market, admin, woken)
    await engine.dispose()
    await admin.dispose()
