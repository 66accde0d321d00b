"""A market with splits, a dividend and a rename in the middle of a window, and the slow oracle of what a portfolio in it is worth.

Nothing here imports the product's computing: P&L by fractions on as-traded prices, lot by lot and session by session
(docs/methods.md §6), betas and volatilities by least squares and plain sums on the returns of closes and actions (§1, §3, §7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path

import numpy as np

from shared.market.calendar import calendar
from shared.market.registry import LOOKBACK, PROXY_SYMBOLS, REFERENCE_ETFS
from tests.support.markets import World

DAYS = calendar()
END = date(2020, 12, 30)
EX = DAYS.back(END, 4)
EVE = DAYS.previous(DAYS.previous(EX))
ENTRY = DAYS.back(EX, 7)
# Enough for the lookback of the first session and the session before it.
SESSIONS = DAYS.between(DAYS.back(ENTRY, LOOKBACK + 8), END)
EQUITY = 1_000_000
SPLITS = {"FWD": 4.0, "REV": 0.125}
RENAMED = ("OLD", "NEW")
HELD = ("FWD", "REV", "PAY", "OLD", "CALM")


def world(seed: int = 7) -> World:
    """Total returns first: a market, everything else loads on it; from them closes as traded."""
    rng = np.random.default_rng(seed)
    market = 0.0004 + 0.009 * rng.standard_normal(len(SESSIONS))
    made = World(renames={"OLD": ("NEW", EX)})
    for symbol in (*PROXY_SYMBOLS, *REFERENCE_ETFS, *HELD, "NEW"):
        own = 0.012 if symbol in HELD else 0.004
        returns = (
            market if symbol == "SPY" else rng.uniform(0.5, 1.5) * market + own * rng.standard_normal(len(SESSIONS))
        )
        if symbol == "TLT":
            returns = -0.25 * market + 0.007 * rng.standard_normal(len(SESSIONS))
        made.splits[symbol] = {EX: SPLITS[symbol]} if symbol in SPLITS else {}
        # Every vendor has listed something of everything: an action of long ago, and what the market pays each quarter.
        made.dividends[symbol] = {SESSIONS[3]: 0.11}
        if symbol in {"SPY", "PAY"}:
            made.dividends[symbol] |= {SESSIONS[k]: 0.4 for k in range(60, len(SESSIONS) - 30, 63)}
        if symbol == "PAY":
            made.dividends[symbol][EX] = 2.5
        close, closes = rng.uniform(40, 160), {}
        for k, day in enumerate(SESSIONS):
            if k:
                close = (1 + returns[k]) * close / made.splits[symbol].get(day, 1.0) - made.dividends[symbol].get(
                    day, 0.0
                )
            closes[day] = float(close)
        made.closes[symbol] = closes
    # Another company has the symbol until the day of the rename, at another price.
    made.closes["NEW"] = {day: 9.0 + 0.01 * k for k, day in enumerate(SESSIONS) if day < EX}
    return made


@dataclass(frozen=True)
class Trade:
    """As traded on the day."""

    symbol: str
    quantity: float
    entry: date
    out: date | None = None


BOOK = (
    Trade("FWD", 100, ENTRY),
    Trade("FWD", -30, DAYS.back(EX, 3), DAYS.forward(EX, 2)),
    Trade("REV", 800, ENTRY),
    Trade("PAY", 200, ENTRY),
    Trade("PAY", -50, DAYS.next(ENTRY)),
    Trade("OLD", 150, ENTRY),
    Trade("CALM", -100, ENTRY),
)
LATER = Trade("FWD", 48, DAYS.next(EX))


def csv(made: World, book: Sequence[Trade], *, as_traded: bool) -> str:
    """The file of a user: exits only where they lie in the past, quantities as traded or on today's basis."""
    lines = ["symbol,quantity,entry_date,entry_price,exit_date,exit_price"]
    for trade in book:
        entry = 1.0 if as_traded else _factor(made, trade.symbol, trade.entry, made.today)
        price = round(made.closes[trade.symbol][trade.entry], 6) / entry
        leave = ","
        if trade.out is not None:
            out = 1.0 if as_traded else _factor(made, trade.symbol, trade.out, made.today)
            leave = f"{trade.out},{round(made.closes[trade.symbol][trade.out], 6) / out!r}"
        lines.append(f"{trade.symbol},{trade.quantity * entry!r},{trade.entry},{price!r},{leave}")
    return "\n".join([*lines, ""])


def _factor(made: World, symbol: str, day: date, last: date) -> float:
    """New shares on `last` for one held on `day`."""
    factor = 1.0
    for ex, ratio in made.splits[symbol].items():
        factor *= ratio if day < ex <= last else 1.0
    return factor


def quantity(made: World, trade: Trade, day: date) -> Fraction:
    held = trade.entry <= day and (trade.out is None or day < trade.out)
    return Fraction(trade.quantity) * Fraction(_factor(made, trade.symbol, trade.entry, day)) if held else Fraction(0)


def pnl(made: World, book: Sequence[Trade], last: date) -> dict[date, Fraction]:
    """P&L of each session, from one to the next: what shares gained, and what they were paid or paid."""
    found = {}
    for day in DAYS.between(ENTRY, last):
        total, before = Fraction(0), DAYS.previous(day)
        for trade in book:
            price = Fraction(made.closes[trade.symbol][day])
            if trade.entry == day:
                total += Fraction(trade.quantity) * (price - Fraction(round(made.closes[trade.symbol][day], 6)))
            elif trade.entry < day and (trade.out is None or day <= trade.out):
                shares = Fraction(trade.quantity) * Fraction(_factor(made, trade.symbol, trade.entry, day))
                end = Fraction(round(made.closes[trade.symbol][day], 6)) if day == trade.out else price
                dividend = Fraction(made.dividends[trade.symbol].get(day, 0))
                total += shares * (end + dividend)
                total -= quantity(made, trade, before) * Fraction(made.closes[trade.symbol][before])
        found[day] = total
    return found


def returns(made: World, symbol: str, last: date, count: int) -> list[float]:
    """The last returns, whatever the vendor: on a session with an action from closes and what was paid, on any other from close to
    close, where adjusted closes say the same."""
    found = []
    closes, splits, dividends = made.closes[symbol], made.splits[symbol], made.dividends[symbol]
    for day in DAYS.between(DAYS.back(last, count - 1), last):
        ratio, paid, before = splits.get(day, 1.0), dividends.get(day, 0.0), closes[DAYS.previous(day)]
        found.append(ratio * (closes[day] + paid) / before - 1.0)
    return found


def betas(made: World, symbol: str, last: date) -> tuple[float, float]:
    """On the market, and on TLT beside the market: least squares with an intercept over 252 returns."""
    y, m, t = (np.array(returns(made, name, last, 252)) for name in (symbol, "SPY", "TLT"))
    one = np.ones(252)
    market = np.linalg.lstsq(np.column_stack([one, m]), y, rcond=None)[0][1]
    rates = np.linalg.lstsq(np.column_stack([one, m, t]), y, rcond=None)[0][2]
    return float(market), float(rates)


def volatility(made: World, book: Sequence[Trade], nav: Fraction, last: date, window: int) -> float:
    """Of today's weights on past returns."""
    weights: dict[str, float] = {}
    for trade in book:
        value = float(quantity(made, trade, last) * Fraction(made.closes[trade.symbol][last]) / nav)
        weights[trade.symbol] = weights.get(trade.symbol, 0.0) + value
    of_each = {symbol: returns(made, symbol, last, window) for symbol in weights}
    series = [sum(weight * of_each[symbol][k] for symbol, weight in weights.items()) for k in range(window)]
    mean = sum(series) / window
    return float((sum((r - mean) ** 2 for r in series) / (window - 1) * 252) ** 0.5)


def write_files(made: World, directory: Path) -> Path:
    """What somebody exports from Yahoo today; the holdings under the symbols that they have always had there."""
    lines = ["symbol,date,close,adj_close"]
    for symbol in made.closes:
        closes, total = made.adjusted(symbol), made.adjusted_for_all(symbol)
        lines += [f"{symbol},{day},{close!r},{total[day]!r}" for day, close in closes.items()]
    actions = ["symbol,ex_date,type,value"]
    for type_, facts in (("split", made.splits), ("dividend", made.dividends)):
        actions += [
            f"{symbol},{day},{type_},{value!r}" for symbol in facts for day, value in made.told(facts, symbol).items()
        ]
    (directory / "corporate_actions.csv").write_text("\n".join([*actions, ""]))
    (directory / "prices.csv").write_text("\n".join([*lines, ""]))
    return directory / "prices.csv"
