"""Symbol facts in the database: what is computed, when it is computed again, and that each symbol's digits are its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.factors import compute, store
from services.factors.workflow import FactorsWorker, Results
from shared.db import bulk
from shared.ledger import Completed, Outcome
from shared.market import registry
from shared.market.calendar import Closure, Closures, calendar, using_calendar
from shared.work import Batch, UnitKey
from tests.support import curves
from tests.support.databases import act_as

LAST = date(2020, 12, 30)
DAYS = calendar().between(calendar().back(LAST, 330), LAST)
STOCKS = ("AAA", "BBB", "CCC", "DDD")
NOTHING_RAISED = Completed({})


@pytest.fixture
async def db(db: AsyncConnection) -> AsyncConnection:
    """Prices of the proxies but for growth and rates, and of four stocks; CCC has traded for 40 sessions."""
    rng = np.random.default_rng(5)
    market = 0.01 * rng.standard_normal(len(DAYS))
    symbols = [s for s in registry.PROXY_SYMBOLS if s not in ("VUG", "IVW", "TLT")] + list(STOCKS)
    for i, symbol in enumerate(symbols):
        returns = market * (1 + 0.1 * (i % 5)) + 0.01 * rng.standard_normal(len(DAYS)) * (symbol != "SPY")
        start = len(DAYS) - 41 if symbol == "CCC" else 0
        await add_symbol(db, symbol, returns, start)
    return db


async def add_symbol(
    db: AsyncConnection, symbol: str, returns: np.ndarray[Any, np.dtype[np.float64]], start: int
) -> None:
    symbol_id = await db.scalar(
        text("INSERT INTO ingest.symbols (symbol) VALUES (:symbol) RETURNING id"), {"symbol": symbol}
    )
    close = 50 * np.cumprod(1 + returns)
    stamp = calendar().due_at(LAST)
    rows = [
        (symbol_id, DAYS[t], float(close[t]), float(close[t]), float(returns[t]) if t > start else None,
         "adjusted" if t > start else None, "as_traded", "file", stamp, 10)
        for t in range(start, len(DAYS))
    ]  # fmt: skip
    columns = (
        "symbol_id", "session", "close", "adj_close", "total_return", "return_basis", "basis", "provider", "fetched_at", "change",
    )  # fmt: skip
    await bulk.copy(db, "prices", columns, rows, schema="ingest")


async def hold(
    db: AsyncConnection,
    *symbols: str,
    entry: date = DAYS[300],
    leave: date | None = None,
    investment_class: str = "PUBLIC",
) -> UUID:
    """A portfolio with one lot a symbol."""
    portfolio: UUID = uuid4()
    await db.execute(
        text("""INSERT INTO coordinator.portfolios (id, name, account_type, equity_balance)
                VALUES (:id, 'test', 'taxable', 1000)"""),
        {"id": portfolio},
    )
    for symbol in symbols:
        await db.execute(
            text("""INSERT INTO coordinator.positions (portfolio_id, symbol, quantity, entry_date, entry_session, entry_price,
                        exit_date, exit_session, exit_price, investment_class, stated_quantity, stated_entry_price)
                    VALUES (:id, :symbol, 1, :entry, :entry, 10, :leave, :leave, :price, :class, 1, 10)"""),
            {
                "id": portfolio,
                "symbol": symbol,
                "entry": entry,
                "leave": leave,
                "price": None if leave is None else 10,
                "class": investment_class,
            },
        )
    return portfolio


def batch(portfolios: Sequence[UUID], sessions: Sequence[date] = DAYS[-5:]) -> Batch:
    return Batch(tuple(portfolios), tuple(sessions), tuple((1,) * len(sessions) for _ in portfolios))


# One for all tests, as a service has one for all batches: what it keeps of one test's prices is of none of the others'.
WORKER = FactorsWorker()


async def run(db: AsyncConnection, work: Batch, worker: FactorsWorker = WORKER) -> Results:
    """What the phase runner does with a worker, as the service's role."""
    await act_as(db, "factors")
    await worker.lock_inputs(db, work)
    results = worker.compute(await worker.load(db, work))
    await worker.save(db, results, NOTHING_RAISED)
    await act_as(db, None)
    return results


def computed(rows: compute.FactRows | None) -> list[tuple[int, date, int]]:
    """(symbol, session, price version) of the facts that were computed, in their order."""
    assert rows is not None
    return [
        (symbol, session, version)
        for piece in rows.pieces()
        for symbol, session, version in zip(
            piece.ids.tolist(), piece.sessions.tolist(), piece.versions.tolist(), strict=True
        )
    ]


async def stored(db: AsyncConnection, table: str, symbols: Sequence[str] = STOCKS) -> list[tuple[Any, ...]]:
    """All columns but the time, as text: digit for digit."""
    rows = await db.execute(
        text(f"""SELECT s.symbol, to_jsonb(f) - 'computed_at' - 'symbol_id'
                 FROM factors.{table} f JOIN ingest.symbols s ON s.id = f.symbol_id
                 WHERE s.symbol = ANY (CAST(:symbols AS text[])) ORDER BY s.symbol, f.session"""),
        {"symbols": list(symbols)},
    )
    return [tuple(row) for row in rows]


async def test_facts_of_what_is_held_and_of_the_proxies_are_stored(db: AsyncConnection) -> None:
    portfolio = await hold(db, "AAA", "BBB")
    results = await run(db, batch([portfolio]))
    assert results.outcomes == {UnitKey(portfolio, session): Outcome() for session in DAYS[-5:]}
    names = {symbol for symbol, *_ in await stored(db, "exposures", (*STOCKS, *registry.PROXY_SYMBOLS))}
    assert names == {"AAA", "BBB"} | set(registry.PROXY_SYMBOLS) - {"VUG", "IVW", "TLT"}
    row = (await stored(db, "exposures", ["AAA"]))[-1][1]
    assert row["quality"] == "full"
    assert row["model_version"] == registry.MODEL_VERSION
    assert row["price_version"] == 10
    assert row["n_obs"] == [252, 0, 0, 252, 252, 252, 252]
    assert row["reasons"] == {
        "ir_beta": "no_proxy",
        "spread_growth_value": "no_proxy",
        "growth": "no_proxy",
        "rates": "no_proxy",
    }
    assert (len(row["market"]), len(row["spreads"]), len(row["joint"]), len(row["joint_fit"])) == (6, 12, 8, 3)
    proxies = await db.execute(text("SELECT session, proxies, slopes, sigmas FROM factors.proxies ORDER BY session"))
    rows = proxies.all()
    assert [row.session for row in rows] == list(DAYS[-5:])
    assert rows[0].proxies == ["SPY", "VLUE-SPY", None, "MTUM", "QUAL", "IWM", "USMV", None]
    assert rows[0].slopes[0] == 1.0


async def test_stored_numbers_are_those_of_the_computation(db: AsyncConnection) -> None:
    """Read back through SQL and computed again from SQL rows, without the packed read."""
    await run(db, batch([await hold(db, "AAA")], DAYS[-1:]))

    async def returns(symbol: str) -> list[float]:
        rows = await db.execute(
            text("""SELECT p.total_return FROM ingest.prices p JOIN ingest.symbols s ON s.id = p.symbol_id
                    WHERE s.symbol = :symbol ORDER BY p.session"""),
            {"symbol": symbol},
        )
        return [np.nan if value is None else value for (value,) in rows]

    empty = [np.nan] * len(DAYS)
    proxies = np.array([(await returns(symbol)) or empty for symbol in registry.PROXY_SYMBOLS]).T
    expected = compute.exposures(np.array([await returns("AAA")]).T, proxies, np.array([len(DAYS) - 1]))
    row = (await db.execute(text("SELECT e.* FROM factors.exposures e JOIN ingest.symbols s ON s.id = symbol_id "
                                 "WHERE s.symbol = 'AAA'"))).one()  # fmt: skip
    np.testing.assert_array_equal(row.joint, expected.joint[0, 0])
    np.testing.assert_array_equal(row.market, expected.market[0, 0])
    np.testing.assert_array_equal(np.reshape(row.spreads, (4, 3)), expected.spreads[0, 0])
    assert row.market_shrunk == expected.shrunk[0, 0]
    assert row.ir_beta is None


async def test_a_second_run_computes_nothing(db: AsyncConnection) -> None:
    work = batch([await hold(db, "AAA", "CCC")])
    first = await run(db, work)
    again = await run(db, work)
    assert not any((again.exposures, again.metrics, again.proxies))
    assert again.outcomes == first.outcomes, "what is stored is judged like what was just computed"


async def test_a_scoped_run_stores_the_digits_of_a_universe_run(db: AsyncConnection) -> None:
    one, all_of_them = await hold(db, "BBB"), await hold(db, *STOCKS)
    savepoint = await db.begin_nested()
    await run(db, batch([one], DAYS[-3:-2]))
    scoped = await stored(db, "exposures", ["BBB"]), await stored(db, "metrics", ["BBB"])
    await savepoint.rollback()
    await run(db, batch([one, all_of_them], DAYS[-9:]))
    universe = await stored(db, "exposures", ["BBB"]), await stored(db, "metrics", ["BBB"])
    assert scoped[0] == [universe[0][6]]
    assert scoped[1] == [universe[1][6]]


async def test_a_corrected_price_moves_the_facts_whose_window_holds_it(db: AsyncConnection) -> None:
    work = batch([await hold(db, "AAA", "BBB")])
    await run(db, work)
    await correct(db, "AAA", DAYS[-3], 77)
    results = await run(db, work)
    ids = await symbol_ids(db)
    assert computed(results.exposures) == [(ids["AAA"], d, 77) for d in DAYS[-3:]]
    assert [session for _, session, _ in computed(results.metrics)] == list(DAYS[-3:])
    assert not results.proxies


async def test_the_changes_of_prices_are_read_once_for_all_batches_of_a_night(db: AsyncConnection) -> None:
    """Its actions are looked at each time; a new price, and one that is taken back, make them all be read again."""
    work = batch([await hold(db, "AAA", "BBB")])
    await run(db, work)
    read: list[str] = []
    connection = db.sync_connection
    assert connection is not None
    event.listen(connection, "before_cursor_execute", lambda *given: read.append(given[2]))

    async def reads(worker: FactorsWorker = WORKER) -> int:
        read.clear()
        await run(db, work, worker)
        return sum("change FROM ingest.prices" in " ".join(statement.split()) for statement in read)

    assert await reads() == 0
    assert await reads(FactorsWorker()) == 1
    await correct(db, "AAA", DAYS[-3], 77)
    assert await reads() == 1
    assert await reads() == 0
    await db.execute(text("DELETE FROM ingest.prices WHERE session = :day"), {"day": DAYS[-3]})
    assert await reads() == 1


async def test_a_corrected_proxy_moves_every_fact(db: AsyncConnection) -> None:
    work = batch([await hold(db, "AAA", "BBB")])
    await run(db, work)
    await correct(db, "MTUM", DAYS[-3], 78)
    results = await run(db, work)
    found = computed(results.exposures)
    assert {version for *_, version in found} == {78}
    assert {session for _, session, _ in found} == set(DAYS[-3:])
    assert len(found) == 3 * (2 + len(registry.PROXY_SYMBOLS) - 3)
    assert [row[2] for row in results.proxies] == [78] * 3


async def test_facts_of_older_prices_never_replace_newer_ones(db: AsyncConnection) -> None:
    work = batch([await hold(db, "AAA")], DAYS[-1:])
    worker = FactorsWorker()
    old = worker.compute(await worker.load(db, work))
    await correct(db, "AAA", DAYS[-1], 80)
    await run(db, work)
    newer = await stored(db, "exposures")
    await worker.save(db, old, NOTHING_RAISED)
    assert await stored(db, "exposures") == newer


async def test_a_unit_is_partial_where_a_holding_has_no_betas_and_names_it(db: AsyncConnection) -> None:
    portfolio = await hold(db, "AAA", "BBB", "CCC", "ZZZ")
    outcome = (await run(db, batch([portfolio], DAYS[-1:]))).outcomes[UnitKey(portfolio, LAST)]
    assert outcome.quality == "partial"
    assert outcome.coverage == 0.5
    assert outcome.reasons == [
        {"figure": "factors", "symbol": "CCC", "reason": "short_history"},
        {"figure": "factors", "symbol": "ZZZ", "reason": "not_found"},
    ]
    row = (await stored(db, "exposures", ["CCC"]))[0][1]
    assert row["quality"] == "none"
    assert row["reasons"]["joint"] == "short_history"


async def test_observations_are_counted_symbol_by_symbol(db: AsyncConnection) -> None:
    """Market, rates, the spreads and the joint set: what was there of the window, none where a regressor is not."""
    start = len(DAYS) - 101
    await add_symbol(db, "EEE", 0.01 * np.random.default_rng(7).standard_normal(len(DAYS)), start)
    await db.execute(
        text("""DELETE FROM ingest.prices WHERE session = :day
                AND symbol_id = (SELECT id FROM ingest.symbols WHERE symbol = 'BBB')"""),
        {"day": DAYS[-20]},
    )
    await run(db, batch([await hold(db, "AAA", "BBB", "CCC", "EEE")], DAYS[-1:]))
    found = {symbol: (row["n_obs"], row["quality"]) for symbol, row in await stored(db, "exposures", (*STOCKS, "EEE"))}
    assert found == {
        symbol: ([n, 0, 0, n, n, n, n], quality)
        for symbol, n, quality in (
            ("AAA", 252, "full"),
            ("BBB", 251, "full"),
            ("CCC", 40, "none"),
            ("EEE", 100, "limited"),
        )
    }


async def unknown(db: AsyncConnection, name: str = "NEW") -> UUID:
    """A portfolio of a symbol without any price."""
    symbol_id = await db.scalar(text("INSERT INTO ingest.symbols (symbol) VALUES (:name) RETURNING id"), {"name": name})
    await db.execute(
        text("""INSERT INTO ingest.gaps (symbol_id, first, last, reason, terminal, provider, checked_at)
                VALUES (:id, :first, :last, 'not_yet_listed', true, 'file', now())"""),
        {"id": symbol_id, "first": DAYS[0], "last": LAST},
    )
    return await hold(db, name)


async def test_a_symbol_without_prices_has_no_facts_and_the_unit_tells_ingests_reason(db: AsyncConnection) -> None:
    portfolio = await unknown(db)
    for _ in range(2):
        results = await run(db, batch([portfolio], DAYS[-2:]))
        assert results.outcomes[UnitKey(portfolio, LAST)].reasons == [
            {"figure": "factors", "symbol": "NEW", "reason": "not_yet_listed"}
        ]
        assert results.outcomes[UnitKey(portfolio, LAST)].coverage == 0.0
        assert await stored(db, "metrics", ["NEW"]) == await stored(db, "exposures", ["NEW"]) == []


async def test_facts_begin_with_the_first_price_and_end_with_the_last_window(db: AsyncConnection) -> None:
    """Whatever else is in the batch: the session alone decides."""
    portfolio = await unknown(db)
    await db.execute(
        text("""INSERT INTO ingest.prices (symbol_id, session, adj_close, basis, provider, fetched_at, change)
                SELECT id, :day, 7, 'as_traded', 'file', now(), 12 FROM ingest.symbols WHERE symbol = 'NEW'"""),
        {"day": DAYS[-3]},
    )
    await run(db, batch([portfolio], DAYS[-5:]))
    for table in ("exposures", "metrics"):
        assert [row["session"] for _, row in await stored(db, table, ["NEW"])] == [str(day) for day in DAYS[-3:]]
    assert (await stored(db, "metrics", ["NEW"]))[1][1]["reasons"] == {"price": "not_yet_listed"}


async def test_facts_of_prices_that_were_taken_back_are_overwritten(db: AsyncConnection) -> None:
    portfolio = await hold(db, "AAA")
    await run(db, batch([portfolio], DAYS[-1:]))
    await db.execute(
        text("UPDATE ingest.symbols SET replaced = 90 WHERE symbol = 'AAA'"),
    )
    await db.execute(
        text("DELETE FROM ingest.prices p USING ingest.symbols s WHERE s.id = symbol_id AND symbol = 'AAA'")
    )
    await run(db, batch([portfolio], DAYS[-1:]))
    [(_, row)] = await stored(db, "exposures", ["AAA"])
    assert (row["price_version"], row["quality"], row["n_obs"][0]) == (90, "none", 0)


async def test_nobody_waits_for_symbols_that_have_nothing_to_compute(db: AsyncConnection) -> None:
    await unknown(db)
    await run(db, batch([await hold(db, "AAA")], DAYS[-1:]))
    ids = await symbol_ids(db)
    since = DAYS[-1 - registry.FACT_LOOKBACK]
    found = await store.find_incomplete(db, [ids["NEW"], ids["BBB"]], LAST, LAST, 1, registry.MODEL_VERSION, since)
    assert found == [ids["BBB"]]


async def test_options_ask_for_their_underlying_and_private_holdings_for_nothing(db: AsyncConnection) -> None:
    option = await hold(db, "DDD210115C00050000", investment_class="OPTIONS")
    private = await hold(db, "EQ_HOUSE", investment_class="PRIVATE")
    results = await run(db, batch([option, private], DAYS[-1:]))
    assert list(results.outcomes.values()) == [Outcome(), Outcome()]
    assert [name for name, *_ in await stored(db, "exposures")] == ["DDD"]


async def test_a_lot_counts_from_entry_to_exit(db: AsyncConnection) -> None:
    portfolio = await hold(db, "AAA", entry=DAYS[-4], leave=DAYS[-2])
    await run(db, batch([portfolio]))
    assert [row["session"] for _, row in await stored(db, "exposures")] == [str(d) for d in DAYS[-4:-1]]


async def test_every_digit_of_a_split_is_in_the_price_return(db: AsyncConnection) -> None:
    ids = await symbol_ids(db)
    await db.execute(
        text("""INSERT INTO ingest.actions (symbol_id, ex_session, type, value, ex_date, provider, fetched_at, change)
                VALUES (:id, :day, 'split', 4, :day, 'file', now(), 90)"""),
        {"id": ids["AAA"], "day": LAST},
    )
    await run(db, batch([await hold(db, "AAA")], DAYS[-2:]))
    before, after = (row for _, row in await stored(db, "metrics", ["AAA"]))
    assert (before["price_version"], after["price_version"]) == (10, 90)
    np.testing.assert_allclose(after["price_return"][0], 4 * after["price"] / before["price"] - 1, rtol=1e-12)


async def test_symbols_being_computed_are_held_until_the_transaction_ends(
    db: AsyncConnection, shared_engine: AsyncEngine
) -> None:
    worker = FactorsWorker()
    work = batch([await hold(db, "AAA")])
    await worker.lock_inputs(db, work)
    ids = list((await symbol_ids(db)).values())
    async with shared_engine.begin() as other:
        await other.execute(text("SET LOCAL lock_timeout = '50ms'"))
        with pytest.raises(DBAPIError, match="lock timeout"):
            await store.lock_symbols(other, ids)


async def test_nothing_is_held_where_nothing_is_lacking(db: AsyncConnection, shared_engine: AsyncEngine) -> None:
    work = batch([await hold(db, "AAA", entry=DAYS[200])])
    savepoint = await db.begin_nested()
    results = await run(db, work)
    await savepoint.rollback()  # lets the locks of the first run go
    await FactorsWorker().save(db, results, NOTHING_RAISED)
    await FactorsWorker().lock_inputs(db, work)
    async with shared_engine.begin() as other:
        await other.execute(text("SET LOCAL lock_timeout = '50ms'"))
        await store.lock_symbols(other, list((await symbol_ids(db)).values()))
    held = await db.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"))
    assert held == 0


async def correct(db: AsyncConnection, symbol: str, session: date, change: int) -> None:
    await db.execute(
        text("""UPDATE ingest.prices p SET close = close * 1.01, total_return = total_return + 0.01, change = :change
                FROM ingest.symbols s WHERE s.id = p.symbol_id AND s.symbol = :symbol AND p.session = :session"""),
        {"symbol": symbol, "session": session, "change": change},
    )


async def symbol_ids(db: AsyncConnection) -> dict[str, int]:
    rows = await db.execute(text("SELECT symbol, id FROM ingest.symbols"))
    return {row.symbol: row.id for row in rows}


@pytest.mark.parametrize(("day", "again"), [(DAYS[-8], True), (DAYS[0], False)])
async def test_facts_whose_window_reaches_over_a_day_that_is_none_any_more_are_behind(
    db: AsyncConnection, day: date, again: bool
) -> None:
    """No price of their window need have changed: it is another window."""
    portfolio = await hold(db, "AAA", "CCC")
    await run(db, batch([portfolio]))
    before = await stored(db, "exposures")
    await db.execute(text("DELETE FROM ingest.prices WHERE session = :day"), {"day": day})
    with using_calendar(Closures((Closure(day, None, "storm"),), ((day, 20),))):
        await run(db, batch([portfolio]))
        after = await stored(db, "exposures")
        assert {row["price_version"] for _, row in after} == ({20} if again else {10})
        assert (after != before) is again
        await db.execute(text("DELETE FROM factors.exposures"))
        await run(db, batch([portfolio]))
        assert await stored(db, "exposures") == after


async def rates_of(db: AsyncConnection) -> list[str | None]:
    rows = await db.execute(text("SELECT proxies[8] FROM factors.proxies ORDER BY session"))
    return list(rows.scalars())


async def test_the_yield_curve_stands_for_rates_where_there_is_no_fund(db: AsyncConnection) -> None:
    work = batch([await hold(db, "AAA")])
    known = curves.walk(DAYS)
    await curves.store(db, [of for of in known if of.date < LAST])
    await run(db, work)
    assert await rates_of(db) == [registry.CURVE_PROXY] * 4 + [None], "the newest session's curve is not out yet"
    reasons = [row["reasons"].get("rates") for _, row in await stored(db, "exposures", ["AAA"])]
    assert reasons == [None] * 4 + ["no_proxy"]
    await curves.store(db, known[-1:], change=50)
    results = await run(db, work)
    assert {session for _, session, _ in computed(results.exposures)} == {LAST}, (
        "it is in the window of its own session alone"
    )
    assert await rates_of(db) == [registry.CURVE_PROXY] * 5
    assert not (await run(db, work)).exposures


async def test_a_corrected_curve_moves_the_facts_that_look_at_it(db: AsyncConnection) -> None:
    work = batch([await hold(db, "AAA")])
    known = curves.walk(DAYS)
    await curves.store(db, known)
    await run(db, work)
    before = await stored(db, "exposures", ["AAA"])
    at = next(of for of in known if of.date == DAYS[-3])
    await curves.store(db, [replace(at, yields=tuple(value + 0.001 for value in at.yields))], change=77)
    results = await run(db, work)
    assert {session for _, session, _ in computed(results.exposures)} == set(DAYS[-3:])
    after = await stored(db, "exposures", ["AAA"])
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False, False, False]


async def test_with_a_fund_the_curve_is_not_looked_at(db: AsyncConnection) -> None:
    await add_symbol(db, "TLT", 0.006 * np.random.default_rng(2).standard_normal(len(DAYS)), 0)
    work = batch([await hold(db, "AAA")])
    await curves.store(db, curves.walk(DAYS))
    await run(db, work)
    assert await rates_of(db) == ["TLT"] * 5
    await curves.store(db, curves.walk(DAYS, seed=9), change=99)
    results = await run(db, work)
    assert not results.exposures
    assert not results.proxies


async def test_facts_that_are_there_after_all_are_not_stored_twice(db: AsyncConnection) -> None:
    """Of a symbol without a price nobody was to have a fact, so nobody held it; then two had one."""
    results = await run(db, batch([await hold(db, "AAA", "CCC")]))
    assert results.new
    before = [await stored(db, table) for table in ("exposures", "metrics")]
    await db.execute(text("DELETE FROM factors.exposures WHERE session = :last"), {"last": LAST})
    await db.execute(
        text("UPDATE factors.metrics SET price_version = 99, price = 1 WHERE session = :last"), {"last": LAST}
    )
    await act_as(db, "factors")
    await FactorsWorker().save(db, results, NOTHING_RAISED)
    await act_as(db, None)
    after = [await stored(db, table) for table in ("exposures", "metrics")]
    assert after[0] == before[0], "what was missing is there, and what was there stands"
    assert {row["price_version"] for _, row in after[1]} == {10, 99}, "newer facts are not replaced"


async def test_new_facts_go_straight_to_their_tables(db: AsyncConnection) -> None:
    portfolio = await hold(db, "AAA", "CCC")
    sent: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    connection = db.sync_connection
    assert connection is not None
    event.listen(connection, "before_cursor_execute", note)
    try:
        results = await run(db, batch([portfolio]))
        assert not [statement for statement in sent if "staged_exposures" in statement or "staged_metrics" in statement]
        assert len([statement for statement in sent if "pg_advisory_xact_lock" in statement]) == 1
        await correct(db, "AAA", DAYS[-3], 77)
        sent.clear()
        again = await run(db, batch([portfolio]))
    finally:
        event.remove(connection, "before_cursor_execute", note)
    assert (results.new, again.new) == (True, False)
    assert [statement for statement in sent if "staged_exposures" in statement], (
        "one that replaces another is compared with it"
    )
