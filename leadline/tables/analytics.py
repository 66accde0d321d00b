"""Tables of figures that are worked out when they are asked for: performance, attribution, replay, liquidity, what-if."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from leadline.tables.grid import table
from leadline.tables.text import DASH, count, money, number, percent, reasons_text, shares, text, words

Document = Mapping[str, Any]
_PERCENT = (
    "total_return", "annual_return", "money_weighted_return", "money_weighted_annual", "volatility", "semi_deviation",
    "downside_deviation", "max_drawdown", "cdar_95", "positive_share", "risk_free",
)  # fmt: skip
_NUMBER = ("sharpe", "sortino", "calmar", "skew", "kurtosis")
_COMPARED = ("return", "active_return", "tracking_error", "alpha", "alpha_stderr_hac", "up_capture", "down_capture")
_MONTHS = tuple(f"{month:02d}" for month in range(1, 13))


def sections(console: Console, document: Document) -> None:
    """What `show --full` has of them: everything up to the session, the session itself, what is held."""
    for name, render in (("performance", performance), ("attribution", attribution), ("liquidity", liquidity)):
        if document.get(name):
            render(console, document[name])
    # Both say nothing of a book without funds, and of an installation without the sectors' prices.
    if (document.get("look_through") or {}).get("funds"):
        look_through(console, document["look_through"])
    if any(item["beta"] is not None for item in (document.get("sector_exposures") or {}).get("items", ())):
        sector_exposures(console, document["sector_exposures"])


def performance(console: Console, of: Document) -> None:
    rows = table(f"Performance, {of['from']} to {of['to']}, {count(of['sessions'])} sessions", "figure", "value")
    for name in _PERCENT:
        rows.add_row(words(name), percent(of[name]))
    for name in _NUMBER:
        rows.add_row(words(name), number(of[name]))
    for name in ("best_day", "worst_day"):
        day = of[name]
        rows.add_row(words(name), DASH if day is None else f"{percent(day['return'])} on {day['session']}")
    console.print(rows)
    if of.get("carry"):
        _carry(console, of["carry"])
    if of["benchmark"] is not None:
        _benchmark(console, of["benchmark"])
    _drawdowns(console, of["drawdowns"])
    _calendar(console, of)
    reasons(console, of)


def _carry(console: Console, of: Document) -> None:
    rows = table("What money would have earned and cost; in no other figure", "figure", "value")
    for name in ("interest", "margin", "borrow"):
        rows.add_row(words(name), money(of[name]))
    rows.add_row("total return with it", percent(of["total_return"]))
    rows.add_row("over the bill, of debit", percent(of["margin_spread"]))
    rows.add_row("a year, of what is short", percent(of["borrow_rate"]))
    console.print(rows)


def _benchmark(console: Console, of: Document) -> None:
    rows = table(f"Beside {of['symbol']}, {count(of['n_obs'])} sessions", "figure", "value")
    for name in _COMPARED:
        rows.add_row(words(name), percent(of[name]))
    for name in ("information_ratio", "beta", "alpha_t_hac", "r2"):
        rows.add_row(words(name), number(of[name]))
    console.print(rows)


def _drawdowns(console: Console, items: Sequence[Document]) -> None:
    rows = table("Drawdowns", "#", "peak", "trough", "recovered", "depth", "sessions", "down", "up", left=4)
    for of in items:
        rows.add_row(
            f"#{of['rank']}", text(of["peak"]), text(of["trough"]), text(of["recovered"]), percent(of["depth"]),
            count(of["length"]), count(of["decline"]), count(of["recovery"]),
        )  # fmt: skip
    if items:
        console.print(rows)


def _calendar(console: Console, of: Document) -> None:
    rows = table("Returns by month", "year", *_MONTHS, "year's")
    months = {item["month"]: item["return"] for item in of["items"]}
    for year in of["years"]:
        cells = (months.get(f"{year['year']}-{month}") for month in _MONTHS)
        rows.add_row(
            year["year"], *("" if cell is None else percent(cell, 1) for cell in cells), percent(year["return"], 1)
        )
    console.print(rows)


def attribution(console: Console, of: Document) -> None:
    title = f"{of['from']} to {of['to']}: {percent(of['total_return'])}, {money(of['pnl'])}"
    for name, key in (("factor", "factors"), ("sector", "sectors"), ("symbol", "items")):
        rows = table(f"By {name}, {title}", name, "P&L", "contribution")
        for item in of[key]:
            shown = words(item[name]) if key == "factors" else text(item[name])
            rows.add_row(shown, money(item["pnl"]), percent(item["contribution"]))
        console.print(rows)
    if of["brinson"] is not None:
        against = of["brinson"]
        rows = table(
            f"Beside {text(against['benchmark'])}: {percent(against['active_return'])}",
            "sector",
            "allocation",
            "selection",
        )
        for item in against["sectors"]:
            rows.add_row(text(item["sector"]), percent(item["allocation"]), percent(item["selection"]))
        console.print(rows)
    reasons(console, of)


def replay(console: Console, of: Document) -> None:
    title = f"From the close of {of['from']} to that of {of['to']}, with what was held on {of['session']}"
    rows = table(title, "by", "money", "of NAV", "uncovered")
    for name in ("factors", "positions"):
        leg = of[name] or {}
        rows.add_row(
            {"factors": "factors' returns", "positions": "holdings' own"}[name],
            money(leg.get("money")), percent(leg.get("fraction"), 1), money(leg.get("uncovered_value")),
        )  # fmt: skip
    console.print(rows)
    factors = table("Proxies", "factor", "proxy", "return", "money", left=2)
    by_factor = (of["factors"] or {}).get("by_factor", {})
    for proxy in of["proxies"]:
        factors.add_row(
            words(proxy["factor"]),
            text(proxy["proxy"]),
            percent(proxy["return"], 1),
            money(by_factor.get(proxy["factor"])),
        )
    console.print(factors)
    held = table("Holdings", "symbol", "value", "by factors", "money", "own", "own money", "reason")
    held.columns[-1].justify = "left"
    for item in of["items"]:
        held.add_row(
            text(item["symbol"]), money(item["market_value"]), percent(item["factor_return"], 1), money(item["factor_money"]),
            percent(item["own_return"], 1), money(item["own_money"]), escape(words(item["reason"])),
        )  # fmt: skip
    console.print(held)
    reasons(console, of)


def liquidity(console: Console, of: Document) -> None:
    title = f"Liquidity on {of['session']}, {percent(of['share'], 0)} of a day's volume"
    rows = table(title, "symbol", "quantity", "value", "volume a day", "share of it", "days", "reason")
    rows.columns[-1].justify = "left"
    for item in of["items"]:
        rows.add_row(
            text(item["symbol"]), shares(item["quantity"], 4), money(item["market_value"]), number(item["adv"], 0),
            percent(item["share_of_adv"]), number(item["days"], 2), escape(words(item["reason"])),
        )  # fmt: skip
    console.print(rows)
    parts = [f"{percent(part['share'], 1)} within {part['sessions']}" for part in of["within"]]
    console.print(f"Sold by sessions: {', '.join(parts)}; unknown {percent(of['unknown_share'], 1)}.")
    reasons(console, of)


def look_through(console: Console, of: Document) -> None:
    funds = table(f"Funds on {of['session']}", "fund", "of NAV", "list of", "holdings", "told", "reason")
    for item in of["funds"]:
        funds.add_row(
            text(item["symbol"]), percent(item["weight"], 1), item["as_of"] or DASH, count(item["holdings"]),
            percent(item["told"], 1), escape(words(item["reason"])),
        )  # fmt: skip
    if funds.row_count:
        console.print(funds)
    sides = ("direct", "through", "net", "gross")
    sectors = table("Sectors, of NAV", "sector", *sides)
    for item in of["sectors"] or []:
        sectors.add_row(text(item["sector"]), *(percent(item[side], 1) for side in sides))
    console.print(sectors)
    names = table(
        f"Names, {count(len(of['items']))} of {count(of['names'])}",
        "symbol",
        "sector",
        "direct",
        "through funds",
        "of NAV",
    )
    for item in of["items"]:
        names.add_row(
            text(item["symbol"]),
            text(item["sector"]),
            money(item["direct"]),
            money(item["through"]),
            percent(item["weight"], 1),
        )
    console.print(names)
    spread = of["concentration"]
    console.print(
        f"Effective names {number(spread['effective'], 1)}, largest three {percent(spread['top_3'], 1)}; "
        f"of the funds {percent(of['looked_through'], 1)} is looked through."
    )
    reasons(console, of)


def sector_exposures(console: Console, of: Document) -> None:
    title = f"Funds of sectors on {of['session']}, beside {of['market'] or 'no market'}"
    rows = table(title, "sector", "fund", "beta", "error", "t", "money", "R²", "reason", left=2)
    rows.columns[-1].justify = "left"
    for item in of["items"]:
        rows.add_row(
            text(item["sector"]), text(item["fund"]), number(item["beta"]), number(item["stderr_hac"]), number(item["t_hac"], 1),
            money(item["money"]), number(item["r2"]), escape(words(item["reason"])),
        )  # fmt: skip
    console.print(rows)
    reasons(console, of)


def what_if(console: Console, of: Document) -> None:
    trades = table(f"Trades at the closes of {of['session']}", "symbol", "quantity", "price", "money")
    for trade in of["trades"]:
        trades.add_row(text(trade["symbol"]), shares(trade["quantity"]), number(trade["price"]), money(trade["money"]))
    console.print(trades)
    rows = table("Before and after", "figure", "before", "after")
    before, after = of["before"], of["after"]
    for name in ("cash", "long_value", "short_value", "gross_exposure", "net_exposure"):
        rows.add_row(words(name), money(before[name]), money(after[name]))
    for name in before["volatility"]:
        rows.add_row(
            f"volatility, {words(name)}", percent(before["volatility"][name]), percent(after["volatility"][name])
        )
    for one, other in zip(before["var"], after["var"], strict=True):
        for figure, title in (("var", "VaR"), ("es", "expected shortfall")):
            rows.add_row(f"{title} {percent(one['level'], 1)}", percent(one[figure]), percent(other[figure]))
    for one, other in zip(before["factors"], after["factors"], strict=True):
        rows.add_row(f"beta, {words(one['factor'])}", number(one["beta"]), number(other["beta"]))
    hedges = [side.get("hedge") or {} for side in (before, after)]
    if hedges[1].get("symbol"):
        title = f"hedge of the market, {hedges[1]['symbol']}"
        rows.add_row(title, *(number(each.get("quantity")) for each in hedges))
        rows.add_row("its money", *(money(each.get("money")) for each in hedges))
    for name in ("effective", "top_3"):
        rows.add_row(
            f"concentration, {words(name)}", number(before["concentration"][name]), number(after["concentration"][name])
        )
    console.print(rows)
    reasons(console, of)


def reasons(console: Console, of: Document) -> None:
    """Why something is null, in a line a cause."""
    for line in reasons_text(of["reasons"]):
        console.print(escape(line))
