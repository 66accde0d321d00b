"""Books as people have them, from the first import of a fresh install to what is answered. Prices are made up for each."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from shared.market.calendar import calendar
from tests.support import databases, pipeline
from tests.support.brokers import TestBroker
from tests.support.databases import Server
from tests.support.pipeline import Pipeline

FIRST, AS_OF = date(2019, 5, 1), date(2020, 9, 30)
ENTRY = date(2020, 8, 10)
SESSIONS = calendar().between(FIRST, AS_OF)
# Nobody quotes the symbol on these sessions, and then somebody quotes another security.
ABSENT = calendar().between(date(2020, 8, 20), date(2020, 9, 8))


def walk(seed: int, level: float, *, tilt: float = 0.0) -> list[float]:
    """A made-up history; `tilt` times the moves of the market, which is seed 1."""
    own, market = random.Random(seed), random.Random(1)
    prices = [level]
    for _ in SESSIONS[1:]:
        move = own.gauss(0.0, 0.008) + tilt * market.gauss(0.0, 0.01)
        prices.append(round(prices[-1] * (1.0 + move), 6))
    return prices


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("books")
    market = [100.0]
    moves = random.Random(1)
    for _ in SESSIONS[1:]:
        market.append(round(market[-1] * (1.0 + moves.gauss(0.0, 0.01)), 6))
    rows = [f"SPY,{day},{price},{price}" for day, price in zip(SESSIONS, market, strict=True)]
    rows += [f"RISK,{day},{price},{price}" for day, price in zip(SESSIONS, walk(2, 40.0, tilt=1.2), strict=True)]
    # A stock dividend of a twentieth on 2020-09-15; the file is adjusted for it: 100.00 as traded before.
    rows += [f"STKX,{day},{round(100 / 1.05, 6)},{round(100 / 1.05, 6)}" for day in SESSIONS]
    rows += [f"ADJO,{day},,38.0" for day in SESSIONS]
    rows += [f"NOAC,{day},0.5,0.5" for day in SESSIONS]
    rows += [
        f"REUX,{day},{20 if day < ABSENT[0] else 3},{20 if day < ABSENT[0] else 3}"
        for day in SESSIONS
        if day not in ABSENT
    ]
    # Two for one on 2020-09-15, as traded, and nobody lists it.
    rows += [
        f"RAWS,{day},{100 if day < date(2020, 9, 15) else 50},{100 if day < date(2020, 9, 15) else 50}"
        for day in SESSIONS
    ]
    # The same in a file that is adjusted for it.
    rows += [f"ADJS,{day},50,50" for day in SESSIONS]
    rows += [f"SPUN,{day},8,8" for day in SESSIONS]
    rows += [f"HUGE,{day},140,140" for day in SESSIONS]
    rows += [f"TINY,{day},0.00012,0.00012" for day in SESSIONS]
    (folder / "prices.csv").write_text("\n".join(["symbol,date,close,adj_close", *rows, ""]))
    actions = ["STKX,2020-09-15,split,1.05", "RISK,2018-01-02,dividend,0.1", "REUX,2018-01-02,dividend,0.1"]
    (folder / "corporate_actions.csv").write_text("\n".join(["symbol,ex_date,type,value", *actions, ""]))
    return folder / "prices.csv"


@pytest.fixture(scope="module")
async def fresh(server: Server, broker: TestBroker, prices: Path) -> AsyncIterator[Pipeline]:
    database = await databases.create(server)
    async with pipeline.running(database, broker, as_of=AS_OF, data=prices) as running:
        yield running
    await databases.drop(database)


LOTS = "symbol,quantity,entry_date,entry_price,exit_date,exit_price,investment_subtype"


async def book(
    leadline: Pipeline, *rows: str, equity: int = 50_000, price_basis: str = "auto", header: str = LOTS
) -> str:
    content = "\n".join((header, *rows, ""))
    answer = await leadline.api.post(
        "/portfolios/import",
        data={"name": rows[0], "account_type": "taxable", "equity_balance": str(equity), "price_basis": price_basis},
        files={"file": ("book.csv", content.encode(), "text/csv")},
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def nav(leadline: Pipeline, portfolio: str, session: date) -> float:
    (row,) = await leadline.query(
        "SELECT nav FROM snapshots.snapshots WHERE portfolio_id = :id AND session = :session",
        id=portfolio,
        session=session,
    )
    return float(row.nav)


async def reasons(
    leadline: Pipeline, portfolio: str, session: date = AS_OF, table: str = "snapshots.snapshots"
) -> set[tuple[Any, Any]]:
    (row,) = await leadline.query(
        f"SELECT reasons FROM {table} WHERE portfolio_id = :id AND session = :session", id=portfolio, session=session
    )
    return {(reason["symbol"], reason["reason"]) for reason in row.reasons if reason["symbol"]}


def partial(status: dict[str, Any], phase: str = "snapshots") -> set[tuple[Any, Any]]:
    return {
        (reason["symbol"], reason["reason"])
        for part in status["partials"] if part["phase"] == phase for reason in part["reasons"]
    }  # fmt: skip


async def test_a_fill_below_the_close_before_a_stock_dividend_is_as_traded(fresh: Pipeline) -> None:
    portfolio = await book(fresh, f"STKX,100,{ENTRY},97,,,")
    (status,) = await fresh.complete(portfolio)
    assert await nav(fresh, portfolio, ENTRY) == pytest.approx(50_300.0, abs=0.01)
    assert await nav(fresh, portfolio, AS_OF) == pytest.approx(50_300.0, abs=0.01)
    assert ("STKX", "price_basis_ambiguous") in await reasons(fresh, portfolio)
    assert partial(status) == set(), "a remark takes nothing from the unit"
    (lot,) = status["price_basis"]
    assert (lot["basis_reason"], lot["stated_quantity"], lot["stored_quantity"]) == ("ambiguous", 100.0, 100.0)


async def test_what_is_stated_as_split_adjusted_is_believed_on_the_first_import(fresh: Pipeline) -> None:
    portfolio = await book(fresh, f"STKX,105,{ENTRY},92.380952381,,,", price_basis="split_adjusted")
    (status,) = await fresh.complete(portfolio)
    (lot,) = status["price_basis"]
    assert (lot["price_basis"], lot["basis_reason"], lot["stored_quantity"]) == ("split_adjusted", "stated", 100.0)
    assert (lot["stated_quantity"], lot["stored_entry_price"]) == (105.0, pytest.approx(97.0))
    assert await nav(fresh, portfolio, AS_OF) == pytest.approx(50_300.0, abs=0.01)


@pytest.mark.parametrize(("symbol", "price"), [("ADJO", "157.92"), ("NOAC", "10")])
async def test_a_price_far_from_the_only_closes_is_said_on_the_first_import(
    fresh: Pipeline, symbol: str, price: str
) -> None:
    portfolio = await book(fresh, f"{symbol},10,{ENTRY},{price},,,", equity=5_000)
    (status,) = await fresh.complete(portfolio)
    assert (symbol, "price_basis_mismatch") in partial(status)
    assert status["partial"] > 0
    assert (symbol, "price_basis_mismatch") in await reasons(fresh, portfolio)
    (lot,) = status["price_basis"]
    assert (lot["symbol"], lot["basis_reason"]) == (symbol, "mismatch")


TRADES = "date,action,symbol,quantity,price"


async def test_a_trade_far_from_its_close_is_partial_on_the_first_import(fresh: Pipeline) -> None:
    """Stated as traded, as all trades are: it was a warning of the second import, and the snapshots were complete."""
    portfolio = await book(fresh, f"{ENTRY},buy,NOAC,10,10", header=TRADES, equity=5_000)
    (status,) = await fresh.complete(portfolio)
    assert ("NOAC", "price_basis_mismatch") in partial(status)
    assert ("NOAC", "price_basis_mismatch") in await reasons(fresh, portfolio, ENTRY), "from its first session on"
    (lot,) = status["price_basis"]
    assert (lot["symbol"], lot["basis_reason"], lot["stored_quantity"]) == ("NOAC", "stated_mismatch", 10.0)


@pytest.mark.parametrize("symbol", ["RAWS", "ADJS"])
async def test_a_split_and_a_spin_off_that_only_the_broker_lists_are_right_in_money(
    fresh: Pipeline, symbol: str
) -> None:
    """100 at 100 and two for one: the shares were 100 all the while, and half their value was gone."""
    portfolio = await book(
        fresh,
        f"{ENTRY},buy,{symbol},100,100", f"2020-09-15,split,{symbol},100,", "2020-09-16,spin-off,SPUN,50,",
        f"2020-09-24,sell,{symbol},150,50", header=TRADES,
    )  # fmt: skip
    await fresh.complete(portfolio)
    worth = [(ENTRY, 0), (date(2020, 9, 14), 0), (date(2020, 9, 15), 0), (date(2020, 9, 16), 400), (AS_OF, 400)]
    for session, gained in worth:
        assert await nav(fresh, portfolio, session) == pytest.approx(50_000 + gained, abs=0.01)
    found = await reasons(fresh, portfolio)
    assert not {(symbol, code) for symbol, code in found if code in ("price_basis_mismatch", "exit_price_mismatch")}


async def test_another_security_under_the_ticker_is_remarked(fresh: Pipeline) -> None:
    portfolio = await book(fresh, f"REUX,100,{ENTRY},20,,,")
    await fresh.complete(portfolio)
    assert ("REUX", "priced_after_gap") in await reasons(fresh, portfolio)
    assert ("REUX", "priced_after_gap") not in await reasons(fresh, portfolio, ABSENT[-1])


async def test_a_quarter_of_money_without_prices_is_covered(fresh: Pipeline) -> None:
    portfolio = await book(
        fresh,
        f"SPAXX,2500,{ENTRY},1,,,MONEY_MARKET",
        f"CASH,500,{ENTRY},1,,,",
        f"RISK,175,{ENTRY},40,,,",
        equity=10_000,
    )
    alone = await book(fresh, f"RISK,175,{ENTRY},40,,,", equity=10_000)
    _, status = await fresh.complete(alone, portfolio)
    assert partial(status) == set()
    assert {symbol for symbol, _ in partial(status, "risk")}.isdisjoint({"SPAXX", "CASH"})
    assert await fresh.query("SELECT symbol FROM ingest.symbols WHERE symbol IN ('SPAXX', 'CASH')") == []
    assert await nav(fresh, portfolio, AS_OF) == await nav(fresh, alone, AS_OF)
    found = [(await fresh.api.get(f"/portfolios/{of}/risk")).json()["beta"]["aggregated"] for of in (portfolio, alone)]
    assert found[0] is not None
    assert found[0] == pytest.approx(found[1], rel=1e-12)


async def test_what_expires_worthless_leaves_at_nothing(fresh: Pipeline) -> None:
    portfolio = await book(fresh, f"RISK200918C00100000,2,{ENTRY},5,2020-09-18,0,")
    await fresh.complete(portfolio)
    assert await nav(fresh, portfolio, AS_OF) == 49_000.0


async def test_an_amount_that_nobody_can_hold_blocks_nothing(fresh: Pipeline) -> None:
    """The closes are not known when it is imported: it is stored, named, and the rest goes on."""
    portfolio = await book(
        fresh, f"HUGE,200000000000,{ENTRY},0.00001,,,", f"TINY,1000000,{ENTRY},0.00012,,,", equity=5_000_000
    )
    (status,) = await fresh.complete(portfolio)
    assert ("HUGE", "amount_too_large") in partial(status)
    assert ("TINY", "no_dividends") in partial(status)


async def test_the_first_session_of_the_calendar_is_a_session(
    server: Server, broker: TestBroker, tmp_path: Path
) -> None:
    sessions = calendar().between(date(1990, 1, 2), date(1990, 1, 12))
    rows = [f"OLDX,{day},{100 + n}" for n, day in enumerate([date(1990, 1, 1), *sessions])]
    (tmp_path / "prices.csv").write_text("\n".join(["symbol,date,close", *rows, ""]))
    database = await databases.create(server)
    async with pipeline.running(database, broker, as_of=sessions[-1], data=tmp_path / "prices.csv") as leadline:
        portfolio = await book(leadline, "OLDX,10,1990-01-02,100.5,,,")
        (status,) = await leadline.complete(portfolio)
        assert status["completed"] == status["expected"] == 4 * len(sessions)
        assert await nav(leadline, portfolio, sessions[0]) == 50_005.0
        assert await nav(leadline, portfolio, sessions[-1]) == 50_000 + 10 * (100 + len(sessions)) - 1005
    await databases.drop(database)
