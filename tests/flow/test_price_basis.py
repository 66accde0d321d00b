"""A fresh install knows no price when a file is imported. As traded or split-adjusted, it comes to the same numbers, at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.coordinator import handlers
from shared.events import topics
from shared.market.calendar import calendar
from tests.support import databases, pipeline
from tests.support.brokers import TestBroker
from tests.support.databases import Server
from tests.support.pipeline import Pipeline

FIRST, AS_OF = date(2020, 8, 3), date(2020, 9, 30)
SESSIONS = calendar().between(FIRST, AS_OF)
EQUITY = 100_000
# New shares per old: forwards, in reverse, after the newest session (an exported file has it in), and none.
SPLITS = {"FWD": (date(2020, 8, 31), 4.0), "REV": (date(2020, 9, 10), 0.125), "LATE": (date(2021, 3, 1), 2.0)}
LEVELS = {"FWD": 120.0, "REV": 40.0, "LATE": 75.0, "CALM": 55.0}


def adjusted_close(symbol: str, day: date) -> float:
    """A walk without chance; on the basis of the newest split, as price files are."""
    step = SESSIONS.index(day)
    return round(LEVELS[symbol] * (1 + 0.004 * ((step * 7) % 11 - 5)) + 0.1 * step, 2)


def factor(symbol: str, day: date) -> Decimal:
    """New shares per share held on the day."""
    ex, ratio = SPLITS.get(symbol, (date.min, 1.0))
    return Decimal(str(ratio)) if ex > day else Decimal(1)


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    rows = [f"{symbol},{day},{adjusted_close(symbol, day)}" for symbol in LEVELS for day in SESSIONS]
    (tmp_path / "prices.csv").write_text("\n".join(["symbol,date,close", *rows, ""]))
    actions = [f"{symbol},{ex},split,{ratio}" for symbol, (ex, ratio) in SPLITS.items()]
    # A symbol with any action counts as one whose actions are all listed.
    actions.append("CALM,2019-01-02,dividend,0.1")
    (tmp_path / "corporate_actions.csv").write_text("\n".join(["symbol,ex_date,type,value", *actions, ""]))
    return tmp_path / "prices.csv"


@dataclass(frozen=True)
class Trade:
    """On today's basis."""

    symbol: str
    quantity: int
    entry: date
    out: date | None = None


BOOK = (
    Trade("FWD", 400, date(2020, 8, 3)),
    Trade("FWD", 80, date(2020, 8, 12), date(2020, 9, 2)),
    Trade("FWD", -40, date(2020, 8, 14), date(2020, 8, 20)),
    Trade("FWD", 12, date(2020, 9, 3)),
    Trade("REV", 25, date(2020, 8, 5)),
    Trade("REV", -10, date(2020, 8, 17), date(2020, 9, 15)),
    Trade("LATE", 60, date(2020, 8, 10)),
    Trade("CALM", 100, date(2020, 8, 3)),
)


def csv(*, as_traded: bool) -> str:
    lines = ["symbol,quantity,entry_date,entry_price,exit_date,exit_price"]
    for trade in BOOK:
        entry = factor(trade.symbol, trade.entry) if as_traded else Decimal(1)
        price = Decimal(str(adjusted_close(trade.symbol, trade.entry))) * entry
        leave = ","
        if trade.out is not None:
            out = factor(trade.symbol, trade.out) if as_traded else Decimal(1)
            leave = f"{trade.out},{Decimal(str(adjusted_close(trade.symbol, trade.out))) * out}"
        lines.append(f"{trade.symbol},{Decimal(trade.quantity) / entry},{trade.entry},{price},{leave}")
    return "\n".join([*lines, ""])


def nav(day: date) -> float:
    """By hand, on today's basis, where splits do not exist."""
    total = float(EQUITY)
    for trade in BOOK:
        if trade.entry <= day:
            last = min(day, trade.out or day)
            total += trade.quantity * (adjusted_close(trade.symbol, last) - adjusted_close(trade.symbol, trade.entry))
    return total


async def imported(leadline: Pipeline, content: str) -> Sequence[Any]:
    """Import into an install that knows nothing; every figure of every session. Nothing wrong was ever written."""
    assert await leadline.query("SELECT count(*) FROM ingest.symbols") == [(0,)]
    portfolio = await leadline.import_csv(content, equity=EQUITY)
    await leadline.complete(portfolio)
    await leadline.quiet()
    for table in ("snapshots.snapshots_history", "snapshots.holdings_history"):
        assert await leadline.query(f"SELECT count(*) FROM {table}") == [(0,)], (
            f"{table}: something was published before"
        )
    lots = await leadline.query("SELECT basis_assumed, basis_reason, basis_awaits FROM coordinator.positions")
    assert set(lots) == {(False, "compared", None)}
    return await leadline.query(
        "SELECT session, nav, cash, daily_pnl, cumulative_pnl, realized_pnl, unrealized_pnl, long_value, short_value, daily_return"
        " FROM snapshots.snapshots ORDER BY session"
    )


async def test_as_traded_or_split_adjusted_comes_to_the_same(server: Server, broker: TestBroker, prices: Path) -> None:
    results = []
    for as_traded in (True, False):
        database = await databases.create(server)
        # Without the reconciler: the event alone settles, in one hop.
        async with pipeline.running(database, broker, as_of=AS_OF, data=prices, reconcile_seconds=600) as leadline:
            results.append(await imported(leadline, csv(as_traded=as_traded)))
        await databases.drop(database)
    traded, adjusted = results
    assert [row.session for row in traded] == SESSIONS
    for row in traded:
        assert float(row.nav) == pytest.approx(nav(row.session), abs=0.001)
    assert adjusted == traded


async def test_the_reconciler_settles_when_nobody_hears_of_the_prices(
    server: Server, broker: TestBroker, prices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "TOPICS", (topics.PRICES_RESTATED,))
    database = await databases.create(server)
    async with pipeline.running(database, broker, as_of=AS_OF, data=prices) as leadline:
        rows = await imported(leadline, csv(as_traded=False))
    await databases.drop(database)
    assert float(rows[-1].nav) == pytest.approx(nav(AS_OF), abs=0.001)
