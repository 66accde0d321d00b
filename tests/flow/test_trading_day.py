"""A portfolio from the CSV to the last phase, on real prices, through five services, a real bus and a real database."""

from __future__ import annotations

import random
from datetime import date
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from services.risk.store.results import FIGURE_COLUMNS
from shared.market.calendar import calendar
from tests.flow.holdings import book, close, lot
from tests.support import databases, pipeline
from tests.support.brokers import TestBroker
from tests.support.databases import Server
from tests.support.pipeline import Pipeline

SESSIONS = len(calendar().between(date(2020, 9, 1), date(2020, 12, 31)))


async def completions(leadline: Pipeline, portfolio: str) -> list[Any]:
    return await leadline.query(
        "SELECT session, phase, completed_revision, completed_at FROM ledger.units WHERE portfolio_id = :id ORDER BY 1, 2",
        id=portfolio,
    )


async def test_a_csv_goes_through_all_four_phases(leadline: Pipeline) -> None:
    rows = [f"{p['symbol']},{p['quantity']},{p['entry_date']},{p['entry_price']}" for p in book()[:5]]
    portfolio = await leadline.import_csv("\n".join(["symbol,quantity,entry_date,entry_price", *rows]))

    [status] = await leadline.complete(portfolio)

    assert status["expected"] == status["completed"] == 4 * SESSIONS
    assert {phase: counts["completed"] for phase, counts in status["phases"].items()} == dict.fromkeys(
        ("ingest", "factors", "snapshots", "risk"), SESSIONS
    )
    assert status["holes"] == []
    assert (status["first_session"], status["last_session"]) == ("2020-09-01", "2020-12-31")


async def test_every_stored_snapshot_satisfies_the_nav_identity(leadline: Pipeline) -> None:
    portfolio = await leadline.create(book(), flows=[{"date": "2020-10-10", "amount": 5000.0, "note": None}])
    await leadline.complete(portfolio)

    wrong = await leadline.query(
        """
        SELECT s.session FROM snapshots.snapshots s
        LEFT JOIN snapshots.snapshots b ON b.portfolio_id = s.portfolio_id AND b.session =
            (SELECT max(session) FROM snapshots.snapshots WHERE portfolio_id = s.portfolio_id AND session < s.session)
        WHERE s.portfolio_id = :id AND (
            s.nav <> coalesce(b.nav, 100000) + s.daily_pnl + s.flow
            OR s.nav <> s.cash + (SELECT sum(market_value) FROM snapshots.positions p
                                  WHERE p.portfolio_id = s.portfolio_id AND p.session = s.session))
        """,
        id=portfolio,
    )
    [(count, flows)] = await leadline.query(
        "SELECT count(*), sum(flow) FROM snapshots.snapshots WHERE portfolio_id = :id", id=portfolio
    )

    assert wrong == []
    assert count == SESSIONS
    assert flows == 5000, "a flow on a Saturday counts on the next session"


async def test_every_read_answers_for_the_last_session(leadline: Pipeline, portfolio: str) -> None:

    answers = {}
    for path in ("snapshots", "positions", "factor-exposures", "risk", "correlations", "stress"):
        answer = await leadline.api.get(f"/portfolios/{portfolio}/{path}")
        assert answer.status_code == 200, f"{path}: {answer.text}"
        answers[path] = answer.json()
    for path in ("AAPL/factors", "AAPL/metrics", "AAPL/prices?from=2020-12-01&to=2020-12-31"):
        answer = await leadline.api.get(f"/symbols/{path}")
        assert answer.status_code == 200, f"{path}: {answer.text}"

    snapshot = answers["snapshots"]["items"][-1]
    assert snapshot["session"] == answers["risk"]["session"] == "2020-12-31"
    held = {item["symbol"]: item for item in answers["positions"]["items"]}
    assert held["KO"]["quantity"] == 0, "a closed position stays in the list"
    assert held["XOM"]["market_value"] < 0
    total = sum(item["market_value"] for item in held.values())
    assert snapshot["nav"] == pytest.approx(snapshot["cash"] + total, abs=1e-6)
    market = next(f for f in answers["factor-exposures"]["factors"] if f["factor"] == "market")
    weighted = [p["weight"] * p["betas"]["market"] for p in answers["factor-exposures"]["positions"]]
    assert market["beta"] == pytest.approx(sum(weighted), rel=1e-9)
    assert answers["risk"]["volatility"]["realized_252"] > 0
    rates = next(f for f in answers["factor-exposures"]["factors"] if f["factor"] == "rates")
    assert rates["beta"] is None
    assert rates["reason"] == "no_proxy", "the bundled data has no bond fund: withheld, with the reason"


async def test_duplicates_in_any_order_change_nothing(
    leadline: Pipeline, producer: AIOKafkaProducer, portfolio: str
) -> None:
    await leadline.quiet()
    before = await completions(leadline, portfolio), await leadline.digest(portfolio, facts=True)
    letters = await leadline.query("SELECT count(*) FROM bus.dead_letters")
    events = await leadline.query(
        "SELECT topic, key, payload, headers FROM bus.outbox WHERE payload LIKE :about", about=f"%{portfolio}%"
    )
    assert len(events) >= 5, "created, ingested, factors, snapshots and risk at least"
    again = list(events) * 3
    random.Random(11).shuffle(again)

    for event in again:
        headers = [(name, str(value).encode()) for name, value in event.headers.items()]
        await producer.send_and_wait(
            f"{leadline.database.name}.{event.topic}", event.payload.encode(), key=event.key.encode(), headers=headers
        )
    await leadline.quiet()

    assert (await completions(leadline, portfolio), await leadline.digest(portfolio, facts=True)) == before
    assert await leadline.query("SELECT count(*) FROM bus.dead_letters") == letters


async def test_a_night_for_many_portfolios_equals_a_computation_in_one_go(server: Server, broker: TestBroker) -> None:
    """Six portfolios live through a night; six equal ones are created a day later. Every stored digit is the same."""
    symbols = ("AAPL", "MSFT", "JPM", "JNJ", "PG", "WMT", "HD", "KO", "PFE", "BAC", "XOM", "GE")
    books = [
        [lot(symbols[(i + k) % 12], (k + 1) * (10 if k % 3 else -10), "2020-12-0" + str(1 + i % 4)) for k in range(5)]
        for i in range(6)
    ]
    database = await databases.create(server)
    async with pipeline.running(database, broker, as_of=date(2020, 12, 30)) as evening:
        lived = [await evening.create(positions, name=f"Live {i}") for i, positions in enumerate(books)]
        await evening.complete(*lived)
        assert await evening.query("SELECT max(session) FROM ledger.units") == [(date(2020, 12, 30),)]
    async with pipeline.running(database, broker, as_of=date(2020, 12, 31)) as night:
        await night.reached(date(2020, 12, 31), *lived)
        for status in await night.complete(*lived):
            assert status["last_session"] == "2020-12-31"
        [(first, last)] = await night.query(
            "SELECT min(scope->>'from'), max(scope->>'to') FROM coordinator.runs WHERE source IN ('cron', 'reconciler')"
        )
        assert (first, last) == ("2020-12-31", "2020-12-31"), "one new session, and only that"
        replayed = [await night.create(positions, name=f"Replayed {i}") for i, positions in enumerate(books)]
        await night.complete(*replayed)
        for one, other in zip(lived, replayed, strict=True):
            assert await _figures(night, one) == await _figures(night, other)
    await databases.drop(database)


async def _figures(leadline: Pipeline, portfolio: str) -> list[Any]:
    """All figures of a portfolio, without its ids. Arrays as text: an unknown figure is NaN, which equals nothing."""
    figures = ", ".join(f"CAST(r.{column} AS text)" for column in FIGURE_COLUMNS)
    return await leadline.query(
        f"""
        SELECT s.session, s.nav, s.cash, s.daily_pnl, s.daily_return, s.cumulative_return, s.drawdown, s.coverage,
               h.symbols, h.quantity, h.price, h.market_value, CAST(r.risk AS text), {figures}
        FROM snapshots.snapshots s
        JOIN snapshots.holdings h USING (portfolio_id, session)
        JOIN risk.results r USING (portfolio_id, session)
        WHERE portfolio_id = :id ORDER BY s.session
        """,
        id=portfolio,
    )


async def test_the_price_at_the_close_is_the_value_of_the_position(leadline: Pipeline) -> None:
    """By hand: 100 AAPL, bought at the close of 2020-09-01, are worth 100 closes on 2020-12-31, and earned the difference."""
    portfolio = await leadline.create([lot("AAPL", 100, "2020-09-01")])
    await leadline.complete(portfolio)
    [item] = (await leadline.api.get(f"/portfolios/{portfolio}/positions")).json()["items"]
    worth = 100 * close("AAPL", "2020-12-31")
    assert item["market_value"] == pytest.approx(worth, abs=1e-3)
    assert item["cumulative_pnl"] == pytest.approx(worth - 100 * close("AAPL", "2020-09-01"), abs=1e-3)
