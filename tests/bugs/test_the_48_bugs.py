"""All 48 bugs by name: the tests that show them gone exist, and those that existed nowhere else are here."""

from __future__ import annotations

import ast
import asyncio
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer import parse
from services.coordinator.importer.rules import Rules
from services.coordinator.runs import requests, store
from services.coordinator.runs.requests import Scope
from services.ingest.providers.normalise import to_vendor
from services.ingest.store import universe
from shared import ledger
from shared.clock import Clock
from shared.db.engine import acquire_commit_order_lock, create_engine, next_change_seq
from shared.market.calendar import calendar
from shared.market.symbols import classify
from shared.phase.runner import PhaseRunner
from shared.work import Phase, Work
from tests.bugs.table import BUGS
from tests.flow import toy
from tests.support.databases import Database
from tests.support.ledger import SESSIONS, add, complete

ROOT = Path(__file__).parents[2]


@lru_cache
def functions(path: str) -> frozenset[str]:
    """Names of a module's test functions, read and not imported."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


@pytest.mark.parametrize("bug", BUGS, ids=[f"bug {number}: {what}" for number, (what, _) in BUGS.items()])
def test_each_bug_has_a_test_that_exists(bug: str) -> None:
    _, named = BUGS[bug]
    assert named
    for test in named:
        path, _, name = test.partition("::")
        assert (ROOT / path).is_file(), path
        assert name in functions(path), test


def test_all_48_are_named() -> None:
    assert list(BUGS) == [*"12", "2b", *map(str, range(3, 18)), "17b", *map(str, range(18, 47))]
    assert len(BUGS) == 48


async def portfolio_of(db: AsyncConnection) -> UUID:
    portfolio = uuid4()
    await db.execute(
        text("""INSERT INTO coordinator.portfolios (id, name, account_type, equity_balance, first_session)
                VALUES (:p, 'bug', 'taxable', 1, :first)"""),
        {"p": portfolio, "first": SESSIONS[0]},
    )
    return portfolio


async def test_bug_12_a_dead_coordinators_run_does_not_stand_in_the_way(db: AsyncConnection) -> None:
    """Whoever died in the middle of a run left nothing but missing units; asking for another scope is accepted at once."""
    portfolio = await portfolio_of(db)
    await add(db, [portfolio], SESSIONS[:3])
    clock = Clock(SESSIONS[2])
    first = await requests.request(db, clock, Scope((portfolio,)), source="admin", what="missing")
    again = await requests.request(db, clock, Scope((portfolio,)), source="admin", what="missing")
    other = await requests.request(db, clock, Scope((portfolio,), SESSIONS[1]), source="admin", what="missing")
    assert first == again, "the same work is the same run"
    assert other != first
    unfinished = await store.read(db, first)
    assert unfinished is not None
    assert unfinished.state == "running", "because units are missing, and for no other reason"
    for phase in Phase:
        revision = int(await db.scalar(text("SELECT max(required_revision) FROM ledger.units")) or 0)
        await complete(db, phase, [(portfolio, session) for session in SESSIONS[:3]], revision)
    found = await store.read(db, first)
    assert found is not None
    assert found.state == "complete"


async def test_bug_13_two_onboardings_have_statuses_of_their_own(db: AsyncConnection) -> None:
    one, other = await portfolio_of(db), await portfolio_of(db)
    runs = []
    for portfolio in (one, other):
        revision = await add(db, [portfolio], SESSIONS[:2])
        scope = {"portfolio_ids": [str(portfolio)]}
        run, _ = await requests.record_raised(db, [portfolio], SESSIONS[:2], revision, source="onboarding", scope=scope)
        runs.append((run, revision))
    for phase in Phase:
        await complete(db, phase, [(one, session) for session in SESSIONS[:2]], runs[0][1])
    states = [found.state for run, _ in runs if (found := await store.read(db, run)) is not None]
    assert states == ["complete", "running"]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2025-01-08 10:00", "2025-01-07"),
        ("2025-01-08 15:59", "2025-01-07"),
        ("2025-01-08 20:30", "2025-01-08"),
        ("2025-01-08 23:59", "2025-01-08"),
        ("2025-01-09 20:30", "2025-01-08"),  # closed: a day of mourning
        ("2025-01-11 12:00", "2025-01-10"),  # a Saturday
        ("2024-11-29 14:00", "2024-11-29"),  # a half-day, closed at one
        ("2024-11-29 12:00", "2024-11-27"),
    ],
)
def test_bug_29_the_last_closed_session_at_any_hour(moment: str, expected: str) -> None:
    there = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo("America/New_York"))
    assert calendar().last_due(there.astimezone(UTC)) == date.fromisoformat(expected)


async def test_bug_32_a_hundred_portfolios_at_once_on_five_connections(database: Database) -> None:
    """Each waits for its turn at the pool; nobody times out, and no connection is held while nothing is asked of it."""
    admin = create_engine(database.admin_url, application="test", pool_size=2)
    engine = create_engine(database.url("ingest"), application="test", pool_size=5)
    try:
        portfolios = await toy.prepare(admin, 100)
        runner = PhaseRunner(engine, toy.Worker(), Clock(SESSIONS[-1]))
        works = [Work((portfolio,), SESSIONS[0], SESSIONS[-1]) for portfolio in portfolios]
        done = await asyncio.gather(*(runner.run(work) for work in works))
        async with admin.connect() as conn:
            missing = await conn.scalar(
                text(
                    "SELECT count(*) FROM ledger.units WHERE phase = 'ingest' AND completed_revision < required_revision"
                )
            )
        assert sum(done) == 2 * len(portfolios)
        assert missing == 0
    finally:
        await engine.dispose()
        await admin.dispose()


@pytest.mark.parametrize(
    ("symbol", "stated", "kind"),
    [
        ("EQIX", None, "PUBLIC"),
        ("EQT", "PUBLIC", "PUBLIC"),
        ("FO_X", None, "PRIVATE"),
        ("FO_X", "PUBLIC", "PRIVATE"),
        ("EQ5D6A2D8F", None, "PRIVATE"),
        ("CASH_USD", None, "PRIVATE"),
        ("brk-b", None, "PUBLIC"),
        ("AAPL201218C00120000", None, "OPTIONS"),  # expired
        ("AAPL201218C00120000", "PUBLIC", "OPTIONS"),
    ],
)
async def test_bug_38_one_class_everywhere(db: AsyncConnection, symbol: str, stated: str | None, kind: str) -> None:
    """What the importer stores, what ingest asks vendors for, and how snapshots and risk take it: years after any expiration."""
    item = {"symbol": symbol, "quantity": 1, "entry_date": "2020-12-01", "entry_price": 100, "investment_class": stated}
    parsed = parse.parse_items([item], Rules(calendar(), date(2026, 11, 20)))
    assert parsed.issues.errors == []
    [lot] = parsed.positions
    assert lot.investment_class == kind

    portfolio = await portfolio_of(db)
    await db.execute(
        text("""
            INSERT INTO coordinator.positions
                (portfolio_id, symbol, quantity, entry_date, entry_session, entry_price, investment_class, underlying_symbol,
                 stated_quantity, stated_entry_price)
            VALUES (:p, :symbol, 1, '2020-12-01', '2020-12-01', 100, :kind, :underlying, 1, 100)
        """),
        {"p": portfolio, "symbol": lot.symbol, "kind": lot.investment_class, "underlying": lot.underlying_symbol},
    )
    needed = set(await universe.required_coverage(db, [portfolio], SESSIONS[0], SESSIONS[-1]))
    expected = {"PUBLIC": {lot.symbol}, "PRIVATE": set(), "OPTIONS": {lot.symbol, "AAPL"}}[kind]
    assert needed == expected
    assert (to_vendor(lot.symbol, "-") is None) == (kind == "PRIVATE"), "a vendor is never asked for what has no market"
    assert classify(lot.symbol, lot.investment_class).value == kind.removesuffix("S")


async def test_bug_42_more_rows_than_a_statement_has_parameters(db: AsyncConnection) -> None:
    """5,200 units of each of four phases, and as many raised and completed: sets are one parameter each, however long."""
    portfolios = [uuid4() for _ in range(400)]
    sessions = SESSIONS[:13]
    revision = await add(db, portfolios, sessions)
    assert await db.scalar(text("SELECT count(*) FROM ledger.units")) == 400 * 13 * 4
    raised = await complete(db, Phase.INGEST, [(p, s) for p in portfolios for s in sessions], revision)
    assert len(raised.keys) == 5_200
    await db.execute(text("RESET ROLE"))
    await acquire_commit_order_lock(db)
    later = await next_change_seq(db)
    demands = [(portfolio, session, session, Phase.FACTORS) for portfolio in portfolios for session in sessions]
    assert len(await ledger.require(db, demands, later)) == 2 * 5_200
