"""A factor whose proxy is waited for: units are put off for a while, then go on without it, provisionally."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.factors.workflow import FactorsWorker, Results
from shared.work import UnitKey
from tests.store import test_factors
from tests.store.test_factors import DAYS, batch, hold, stored
from tests.support.databases import act_as

db = test_factors.db  # the fixture: prices of the proxies but for growth (VUG, IVW) and rates (TLT)
LAST_FIVE = DAYS[-5:]


async def wait_for(db: AsyncConnection, symbol: str, first: date, last: date, *, terminal: bool = False) -> None:
    await db.execute(text("INSERT INTO ingest.symbols (symbol) VALUES (:s) ON CONFLICT DO NOTHING"), {"s": symbol})
    await db.execute(
        text("""
            INSERT INTO ingest.gaps (symbol_id, first, last, reason, terminal, provider, checked_at, retry_at)
            SELECT id, :first, :last, CASE WHEN :terminal THEN 'not_found' ELSE 'rate_limited' END, :terminal, 'massive', now(),
                   now() + interval '1 hour'
            FROM ingest.symbols WHERE symbol = :s
        """),
        {"s": symbol, "first": first, "last": last, "terminal": terminal},
    )


async def units(db: AsyncConnection, portfolio: UUID, ago: str = "1 minute", *, provisional: bool = False) -> None:
    await db.execute(
        text("""
            INSERT INTO ledger.units (portfolio_id, session, phase, required_revision, required_at, completed_revision, completed_at,
                                      provisional)
            SELECT :p, s, f, 1, now() - CAST(CAST(:ago AS text) AS interval), CASE f WHEN 'ingest' THEN 1 ELSE 0 END, now(),
                   :provisional AND f = 'ingest'
            FROM unnest(CAST(:sessions AS date[])) AS s CROSS JOIN unnest(CAST('{ingest,factors}' AS ledger.phase[])) AS f
        """),
        {"p": portfolio, "ago": ago, "sessions": list(LAST_FIVE), "provisional": provisional},
    )


async def run(db: AsyncConnection, portfolio: UUID) -> Results:
    await act_as(db, "factors")
    worker = FactorsWorker(600.0)
    results = worker.compute(await worker.load(db, batch([portfolio])))
    await act_as(db, None)
    return results


async def test_units_are_put_off_while_a_factors_proxy_is_waited_for(db: AsyncConnection) -> None:
    await wait_for(db, "TLT", DAYS[0], DAYS[-1])
    portfolio = await hold(db, "AAA")
    await units(db, portfolio)
    results = await run(db, portfolio)
    assert results.outcomes == {}
    assert set(results.deferred) == {UnitKey(portfolio, session) for session in LAST_FIVE}
    assert {deferral.reason for deferral in results.deferred.values()} == {"rate_limited: TLT for rates"}
    assert not results.exposures, "nothing is said without it"
    assert not results.proxies


async def test_when_patience_is_over_the_factor_is_null_and_the_unit_provisional(db: AsyncConnection) -> None:
    await wait_for(db, "TLT", DAYS[0], DAYS[-1])
    portfolio = await hold(db, "AAA")
    await units(db, portfolio, "11 minutes")
    results = await run(db, portfolio)
    assert results.deferred == {}
    assert {outcome.provisional for outcome in results.outcomes.values()} == {True}
    reason = {"figure": "rates", "symbol": "TLT", "reason": "rate_limited"}
    assert all(reason in outcome.reasons for outcome in results.outcomes.values())
    assert len(results.proxies) == len(LAST_FIVE), "the other factors have their figures"


async def test_a_spare_proxy_behind_a_full_one_is_not_waited_for(db: AsyncConnection) -> None:
    """Mission 1: ^GSPC behind SPY."""
    await db.execute(
        text("DELETE FROM ingest.prices WHERE symbol_id = (SELECT id FROM ingest.symbols WHERE symbol = '^GSPC')")
    )
    await wait_for(db, "^GSPC", DAYS[0], DAYS[-1])
    portfolio = await hold(db, "AAA")
    await units(db, portfolio)
    results = await run(db, portfolio)
    assert results.deferred == {}
    assert {outcome.provisional for outcome in results.outcomes.values()} == {False}


async def test_a_spare_one_is_waited_for_where_the_first_is_absent_for_good(db: AsyncConnection) -> None:
    await wait_for(db, "VUG", DAYS[0], DAYS[-1], terminal=True)
    await wait_for(db, "IVW", DAYS[0], DAYS[-1])
    portfolio = await hold(db, "AAA")
    await units(db, portfolio)
    results = await run(db, portfolio)
    told = "rate_limited: IVW for value, rate_limited: IVW for growth"
    assert {deferral.reason for deferral in results.deferred.values()} == {told}, (
        "of value, IVE less it stands before VLUE"
    )


async def test_a_proxy_that_nobody_will_have_is_not_waited_for(db: AsyncConnection) -> None:
    await wait_for(db, "TLT", DAYS[0], DAYS[-1], terminal=True)
    portfolio = await hold(db, "AAA")
    await units(db, portfolio)
    results = await run(db, portfolio)
    assert (results.deferred, {outcome.provisional for outcome in results.outcomes.values()}) == ({}, {False})
    assert len(await stored(db, "exposures", ["AAA"])) == 0
    assert results.exposures, "rates alone is null"


async def test_only_the_sessions_whose_window_holds_the_wait_are_put_off(db: AsyncConnection) -> None:
    """MTUM has no price of the last session yet: yesterday's figures do not wait for it."""
    await db.execute(
        text(
            "DELETE FROM ingest.prices WHERE session = :s AND symbol_id = (SELECT id FROM ingest.symbols WHERE symbol = 'MTUM')"
        ),
        {"s": DAYS[-1]},
    )
    await wait_for(db, "MTUM", DAYS[-1], DAYS[-1])
    portfolio = await hold(db, "AAA")
    await units(db, portfolio)
    results = await run(db, portfolio)
    assert list(results.deferred) == [UnitKey(portfolio, DAYS[-1])]
    assert set(results.outcomes) == {UnitKey(portfolio, session) for session in DAYS[-5:-1]}


async def test_what_rests_on_prices_that_are_waited_for_is_provisional(db: AsyncConnection) -> None:
    portfolio = await hold(db, "AAA")
    await units(db, portfolio, provisional=True)
    results = await run(db, portfolio)
    assert {outcome.provisional for outcome in results.outcomes.values()} == {True}
