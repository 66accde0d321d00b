"""Risk in the database: what is read of the other services' tables, and what a completion writes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.explain.portfolios import explain
from services.coordinator.results.portfolios import risk_document
from services.coordinator.results.risk_rows import read_weights
from services.factors.workflow import FactorsWorker
from services.risk.compute.report import build_reports
from services.risk.store import curves as stored_curves
from services.risk.workflow import RiskResults, RiskWorker, load_scenarios
from shared.arrays import FloatVector
from shared.db import bulk, kept_prices
from shared.ledger import Completed
from shared.market import registry
from shared.market.calendar import calendar
from shared.market.curve import Curve, long_bond
from shared.work import Batch, UnitKey
from tests.support import curves
from tests.support.databases import act_as
from tests.support.risk import answered

LAST = date(2020, 12, 30)
DAYS = calendar().between(calendar().back(LAST, registry.LOOKBACK + 3), LAST)
HELD = DAYS[-3:]
STOCKS = ("AAA", "BBB", "CCC")
NO_PROXY = ("VUG", "IVW", "TLT")


@dataclass(frozen=True)
class World:
    db: AsyncConnection
    returns: Mapping[str, FloatVector]
    portfolio: UUID
    other: UUID


@pytest.fixture
async def world(db: AsyncConnection) -> World:
    """Prices of three stocks and most proxies; CCC listed late, with its gap; two portfolios on three sessions."""
    rng = np.random.default_rng(8)
    market = 0.01 * rng.standard_normal(len(DAYS))
    returns = {}
    for i, symbol in enumerate([s for s in registry.PROXY_SYMBOLS if s not in NO_PROXY] + list(STOCKS)):
        own = market * (1 + 0.1 * (i % 5)) + 0.008 * rng.standard_normal(len(DAYS)) * (symbol != "SPY")
        start = len(DAYS) - 200 if symbol == "CCC" else 0
        returns[symbol] = np.where(np.arange(len(DAYS)) > start, own, np.nan)
        await add_symbol(db, symbol, own, start)
    portfolio, other = await add_portfolio(db, 1.0), await add_portfolio(db, -2.0)
    batch = Batch((portfolio, other), tuple(HELD), ((1,) * 3,) * 2)
    await act_as(db, "factors")
    worker = FactorsWorker()
    await worker.lock_inputs(db, batch)
    await worker.save(db, worker.compute(await worker.load(db, batch)), Completed({}))
    await act_as(db, None)
    return World(db, returns, portfolio, other)


async def add_symbol(db: AsyncConnection, symbol: str, returns: FloatVector, start: int) -> None:
    symbol_id = await db.scalar(
        text("""INSERT INTO ingest.symbols (symbol, covered_from, covered_to)
                VALUES (:symbol, :first, :last) RETURNING id"""),
        {"symbol": symbol, "first": DAYS[0], "last": LAST},
    )
    await describe(db, symbol, date.min, "stock", "Technology")
    close, stamp = 50 * np.cumprod(1 + returns), calendar().due_at(LAST)
    columns = (
        "symbol_id", "session", "close", "adj_close", "total_return", "return_basis", "basis", "provider", "fetched_at", "change",
    )  # fmt: skip
    rows = [
        (symbol_id, DAYS[t], float(close[t]), float(close[t]), float(returns[t]) if t > start else None,
         "adjusted" if t > start else None, "as_traded", "file", stamp, 10)
        for t in range(start, len(DAYS))
    ]  # fmt: skip
    await bulk.copy(db, "prices", columns, rows, schema="ingest")
    if start:
        await db.execute(
            text("""INSERT INTO ingest.gaps (symbol_id, first, last, reason, terminal, provider, checked_at)
                    VALUES (:id, :first, :last, 'not_yet_listed', true, 'file', :stamp)"""),
            {"id": symbol_id, "first": DAYS[0], "last": DAYS[start - 1], "stamp": stamp},
        )


async def describe(
    db: AsyncConnection, symbol: str, as_of: date, asset_type: str | None, sector: str | None, provider: str = "file"
) -> None:
    await db.execute(
        text("""INSERT INTO ingest.symbol_profiles (symbol_id, as_of, provider, asset_type, sector, fetched_at)
                SELECT id, :as_of, :provider, :asset_type, :sector, now() FROM ingest.symbols WHERE symbol = :symbol"""),
        {"symbol": symbol, "as_of": as_of, "provider": provider, "asset_type": asset_type, "sector": sector},
    )


async def add_lot(
    db: AsyncConnection, portfolio: UUID, symbol: str, day: date, kind: str, sector: str | None = "Real Estate"
) -> UUID:
    lot: UUID = uuid4()
    await db.execute(
        text("""INSERT INTO coordinator.positions (id, portfolio_id, symbol, quantity, entry_date, entry_session, entry_price,
                    investment_class, sector, stated_quantity, stated_entry_price)
                VALUES (:lot, :id, :symbol, 1, :day, :day, 10, :class, :sector, 1, 10)"""),
        {"lot": lot, "id": portfolio, "symbol": symbol, "day": day, "class": kind, "sector": sector},
    )
    return lot


async def add_portfolio(db: AsyncConnection, sign: float) -> UUID:
    """Two lots of AAA, one of BBB, a closed one of CCC and an open one; a private holding of a tenth of NAV."""
    portfolio: UUID = uuid4()
    await db.execute(
        text(
            """INSERT INTO coordinator.portfolios (id, name, account_type, equity_balance) VALUES (:id, 'x', 'taxable', 1000)"""
        ),
        {"id": portfolio},
    )
    lots = [
        ("AAA", 3.0, 3_000_000),
        ("AAA", 1.0, 1_000_000),
        ("BBB", 2.0, 2_000_000),
        ("CCC", 0.0, 0),
        ("CCC", 1.0, 1_000_000),
    ]
    lots.append(("HOME_EQUITY", 1.0, 1_000_000))
    ids = [
        await add_lot(db, portfolio, symbol, HELD[0], "PRIVATE" if "_" in symbol else "PUBLIC") for symbol, _, _ in lots
    ]
    for k, session in enumerate(HELD):
        value = [int(sign * money) if symbol != "HOME_EQUITY" else money for symbol, _, money in lots]
        total = sum(value) / 1e4
        up, down = sum(v for v in value if v > 0) / 1e4, sum(v for v in value if v < 0) / 1e4
        await db.execute(
            text("""INSERT INTO snapshots.snapshots (portfolio_id, session, revision, model_version, nav, cash, long_value, short_value,
                        gross_exposure, net_exposure, daily_pnl, daily_return, cumulative_pnl, realized_pnl, unrealized_pnl, dividends,
                        flow, cumulative_flow, drawdown, positions, long_positions, short_positions, coverage, quality)
                    VALUES (:id, :session, 1, '1', 1000, CAST(:cash AS float8), CAST(:up AS float8), CAST(:down AS float8),
                        CAST(:up AS float8) - CAST(:down AS float8), CAST(:up AS float8) + CAST(:down AS float8), 0,
                        :daily, 0, 0, 0, 0, 0, 0, :drawdown, 5, 5, 0, 1, 'complete')"""),
            {
                "id": portfolio, "session": session, "cash": 1000 - total, "up": up, "down": down,
                "daily": None if k == 0 else 0.01 * k, "drawdown": [0.0, -0.02, -0.01][k],
            },
        )  # fmt: skip
        n = len(lots)
        await bulk.copy(
            db, "holdings",
            ("portfolio_id", "session", "revision", "position_ids", "symbols", "quantity", "price", "price_session", "price_basis",
             "stale", "market_value", "daily_pnl", "cumulative_pnl", "realized_pnl", "dividends", "reason"),
            [(portfolio, session, 1, ids, [lot[0] for lot in lots], [lot[1] for lot in lots], [1.0] * n,
              [session] * n, ["close"] * n, [0] * n, value, [0] * n, [0] * n, [0] * n, [0] * n, [""] * n)],
            schema="snapshots",
        )  # fmt: skip
    return portfolio


# One for all tests, as a service has one for all batches: what it keeps of one test's prices is of none of the others'.
WORKER = RiskWorker(load_scenarios())


async def compute(
    world: World, portfolios: Sequence[UUID], sessions: Sequence[date] = HELD, worker: RiskWorker = WORKER
) -> RiskResults:
    """What the phase runner does up to the results, as the service's role."""
    await act_as(world.db, "risk")
    batch = Batch(tuple(portfolios), tuple(sessions), tuple((1,) * len(sessions) for _ in portfolios))
    results = worker.compute(await worker.load(world.db, batch))
    await act_as(world.db, None)
    return results


async def save(world: World, results: RiskResults, revision: Mapping[UnitKey, int]) -> None:
    await act_as(world.db, "risk")
    await RiskWorker(load_scenarios()).save(world.db, results, Completed(revision))
    await act_as(world.db, None)


async def stored(world: World) -> dict[UnitKey, Any]:
    rows = await world.db.execute(text("SELECT * FROM risk.results ORDER BY portfolio_id, session"))
    return {UnitKey(row.portfolio_id, row.session): row for row in rows}


async def test_what_is_read_gives_the_numbers_of_a_plain_computation(world: World) -> None:
    results = await compute(world, [world.portfolio])
    await save(world, results, dict.fromkeys(results.outcomes, 5))
    rows = await stored(world)
    assert list(rows) == [UnitKey(world.portfolio, session) for session in HELD]
    row = rows[UnitKey(world.portfolio, LAST)]
    assert (row.revision, row.model_version, row.quality) == (5, registry.MODEL_VERSION, "partial")

    weight = {"AAA": 0.4, "BBB": 0.2, "CCC": 0.1}
    facts = await world.db.execute(
        text("""SELECT s.symbol, e.market_shrunk, e.joint FROM factors.exposures e JOIN ingest.symbols s ON s.id = e.symbol_id
                WHERE e.session = :last"""),
        {"last": LAST},
    )
    shrunk, joint = {}, {}
    for symbol, beta, betas in facts:
        shrunk[symbol], joint[symbol] = beta, betas
    series = np.zeros(len(DAYS))
    for symbol, w in weight.items():
        own = world.returns[symbol]
        series += w * np.where(np.isnan(own), shrunk[symbol] * world.returns["SPY"], own)
    volatility = row.risk["volatility"]
    assert volatility["realized_63"] == pytest.approx(np.std(series[-63:], ddof=1) * math.sqrt(252), rel=1e-12)
    # The private tenth has no returns at all, and CCC 199 of the year's 252.
    assert row.coverage == pytest.approx((600 + 100 * 199 / 252) / 800, rel=1e-12)
    assert volatility["realized_252"] == pytest.approx(np.std(series[-252:], ddof=1) * math.sqrt(252), rel=1e-12)
    assert row.risk["beta"]["aggregated"] == pytest.approx(sum(w * joint[s][0] for s, w in weight.items()), rel=1e-12)
    assert {(r["symbol"], r["reason"]) for r in row.reasons if r["symbol"]} == {
        ("CCC", "not_yet_listed"),
        ("HOME_EQUITY", "private"),
    }
    proxies = dict(zip(registry.FACTOR_NAMES, row.proxies, strict=True))
    assert proxies["market"] == "SPY"
    assert proxies["rates"] is proxies["growth"] is None
    assert {s["sector"]: s["net"] for s in row.risk["sectors"]} == {
        "Information Technology": pytest.approx(0.7), "Real Estate": pytest.approx(0.1),
    }  # fmt: skip
    assert row.risk["drawdown"] == {"current": -0.01, "max": -0.02, "peak": str(HELD[0]), "trough": str(HELD[1])}
    assert dict(zip(row.symbols, row.excluded, strict=True)) == {
        "AAA": None, "BBB": None, "CCC": None, "HOME_EQUITY": "private",
    }  # fmt: skip
    scenarios = await world.db.execute(
        text("SELECT scenarios FROM risk.scenario_sets WHERE digest = :digest"), {"digest": row.scenario_set}
    )
    assert len(scenarios.scalar_one()) == len(row.stress_reasons) == 24


async def test_each_exposure_by_its_name_is_of_the_facts_that_are_stored_under_it(world: World) -> None:
    """A name looked up where another stands answers something else, or nothing: every name the API answers, against SQL."""
    results = await compute(world, [world.portfolio], [LAST])
    await save(world, results, dict.fromkeys(results.outcomes, 1))
    await world.db.execute(
        text("""INSERT INTO ledger.units (portfolio_id, session, phase, required_revision, completed_revision)
                VALUES (:id, :last, 'risk', 1, 1)"""),
        {"id": world.portfolio, "last": LAST},
    )
    answer = await risk_document(world.db, world.portfolio, "exposures", LAST)
    rows = await world.db.execute(
        text("""SELECT s.symbol, market[1] AS market_beta, market_shrunk, spreads[4] AS momentum, spreads[7] AS size,
                       spreads[10] AS quality, joint FROM factors.exposures e JOIN ingest.symbols s ON s.id = e.symbol_id
                WHERE e.session = :last AND s.symbol = ANY (CAST(:held AS text[]))"""),
        {"last": LAST, "held": list(STOCKS)},
    )
    facts = {row.symbol: row for row in rows}
    weight = {"AAA": 0.4, "BBB": 0.2, "CCC": 0.1}

    def expected(name: str) -> object:
        return pytest.approx(sum(w * getattr(facts[symbol], name) for symbol, w in weight.items()), rel=1e-12)

    found = {(row["set"], row["factor"]): row["beta"] for row in answer["factors"]}
    assert {name: beta for (of, name), beta in found.items() if of == "reported"} == {
        "growth": None,
        "market_beta": expected("market_beta"),
        "market_beta_shrunk": expected("market_shrunk"),
        "ir_beta": None,
        "spread_growth_value": None,
        "spread_momentum": expected("momentum"),
        "spread_size": expected("size"),
        "spread_quality": expected("quality"),
    }
    assert found["reported", "market_beta"] != pytest.approx(found["reported", "market_beta_shrunk"], abs=1e-4)
    for k, name in enumerate(registry.FACTOR_NAMES):
        if name == "growth":
            continue
        held = [w * facts[symbol].joint[k] for symbol, w in weight.items()]
        assert found["joint", name] == (None if name == "rates" else pytest.approx(sum(held), rel=1e-12))


@pytest.mark.parametrize("which", ["exposures", "risk", "correlations", "stress"])
async def test_every_digit_of_an_answer_comes_back_from_the_database(world: World, which: str) -> None:
    await act_as(world.db, "risk")
    worker = RiskWorker(load_scenarios())
    batch = Batch((world.portfolio,), (LAST,), ((1,),))
    inputs = await worker.load(world.db, batch)
    [picture] = build_reports(inputs.panel, inputs.book, load_scenarios())
    await worker.save(world.db, worker.compute(inputs), Completed({UnitKey(world.portfolio, LAST): 1}))
    await act_as(world.db, "coordinator")
    await world.db.execute(
        text("""INSERT INTO ledger.units (portfolio_id, session, phase, required_revision, completed_revision)
                VALUES (:id, :last, 'risk', 1, 1)"""),
        {"id": world.portfolio, "last": LAST},
    )
    answer = await risk_document(world.db, world.portfolio, which, LAST)
    await act_as(world.db, None)
    assert {key: answer[key] for key in getattr(answered(picture, load_scenarios()), which)} == getattr(
        answered(picture, load_scenarios()), which
    )


async def test_each_portfolio_and_session_alone_has_the_digits_of_the_batch(world: World) -> None:
    together = await compute(world, sorted([world.portfolio, world.other]))
    assert len(together.rows) == 6
    for portfolio in (world.portfolio, world.other):
        alone = await compute(world, [portfolio])
        single = await compute(world, [portfolio], HELD[1:2])
        assert all(together.rows[key] == row for key, row in alone.rows.items())
        assert together.rows[UnitKey(portfolio, HELD[1])] == single.rows[UnitKey(portfolio, HELD[1])]


async def test_lots_that_are_read_a_session_at_a_time_give_the_same_rows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    portfolios = sorted([world.portfolio, world.other])
    whole = await compute(world, portfolios)
    monkeypatch.setattr("services.risk.workflow.lots.LOTS_AT_ONCE", 1)
    assert (await compute(world, portfolios)).rows == whole.rows
    assert len(whole.rows) == 6


async def test_returns_are_read_once_for_all_batches_of_a_night(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each batch has the rows that a worker has which never read any. A price that moves, or goes, makes all be read again, and so
    does another window, and more values than are kept."""
    read: list[str] = []
    connection = world.db.sync_connection
    assert connection is not None
    event.listen(connection, "before_cursor_execute", lambda *given: read.append(given[2]))

    async def reads(portfolio: UUID, sessions: Sequence[date] = HELD) -> int:
        fresh = (await compute(world, [portfolio], sessions, RiskWorker(load_scenarios()))).rows
        read.clear()
        kept = (await compute(world, [portfolio], sessions)).rows
        count = sum("float8send(total_return)" in statement for statement in read)
        assert kept == fresh
        return count

    async def change(statement: str) -> None:
        await world.db.execute(text(statement), {"day": HELD[-1]})

    assert [await reads(of) for of in (world.portfolio, world.other, world.portfolio)] == [1, 0, 0]
    assert [await reads(world.other, of) for of in (HELD[:2], HELD[:2], HELD)] == [1, 0, 1]
    before = (await compute(world, [world.portfolio])).rows
    for statement in (
        "UPDATE ingest.prices SET total_return = 0.5 WHERE session = :day",
        "DELETE FROM ingest.prices WHERE session = :day AND symbol_id IN (SELECT id FROM ingest.symbols WHERE symbol = 'AAA')",
        (
            "INSERT INTO ingest.prices SELECT symbol_id, CAST(:day AS date), open, high, low, close, adj_close, volume, 0.01, "
            "return_basis, basis, provider, fetched_at, change FROM ingest.prices WHERE session = CAST(:day AS date) - 1 "
            "AND symbol_id IN (SELECT id FROM ingest.symbols WHERE symbol = 'AAA')"
        ),
    ):
        await change(statement)
        assert [await reads(of) for of in (world.portfolio, world.other)] == [1, 0]
        after = (await compute(world, [world.portfolio])).rows
        assert after != before
        before = after
    monkeypatch.setattr(kept_prices, "MOST_VALUES", 100)
    await change("UPDATE ingest.prices SET total_return = 0.25 WHERE session = :day")
    assert [await reads(of) for of in (world.portfolio, world.other)] == [1, 1]


async def test_only_what_was_raised_is_written(world: World) -> None:
    results = await compute(world, [world.portfolio])
    await save(world, results, {UnitKey(world.portfolio, HELD[1]): 3})
    assert list(await stored(world)) == [UnitKey(world.portfolio, HELD[1])]


async def test_what_a_higher_revision_replaces_stays_readable(world: World) -> None:
    results = await compute(world, [world.portfolio])
    key = UnitKey(world.portfolio, LAST)
    await save(world, results, {key: 3})
    await world.db.execute(
        text("DROP TABLE IF EXISTS staged_results")
    )  # one transaction a completion; here they share one
    await save(world, results, {key: 4})
    assert (await stored(world))[key].revision == 4
    history = await world.db.execute(text("SELECT revision FROM risk.results_history"))
    assert history.scalars().all() == [3]


async def test_what_replaces_a_row_of_before_refers_to_its_own_session_s_model(world: World) -> None:
    """Rows of before had the model themselves; one that is replaced must not go on with it."""
    results = await compute(world, [world.portfolio])
    key = UnitKey(world.portfolio, LAST)
    await save(world, results, {key: 3})
    await act_as(world.db, "risk")
    await world.db.execute(
        text("UPDATE risk.results SET stress_shocks = '{0.5}', model_factors = '{size}', factor_correlations = '{1}'")
    )
    await act_as(world.db, None)
    await world.db.execute(text("DROP TABLE IF EXISTS staged_results"))
    await save(world, results, {key: 4})
    row = (await stored(world))[key]
    assert (row.stress_shocks, row.model_factors, row.factor_correlations) == (None, None, None)
    shared = await world.db.execute(
        text("SELECT factor_names, factor_matrix FROM risk.stress_shocks WHERE shocks_id = :id"), {"id": row.shocks_id}
    )
    names, matrix = shared.one()
    report = results.shared[row.shocks_id]
    assert (names, matrix) == (report.factor_names, report.factor_matrix.tolist())
    assert len(matrix) == len(names) * (len(names) + 1) // 2


async def test_a_unit_without_a_snapshot_has_no_outcome(world: World) -> None:
    await world.db.execute(text("DELETE FROM snapshots.snapshots WHERE session = :last"), {"last": LAST})
    results = await compute(world, [world.portfolio])
    assert set(results.outcomes) == {UnitKey(world.portfolio, session) for session in HELD[:2]}


async def test_portfolios_that_are_gone_are_no_work(world: World) -> None:
    results = await compute(world, [uuid4()])
    assert not results.outcomes
    await save(world, results, {})
    assert not await stored(world)


async def redone(world: World) -> Any:
    """The last session's risk, computed now and written nowhere."""
    results = await compute(world, [world.portfolio])
    return results.rows[UnitKey(world.portfolio, LAST)]


async def sectors(world: World) -> dict[str, float]:
    """Net by sector of the last session, computed now."""
    await act_as(world.db, "risk")
    batch = Batch((world.portfolio,), (LAST,), ((1,),))
    inputs = await RiskWorker(load_scenarios()).load(world.db, batch)
    await act_as(world.db, None)
    [picture] = build_reports(inputs.panel, inputs.book, load_scenarios())
    return {row["sector"]: row["net"] for row in picture.risk["sectors"]}


@pytest.mark.parametrize(("kind", "sector"), [("PRIVATE", "Energy"), ("OPTIONS", "Energy"), ("PUBLIC", "Energy")])
async def test_a_later_lot_changes_no_digit_of_a_past_session(world: World, kind: str, sector: str) -> None:
    """What is said of a lot that is bought in 2024 is no news of 2020, of whatever class and sector it is."""
    await world.db.execute(text("DELETE FROM ingest.symbol_profiles"))  # so that the stated sector counts
    before = await redone(world)
    for symbol in ("AAA", "HOME_EQUITY"):
        await add_lot(world.db, world.portfolio, symbol, date(2024, 6, 3), kind, sector)
    assert await redone(world) == before


async def test_lots_of_one_symbol_keep_their_own_classes(world: World) -> None:
    """Of the two lots of AAA the smaller turns out to be private: it alone is uncovered, and both are in the totals."""
    await world.db.execute(
        text("""UPDATE coordinator.positions SET investment_class = 'PRIVATE'
                WHERE id = (SELECT position_ids[2] FROM snapshots.holdings WHERE portfolio_id = :id AND session = :last)"""),
        {"id": world.portfolio, "last": LAST},
    )
    await world.db.execute(
        text("UPDATE snapshots.holdings SET quantity[6] = 0")
    )  # HOME_EQUITY: enough is covered without
    results = await compute(world, [world.portfolio])
    await save(world, results, dict.fromkeys(results.outcomes, 5))
    row = (await stored(world))[UnitKey(world.portfolio, LAST)]
    assert row.symbols == ["AAA", "AAA", "BBB", "CCC"]
    assert row.weights is None, "it follows of what moves and the NAV"
    assert read_weights(row._mapping) == pytest.approx([0.3, 0.1, 0.2, 0.1])
    assert row.beta_reasons[:2] == [None, "private"]
    await act_as(world.db, "coordinator")
    await world.db.execute(
        text("""INSERT INTO ledger.units (portfolio_id, session, phase, required_revision, completed_revision)
                VALUES (:id, :last, 'risk', 1, 1)"""),
        {"id": world.portfolio, "last": LAST},
    )
    answer = await risk_document(world.db, world.portfolio, "stress", LAST)
    await act_as(world.db, None)
    leg = answer["scenarios"][0]["direct"]
    assert leg["by_position"]["AAA"] is not None
    assert sum(value or 0.0 for value in leg["by_position"].values()) == pytest.approx(leg["money"], rel=1e-12)


async def test_a_vendors_sector_counts_from_its_day_on(world: World) -> None:
    await world.db.execute(text("DELETE FROM ingest.symbol_profiles"))
    assert await sectors(world) == {"Real Estate": pytest.approx(0.8)}, "nobody knows: what the user stated"
    for symbol in STOCKS:
        await describe(world.db, symbol, date(2020, 1, 2), "stock", "Financial Services", "fmp")
    assert await sectors(world) == {"Financials": pytest.approx(0.7), "Real Estate": pytest.approx(0.1)}
    await describe(world.db, "BBB", LAST, "etf", None, "fmp")
    assert await sectors(world) == {
        "Financials": pytest.approx(0.5), "ETF": pytest.approx(0.2), "Real Estate": pytest.approx(0.1),
    }  # fmt: skip
    known = await redone(world)
    for symbol in STOCKS:
        await describe(world.db, symbol, date(2021, 1, 4), "etf", "Energy", "fmp")
    assert await redone(world) == known, "what is learnt later changes no digit"


async def test_rates_on_the_yield_curve_and_their_duration(world: World) -> None:
    """No fund stands for rates here: the factors and the risk of a session are computed on the curve, and say so."""
    known = curves.walk(DAYS)
    await curves.store(world.db, known, change=20)
    await act_as(world.db, "factors")
    worker = FactorsWorker()
    batch = Batch((world.portfolio,), tuple(HELD), ((1,) * 3,))
    await worker.save(world.db, worker.compute(await worker.load(world.db, batch)), Completed({}))
    await act_as(world.db, None)
    results = await compute(world, [world.portfolio])
    await save(world, results, dict.fromkeys(results.outcomes, 5))
    row = (await stored(world))[UnitKey(world.portfolio, LAST)]
    assert dict(zip(registry.FACTOR_NAMES, row.proxies, strict=True))["rates"] == registry.CURVE_PROXY
    before = [of for of in known if of.date < LAST][-1]
    assert row.duration_as_of == before.date
    await world.db.execute(
        text("""INSERT INTO ledger.units (portfolio_id, session, phase, required_revision, completed_revision)
                VALUES (:id, :last, 'risk', 5, 5)"""),
        {"id": world.portfolio, "last": LAST},
    )
    answer = await risk_document(world.db, world.portfolio, "stress", LAST)
    up = next(of for of in answer["scenarios"] if of["id"] == "rates_up_100")
    bond = long_bond(before)
    assert bond is not None
    shock = -bond.duration * 0.01 + 0.5 * bond.convexity * 0.0001
    assert up["shocks"]["rates"] == pytest.approx(shock, rel=1e-12)
    assert up["direct"]["money"] is not None
    told = await explain(world.db, world.portfolio, LAST, "stress.rates_up_100.shocks.rates")
    assert told["parameters"] == {
        "rates_bp": 100, "duration": bond.duration, "convexity": bond.convexity, "duration_as_of": before.date.isoformat(),
    }  # fmt: skip
    assert [(item["kind"], item["from"], item["provider"]) for item in told["inputs"]] == [
        ("scenario", before.date.isoformat(), "scenarios"), ("yield_curve", before.date.isoformat(), "treasury"),
    ]  # fmt: skip
    told = await explain(world.db, world.portfolio, LAST, "exposures.proxies.rates")
    assert ("yield_curve", "treasury") in {(item["kind"], item["provider"]) for item in told["inputs"]}


async def test_the_returns_on_the_curve_are_the_ones_the_factors_were_computed_on(world: World) -> None:
    known = curves.walk(DAYS)
    await curves.store(world.db, known, change=20)
    await act_as(world.db, "factors")
    batch = Batch((world.portfolio,), (LAST,), ((1,),))
    worker = FactorsWorker()
    inputs = await worker.load(world.db, batch)
    await worker.save(world.db, worker.compute(inputs), Completed({}))
    await act_as(world.db, "risk")
    panel = (await RiskWorker(load_scenarios()).load(world.db, batch)).panel
    await act_as(world.db, None)
    row = panel.returns[panel.symbols.index(registry.CURVE_PROXY)]
    assert np.isfinite(row[-252:]).all()
    assert row[-252:].tolist() == inputs.curve.returns[-252:].tolist()


async def test_the_newest_curve_before_the_month_is_read_however_old_it_is(db: AsyncConnection) -> None:
    """That curves are fetched here decides that nothing written down years ago stands in for one that stayed away."""
    old = [Curve(LAST - timedelta(days=age), (0.25, 20.0, 30.0), (0.03,) * 3) for age in (400, 200)]
    assert await stored_curves.read(db, LAST, LAST) == ()
    await curves.store(db, old)
    assert [of.date for of in await stored_curves.read(db, LAST, LAST)] == [LAST - timedelta(days=200)]
    await curves.store(db, [replace(old[0], date=LAST - timedelta(days=age)) for age in (32, 31, 1)])
    found = [(LAST - of.date).days for of in await stored_curves.read(db, LAST, LAST)]
    assert found == [32, 31, 1]
