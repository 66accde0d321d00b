"""Splits that did happen, in portfolios stated as traded and in today's shares."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from services.snapshots.compute import from_units
from tests.realdata.portfolios import decided, lot, positions, world
from tests.support.pricefiles import Grid, grid
from tests.support.worlds import Rows, run

BOUGHT, SPLIT, LAST = date(2019, 7, 1), date(2020, 8, 31), date(2020, 12, 31)


@pytest.fixture(scope="module")
def crash(prices: Path) -> Grid:
    """The symbols of the portfolio of 2020, from its first entry to the year's end."""
    held = sorted(
        {position.symbol for position in positions(prices.parent / "portfolios" / "covid_2020_corporate_actions.csv")}
    )
    return grid(prices, held, BOUGHT, LAST)


def aapl(of: Grid, day: date) -> Decimal:
    return Decimal(repr(float(of.close[of.row(day), of.column("AAPL")])))


def test_aapls_split_is_in_the_prices_as_traded_and_not_in_the_returns(crash: Grid) -> None:
    at, column = crash.row(SPLIT), crash.column("AAPL")
    assert crash.close[at - 1 : at + 1, column] == pytest.approx([499.23, 129.04])
    assert crash.splits[at, column] == 4.0
    assert crash.returns[at, column] == pytest.approx(4 * 129.04 / 499.23 - 1, abs=2e-4)


@pytest.mark.parametrize(("quantity", "sign"), [("100", 1), ("-100", -1)], ids=["long", "short"])
def test_aapls_split_moves_no_pnl_as_traded_and_split_adjusted(
    crash: Grid, shared_data: Path, quantity: str, sign: int
) -> None:
    """Stated in shares of 2019 or in today's, the lot earns 100 · (4 · 129.04 - 499.23) on the day, and 0 for the split."""
    csv = positions(shared_data / "portfolios" / "covid_2020_corporate_actions.csv")[0]
    assert (csv.symbol, csv.entry_date) == ("AAPL", BOUGHT)
    as_traded = replace(csv, quantity=Decimal(quantity), entry_price=aapl(crash, BOUGHT))
    adjusted = replace(csv, quantity=Decimal(quantity) * 4, entry_price=aapl(crash, BOUGHT) / 4)
    decisions = [decided(stated, crash) for stated in (as_traded, adjusted)]
    assert [d.price_basis for d in decisions] == ["as_traded", "split_adjusted"]
    lots = [[lot(csv, decision, k + 1)] for k, decision in enumerate(decisions)]
    rows = run(world(crash, BOUGHT, lots, Decimal(200_000)))
    at = crash.row(SPLIT)
    earned = sign * 100 * (4 * Decimal("129.04") - Decimal("499.23"))
    for portfolio in (0, 1):
        assert from_units(rows.snapshots.daily_pnl[at, portfolio]) == earned
        assert abs(rows.snapshots.daily_return[at, portfolio]) < 0.02, "an unadjusted close would lose three quarters"
    assert np.array_equal(rows.snapshots.nav[:, 0], rows.snapshots.nav[:, 1]), "the same portfolio on every session"
    assert rows.table.quantity[at - 1 : at + 1].tolist() == [[sign * 100.0] * 2, [sign * 400.0] * 2]


def ledger(of: Grid, folder: Path) -> Rows:
    stated = positions(folder / "portfolios" / "covid_2020_corporate_actions.csv")
    lots = [lot(position, decided(position, of), k + 1) for k, position in enumerate(stated)]
    return run(world(of, BOUGHT, [lots], Decimal(400_000)))


def test_the_week_of_16_march_2020(crash: Grid, shared_data: Path) -> None:
    """The P&L of each lot from the file itself: split-adjusted shares times the change of the delivered close, and dividends."""
    stated = positions(shared_data / "portfolios" / "covid_2020_corporate_actions.csv")
    table = pd.read_parquet(shared_data / "prices.parquet", columns=["symbol", "date", "close"])
    keys = zip(table["symbol"], table["date"].dt.date, strict=True)
    closes = dict(zip(keys, table["close"].tolist(), strict=True))
    actions = pd.read_csv(shared_data / "corporate_actions.csv", dtype={"value": float})
    dividends = {
        (row["symbol"], date.fromisoformat(row["ex_date"])): float(row["value"])
        for row in actions.to_dict("records")
        if row["type"] == "dividend"
    }
    rows = ledger(crash, shared_data)
    days = [date(2020, 3, day) for day in (13, 16, 17, 18, 19, 20)]
    for before, day in pairwise(days):
        expected = 0.0
        for position in stated:
            held = position.entry_date <= before and (position.exit_date is None or position.exit_date > day)
            if not held:
                continue
            q = float(position.quantity)
            expected += q * (closes[position.symbol, day] - closes[position.symbol, before])
            # Dividends are per share of their day; AAPL, the one with a split to come, paid none that week.
            expected += q * dividends.get((position.symbol, day), 0.0)
        at = crash.row(day)
        # Half a unit of some 500,000: a close as traded and one divided by a later split differ in the sixth decimal.
        assert float(from_units(rows.snapshots.daily_pnl[at, 0])) == pytest.approx(expected, abs=0.5), day
    monday = crash.row(days[1])
    assert rows.snapshots.daily_return[monday, 0] < -0.05
    assert rows.snapshots.nav[monday, 0] == rows.snapshots.nav[monday - 1, 0] + rows.snapshots.daily_pnl[monday, 0]
    assert crash.returns[monday, crash.column("SPY")] == pytest.approx(-0.1094, abs=1e-4)


def test_reverse_split_and_split_in_one_portfolio_move_no_pnl(crash: Grid, shared_data: Path) -> None:
    """USO went 1:8 on 2020-04-29, AAPL 4:1 on 2020-08-31: on both days a lot earns what its total return says."""
    rows = ledger(crash, shared_data)
    names = rows.inputs.lots.symbol
    for symbol, day, ratio in (("USO", date(2020, 4, 29), 0.125), ("AAPL", SPLIT, 4.0)):
        at, place = crash.row(day), names.index(symbol)
        before, pnl = rows.table.market_value[at - 1, place], rows.table.daily_pnl[at, place]
        assert rows.table.quantity[at, place] == pytest.approx(rows.table.quantity[at - 1, place] * ratio)
        assert pnl / before == pytest.approx(crash.returns[at, crash.column(symbol)], abs=2e-4)
    assert rows.snapshots.coverage[:, 0].min() == 1.0
    assert {int(p) for p in rows.snapshots.positions[-1]} == {11}
