"""Profiles and statements in the background (bug 42: no figure is too large)."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from sqlalchemy import text

from services.ingest.model.market import Profile
from services.ingest.model.stored import ProfileRow
from services.ingest.providers.network import Fundamentals, Statement, StatementKind
from services.ingest.providers.quota.limits import Quota, Window
from services.ingest.providers.registry import create_providers
from services.ingest.settings import IngestSettings
from services.ingest.store import profiles as store
from services.ingest.workflow.profiles import Profiles, _wait
from services.ingest.workflow.quotas import DatabaseQuota, Loop, account_of
from shared.db.engine import acquire_commit_order_lock
from shared.market.calendar import exchange_calendar
from shared.work import Phase
from tests.store.ingest.conftest import DAYS, LAST, Ingest
from tests.support import vendors
from tests.support.vendors import Reply, VendorServer, serving

TODAY = date(2020, 9, 2)


def refresher(ingest: Ingest, massive: VendorServer, fmp: VendorServer, quota: str = "100/minute") -> Profiles:
    settings = IngestSettings(
        provider_loopback=True, massive_api_key="good", fmp_api_key="good", providers="massive,fmp",  # type: ignore[arg-type]
        massive_url=massive.url, fmp_url=f"{fmp.url}/stable", massive_quota=quota,
    )  # fmt: skip
    engine, loop = ingest.worker._engine, Loop()

    def shared(provider: str, counted: str, key: str, windows: tuple[Window, ...]) -> Quota:
        return DatabaseQuota(engine, loop, provider, account_of(counted, key), windows)

    return Profiles(engine, create_providers(settings, exchange_calendar, shared, lambda: LAST), loop.bind)


async def test_a_held_symbol_is_described_once_and_again_after_earnings(ingest: Ingest) -> None:
    ingest.market.quote("AAPL")
    await ingest.run(await ingest.portfolio(("AAPL", DAYS.back(LAST, 2))))
    with serving(vendors.massive) as massive, serving(vendors.fmp) as fmp:
        massive.fail(Reply(b"{}", 500))
        of = refresher(ingest, massive, fmp)
        assert [await of.refresh_one(TODAY) for _ in range(2)] == [True, True], "its profile, and its statements"
        assert not await of.refresh_one(TODAY), "the others are proxies, which nobody holds"
    [row] = await ingest.rows(
        "SELECT p.*, s.symbol FROM ingest.symbol_profiles p JOIN ingest.symbols s ON s.id = p.symbol_id"
    )
    assert (row.symbol, row.provider, row.as_of) == ("AAPL", "fmp", TODAY)
    assert row.beta is not None
    assert row.market_cap > 1e11
    kinds = await ingest.rows("SELECT DISTINCT kind FROM ingest.statements ORDER BY 1")
    assert [kind for (kind,) in kinds] == ["balance", "cash_flow", "income"]
    [schedule] = await ingest.rows("SELECT next_at - now() AS wait FROM ingest.profile_schedule")
    assert timedelta(hours=23) < schedule.wait <= timedelta(days=30)


async def test_bug_42_figures_of_any_size_are_stored(ingest: Ingest) -> None:
    await ingest.execute("INSERT INTO ingest.symbols (symbol) VALUES ('BIG')")
    [(id_,)] = await ingest.rows("SELECT id FROM ingest.symbols WHERE symbol = 'BIG'")
    row = ProfileRow(id_, TODAY, "fmp", 1.0, None, None, None, 1e15, None)
    statement = {"kind": "income", "period_end": "2020-06-30", "figures": {"revenue": 1e15, "net_income": None}}
    async with ingest.worker._engine.begin() as conn:
        await acquire_commit_order_lock(conn)
        await store.write(conn, [row], [statement])
        figures = await conn.scalar(text("SELECT CAST(figures ->> 'revenue' AS float8) FROM ingest.statements"))
    assert figures == 1e15


@pytest.mark.slow
async def test_bug_42_five_thousand_symbols_are_stored(ingest: Ingest) -> None:
    """More rows than a statement has parameters, at every step: symbols, claims, prices, gaps, units."""
    names = [f"N{index:04d}" for index in range(5000)]
    ingest.market.quote(*names, first=DAYS.back(LAST, 2))
    portfolio = await ingest.portfolio((names[0], LAST))
    await ingest.execute(
        """
        INSERT INTO coordinator.positions
            (portfolio_id, symbol, quantity, entry_date, entry_session, entry_price, investment_class, stated_quantity, stated_entry_price)
        SELECT :portfolio, unnest(CAST(:names AS text[])), 10, :last, :last, 100, 'PUBLIC', 10, 100
        """,
        portfolio=portfolio, names=names[1:], last=LAST,
    )  # fmt: skip
    await ingest.run(portfolio)
    [(prices, symbols)] = await ingest.rows(
        """
        SELECT count(*), count(DISTINCT p.symbol_id) FROM ingest.prices p JOIN ingest.symbols s ON s.id = p.symbol_id
        WHERE s.symbol LIKE 'N____'
        """
    )
    assert (prices, symbols) == (3 * 5000, 5000)
    assert await ingest.missing(portfolio) == []
    [unit] = (await ingest.units(portfolio)).values()
    assert (unit.quality, unit.coverage) == ("complete", None) or (unit.quality, unit.coverage) == ("complete", 1.0)


def test_statements_are_asked_for_three_days_after_earnings() -> None:
    def of(last: date | None, following: date | None) -> timedelta:
        return _wait(Fundamentals("A", TODAY, last_earnings=last, next_earnings=following), TODAY)

    assert of(None, TODAY + timedelta(days=10)) == timedelta(days=13)
    assert of(TODAY - timedelta(days=1), None) == timedelta(days=2)
    assert of(TODAY - timedelta(days=60), TODAY + timedelta(days=80)) == timedelta(days=30)
    assert _wait(None, TODAY) == timedelta(days=30)


def test_a_quarter_that_is_not_posted_yet_is_asked_for_daily() -> None:
    earnings, quarter, before = date(2020, 7, 30), date(2020, 6, 30), date(2020, 3, 31)

    def of(days: int, *ends: date, last: date | None = earnings, following: date | None = None) -> timedelta:
        statements = tuple(Statement(StatementKind.INCOME, end, {}) for end in ends)
        today = earnings + timedelta(days=days)
        return _wait(Fundamentals("A", today, statements, last_earnings=last, next_earnings=following), today)

    day, month = timedelta(days=1), timedelta(days=30)
    assert [of(days, before) for days in (3, 4, 29)] == [day] * 3
    assert of(30, before) == month, "not for ever"
    assert of(3, before, quarter) == month
    assert of(3, before, last=None, following=earnings) == day, "a vendor that still calls it the next"
    assert of(3) == month, "a fund has none"
    assert of(3, quarter, following=earnings + timedelta(days=20)) == timedelta(days=20)
    # A bank in January, and the last to file in a year.
    assert of(3, date(2019, 12, 31), last=date(2020, 7, 14)) == day
    for end, told in ((date(2019, 12, 31), date(2020, 1, 10)), (date(2019, 12, 31), date(2020, 3, 30))):
        late = Fundamentals("A", told, (Statement(StatementKind.INCOME, end, {}),), last_earnings=told)
        assert _wait(late, told + timedelta(days=3)) == month


async def finish(ingest: Ingest) -> None:
    """Every unit is complete, as it is at night."""
    await ingest.execute("UPDATE ledger.units SET completed_revision = required_revision")


async def said(ingest: Ingest) -> list[tuple[date, str, str | None, str | None]]:
    found = await ingest.rows(
        "SELECT as_of, provider, asset_type, sector FROM ingest.symbol_profiles ORDER BY as_of, provider"
    )
    return [tuple(row) for row in found]


async def test_a_vendors_sector_requires_anew_the_risk_it_changes_and_nothing_else(ingest: Ingest) -> None:
    """Learnt with a day in the past of what is complete: from there on risk says something else in a replay."""
    learnt = DAYS.back(LAST, 2)
    ingest.market.quote("AAPL", "MSFT")
    portfolio = await ingest.portfolio(("AAPL", DAYS.back(LAST, 4)))
    await ingest.run(portfolio)
    await finish(ingest)
    other = await ingest.portfolio(("MSFT", DAYS.back(LAST, 4)))
    await ingest.run(other)
    await finish(ingest)
    with serving(vendors.massive) as massive, serving(vendors.fmp) as fmp:
        massive.fail(Reply(b"{}", 500))
        of = refresher(ingest, massive, fmp)
        assert [await of.refresh_one(learnt) for _ in range(2)] == [True, True]
        restated = DAYS.between(learnt, LAST)
        assert [await ingest.missing(portfolio, phase) for phase in Phase] == [[], [], [], restated]
        assert await ingest.missing(other, Phase.RISK) == []
        await finish(ingest)
        # The same vendor says the same: nothing is new.
        await ingest.execute("DELETE FROM ingest.profile_schedule")
        of = refresher(ingest, massive, fmp)
        assert [await of.refresh_one(LAST) for _ in range(2)] == [True, True]
    assert await ingest.missing(portfolio, Phase.RISK) == []
    assert {row[:1] + row[2:] for row in await said(ingest)} == {
        (learnt, "stock", "Technology"), (LAST, "stock", "Technology"),
    }  # fmt: skip


async def test_what_a_file_says_counts_from_the_beginning_and_its_changes_from_the_day_they_are_learnt(
    ingest: Ingest,
) -> None:
    market, first = ingest.market, DAYS.back(LAST, 3)
    market.quote("AAPL")
    market.profiles["AAPL"] = Profile("stock", "Apple Inc.", "Technology")
    portfolio = await ingest.portfolio(("AAPL", first))
    await ingest.run(portfolio, last=DAYS.back(LAST, 1))
    assert await said(ingest) == [(date.min, "file", "stock", "Technology")]
    await ingest.run(portfolio, last=LAST)
    assert len(await said(ingest)) == 1, "the same again is nothing new"
    await finish(ingest)
    market.profiles["AAPL"] = Profile("unknown", "Apple Inc.", "Communication Services")
    await again(ingest)
    assert await said(ingest) == [
        (date.min, "file", "stock", "Technology"), (LAST, "file", None, "Communication Services"),
    ]  # fmt: skip
    assert await ingest.missing(portfolio, Phase.RISK) == [LAST]


async def test_a_file_that_comes_to_know_a_sector_restates_all_there_is(ingest: Ingest) -> None:
    first = DAYS.back(LAST, 3)
    ingest.market.quote("AAPL")
    portfolio = await ingest.portfolio(("AAPL", first))
    await ingest.run(portfolio)
    await finish(ingest)
    ingest.market.profiles["AAPL"] = Profile("etf")
    await again(ingest)
    assert await ingest.missing(portfolio, Phase.RISK) == DAYS.between(first, LAST)


async def again(ingest: Ingest) -> None:
    """AAPL is asked for once more: somebody held it earlier."""
    await ingest.run(await ingest.portfolio(("AAPL", DAYS.back(LAST, 9))))
